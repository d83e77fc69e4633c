//! One SQLite file as this store uses it: write-ahead log, every commit synced, deleted bytes overwritten,
//! checkpoints only when we say so.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use emptyroom_relay::store::StoreFailure;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use crate::data::{io_failure, sync_directory};

/// What every connection is set to before its first statement.
///
/// `locking_mode` first: with it SQLite keeps the index of the write-ahead log in its own memory and makes
/// no shared-memory file. `wal_autocheckpoint` is off because the store decides when (see [`super`]).
// [SPEC 6.66]
const SETTINGS: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA page_size = 4096;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA secure_delete = ON;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA temp_store = MEMORY;
    PRAGMA mmap_size = 0;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
    PRAGMA cache_size = -1024;
";

/// The `user_version` of a file with tables as this program makes them.
// [SPEC 6.84]
const FORMAT: u32 = 1;

/// A file of the store and its one connection.
pub(super) struct SqliteFile {
    connection: Connection,
    path: PathBuf,
    /// Something was committed since the last checkpoint.
    dirty: bool,
}

impl SqliteFile {
    /// Opens the file, makes it with its tables if it is missing. The caller syncs the directory before
    /// anything in the file counts as durable.
    pub(super) fn open(path: &Path, schema: &str) -> Result<Self, StoreFailure> {
        let [file, log] = parts(path);
        touch(&file)?;
        // What a killed process left in the log is to be brought into the file.
        let dirty = touch(&log)? > 0;
        let broken = |e| failure(&e, "opening a file");
        let connection = Connection::open(path).map_err(broken)?;
        connection.execute_batch(SETTINGS).map_err(broken)?;
        connection.set_prepared_statement_cache_capacity(16);
        let mut file = Self {
            connection,
            path: path.to_owned(),
            dirty,
        };
        if !file.has_tables()? {
            file.commit(|t| {
                t.execute_batch(schema)?;
                t.pragma_update(None, "user_version", FORMAT)
            })?;
        } else if file.format()? != FORMAT {
            return Err(StoreFailure::Broken(
                "a file was made by another version of this program",
            ));
        }
        Ok(file)
    }

    fn has_tables(&self) -> Result<bool, StoreFailure> {
        self.connection
            .query_row("SELECT EXISTS (SELECT * FROM sqlite_master)", [], |row| {
                row.get(0)
            })
            .map_err(|e| failure(&e, "opening a file"))
    }

    fn format(&self) -> Result<u32, StoreFailure> {
        self.connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(|e| failure(&e, "opening a file"))
    }

    /// For reading.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Runs `work` as one transaction that is durable when this returns.
    pub(super) fn commit<F>(&mut self, work: F) -> Result<(), StoreFailure>
    where
        F: FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    {
        let broken = |e| failure(&e, "a commit");
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(broken)?;
        work(&transaction).map_err(broken)?;
        self.dirty = true;
        transaction.commit().map_err(broken)
    }

    /// Brings everything into the file proper and cuts the write-ahead log to nothing. Full is no failure
    /// here: the log just stays until there is space.
    pub(super) fn checkpoint(&mut self) -> Result<(), StoreFailure> {
        if !self.dirty {
            return Ok(());
        }
        let busy: rusqlite::Result<i64> =
            self.connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        match busy.map_err(|e| failure(&e, "a checkpoint")) {
            Ok(0) => {
                self.dirty = false;
                Ok(())
            }
            Ok(_) => Err(StoreFailure::Broken(
                "a checkpoint found another user of the file",
            )),
            Err(failure) => Err(failure),
        }
    }

    /// Closes the file and removes it with all that belongs to it.
    pub(super) fn remove(self) -> Result<(), StoreFailure> {
        let path = self.path;
        // The connection goes first: closing it may still write.
        drop(self.connection);
        remove_files(&path)
    }
}

/// Removes a file of the store that is not open, and its companions.
pub(super) fn remove_files(path: &Path) -> Result<(), StoreFailure> {
    for part in parts(path) {
        match std::fs::remove_file(&part) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io_failure(&e, "removing a file")),
        }
    }
    sync_directory(path).map_err(|e| e.failure("sync of the store's directory"))
}

/// Whether neither the file nor its write-ahead log holds anything.
pub(super) fn is_empty(path: &Path) -> Result<bool, StoreFailure> {
    for part in parts(path) {
        match std::fs::metadata(&part) {
            Ok(about) if about.len() > 0 => return Ok(false),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io_failure(&e, "looking at a file")),
        }
    }
    Ok(true)
}

/// Makes the names of new files durable.
pub(super) fn sync_names(directory: &Path) -> Result<(), StoreFailure> {
    sync_directory(&directory.join("any")).map_err(|e| e.failure("sync of the store's directory"))
}

/// The file and its write-ahead log.
fn parts(path: &Path) -> [PathBuf; 2] {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    [path.to_owned(), log.into()]
}

/// Makes an empty file, so that SQLite, which reports a full disk at this point as damage, need not.
/// Says how long the file is.
fn touch(path: &Path) -> Result<u64, StoreFailure> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .and_then(|file| file.metadata())
        .map(|metadata| metadata.len())
        .map_err(|e| io_failure(&e, "making a file"))
}

/// Full is told apart from everything else; everything else stops the relay, a failed sync above all.
// [SPEC 6.69]
pub(super) fn failure(error: &rusqlite::Error, place: &'static str) -> StoreFailure {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreFailure::Full,
        _ => StoreFailure::Broken(place),
    }
}
