//! The files of entries, one for each day on which entries expire.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use emptyroom_relay::store::{RowKey, StoreFailure};
use emptyroom_wire::time::Day;
use rusqlite::{OptionalExtension, params};

use super::daykeys::DayKeys;
use super::file::{SqliteFile, failure, is_empty, remove_files, sync_names};
use crate::seal::Table;

// [SPEC 6.83]
/// The keys in an index of their own: in a tree of whole rows each comparison of two keys would read a row to its end, and an
/// entry may have megabytes. The ids are random, so that nothing in the file counts up.
const TABLES: &str = "CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, row BLOB NOT NULL);";

/// All files of entries, open.
pub(super) struct DayFiles {
    directory: PathBuf,
    files: BTreeMap<Day, SqliteFile>,
}

impl DayFiles {
    /// Opens what is there. A file whose day is over and whose key is gone was on its way out when the relay was killed;
    /// before that, somebody lost the key, and may still have it.
    // [SPEC 6.65]
    pub(super) fn open(directory: &Path, keys: &DayKeys, today: Day) -> Result<Self, StoreFailure> {
        let mut days = Self {
            directory: directory.to_owned(),
            files: BTreeMap::new(),
        };
        for day in super::daykeys::days_of_files(directory, ".db")? {
            let path = days.path(day);
            // An empty one had no space for its tables; it gets them with its first row.
            let empty = is_empty(&path)?;
            match (keys.contains(day), empty) {
                (true, true) => {}
                (true, false) => {
                    days.files.insert(day, SqliteFile::open(&path, TABLES)?);
                }
                (false, false) if day >= today => {
                    return Err(StoreFailure::Broken(
                        "a day that is not over has lost its key file",
                    ));
                }
                (false, _) => remove_files(&path)?,
            }
        }
        Ok(days)
    }

    /// The sealed row under a key.
    pub(super) fn row(&self, day: Day, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        let Some(file) = self.files.get(&day) else {
            return Ok(None);
        };
        file.connection()
            .prepare_cached("SELECT row FROM entries WHERE key = ?1")
            .and_then(|mut select| select.query_row([key.0], |row| row.get(0)).optional())
            .map_err(|e| failure(&e, "reading an entry"))
    }

    /// The places of all rows.
    pub(super) fn spots(&self) -> Result<Vec<(Table, Day, RowKey)>, StoreFailure> {
        let mut all = Vec::new();
        for (day, file) in &self.files {
            let spots: rusqlite::Result<Vec<_>> = file
                .connection()
                .prepare("SELECT key FROM entries")
                .and_then(|mut select| {
                    let spot =
                        |row: &rusqlite::Row<'_>| Ok((Table::Entries, *day, RowKey(row.get(0)?)));
                    select.query_map([], spot)?.collect()
                });
            all.extend(spots.map_err(|e| failure(&e, "listing entries"))?);
        }
        Ok(all)
    }

    /// Puts sealed rows, durably.
    pub(super) fn put(&mut self, day: Day, rows: &[(RowKey, Vec<u8>)]) -> Result<(), StoreFailure> {
        self.file(day)?.commit(|t| {
            let mut put = t.prepare_cached(
                "INSERT INTO entries (id, key, row) VALUES (random(), ?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET row = excluded.row",
            )?;
            for (key, row) in rows {
                put.execute(params![key.0, row])?;
            }
            Ok(())
        })
    }

    /// Removes rows that may be there, durably.
    pub(super) fn remove<'a>(
        &mut self,
        day: Day,
        keys: impl Iterator<Item = &'a RowKey>,
    ) -> Result<(), StoreFailure> {
        let Some(file) = self.files.get_mut(&day) else {
            return Ok(());
        };
        file.commit(|t| {
            let mut remove = t.prepare_cached("DELETE FROM entries WHERE key = ?1")?;
            for key in keys {
                remove.execute(params![key.0])?;
            }
            Ok(())
        })
    }

    pub(super) fn checkpoint(&mut self) -> Result<(), StoreFailure> {
        self.files.values_mut().try_for_each(SqliteFile::checkpoint)
    }

    /// Removes the files of all days before `today`. The key goes first: from then on nothing of that day
    /// opens, wherever copies of it lie.
    pub(super) fn expire(&mut self, today: Day, keys: &mut DayKeys) -> Result<(), StoreFailure> {
        // One by one: what is left when something fails is done the next time.
        while let Some(first) = self.files.first_entry() {
            if *first.key() >= today {
                break;
            }
            keys.destroy(*first.key())?;
            first.remove().remove()?;
        }
        Ok(())
    }

    fn file(&mut self, day: Day) -> Result<&mut SqliteFile, StoreFailure> {
        let path = self.path(day);
        match self.files.entry(day) {
            Entry::Occupied(file) => Ok(file.into_mut()),
            Entry::Vacant(place) => {
                let file = SqliteFile::open(&path, TABLES)?;
                sync_names(&self.directory)?;
                Ok(place.insert(file))
            }
        }
    }

    fn path(&self, day: Day) -> PathBuf {
        self.directory.join(format!("day-{}.db", day.0))
    }

    #[cfg(test)]
    pub(super) fn connection(&self, day: Day) -> &rusqlite::Connection {
        self.files[&day].connection()
    }
}
