//! The few things a segment store asks of a disk: one directory of files that are written at places, synced, erased. Files whose names
//! begin with `quarantine/` lie in a directory below.
//!
//! Behind an interface, so that tests can put a disk under the store that loses, tears and reorders what was not synced.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use crate::data::{DataError, make_directory};

/// A directory of files. Names are durable after [`Disk::sync_names`], not before.
pub trait Disk {
    /// An open file.
    type File: DiskFile;

    /// The names of all files.
    ///
    /// # Errors
    /// What the system refused.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Makes a file that is not there yet.
    ///
    /// # Errors
    /// What the system refused.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// What the system refused.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system refused.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, and takes that from the file that has it.
    ///
    /// # Errors
    /// What the system refused.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes all names, made, changed and removed, durable.
    ///
    /// # Errors
    /// What the system refused.
    fn sync_names(&self) -> io::Result<()>;
}

/// A file. What was written or erased is durable after [`DiskFile::sync`], not before.
pub trait DiskFile {
    /// Its length in bytes.
    ///
    /// # Errors
    /// What the system refused.
    fn len(&self) -> io::Result<u64>;

    /// Whether it holds nothing.
    ///
    /// # Errors
    /// What the system refused.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Fills `bytes` from a place.
    ///
    /// # Errors
    /// What the system refused; the file's end.
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at a place.
    ///
    /// # Errors
    /// What the system refused. A part may have been written.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file.
    ///
    /// # Errors
    /// What the system refused.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes a range read as zeros and gives its whole blocks back to the file system.
    ///
    /// # Errors
    /// What the system refused.
    fn erase(&self, at: u64, len: u64) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// What the system refused. It is unknown then what is durable.
    fn sync(&self) -> io::Result<()>;
}

/// Where damaged files are kept apart.
pub const QUARANTINE: &str = "quarantine";

/// A directory of this machine.
pub struct OsDisk {
    directory: PathBuf,
    /// Open, so that syncing it does not depend on a free descriptor.
    opened: File,
}

impl OsDisk {
    /// Uses a directory, which is made, for its owner only and durably, if it is missing.
    ///
    /// # Errors
    /// What the system refused.
    pub fn new(directory: &Path) -> Result<Self, DataError> {
        make_directory(directory)?;
        let opened = File::open(directory).map_err(|e| DataError::io("open", directory, e))?;
        Ok(Self {
            directory: directory.to_owned(),
            opened,
        })
    }
}

impl Disk for OsDisk {
    type File = File;

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = names_in(&self.directory)?;
        if names.iter().any(|name| name == QUARANTINE) {
            let apart = names_in(&self.directory.join(QUARANTINE))?;
            names.extend(apart.iter().map(|name| format!("{QUARANTINE}/{name}")));
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.directory.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.directory.join(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let to = self.directory.join(to);
        if let Some(parent) = to.parent() {
            make_directory(parent).map_err(io::Error::other)?;
        }
        fs::rename(self.directory.join(from), to)
    }

    fn sync_names(&self) -> io::Result<()> {
        match File::open(self.directory.join(QUARANTINE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            apart => apart?.sync_all()?,
        }
        self.opened.sync_all()
    }
}

fn names_in(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        // A name that is no text is none of ours.
        names.extend(entry?.file_name().into_string().ok());
    }
    Ok(names)
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(bytes, at)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn erase(&self, at: u64, len: u64) -> io::Result<()> {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(self, hole, at, len) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP) => write_zeros(self, at, len),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// For file systems without holes: nothing is given back, but nothing is left either.
fn write_zeros(file: &File, at: u64, len: u64) -> io::Result<()> {
    const ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];
    let end = at.saturating_add(len);
    let mut at = at;
    while at < end {
        let step = usize::try_from(end - at)
            .unwrap_or(ZEROS.len())
            .min(ZEROS.len());
        let zeros = ZEROS.get(..step).unwrap_or(&ZEROS);
        file.write_all_at(zeros, at)?;
        at = at.saturating_add(zeros.len() as u64);
    }
    Ok(())
}
