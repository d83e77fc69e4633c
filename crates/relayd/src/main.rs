//! The relay's program.

use std::process::ExitCode;

use clap::Parser;
use emptyroom_relayd::{cli, platform};
use zeroizing_alloc::ZeroAlloc;

/// Freed memory is zeroed: what the relay says about its memory holds only with it. (SQLite and the TLS
/// library allocate by themselves; the one sees sealed rows only, the other zeroes what it frees.)
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    platform::quiet_panics();
    if let Err(error) = emptyroom_sandbox::harden() {
        return ExitCode::from(cli::not_hardened(&error));
    }
    ExitCode::from(cli::run(cli::Arguments::parse()))
}
