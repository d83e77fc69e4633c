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
//! which the committer calls, and here after every few megabytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use emptyroom_relay::store::{Changes, EntryChange, LastingChange, RowKey, Rows, StoreFailure};
use emptyroom_wire::time::Day;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use daykeys::DayKeys;
use days::DayFiles;
use file::sync_names;
use lasting::{Batch, LastingFile, Sealed};

use crate::data::{forgive_full, make_directory};
use crate::entropy;
use crate::seal::Table;

mod daykeys;
mod days;
mod file;
mod lasting;
#[cfg(test)]
mod tests;

/// After this many bytes of rows the write-ahead logs are cut even in the middle of work.
// [SPEC 6.67]
const UNTIDY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// After this many bytes of rows that only move to a later day, these are written by themselves: one commit may
/// move whole logs, and what it has sealed lies in memory.
// [SPEC 6.63]
const MOVED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An entry's place in the store.
type Spot = (Day, RowKey);

/// Sealed entries by the day they expire with.
type Puts = BTreeMap<Day, Vec<(RowKey, Vec<u8>)>>;

/// Rows in SQLite files under one directory.
pub struct SqliteRows {
    lasting: LastingFile,
    days: DayFiles,
    keys: DayKeys,
    /// Removals that stand in the list and are not done.
    undone: BTreeSet<Spot>,
    /// Removals that are done, but not yet beyond a crash, and so still stand in the list.
    listed: BTreeSet<Spot>,
    untidy_bytes: usize,
    /// All days before this one are over, whether or not all of them could be removed yet.
    over_before: Day,
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
    Tidy,
}

impl SqliteRows {
    /// Opens the store in a directory, which is made if it is missing. The caller holds the data directory's
    /// lock.
    ///
    /// # Errors
    /// The directory or a file cannot be read, made or brought up.
    pub fn open(directory: &Path, today: Day) -> Result<Self, StoreFailure> {
        make_directory(directory).map_err(|e| e.failure("making the store's directory"))?;
        let keys = DayKeys::open(directory)?;
        let days = DayFiles::open(directory, &keys, today)?;
        let lasting = LastingFile::open(directory)?;
        sync_names(directory)?;
        let mut rows = Self {
            lasting,
            days,
            keys,
            undone: BTreeSet::new(),
            listed: BTreeSet::new(),
            untidy_bytes: 0,
            over_before: Day(0),
            rng: entropy::generator(),
            broken: None,
            #[cfg(test)]
            fault: tests::Fault::none(),
        };
        rows.undone = rows.lasting.removals()?;
        forgive_full(rows.remove_undone())?;
        rows.tidy()?;
        Ok(rows)
    }

    /// Cuts the write-ahead logs to nothing, so that what was deleted or replaced does not stay in them. False if the disk
    /// has no space for it: to be tried again.
    ///
    /// # Errors
    /// [`StoreFailure::Broken`].
    pub fn tidy(&mut self) -> Result<bool, StoreFailure> {
        self.usable()?;
        let outcome = match self.try_tidy() {
            Ok(()) => Ok(true),
            Err(StoreFailure::Full) => Ok(false),
            Err(failure) => Err(failure),
        };
        self.remember(outcome)
    }

    fn try_tidy(&mut self) -> Result<(), StoreFailure> {
        self.untidy_bytes = 0;
        self.reached(Step::Tidy)?;
        self.days.checkpoint()?;
        // The removals are beyond a crash now.
        if !self.listed.is_empty() {
            self.lasting.unlist(&self.listed)?;
            self.listed.clear();
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
            self.reached(Step::Entries(*day))?;
            self.days.put(*day, rows)?;
        }
        let lasting = self.seal_lasting(changes.lasting)?;
        self.commit_lasting(&lasting, &puts, &removals)?;
        self.undone.extend(removals);
        // The batch is committed, whatever comes of this: a failure is the next one's.
        let followed = self.follow_commit();
        let _ = self.remember(followed);
        Ok(())
    }

    /// What a commit owes; where there is no space now, it is done before the next.
    fn follow_commit(&mut self) -> Result<(), StoreFailure> {
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

    /// Seals the lasting rows under the keys of their days, also those that only move to another day.
    fn seal_lasting(&mut self, changes: Vec<LastingChange>) -> Result<Vec<Sealed>, StoreFailure> {
        let mut sealed = Vec::with_capacity(changes.len());
        let mut moved_bytes = 0;
        let is_move = |change: &LastingChange| matches!(change, LastingChange::Move { .. });
        let (moves, others): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_move);
        for change in moves.into_iter().chain(others) {
            if moved_bytes > MOVED_BYTES_MAX {
                self.commit_moves(&mut sealed)?;
                moved_bytes = 0;
            }
            sealed.push(match change {
                LastingChange::Put { key, day, row } => self.seal_put(key, day, &row)?,
                LastingChange::Move { key, day } => match self.lasting_row(&key)? {
                    Some((from, row)) if from != day => {
                        moved_bytes += row.len();
                        self.seal_put(key, day, &row)?
                    }
                    Some(_) | None => continue,
                },
                LastingChange::Remove { key } => Sealed::Remove(key),
            });
        }
        shuffle(&mut sealed, &mut self.rng);
        Ok(sealed)
    }

    /// A row that lives longer than its log says nothing, so these need not wait for the rest of their commit.
    fn commit_moves(&mut self, sealed: &mut Vec<Sealed>) -> Result<(), StoreFailure> {
        shuffle(sealed, &mut self.rng);
        self.lasting.commit(&Batch {
            rows: sealed,
            list: &[],
            unlist: &[],
        })?;
        sealed.clear();
        Ok(())
    }

    fn seal_put(&mut self, key: RowKey, day: Day, row: &[u8]) -> Result<Sealed, StoreFailure> {
        self.keys.make(day)?;
        let row = self.keys.seal((Table::Lasting, day), &key, row)?;
        self.untidy_bytes = self.untidy_bytes.saturating_add(row.len());
        Ok(Sealed::Put(key, day, row))
    }

    fn commit_lasting(
        &mut self,
        rows: &[Sealed],
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
        self.lasting.commit(&Batch {
            rows,
            list: removals,
            unlist: &again,
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
        self.days.remove(day, spots.iter().map(|(_, key)| key))
    }

    /// The places of all rows, with their last days.
    pub(crate) fn spots(&self) -> Result<Vec<(Table, Day, RowKey)>, StoreFailure> {
        let mut all = self.lasting.spots()?;
        all.extend(self.days.spots()?);
        Ok(all)
    }

    fn lasting_row(&self, key: &RowKey) -> Result<Option<(Day, Vec<u8>)>, StoreFailure> {
        let Some((day, sealed)) = self.lasting.row(key)? else {
            return Ok(None);
        };
        // Its removal found no space yet; its key may have gone with the entries of its day.
        if day < self.over_before && !self.keys.contains(day) {
            return Ok(None);
        }
        let row = self.keys.open_row((Table::Lasting, day), key, &sealed)?;
        Ok(Some((day, row)))
    }

    fn entry_row(&self, day: Day, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        let sealed = self.days.row(day, key)?;
        sealed
            .map(|sealed| self.keys.open_row((Table::Entries, day), key, &sealed))
            .transpose()
    }

    // [SPEC 6.65]
    fn try_expire(&mut self, today: Day) -> Result<(), StoreFailure> {
        self.over_before = self.over_before.max(today);
        self.days.expire(today, &mut self.keys)?;
        self.undone.retain(|(day, _)| *day >= today);
        self.listed.retain(|(day, _)| *day >= today);
        self.reached(Step::Lasting)?;
        self.lasting.expire(today)?;
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
        let row = self.lasting_row(key);
        Ok(self.remember(row)?.map(|(_, row)| row))
    }

    fn entry(&mut self, day: Day, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
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

/// Fisher and Yates: what is written in random order does not show in which order it came.
fn shuffle<T>(items: &mut [T], rng: &mut ChaCha20Rng) {
    for last in (1..items.len()).rev() {
        let bound = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
        let other = usize::try_from(rng.next_u64() % bound).unwrap_or(last);
        items.swap(last, other);
    }
}
