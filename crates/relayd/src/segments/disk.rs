//! The few things a segment store asks of a disk: one directory of files that are written at places, synced, erased. Files whose names
//! begin with `quarantine/` lie in a directory below.
//!
//! Behind an interface, so that tests can put a disk under the store that loses, tears and reorders what was not synced.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::data::{DataError, make_directory};

mod files;

use files::OpenFiles;
pub use files::OsFile;

/// A directory of files. Names are durable after [`Disk::sync_names`], not before. Several threads may read different files of it.
pub trait Disk: Send + Sync {
    /// A file that can be read and written.
    type File: DiskFile + Send;

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

/// A failed sync is never a full disk, whatever it says: nobody knows what is durable.
// [SPEC 6.69]
pub(super) fn synced(outcome: io::Result<()>) -> io::Result<()> {
    outcome.map_err(|error| io::Error::other(error.to_string()))
}

/// A directory of this machine.
pub struct OsDisk {
    directory: PathBuf,
    /// Open, so that syncing it does not depend on a free descriptor.
    opened: File,
    files: OpenFiles,
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
            files: OpenFiles::default(),
        })
    }
}

impl Disk for OsDisk {
    type File = OsFile;

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = names_in(&self.directory)?;
        if names.iter().any(|name| name == QUARANTINE) {
            let apart = names_in(&self.directory.join(QUARANTINE))?;
            names.extend(apart.iter().map(|name| format!("{QUARANTINE}/{name}")));
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<OsFile> {
        self.files.create(self.directory.join(name))
    }

    fn open(&self, name: &str) -> io::Result<OsFile> {
        self.files.open(self.directory.join(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.directory.join(name);
        let below = self.below(&path)?;
        fs::remove_file(path)?;
        below.map_or(Ok(()), |below| synced(below.sync_all()))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let to = self.directory.join(to);
        if let Some(parent) = to.parent() {
            make_directory(parent).map_err(io::Error::other)?;
        }
        let below = self.below(&to)?;
        fs::rename(self.directory.join(from), to)?;
        below.map_or(Ok(()), |below| synced(below.sync_all()))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.opened.sync_all()
    }
}

impl OsDisk {
    /// The directory of a file, if it is one below: its names are synced at once, so that syncing all others needs no descriptor.
    fn below(&self, path: &Path) -> io::Result<Option<File>> {
        let parent = path.parent().filter(|parent| *parent != self.directory);
        parent.map(File::open).transpose()
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
