//! The data directory: what lies in it, and that one relay at a time uses it.
//!
//! ```text
//! DIR/            mode 0700
//!   lock          held (flock) as long as the relay runs
//!   identity.key  the relay's identity; who loses it loses the address
//!   access-code   needed to make logs; made at first start
//!   key-chain     records of the stream keys of the last 30 days
//!   version       which version of this list it is
//!   day-keys      of a node: the keys under which rows in databases are sealed once more
//!   not-begun     of a node whose databases do not all have tables yet
//!   exported, importing     its rows are on the move, and it is not served
//!   control       a socket: `emptyroom-relay status` and `backup` ask there
//!   address       the address line of the last start, for `emptyroom-relay address`
//!   store/        headers, entries and day keys: see `sqlite`
//! ```
//!
//! Every file is for its owner only, written beside its place, synced and renamed.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use emptyroom_relay::store::StoreFailure;
use zeroize::Zeroizing;

pub mod access;
pub mod address;
pub(crate) mod backup;
pub mod chain;
pub mod identity;
pub(crate) mod owner;
pub mod version;

/// The control socket's name.
pub(crate) const CONTROL: &str = "control";
/// What was tried when a sync failed.
const SYNC: &str = "sync";
/// A small file may be this long, in bytes: none of ours comes near it.
const SMALL_FILE_MAX: u64 = 64 * 1024;

/// The data directory, locked for this process as long as the value lives.
pub struct DataDir {
    path: PathBuf,
    lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug)]
pub enum DataError {
    /// Another relay runs on it.
    InUse,
    /// The system refused something.
    Io {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is there, but not as this program writes it.
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A file of the operator's holds no access code.
    NoCode {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is no backup where one was named.
    NoBackup {
        /// Where.
        path: PathBuf,
    },
    /// Nothing was ever served from it.
    NeverServed,
    /// A restore into it was cut off.
    HalfRestored,
    /// Its rows come or went: it must not be served, nor a copy of it.
    Moving,
    /// A later program wrote it.
    Newer {
        /// Its version.
        found: u32,
    },
}

impl DataError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    /// What it means for something that was to be made durable. A failed sync is never a full disk.
    // [SPEC 6.69]
    pub(crate) fn failure(&self, place: &'static str) -> StoreFailure {
        match self {
            Self::Io { doing, source, .. } if *doing != SYNC => io_failure(source, place),
            _ => StoreFailure::Broken(place),
        }
    }
}

const NO_DESCRIPTOR: [i32; 2] = [
    rustix::io::Errno::MFILE.raw_os_error(),
    rustix::io::Errno::NFILE.raw_os_error(),
];

/// Full is told apart from everything else; everything else stops the relay, a failed sync above all. Where nothing more can be opened, that
/// passes like a full disk.
// [SPEC 6.69]
pub(crate) fn io_failure(error: &io::Error, place: &'static str) -> StoreFailure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreFailure::Full,
        _ if is_without_descriptor(error) => StoreFailure::Full,
        _ => StoreFailure::Broken(place),
    }
}

/// At a start nothing passes: where nothing more can be opened, it is said so.
// [SPEC 6.117]
pub(crate) fn open_failure(error: &io::Error, place: &'static str) -> StoreFailure {
    if is_without_descriptor(error) {
        return StoreFailure::Broken("too many open files; raise their limit (ulimit -n)");
    }
    io_failure(error, place)
}

/// The process, or the system, has as many files open as it may.
pub(crate) fn is_without_descriptor(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code.is_some_and(|code| NO_DESCRIPTOR.contains(&code))
}

/// For what is done later where there is no space now.
pub(crate) fn forgive_full(outcome: Result<(), StoreFailure>) -> Result<(), StoreFailure> {
    match outcome {
        Err(StoreFailure::Full) => Ok(()),
        other => other,
    }
}

impl std::fmt::Display for DataError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InUse => write!(f, "another relay is running on this data directory"),
            Self::Io {
                doing,
                path,
                source,
            } => write!(f, "cannot {doing} {}: {}", path.display(), words(source)),
            Self::Damaged { path, what } => write!(f, "{} is damaged: {what}", path.display()),
            Self::NoCode { path, what } => write!(f, "{}: {what}", path.display()),
            Self::NoBackup { path } => write!(
                f,
                "there is no backup in {}, or one that was cut off",
                path.display()
            ),
            Self::NeverServed => write!(f, "no relay was ever started on this data directory"),
            Self::Moving => write!(f, "its rows were exported, or an import is not whole"),
            Self::HalfRestored => write!(f, "a restore into this data directory was cut off"),
            Self::Newer { found } => write!(
                f,
                "the data directory is of version {found}; this program knows up to {}",
                version::CURRENT
            ),
        }
    }
}

impl std::error::Error for DataError {}

/// What the system said, in words for who does not know its own.
fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or directory".to_owned(),
        io::ErrorKind::AlreadyExists => "it is there already".to_owned(),
        _ => error.to_string(),
    }
}

impl DataDir {
    /// Opens the directory, makes it if it is missing, takes its lock, and brings it to this program's version.
    ///
    /// # Errors
    /// [`DataError::InUse`] if another process holds the lock, [`DataError::Newer`] if a later program wrote it,
    /// [`DataError::HalfRestored`] if it is not whole; else what the system refused.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let data = Self::take(path)?;
        // [SPEC 6.138]
        if backup::is_half_restored(path) {
            return Err(DataError::HalfRestored);
        }
        version::bring_up(&data)?;
        Ok(data)
    }

    /// Makes the directory if it is missing, and takes its lock: for a restore, which brings all else.
    ///
    /// # Errors
    /// [`DataError::InUse`] if another process holds the lock; else what the system refused.
    pub(crate) fn take(path: &Path) -> Result<Self, DataError> {
        make_directory(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .map_err(|e| DataError::io("set the permissions of", path, e))?;
        // [SPEC 6.60]
        let lock = lock(&path.join("lock"))?;
        Ok(Self {
            path: path.to_owned(),
            lock,
        })
    }

    /// Takes the lock of a directory that is only read, if it ever had one, and changes nothing there.
    ///
    /// # Errors
    /// As [`DataDir::open`].
    // [SPEC 6.136]
    pub(crate) fn look(path: &Path) -> Result<Option<Self>, DataError> {
        version::check(path)?;
        let place = path.join("lock");
        match File::open(&place) {
            Ok(file) => Ok(Some(Self {
                path: path.to_owned(),
                lock: locked(file, &place)?,
            })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(DataError::io("open", &place, e)),
        }
    }

    /// Where one of its files is.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for DataDir {
    /// By name: a thread with descriptors of its own may have the file open still.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

/// Makes a directory with all above it, for its owner only, and their names durable.
pub(crate) fn make_directory(path: &Path) -> Result<(), DataError> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent();
    if let Some(above) = above.filter(|above| !above.as_os_str().is_empty()) {
        make_directory(above)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(DataError::io("make", path, e));
        }
        Ok(()) | Err(_) => {}
    }
    sync_directory(path)
}

fn lock(path: &Path) -> Result<File, DataError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| DataError::io("open", path, e))?;
    locked(file, path)
}

fn locked(file: File, path: &Path) -> Result<File, DataError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataError::InUse),
        Err(TryLockError::Error(e)) => Err(DataError::io("lock", path, e)),
    }
}

/// Reads a small file of ours; `None` if there is none.
pub(crate) fn read_small(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, DataError> {
    read_file(path, SMALL_FILE_MAX)
}

/// Reads a file of ours of at most `len_max` bytes; `None` if there is none.
pub(crate) fn read_file(
    path: &Path,
    len_max: u64,
) -> Result<Option<Zeroizing<Vec<u8>>>, DataError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(DataError::io("open", path, e)),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    let read = file
        .take(len_max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|e| DataError::io("read", path, e))?;
    if u64::try_from(read).unwrap_or(u64::MAX) > len_max {
        return Err(DataError::Damaged {
            path: path.to_owned(),
            what: "it is longer than any this program writes",
        });
    }
    Ok(Some(bytes))
}

/// Writes a small file for its owner only, durably, and all of it or none.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let beside = path.with_extension("new");
    // A leftover of a start that was killed; never the file itself.
    match fs::remove_file(&beside) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(DataError::io("remove", &beside, e)),
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .map_err(|e| DataError::io("make", &beside, e))?;
    file.write_all(bytes)
        .map_err(|e| DataError::io("write", &beside, e))?;
    file.sync_all()
        .map_err(|e| DataError::io(SYNC, &beside, e))?;
    fs::rename(&beside, path).map_err(|e| DataError::io("rename", &beside, e))?;
    sync_directory(path)
}

/// Makes the names in a file's directory durable.
pub(crate) fn sync_directory(of: &Path) -> Result<(), DataError> {
    let Some(parent) = of.parent() else {
        return Ok(());
    };
    let here = Path::new(".");
    let parent = if parent.as_os_str().is_empty() {
        here
    } else {
        parent
    };
    let directory = File::open(parent).map_err(|e| DataError::io("open", parent, e))?;
    directory
        .sync_all()
        .map_err(|e| DataError::io(SYNC, parent, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch;

    // [SPEC 6.60]
    #[test]
    fn second_instance_is_refused() {
        let dir = scratch("second-instance");
        let first = DataDir::open(dir.path()).unwrap();
        assert!(matches!(DataDir::open(dir.path()), Err(DataError::InUse)));
        drop(first);
        DataDir::open(dir.path()).unwrap();
    }

    #[test]
    fn files_are_for_their_owner_only() {
        let dir = scratch("modes");
        let data = DataDir::open(&dir.path().join("deep/er")).unwrap();
        let file = data.join("x");
        write_private(&file, b"1").unwrap();
        write_private(&file, b"2").unwrap();
        assert_eq!(read_small(&file).unwrap().unwrap().as_slice(), b"2");
        for (path, mode) in [(file, 0o600), (dir.path().join("deep/er"), 0o700)] {
            assert_eq!(
                fs::metadata(path).unwrap().permissions().mode() & 0o777,
                mode
            );
        }
    }
}
