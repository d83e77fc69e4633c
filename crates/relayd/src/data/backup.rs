//! Copies of a data directory: what is in one, and how it comes back.
//!
//! ```text
//! DIR/            mode 0700
//!   identity.key  access-code  key-chain  version
//!   store/ or segments/     with entries only
//!   backup.json   what is in it, with checksums; until the end it says that this is no backup yet, and when to destroy it
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::owner::give_to_owner;
use super::{
    DataDir, DataError, identity, make_directory, read_file, sync_directory, write_private,
};
use crate::medium::{Kind, mark};
use files::{copy_file, not_stopped, wipe};

mod files;

const MANIFEST: &str = "backup.json";
/// The version of the manifest.
const VERSION: u8 = 1;
/// Some million files would not fit; a relay has some thousand.
const MANIFEST_LEN_MAX: u64 = 64 << 20;
/// What every backup holds, as far as it is there; the identity last, for restoring.
const KEPT: [&str; 4] = ["version", "access-code", "key-chain", identity::FILE];
/// Is in a data directory as long as a restore is not done.
const RESTORING: &str = "restoring";

/// What a backup holds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Manifest {
    v: u8,
    /// With entries: the unix time after which they are not to be restored.
    pub(crate) entries_until_s: Option<u64>,
    /// It was begun and is not done.
    // [SPEC 6.135]
    #[serde(default)]
    unfinished: bool,
    files: Vec<Copied>,
}

#[derive(Serialize, Deserialize)]
struct Copied {
    name: String,
    len: u64,
    sha256: String,
}

/// Files that were copied and are not yet vouched for. Unless they are finished, they go again.
pub(crate) struct Draft {
    to: PathBuf,
    entries_until_s: Option<u64>,
    names: Vec<String>,
    stop: Arc<AtomicBool>,
    /// Nothing of it is to go.
    done: bool,
}

impl Draft {
    /// Makes the directory, and in it the list that says that it is no backup yet.
    /// `stop` ends the copying; with a time, entries are to be copied.
    ///
    /// # Errors
    /// The target is there already, or something could not be written.
    // [SPEC 6.135]
    pub(crate) fn begin(
        to: &Path,
        entries_until_s: Option<u64>,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, DataError> {
        if to.exists() {
            let source = io::ErrorKind::AlreadyExists.into();
            return Err(DataError::io("make", to, source));
        }
        make_directory(to)?;
        let draft = Self {
            to: to.to_owned(),
            entries_until_s,
            names: Vec::new(),
            stop,
            done: false,
        };
        draft.list(true, Vec::new())?;
        Ok(draft)
    }

    /// Copies the small files, and the store's if they are wanted: then nobody may write to it meanwhile.
    ///
    /// # Errors
    /// Something could not be read or written, or it was stopped.
    // [SPEC 6.132] [SPEC 6.133]
    pub(crate) fn copy(&mut self, data: &Path) -> Result<(), DataError> {
        if !data.join(identity::FILE).exists() {
            return Err(DataError::NeverServed);
        }
        for name in KEPT {
            if data.join(name).exists() {
                self.file(data, name.to_owned())?;
            }
        }
        // Half of them, or those that went, would be served as if they were all.
        // [SPEC 6.216]
        if self.entries_until_s.is_some() && mark::is_there(data)? {
            return Err(DataError::Moving);
        }
        for kind in [Kind::Sqlite, Kind::Segments].map(Kind::directory) {
            if self.entries_until_s.is_some() && data.join(kind).is_dir() {
                make_directory(&self.to.join(kind))?;
                // What is damaged and kept apart, in a directory below, is no part of the store.
                for name in names_in(&data.join(kind))? {
                    if !data.join(kind).join(&name).is_file() {
                        continue;
                    }
                    self.file(data, format!("{kind}/{name}"))?;
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, data: &Path, name: String) -> Result<(), DataError> {
        copy_file(&data.join(&name), &self.to.join(&name), &self.stop)?;
        self.names.push(name);
        Ok(())
    }

    /// Makes everything durable and writes what is in it. Nobody has to wait for this.
    ///
    /// # Errors
    /// What could not be read or written, or it was stopped.
    pub(crate) fn finish(&mut self) -> Result<(), DataError> {
        let mut files = Vec::with_capacity(self.names.len());
        for name in std::mem::take(&mut self.names) {
            files.push(Copied::of(&self.to, name, &self.stop)?);
        }
        for kind in [Kind::Sqlite, Kind::Segments].map(Kind::directory) {
            if self.to.join(kind).is_dir() {
                sync_directory(&self.to.join(kind).join(MANIFEST))?;
            }
        }
        self.list(false, files)?;
        self.done = true;
        Ok(())
    }

    fn list(&self, unfinished: bool, files: Vec<Copied>) -> Result<(), DataError> {
        let manifest = Manifest {
            v: VERSION,
            entries_until_s: self.entries_until_s,
            unfinished,
            files,
        };
        let path = self.to.join(MANIFEST);
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|e| DataError::io("write", &path, io::Error::other(e)))?;
        write_private(&path, &text)
    }

    /// Takes everything away again, and says whether nothing is left.
    pub(crate) fn discard(mut self) -> bool {
        self.done = true;
        wipe(&self.to).is_ok()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.done {
            let _ = wipe(&self.to);
        }
    }
}

impl Manifest {
    /// Reads what a backup holds.
    ///
    /// # Errors
    /// It is none, or of a later version, or names what no backup holds.
    pub(crate) fn load(from: &Path) -> Result<Self, DataError> {
        let path = from.join(MANIFEST);
        let damaged = |what| DataError::Damaged {
            path: path.clone(),
            what,
        };
        let bytes = read_file(&path, MANIFEST_LEN_MAX)?.ok_or_else(|| DataError::NoBackup {
            path: from.to_owned(),
        })?;
        let manifest: Self = serde_json::from_slice(&bytes)
            .map_err(|_| damaged("it is no list of a backup's files"))?;
        if manifest.v != VERSION {
            return Err(damaged("it is of another version of this program"));
        }
        if manifest.unfinished {
            return Err(damaged(
                "the backup was cut off; destroy it, and make another",
            ));
        }
        if manifest.files.iter().any(|file| !is_ours(&file.name)) {
            return Err(damaged("it names a file that no backup holds"));
        }
        Ok(manifest)
    }

    /// Whether all that is wanted is whole.
    ///
    /// # Errors
    /// A file is damaged, or cannot be read.
    // [SPEC 6.134]
    pub(crate) fn check(&self, from: &Path, entries: bool) -> Result<(), DataError> {
        self.wanted(entries)
            .iter()
            .try_for_each(|file| file.check(from))
    }

    fn wanted(&self, entries: bool) -> Vec<&Copied> {
        let wanted = |file: &&Copied| entries || !file.name.contains('/');
        self.files.iter().filter(wanted).collect()
    }

    /// Brings back everything, the store only if it is wanted. Cut off, it can be done again.
    ///
    /// # Errors
    /// A file is damaged, or could not be written.
    // [SPEC 6.136]
    pub(crate) fn restore(
        &self,
        from: &Path,
        data: &DataDir,
        entries: bool,
    ) -> Result<(), DataError> {
        let mut files = self.wanted(entries);
        let mark = data.join(RESTORING);
        write_private(&mark, b"")?;
        // What one that was cut off has brought back.
        for kind in [Kind::Sqlite, Kind::Segments].map(Kind::directory) {
            if data.join(kind).is_dir() {
                wipe(&data.join(kind)).map_err(|e| DataError::io("remove", &data.join(kind), e))?;
            }
        }
        let never = AtomicBool::new(false);
        // The identity makes a directory a relay's: it comes last.
        files.sort_by_key(|file| file.name == identity::FILE);
        for file in files {
            let to = data.join(&file.name);
            if let Some(above) = to.parent() {
                make_directory(above)?;
            }
            let _ = fs::remove_file(&to);
            copy_file(&from.join(&file.name), &to, &never)?;
            sync(&to)?;
            sync_directory(&to)?;
        }
        // It may have been restored by root for a service.
        give_to_owner(data)?;
        fs::remove_file(&mark).map_err(|e| DataError::io("remove", &mark, e))?;
        // A mark that came back would keep the relay from starting.
        sync_directory(&mark)
    }
}

/// A restore into this directory was begun and is not done: it is no relay's yet.
pub(crate) fn is_half_restored(data: &Path) -> bool {
    data.join(RESTORING).exists()
}

/// There is a relay or a store, and not one that a restore left unfinished: no relay starts on that.
// [SPEC 6.134] [SPEC 6.136]
pub(crate) fn is_taken(data: &Path) -> bool {
    let there = |name: &str| data.join(name).exists();
    let store = [Kind::Sqlite, Kind::Segments]
        .iter()
        .any(|kind| there(kind.directory()));
    (there(identity::FILE) || store) && !is_half_restored(data)
}

impl Copied {
    fn of(directory: &Path, name: String, stop: &AtomicBool) -> Result<Self, DataError> {
        let path = directory.join(&name);
        sync(&path)?;
        let (len, sha256) = digest(&path, stop)?;
        Ok(Self { name, len, sha256 })
    }

    fn check(&self, directory: &Path) -> Result<(), DataError> {
        let path = directory.join(&self.name);
        let (len, sha256) = digest(&path, &AtomicBool::new(false))?;
        if (len, &sha256) == (self.len, &self.sha256) {
            return Ok(());
        }
        Err(DataError::Damaged {
            path,
            what: "it is not what the backup's list says",
        })
    }
}

/// One of the small files, or a plain name in a store's directory.
fn is_ours(name: &str) -> bool {
    let Some((directory, file)) = name.split_once('/') else {
        return KEPT.contains(&name);
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    [Kind::Sqlite, Kind::Segments]
        .iter()
        .any(|kind| kind.directory() == directory)
        && !file.is_empty()
        && !file.starts_with('.')
        && file.chars().all(plain)
}

fn names_in(directory: &Path) -> Result<Vec<String>, DataError> {
    let refused = |e| DataError::io("read", directory, e);
    let mut names = Vec::new();
    for file in fs::read_dir(directory).map_err(refused)? {
        names.push(
            file.map_err(refused)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort();
    Ok(names)
}

fn digest(path: &Path, stop: &AtomicBool) -> Result<(u64, String), DataError> {
    let refused = |e| DataError::io("read", path, e);
    let mut file = File::open(path).map_err(refused)?;
    let mut hash = Sha256::new();
    let len = io::copy(&mut file, &mut HashWriter(&mut hash, stop)).map_err(refused)?;
    let hex = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok((len, hex))
}

struct HashWriter<'a>(&'a mut Sha256, &'a AtomicBool);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        not_stopped(self.1)?;
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn sync(path: &Path) -> Result<(), DataError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|e| DataError::io("sync", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch;
    use std::sync::atomic::Ordering;

    // [SPEC 6.135]
    #[test]
    fn a_stopped_backup_leaves_nothing() {
        let dir = scratch("backup-stopped");
        let (data, to) = (dir.path().join("data"), dir.path().join("to"));
        fs::create_dir(&data).unwrap();
        for name in KEPT {
            fs::write(data.join(name), name).unwrap();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut draft = Draft::begin(&to, Some(7), Arc::clone(&stop)).unwrap();
        draft.copy(&data).unwrap();
        // What a kill leaves says what it is, and until when.
        let list = fs::read_to_string(to.join(MANIFEST)).unwrap();
        assert!(list.contains("\"unfinished\": true") && list.contains("\"entries_until_s\": 7"));
        assert!(
            Manifest::load(&to)
                .err()
                .unwrap()
                .to_string()
                .contains("cut off")
        );
        // Another name of the same file shows what becomes of what it held.
        let (key, other) = (to.join(identity::FILE), dir.path().join("other"));
        fs::hard_link(key, &other).unwrap();
        stop.store(true, Ordering::Relaxed);
        assert!(draft.finish().is_err());
        drop(draft);
        assert!(!to.exists());
        assert_eq!(fs::read(other).unwrap(), [0; identity::FILE.len()]);
    }

    // [SPEC 6.134]
    #[test]
    fn a_list_leads_nowhere_else() {
        for good in ["identity.key", "store/lasting.db", "segments/day-1-2.data"] {
            assert!(is_ours(good), "{good}");
        }
        for bad in [
            "",
            "lock",
            "../x",
            "store/../x",
            "store/",
            "store/.x",
            "other/x",
            "/etc/passwd",
            "store/a/b",
        ] {
            assert!(!is_ours(bad), "{bad}");
        }
    }
}
