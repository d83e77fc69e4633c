//! Changing records, so that a crash at any write loses nothing and resurrects nothing.
//!
//! Two ways, by what makes the change happen:
//!
//! - *Only deletions*: killing the keys (one journal) is what makes it happen. Rows with dead keys
//!   count as absent; they are removed from the table afterwards. This needs no space on the disk.
//! - *With new values*: the table's transaction is what makes it happen. The keys that it replaced
//!   are killed before the change is acknowledged; if a crash comes between, the next opening
//!   replaces them, as it does all keys that no record uses.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use zeroize::Zeroizing;

use super::{Change, Vault, write_error};
use crate::error::{Part, WriteError};
use crate::keys::{KILL_SECTORS_MAX, KeyRef};
use crate::record::{NAME_LEN_MAX, VALUE_LEN_MAX, row_key, seal_row};
use crate::store::{Fault, Range, Transaction};

/// What one call changes, by name; values are zeroed when they are sealed and done with.
type Changes = BTreeMap<Vec<u8>, Option<Zeroizing<Vec<u8>>>>;

/// A record that is to be deleted.
struct Doomed<'a> {
    name: &'a [u8],
    key: KeyRef,
}

impl Vault {
    /// Makes all changes in one durable transaction: when it returns they are on the disk, and the
    /// keys of deleted and replaced values are not. The last change to a name counts.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn apply(&mut self, changes: Vec<Change>) -> Result<(), WriteError> {
        // [SPEC 11.19]
        let too_long = |change: &Change| {
            change.key.is_empty()
                || change.key.len() > NAME_LEN_MAX
                || change
                    .value
                    .as_ref()
                    .is_some_and(|value| value.len() > VALUE_LEN_MAX)
        };
        if changes.iter().any(too_long) {
            return Err(WriteError::TooLong);
        }
        self.settle()?;
        let changes: Changes = changes
            .into_iter()
            .map(|change| (change.key, change.value.map(Zeroizing::new)))
            .collect();
        if changes.values().all(Option::is_none)
            && let Some(doomed) = self.living(changes.keys())?
        {
            return self.kill_then_remove(doomed);
        }
        self.commit_then_kill(&changes)
    }

    /// Those of the records that exist, with their keys, if one journal can kill them all.
    fn living<'a>(
        &self,
        names: impl Iterator<Item = &'a Vec<u8>>,
    ) -> Result<Option<Vec<Doomed<'a>>>, WriteError> {
        let mut living = Vec::new();
        let mut sectors = BTreeSet::new();
        for name in names {
            let row = self.store.row(name, row_key).map_err(write_error)?;
            let Some(key) = row else { continue };
            let key = key.ok_or(WriteError::Corrupt(Part::Records))?;
            if self.keys.table.is_alive(key) {
                living.push(Doomed { name, key });
                sectors.insert(key.sector());
            }
        }
        Ok((sectors.len() <= KILL_SECTORS_MAX).then_some(living))
    }

    fn kill_then_remove(&mut self, doomed: Vec<Doomed<'_>>) -> Result<(), WriteError> {
        if doomed.is_empty() {
            return Ok(());
        }
        let keys = doomed.iter().map(|record| record.key).collect();
        // From here on the records are gone, whatever happens to their rows.
        let names = doomed.into_iter().map(|record| record.name.to_vec());
        self.dead_rows.extend(names);
        self.kill(keys)?;
        self.remove_dead_rows();
        Ok(())
    }

    fn commit_then_kill(&mut self, changes: &Changes) -> Result<(), WriteError> {
        let puts = changes.values().flatten().count();
        self.make_room(puts)?;
        let assigned = self.keys.table.assign(puts).ok_or(WriteError::Full)?;
        let mut remove: Vec<&[u8]> = self.dead_rows.iter().map(Vec::as_slice).collect();
        let mut put = Vec::with_capacity(puts);
        let mut free = assigned.iter();
        for (name, value) in changes {
            let Some(value) = value else {
                remove.push(name);
                continue;
            };
            let (key_ref, key) = free
                .next()
                .and_then(|key_ref| Some((*key_ref, self.keys.table.key(*key_ref)?)))
                .ok_or(WriteError::Corrupt(Part::Keys))?;
            put.push((
                name.as_slice(),
                seal_row(key, key_ref, name, value, &self.random),
            ));
        }
        let transaction = Transaction {
            remove,
            put,
            assigned: &assigned,
        };
        match self.store.commit(transaction, &self.keys.table) {
            Ok(done) => {
                self.keys.table.update_used(done.used);
                self.dead_rows.clear();
                if !done.replaced.is_empty() {
                    self.kill(done.replaced)?;
                }
                self.tidy_journal();
                Ok(())
            }
            Err(fault) => Err(self.give_up(fault)),
        }
    }

    /// Sees to it that `count` keys can be assigned; grows the key files if there are too few.
    fn make_room(&mut self, count: usize) -> Result<(), WriteError> {
        use crate::keys::{KEYS_PER_SECTOR, SECTORS_MAX};
        let table = &self.keys.table;
        if table.free() >= count {
            return Ok(());
        }
        if table.free() + table.tainted() >= count {
            return self.rotate();
        }
        // Twice as many, so that the cost of rewriting stays a constant per key.
        let sectors = self.keys.table.sectors();
        let needed = u32::try_from(count.div_ceil(KEYS_PER_SECTOR)).unwrap_or(u32::MAX);
        let grown = sectors.saturating_add(sectors.max(needed));
        if grown > SECTORS_MAX {
            return Err(WriteError::Full);
        }
        self.rotate_to(grown)
    }

    /// Kills keys, on the disk when this returns.
    fn kill(&mut self, keys: Vec<KeyRef>) -> Result<(), WriteError> {
        self.rotation_due = true;
        self.keys.kill(keys);
        self.flush_keys()
    }

    pub(super) fn flush_keys(&mut self) -> Result<(), WriteError> {
        let result = self.keys.flush(!self.dead_rows.is_empty());
        result.map_err(|e| self.key_file_error(e.into()))
    }

    /// Removes the rows of dead records. If that fails they stay, unreadable, for the next time.
    pub(super) fn remove_dead_rows(&mut self) {
        if !self.dead_rows.is_empty() {
            let transaction = Transaction {
                remove: self.dead_rows.iter().map(Vec::as_slice).collect(),
                put: Vec::new(),
                assigned: &[],
            };
            match self.store.commit(transaction, &self.keys.table) {
                Ok(done) => {
                    self.keys.table.update_used(done.used);
                    self.dead_rows.clear();
                }
                Err(fault) => {
                    self.give_up(fault);
                }
            }
        }
        self.tidy_journal();
    }

    /// Scrubs the journal when nothing depends on it. Only tidiness: what fails here is found when
    /// the journal is next written.
    fn tidy_journal(&mut self) {
        if self.dead_rows.is_empty() && self.keys.is_flushed() {
            let _ = self.keys.scrub_journal();
        }
    }

    /// After a failed transaction: begins anew from what is durable, unless the disk cannot be
    /// trusted to say what that is.
    fn give_up(&mut self, fault: Fault) -> WriteError {
        match fault {
            Fault::Full => {
                if self.reopen_store().is_err() {
                    // Tried again with the next change.
                }
            }
            Fault::Io(kind) => self.broken = Some(kind),
            Fault::Corrupt => {}
        }
        write_error(fault)
    }

    /// Before a change: whatever an earlier failure left undone.
    pub(super) fn settle(&mut self) -> Result<(), WriteError> {
        if let Some(kind) = self.broken {
            return Err(WriteError::Io(kind));
        }
        if !self.store.is_open() {
            self.reopen_store().map_err(write_error)?;
        }
        self.settle_header()?;
        if !self.keys.is_flushed() {
            self.flush_keys()?;
        }
        Ok(())
    }

    /// After a failed transaction, which may have happened all the same.
    fn reopen_store(&mut self) -> Result<(), Fault> {
        self.store.reopen()?;
        // Keys of replaced records, if it happened; else those it had been assigned.
        let freed = self.load_use()?;
        self.keys.kill(freed);
        Ok(())
    }

    /// Takes the use of slots from the table. Gives the keys whose records are gone from it.
    pub(super) fn load_use(&mut self) -> Result<Vec<KeyRef>, Fault> {
        let used = self.store.used()?;
        self.keys.table.load_used(used).ok_or(Fault::Corrupt)
    }

    /// Finds rows whose keys are dead, after a crash between killing and removing.
    pub(super) fn find_dead_rows(&mut self) -> Result<(), Fault> {
        let everything = Range {
            lower: Bound::Unbounded,
            upper: Bound::Unbounded,
            reverse: false,
        };
        let table = &self.keys.table;
        let dead_rows = &mut self.dead_rows;
        self.store.rows(&everything, |name, row| {
            if !row_key(row).is_some_and(|key| table.is_alive(key)) {
                dead_rows.insert(name.to_vec());
            }
            true
        })
    }
}
