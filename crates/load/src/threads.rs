//! Threads of the generator, each with a runtime and a descriptor table of its own; the only place with `unsafe` but for clocks.
//!
//! A process may have open only so many files (20,000 on some machines), but a thread that gives up sharing its table with
//! the others has a limit of its own. Two rules follow. What a runtime is woken by is a descriptor, so nothing of one
//! thread may wake another's: threads talk through atomics and mutexes that they look at now and then. And the signal pipe
//! that all runtimes of a process share must be in every table, so one runtime is made before.

#![allow(unsafe_code)]

use crate::Trouble;
use std::io;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

/// Makes what all runtimes share; to be called before any thread has a table of its own.
///
/// # Errors
/// When the system refuses.
pub fn prepare() -> Result<(), Trouble> {
    runtime().map(drop)
}

/// Leaves the table of descriptors that this thread shares with others and goes on with a copy of it.
///
/// # Errors
/// When the system refuses.
pub fn own_descriptors() -> Result<(), Trouble> {
    // SAFETY: unshare takes flags only and touches no memory. The copied descriptors stay open in this thread as well; it
    // closes none that another opened, because each closes only what it made itself.
    if unsafe { libc::unshare(libc::CLONE_FILES) } != 0 {
        return Err(io::Error::last_os_error().into());
    }
    Ok(())
}

/// Raises this process's soft limit of descriptors to the hard one, and says how many there are in a table.
///
/// # Errors
/// When the system refuses.
pub fn descriptors() -> Result<u64, Trouble> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid, writable rlimit that lives across both calls.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if result != 0 {
        return Err(io::Error::last_os_error().into());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above; setrlimit only reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error().into());
    }
    Ok(limit.rlim_cur)
}

/// Runs a future, and what it spawns with `spawn_local`, on this thread.
///
/// # Errors
/// Those of the future, or when the system refuses a runtime.
pub fn run<T>(future: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let runtime = runtime()?;
    LocalSet::new().block_on(&runtime, future)
}

fn runtime() -> Result<Runtime, Trouble> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}
