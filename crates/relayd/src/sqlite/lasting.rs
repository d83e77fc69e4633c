//! The one file of everything that lasts, and the list of removals that are decided and not yet done.

use std::collections::BTreeSet;
use std::path::Path;

use emptyroom_relay::store::{RowKey, StoreFailure};
use emptyroom_wire::time::Day;
use rusqlite::{OptionalExtension, Transaction, params};

use super::Spot;
use super::file::{SqliteFile, failure};
use crate::seal::Table;

/// Its pages are those that nearly every operation reads; this many kibibytes of them stay in memory.
const CACHE_KIB: u32 = 16 * 1024;

// [SPEC 6.83]
/// Keys in an index of their own and random ids, as for entries: some entries lie here, too.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS lasting (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, day INTEGER NOT NULL, row BLOB NOT NULL);
    CREATE INDEX IF NOT EXISTS lasting_day ON lasting (day);
    CREATE TABLE IF NOT EXISTS removals (day INTEGER NOT NULL, key BLOB NOT NULL, PRIMARY KEY (day, key)) WITHOUT ROWID;
";

/// A sealed change of a lasting row.
pub(super) enum Sealed {
    Put(RowKey, Day, Vec<u8>),
    Remove(RowKey),
}

/// What one transaction changes.
pub(super) struct Batch<'a> {
    pub(super) rows: &'a [Sealed],
    /// Entries to be removed.
    pub(super) list: &'a [Spot],
    /// Entries that are no longer to be removed.
    pub(super) unlist: &'a [Spot],
}

pub(super) struct LastingFile(SqliteFile);

impl LastingFile {
    pub(super) fn open(directory: &Path) -> Result<Self, StoreFailure> {
        let file = SqliteFile::open(&directory.join("lasting.db"), TABLES)?;
        let kib = format!("PRAGMA cache_size = -{CACHE_KIB};");
        file.connection()
            .execute_batch(&kib)
            .map_err(|e| failure(&e, "opening a file"))?;
        Ok(Self(file))
    }

    /// The sealed row under a key, with its day.
    pub(super) fn row(&self, key: &RowKey) -> Result<Option<(Day, Vec<u8>)>, StoreFailure> {
        self.0
            .connection()
            .prepare_cached("SELECT day, row FROM lasting WHERE key = ?1")
            .and_then(|mut select| {
                select
                    .query_row([key.0], |row| Ok((Day(row.get(0)?), row.get(1)?)))
                    .optional()
            })
            .map_err(|e| failure(&e, "reading a lasting row"))
    }

    /// The places of all rows.
    pub(super) fn spots(&self) -> Result<Vec<(Table, Day, RowKey)>, StoreFailure> {
        let connection = self.0.connection();
        let spots = connection
            .prepare("SELECT day, key FROM lasting")
            .and_then(|mut select| {
                let spot = |row: &rusqlite::Row<'_>| {
                    Ok((Table::Lasting, Day(row.get(0)?), RowKey(row.get(1)?)))
                };
                select.query_map([], spot)?.collect()
            });
        spots.map_err(|e| failure(&e, "listing lasting rows"))
    }

    /// The transaction that makes a batch happen.
    pub(super) fn commit(&mut self, batch: &Batch<'_>) -> Result<(), StoreFailure> {
        self.0.commit(|t| {
            unlist(t, batch.unlist.iter())?;
            for change in batch.rows {
                write(t, change)?;
            }
            let mut list =
                t.prepare_cached("INSERT OR IGNORE INTO removals (day, key) VALUES (?1, ?2)")?;
            for (day, key) in batch.list {
                list.execute(params![day.0, key.0])?;
            }
            Ok(())
        })
    }

    /// Everything on the list.
    pub(super) fn removals(&self) -> Result<BTreeSet<Spot>, StoreFailure> {
        let read = || -> rusqlite::Result<BTreeSet<Spot>> {
            let mut list = self
                .0
                .connection()
                .prepare("SELECT day, key FROM removals")?;
            let spots = list.query_map([], |row| Ok((Day(row.get(0)?), RowKey(row.get(1)?))))?;
            spots.collect()
        };
        read().map_err(|e| failure(&e, "reading the list of removals"))
    }

    /// These removals are done beyond a crash.
    pub(super) fn unlist(&mut self, done: &BTreeSet<Spot>) -> Result<(), StoreFailure> {
        self.0.commit(|t| unlist(t, done.iter()))
    }

    /// Removes all rows of days before `today`.
    pub(super) fn expire(&mut self, today: Day) -> Result<(), StoreFailure> {
        self.0.commit(|t| {
            t.execute("DELETE FROM lasting WHERE day < ?1", [today.0])?;
            t.execute("DELETE FROM removals WHERE day < ?1", [today.0])?;
            Ok(())
        })
    }

    pub(super) fn checkpoint(&mut self) -> Result<(), StoreFailure> {
        self.0.checkpoint()
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &rusqlite::Connection {
        self.0.connection()
    }
}

fn write(t: &Transaction<'_>, change: &Sealed) -> rusqlite::Result<()> {
    match change {
        Sealed::Put(key, day, row) => {
            // Most rows keep their day: then the index of days need not be written.
            let kept = t
                .prepare_cached("UPDATE lasting SET row = ?3 WHERE key = ?1 AND day = ?2")?
                .execute(params![key.0, day.0, row])?;
            if kept > 0 {
                return Ok(());
            }
            t.prepare_cached(
                "INSERT INTO lasting (id, key, day, row) VALUES (random(), ?1, ?2, ?3)
                 ON CONFLICT (key) DO UPDATE SET day = excluded.day, row = excluded.row",
            )?
            .execute(params![key.0, day.0, row])?
        }
        Sealed::Remove(key) => t
            .prepare_cached("DELETE FROM lasting WHERE key = ?1")?
            .execute(params![key.0])?,
    };
    Ok(())
}

fn unlist<'a>(t: &Transaction<'_>, spots: impl Iterator<Item = &'a Spot>) -> rusqlite::Result<()> {
    let mut unlist = t.prepare_cached("DELETE FROM removals WHERE day = ?1 AND key = ?2")?;
    for (day, key) in spots {
        unlist.execute(params![day.0, key.0])?;
    }
    Ok(())
}
