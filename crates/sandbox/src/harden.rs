//! What every program here does before it reads anything secret.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// No core dumps, no reading of this process by others of the same user, and files that are for the user alone.
///
/// # Errors
/// When the system refuses; the program does not go on then.
// [SPEC 12.13]
pub fn harden() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    Ok(())
}
