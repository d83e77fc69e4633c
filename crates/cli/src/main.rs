//! The program: hardening first, then the command line.

use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Freed memory is zeroed: what was decrypted for a moment does not stay in the heap.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let json = emptyroom_cli::asks_for_json(&arguments);
    // Without it a crash would write keys to the disk.
    if let Err(error) = emptyroom_sandbox::harden() {
        return emptyroom_cli::refuse_to_start(&error, json);
    }
    emptyroom_cli::tell_panics(json);
    emptyroom_cli::guarded(|| emptyroom_cli::run(arguments))
}
