//! What the operating system must be told, and the only place in this crate with `unsafe`.
//!
//! As many descriptors as the hard limit allows, tables of them, and what is said of a panic.

#![allow(unsafe_code)]

use std::io;

/// Raises the soft limit of open descriptors to the hard one and says how many there are.
///
/// # Errors
/// The limit could not be read.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid, writable rlimit that lives across the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let raised = libc::rlimit {
        rlim_cur: limit.rlim_max,
        rlim_max: limit.rlim_max,
    };
    // SAFETY: `raised` is a valid rlimit that lives across the call; setrlimit only reads it.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
        return Ok(raised.rlim_cur);
    }
    Ok(limit.rlim_cur)
}

/// Gives the calling thread a table of descriptors of its own, a copy of what was open. The limit of open files counts for it apart.
///
/// # Errors
/// The system refused.
pub fn own_descriptor_table() -> io::Result<()> {
    // SAFETY: CLONE_FILES takes no pointer and touches no memory. That numbers of descriptors mean different files in different
    // threads afterwards is the caller's to bear; `lanes` says how.
    if unsafe { libc::unshare(libc::CLONE_FILES) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Prints where a bug showed itself and nothing of what it held: a panic's text may quote data.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        crate::log::log(&crate::log::Event::Bug(info.location()));
    }));
}
