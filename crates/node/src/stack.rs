//! What is left on a stack below whoever runs now.

/// Three times what was found in use (90 KiB, decrypting a message). The thread's stack has 2 MiB.
const STACK_WIPED_BYTES: usize = 256 * 1024;

/// Overwrites what decrypting left below on the stack, which no allocator zeroes: nothing waits there while the engine does.
// [SPEC 12.13]
#[inline(never)]
pub(crate) fn wipe_stack() {
    std::hint::black_box(&mut [0_u8; STACK_WIPED_BYTES]);
}
