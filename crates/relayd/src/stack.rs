//! What calls leave behind on a thread's stack.

use std::hint::black_box;

/// Deeper than inputs of the relay, or a batch of the store, reaches.
const REACHED: usize = 64 << 10;

/// Overwrites what calls that have returned left on this thread's stack: what was moved out of a call's frame is still
/// there, a new log's salt for one, until a later call happens to go as deep.
// [SPEC 6.80]
#[inline(never)]
pub(crate) fn wipe() {
    let mut below = [0_u8; REACHED];
    black_box(&mut below);
}
