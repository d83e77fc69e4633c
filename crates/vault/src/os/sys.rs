//! The calls that std does not offer, each in one safe function. The only unsafe code of the crate.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

/// Bytes per page of memory.
pub(crate) fn page_size() -> usize {
    // SAFETY: sysconf reads a constant of the system and touches no memory of ours.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096).max(4096)
}

/// Keeps `pages` (whole pages) out of the swap file and out of core dumps. Says whether the first
/// succeeded: an unprivileged process may lock a few megabytes only.
pub(crate) fn lock_memory(pages: &mut [u8]) -> bool {
    let start = pages.as_mut_ptr().cast::<libc::c_void>();
    // SAFETY: the range is exactly the slice, which is alive and ours; mlock changes no byte of it.
    let locked = unsafe { libc::mlock(start, pages.len()) } == 0;
    #[cfg(target_os = "linux")]
    // SAFETY: as above; MADV_DONTDUMP only marks the pages. Failing is harmless.
    unsafe {
        libc::madvise(start, pages.len(), libc::MADV_DONTDUMP);
    }
    locked
}

/// Undoes [`lock_memory`], before the memory goes back to the allocator.
pub(crate) fn unlock_memory(pages: &mut [u8]) {
    let start = pages.as_mut_ptr().cast::<libc::c_void>();
    // SAFETY: the range is exactly the slice, which is alive and ours; munlock changes no byte.
    unsafe {
        libc::munlock(start, pages.len());
    }
    #[cfg(target_os = "linux")]
    // SAFETY: as above; MADV_DODUMP only takes the mark away.
    unsafe {
        libc::madvise(start, pages.len(), libc::MADV_DODUMP);
    }
}

/// Takes space on the disk for the first `len` bytes of `file`, which becomes at least that long.
pub(crate) fn allocate(file: &File, len: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let len = libc::off_t::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        loop {
            // SAFETY: the descriptor is open as long as `file` is borrowed; no memory is passed.
            let code = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, len) };
            match code {
                0 => return Ok(()),
                libc::EINTR => {}
                // A file system without the call: the length alone, and writing may fail later.
                libc::EOPNOTSUPP | libc::EINVAL => break,
                code => return Err(io::Error::from_raw_os_error(code)),
            }
        }
    }
    if file.metadata()?.len() < len {
        file.set_len(len)?;
    }
    Ok(())
}

/// Asks the system to read `file` anew from the disk when it is read next.
pub(crate) fn forget_cached(file: &File) {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        // SAFETY: the descriptor is open as long as `file` is borrowed; no memory is passed. It is advice: failing is harmless.
        unsafe {
            libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED);
        }
    }
}
