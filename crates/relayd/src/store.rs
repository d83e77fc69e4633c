//! The relay's rows in SQLite: one file per expiry day for entries, one for everything that lasts.
//!
//! ```text
//! store/
//!   lasting.db      headers, nonces, tombstones, entries that live as long as their log; and removals to be done
//!   day-20785.db    entries that expire with that day
//!   day-20785.key   the random key under which all rows of that day are sealed once more
//! ```
//!
//! The rules of the protocol, and the sealing under each log's own secret, are `relay`'s (`Ledger`); this
//! is only where rows lie. What it knows of a row: a random-looking key, an expiry day, a length.
//!
//! Files do not commit together. A commit therefore goes in three steps, each durable before the next:
//!
//! 1. new entries, into the files of their days: nothing refers to them yet;
//! 2. lasting rows, in one transaction, with a list of the entries to be removed: this is the commit;
//! 3. the removals. A crash or a full disk before them leaves the list, which is worked off before anything
//!    else is written.
//!
//! `secure_delete` overwrites what is deleted, and write-ahead logs are cut to nothing by [`SqliteRows::tidy`],
//! which the committer calls when nothing is to be done, and here after every few megabytes.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use emptyroom_relay::store::{Changes, EntryChange, LastingChange, RowKey, Rows, StoreFailure};
use emptyroom_wire::time::Day;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use rusqlite::{OptionalExtension, Transaction, params};

use daykeys::{DayKeys, Table, days_of_files};
use file::{SqliteFile, failure, remove_files};

use crate::data::{io_failure, sync_directory};
use crate::entropy;

mod daykeys;
mod file;
#[cfg(test)]
mod tests;

/// The lasting rows, and the entries whose removal step 2 decided and step 3 has to do. Without row ids, so
/// that nothing in the file counts up.
const LASTING: &str = "
    CREATE TABLE IF NOT EXISTS lasting (key BLOB PRIMARY KEY, day INTEGER NOT NULL, row BLOB NOT NULL) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS lasting_day ON lasting (day);
    CREATE TABLE IF NOT EXISTS removals (day INTEGER NOT NULL, key BLOB NOT NULL, PRIMARY KEY (day, key)) WITHOUT ROWID;
";
const ENTRIES: &str =
    "CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID;";

/// After this many bytes of rows the write-ahead logs are cut even in the middle of work.
const UNTIDY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An entry's place in the store.
type Spot = (Day, RowKey);

/// Rows in SQLite files under one directory.
pub struct SqliteRows {
    directory: PathBuf,
    lasting: SqliteFile,
    days: BTreeMap<Day, SqliteFile>,
    keys: DayKeys,
    /// Removals that stand in the list and are not done.
    undone: BTreeSet<Spot>,
    /// Removals that are done, but not yet beyond a crash, and so still stand in the list.
    listed: BTreeSet<Spot>,
    untidy_bytes: usize,
    rng: ChaCha20Rng,
    /// Set by the first failure that leaves the state unknown, and never taken back.
    broken: Option<StoreFailure>,
    #[cfg(test)]
    fault: tests::Fault,
}

/// Between which steps of a commit tests make it fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Entries(Day),
    Lasting,
    Removals(Day),
}

impl SqliteRows {
    /// Opens the store in a directory, which is made if it is missing. The caller holds the data directory's
    /// lock.
    ///
    /// # Errors
    /// The directory or a file cannot be read, made or brought up.
    pub fn open(directory: &Path) -> Result<Self, StoreFailure> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|e| io_failure(&e, "making the store's directory"))?;
        let keys = DayKeys::open(directory)?;
        let mut days = BTreeMap::new();
        for day in days_of_files(directory, ".db")? {
            let path = day_path(directory, day);
            if keys.contains(day) {
                days.insert(day, SqliteFile::open(&path, ENTRIES)?);
            } else {
                // Its key went first: killed in the middle of an expiry.
                remove_files(&path)?;
            }
        }
        let lasting = SqliteFile::open(&directory.join("lasting.db"), LASTING)?;
        sync_names(directory)?;
        let mut rows = Self {
            directory: directory.to_owned(),
            lasting,
            days,
            keys,
            undone: BTreeSet::new(),
            listed: BTreeSet::new(),
            untidy_bytes: 0,
            rng: entropy::generator(),
            broken: None,
            #[cfg(test)]
            fault: tests::Fault::none(),
        };
        rows.undone = rows.list_of_removals()?;
        rows.remove_undone()?;
        rows.tidy()?;
        Ok(rows)
    }

    /// Cuts the write-ahead logs to nothing, so that what was deleted or replaced does not stay in them.
    ///
    /// # Errors
    /// [`StoreFailure::Broken`]; a full disk is no failure, the logs then stay as they are.
    pub fn tidy(&mut self) -> Result<(), StoreFailure> {
        self.usable()?;
        let outcome = self.try_tidy();
        self.remember(forgive_full(outcome))
    }

    fn try_tidy(&mut self) -> Result<(), StoreFailure> {
        self.untidy_bytes = 0;
        for file in self.days.values_mut() {
            file.checkpoint()?;
        }
        // The removals are beyond a crash now.
        if !self.listed.is_empty() {
            let listed = std::mem::take(&mut self.listed);
            self.lasting.commit(|t| unlist(t, listed.iter()))?;
        }
        self.lasting.checkpoint()
    }

    fn usable(&self) -> Result<(), StoreFailure> {
        self.broken.map_or(Ok(()), Err)
    }

    fn remember<T>(&mut self, outcome: Result<T, StoreFailure>) -> Result<T, StoreFailure> {
        if let Err(failure @ StoreFailure::Broken(_)) = outcome {
            self.broken = Some(failure);
        }
        outcome
    }

    fn try_commit(&mut self, changes: Changes) -> Result<(), StoreFailure> {
        // What an earlier commit owes comes first, so that no removal can hit a row written after it.
        self.remove_undone()?;
        let (puts, removals) = self.sort_out(changes.entries)?;
        for (day, rows) in &puts {
            self.put_entries(*day, rows)?;
        }
        let lasting = self.seal_lasting(changes.lasting)?;
        self.commit_lasting(&lasting, &puts, &removals)?;
        self.undone.extend(removals);
        // The batch is committed; removals that find no space now are done before the next.
        forgive_full(self.remove_undone())?;
        if self.untidy_bytes > UNTIDY_BYTES_MAX {
            forgive_full(self.try_tidy())?;
        }
        Ok(())
    }

    /// Entries to be put, sealed and in random order, and those to be removed.
    fn sort_out(
        &mut self,
        mut entries: Vec<EntryChange>,
    ) -> Result<(Puts, Vec<Spot>), StoreFailure> {
        // [SPEC 6.68]
        shuffle(&mut entries, &mut self.rng);
        let mut puts = Puts::new();
        let mut removals = Vec::new();
        for change in entries {
            let Some(row) = change.row else {
                removals.push((change.day, change.key));
                continue;
            };
            self.keys.make(change.day)?;
            let sealed = self
                .keys
                .seal((Table::Entries, change.day), &change.key, &row)?;
            self.untidy_bytes = self.untidy_bytes.saturating_add(sealed.len());
            puts.entry(change.day)
                .or_default()
                .push((change.key, sealed));
        }
        Ok((puts, removals))
    }

    fn put_entries(&mut self, day: Day, rows: &[(RowKey, Vec<u8>)]) -> Result<(), StoreFailure> {
        self.reached(Step::Entries(day))?;
        self.day_file(day)?.commit(|t| {
            let mut put = t.prepare_cached(
                "INSERT INTO entries (key, row) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET row = excluded.row",
            )?;
            for (key, row) in rows {
                put.execute(params![key.0, row])?;
            }
            Ok(())
        })
    }

    /// Seals the lasting rows under the keys of their days, also those that only move to another day.
    fn seal_lasting(&mut self, changes: Vec<LastingChange>) -> Result<Vec<Lasting>, StoreFailure> {
        let mut sealed = Vec::with_capacity(changes.len());
        for change in changes {
            sealed.push(match change {
                LastingChange::Put { key, day, row } => self.seal_put(key, day, &row)?,
                LastingChange::Move { key, day } => match self.lasting_row(&key)? {
                    Some((from, _)) if from == day => continue,
                    Some((_, row)) => self.seal_put(key, day, &row)?,
                    None => continue,
                },
                LastingChange::Remove { key } => Lasting::Remove(key),
            });
        }
        shuffle(&mut sealed, &mut self.rng);
        Ok(sealed)
    }

    fn seal_put(&mut self, key: RowKey, day: Day, row: &[u8]) -> Result<Lasting, StoreFailure> {
        self.keys.make(day)?;
        let row = self.keys.seal((Table::Lasting, day), &key, row)?;
        self.untidy_bytes = self.untidy_bytes.saturating_add(row.len());
        Ok(Lasting::Put(key, day, row))
    }

    fn commit_lasting(
        &mut self,
        lasting: &[Lasting],
        puts: &Puts,
        removals: &[Spot],
    ) -> Result<(), StoreFailure> {
        self.reached(Step::Lasting)?;
        // A row that is put again is no longer to be removed.
        let again: Vec<Spot> = puts
            .iter()
            .flat_map(|(day, rows)| rows.iter().map(|(key, _)| (*day, *key)))
            .filter(|spot| self.listed.contains(spot))
            .collect();
        self.lasting.commit(|t| {
            unlist(t, again.iter())?;
            for change in lasting {
                write_lasting(t, change)?;
            }
            let mut list =
                t.prepare_cached("INSERT OR IGNORE INTO removals (day, key) VALUES (?1, ?2)")?;
            for (day, key) in removals {
                list.execute(params![day.0, key.0])?;
            }
            Ok(())
        })?;
        for spot in again {
            self.listed.remove(&spot);
        }
        Ok(())
    }

    /// Step 3, for this commit or one before.
    // [SPEC 6.64]
    fn remove_undone(&mut self) -> Result<(), StoreFailure> {
        while let Some((day, _)) = self.undone.first().copied() {
            let later = (Day(day.0.saturating_add(1)), RowKey([0; 32]));
            let rest = self.undone.split_off(&later);
            let of_day = std::mem::replace(&mut self.undone, rest);
            let outcome = self.remove_entries(day, &of_day);
            if let Err(failure) = outcome {
                self.undone.extend(of_day);
                return Err(failure);
            }
            self.listed.extend(of_day);
        }
        Ok(())
    }

    fn remove_entries(&mut self, day: Day, spots: &BTreeSet<Spot>) -> Result<(), StoreFailure> {
        self.reached(Step::Removals(day))?;
        let Some(file) = self.days.get_mut(&day) else {
            return Ok(());
        };
        file.commit(|t| {
            let mut remove = t.prepare_cached("DELETE FROM entries WHERE key = ?1")?;
            for (_, key) in spots {
                remove.execute(params![key.0])?;
            }
            Ok(())
        })
    }

    fn list_of_removals(&self) -> Result<BTreeSet<Spot>, StoreFailure> {
        let broken = |e| failure(&e, "reading the list of removals");
        let mut list = self
            .lasting
            .connection()
            .prepare("SELECT day, key FROM removals")
            .map_err(broken)?;
        let spots = list
            .query_map([], |row| Ok((Day(row.get(0)?), RowKey(row.get(1)?))))
            .map_err(broken)?
            .collect::<rusqlite::Result<_>>()
            .map_err(broken)?;
        Ok(spots)
    }

    fn day_file(&mut self, day: Day) -> Result<&mut SqliteFile, StoreFailure> {
        match self.days.entry(day) {
            Entry::Occupied(file) => Ok(file.into_mut()),
            Entry::Vacant(place) => {
                let file = SqliteFile::open(&day_path(&self.directory, day), ENTRIES)?;
                sync_names(&self.directory)?;
                Ok(place.insert(file))
            }
        }
    }

    fn lasting_row(&self, key: &RowKey) -> Result<Option<(Day, Vec<u8>)>, StoreFailure> {
        let broken = |e| failure(&e, "reading a lasting row");
        let found: Option<(u32, Vec<u8>)> = self
            .lasting
            .connection()
            .prepare_cached("SELECT day, row FROM lasting WHERE key = ?1")
            .and_then(|mut select| {
                select
                    .query_row([key.0], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            })
            .map_err(broken)?;
        let Some((day, sealed)) = found else {
            return Ok(None);
        };
        let row = self
            .keys
            .open_row((Table::Lasting, Day(day)), key, &sealed)?;
        Ok(Some((Day(day), row)))
    }

    fn entry_row(&self, day: Day, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        let Some(file) = self.days.get(&day) else {
            return Ok(None);
        };
        let sealed: Option<Vec<u8>> = file
            .connection()
            .prepare_cached("SELECT row FROM entries WHERE key = ?1")
            .and_then(|mut select| select.query_row([key.0], |row| row.get(0)).optional())
            .map_err(|e| failure(&e, "reading an entry"))?;
        sealed
            .map(|sealed| self.keys.open_row((Table::Entries, day), key, &sealed))
            .transpose()
    }

    // [SPEC 6.65]
    fn try_expire(&mut self, today: Day) -> Result<(), StoreFailure> {
        let rest = self.days.split_off(&today);
        for (day, file) in std::mem::replace(&mut self.days, rest) {
            // The key first: from here on nothing of that day opens, wherever copies of it lie.
            self.keys.destroy(day)?;
            file.remove()?;
        }
        self.undone.retain(|(day, _)| *day >= today);
        self.listed.retain(|(day, _)| *day >= today);
        self.lasting.commit(|t| {
            t.execute("DELETE FROM lasting WHERE day < ?1", [today.0])?;
            t.execute("DELETE FROM removals WHERE day < ?1", [today.0])?;
            Ok(())
        })?;
        // The other way round: a lasting row without its key would be damage.
        for day in self.keys.over(today) {
            self.keys.destroy(day)?;
        }
        self.try_tidy()
    }

    #[cfg(test)]
    fn reached(&mut self, step: Step) -> Result<(), StoreFailure> {
        self.fault.reached(step)
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)]
    fn reached(&self, _: Step) -> Result<(), StoreFailure> {
        Ok(())
    }
}

impl Rows for SqliteRows {
    fn lasting(&mut self, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        self.usable()?;
        let row = self.lasting_row(key);
        Ok(self.remember(row)?.map(|(_, row)| row))
    }

    fn entry(&mut self, day: Day, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        self.usable()?;
        let row = self.entry_row(day, key);
        self.remember(row)
    }

    fn commit(&mut self, changes: Changes) -> Result<(), StoreFailure> {
        self.usable()?;
        let outcome = self.try_commit(changes);
        self.remember(outcome)
    }

    fn expire(&mut self, today: Day) -> Result<(), StoreFailure> {
        self.usable()?;
        let outcome = self.try_expire(today);
        self.remember(outcome)
    }
}

/// Sealed entries by the day they expire with.
type Puts = BTreeMap<Day, Vec<(RowKey, Vec<u8>)>>;

/// A sealed change of a lasting row.
enum Lasting {
    Put(RowKey, Day, Vec<u8>),
    Remove(RowKey),
}

fn write_lasting(t: &Transaction<'_>, change: &Lasting) -> rusqlite::Result<()> {
    match change {
        Lasting::Put(key, day, row) => t
            .prepare_cached(
                "INSERT INTO lasting (key, day, row) VALUES (?1, ?2, ?3)
                 ON CONFLICT (key) DO UPDATE SET day = excluded.day, row = excluded.row",
            )?
            .execute(params![key.0, day.0, row])?,
        Lasting::Remove(key) => t
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

fn forgive_full(outcome: Result<(), StoreFailure>) -> Result<(), StoreFailure> {
    match outcome {
        Err(StoreFailure::Full) => Ok(()),
        other => other,
    }
}

/// Fisher and Yates: what is written in random order does not show in which order it came.
fn shuffle<T>(items: &mut [T], rng: &mut ChaCha20Rng) {
    for last in (1..items.len()).rev() {
        let bound = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
        let other = usize::try_from(rng.next_u64() % bound).unwrap_or(last);
        items.swap(last, other);
    }
}

/// Makes the names of new files durable.
fn sync_names(directory: &Path) -> Result<(), StoreFailure> {
    sync_directory(&directory.join("lasting.db"))
        .map_err(|e| e.failure("sync of the store's directory"))
}

fn day_path(directory: &Path, day: Day) -> PathBuf {
    directory.join(format!("day-{}.db", day.0))
}
