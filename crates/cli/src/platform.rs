//! What the program asks of the operating system that std does not offer.
//!
//! The only module of this crate with `unsafe`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Files that are made from now on are for everybody to read: nothing that is for the user alone may be made afterwards.
pub(crate) fn make_public_files() {
    // SAFETY: umask always succeeds and touches no memory.
    unsafe { libc::umask(0o022) };
}

/// An own handle on a file descriptor that the caller of the program left open.
///
/// # Errors
/// When there is no such descriptor.
pub(crate) fn inherited(fd: i32) -> io::Result<File> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the descriptor is borrowed only for duplicating it, which fails cleanly where it is not open; it is never -1.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    // What this program opened is closed when another one begins, so that was not inherited.
    if rustix::io::fcntl_getfd(borrowed)?.contains(rustix::io::FdFlags::CLOEXEC) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    borrowed.try_clone_to_owned().map(File::from)
}

/// What will be begun has no terminal, and of descriptors standard input, output and error alone: not one with a PIN, either.
pub(crate) fn stands_alone(command: &mut Command) {
    let alone = || {
        // SAFETY: it touches no memory, and is safe after a fork.
        unsafe { libc::setsid() };
        close_when_exchanged();
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls, and nothing else.
    unsafe { command.pre_exec(alone) };
}

/// Closes all but the first three descriptors when the program is exchanged for another one.
fn close_when_exchanged() {
    // libc does not name it everywhere. Since Linux 5.11.
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 1 << 2;
    // SAFETY: it touches no memory, and closes nothing yet.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            libc::c_uint::MAX,
            CLOSE_RANGE_CLOEXEC,
        )
    };
    if done != 0 {
        for descriptor in 3..1_024 {
            // SAFETY: it touches no memory; a descriptor that is not open is refused.
            unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}

/// Seconds that local time is ahead of UTC at a moment, as the system's time zone says.
pub(crate) fn utc_offset_s(unix_s: i64) -> i64 {
    // SAFETY: all zeros is a valid tm: integers and a null pointer.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    let time: libc::time_t = unix_s;
    // SAFETY: both pointers are to values that outlive the call; the re-entrant form keeps no state but the time zone.
    let filled = unsafe { libc::localtime_r(&raw const time, &raw mut local) };
    if filled.is_null() { 0 } else { local.tm_gmtoff }
}
