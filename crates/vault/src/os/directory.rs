//! A real directory: files of mode 0600 in a directory of mode 0700, locked by a lock file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::directory::{Directory, File};

/// The file that is locked. It stays when a vault is destroyed.
pub const LOCK_NAME: &str = "lock";

/// A directory of the file system.
pub struct OsDirectory {
    path: PathBuf,
}

impl OsDirectory {
    /// The directory at `path`, made (mode 0700) if it does not exist; durable when this returns, else the vault in it
    /// would not be.
    ///
    /// # Errors
    /// Faults of the disk.
    pub fn create(path: &Path) -> io::Result<Self> {
        let whole = std::path::absolute(path)?;
        let missing: Vec<&Path> = whole.ancestors().take_while(|dir| !dir.exists()).collect();
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)?;
        for parent in missing.into_iter().filter_map(Path::parent) {
            match fs::File::open(parent) {
                Ok(parent) => parent.sync_all()?,
                // A directory that may be written but not listed.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
                Err(e) => return Err(e),
            }
        }
        Ok(OsDirectory {
            path: path.to_owned(),
        })
    }

    /// The directory at `path`, existing or not: opening a vault in one that does not exist says
    /// `Missing`.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        OsDirectory {
            path: path.to_owned(),
        }
    }
}

impl Directory for OsDirectory {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        locked(options(true).open(self.path.join(LOCK_NAME))?)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = options(true).truncate(true).open(self.path.join(name))?;
        Ok(Box::new(OsFile { file }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = options(false).open(self.path.join(name))?;
        Ok(Box::new(OsFile { file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }
}

fn locked(file: fs::File) -> io::Result<Box<dyn Send + Sync>> {
    match file.try_lock() {
        Ok(()) => Ok(Box::new(Lock(file))),
        Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        Err(fs::TryLockError::Error(e)) => Err(e),
    }
}

struct Lock(fs::File);

impl Drop for Lock {
    /// By name: a process that was begun meanwhile, and has not come to its program yet, has the file open still.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

fn options(create: bool) -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(create);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

struct OsFile {
    file: fs::File,
}

impl File for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, out, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, data, offset)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        super::sys::allocate(&self.file, len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn forget_cached(&self) {
        super::sys::forget_cached(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a process does that was begun and does not run its program yet.
    #[test]
    fn a_lock_that_is_given_back_is_free_whoever_has_its_file_open() {
        let path =
            std::env::temp_dir().join(format!("emptyroom-vault-{}-lock", std::process::id()));
        let directory = OsDirectory::create(&path).unwrap();
        let file = options(true).open(path.join(LOCK_NAME)).unwrap();
        let kept = file.try_clone().unwrap();
        let lock = locked(file).unwrap();
        assert!(directory.lock().is_err());
        drop(lock);
        assert!(directory.lock().is_ok());
        drop(kept);
        fs::remove_dir_all(&path).unwrap();
    }
}
