//! The one directory a vault lives in, as an interface: the real one is in [`crate::os`], tests hand
//! in ones that lose, tear, record and run full.
//!
//! Errors are `std::io::Error` by their kind: `NotFound`, `AlreadyExists`, `StorageFull` (or
//! `QuotaExceeded`), `WouldBlock` (a lock somebody else holds), `UnexpectedEof`; any other kind is a
//! fault of the disk.

use std::io;

/// A flat directory. Names are plain file names that the vault chooses.
pub trait Directory: Send + Sync {
    /// Takes the directory's lock, or fails with `WouldBlock`. Held until the result is dropped.
    ///
    /// # Errors
    /// `WouldBlock` if somebody else holds it.
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>>;

    /// A new, empty file; one of this name that exists is replaced by it.
    ///
    /// # Errors
    /// Faults of the disk.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// An existing file.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Gives a file another name, replacing one that has it. Atomic.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns when all names are durable that were created, renamed or removed before.
    ///
    /// # Errors
    /// Faults of the disk.
    fn sync(&self) -> io::Result<()>;
}

/// An open file.
pub trait File: Send + Sync {
    /// Length in bytes.
    ///
    /// # Errors
    /// Faults of the disk.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    ///
    /// # Errors
    /// Faults of the disk.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data`; the file grows if needed. Not durable before [`File::sync`].
    ///
    /// # Errors
    /// `StorageFull` if there is no space.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes the file at least `len` bytes long (new bytes are zero) and takes the space on the disk
    /// now, so that writing below `len` does not fail for want of space later.
    ///
    /// # Errors
    /// `StorageFull` if there is no space.
    fn reserve(&self, len: u64) -> io::Result<()>;

    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    /// Faults of the disk.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Returns when everything written before is durable.
    ///
    /// # Errors
    /// Faults of the disk. What was written is then in doubt.
    fn sync(&self) -> io::Result<()>;

    /// What is read from here on comes from the disk, as far as the system does that.
    fn forget_cached(&self) {}
}
