//! The simplest rows there are: maps in memory that never lose anything. For tests and fuzzing.

use std::collections::BTreeMap;

use crate::store::{Changes, LastingChange, RowKey, Rows, StoreFailure};
use emptyroom_wire::time::Day;

/// Rows in memory. Everything on this "disk" can be looked at.
#[derive(Default, Clone)]
pub struct MemoryRows {
    /// Entries by their last day.
    pub entries: BTreeMap<(Day, RowKey), Vec<u8>>,
    /// Lasting rows with theirs.
    pub lasting: BTreeMap<RowKey, (Day, Vec<u8>)>,
    /// How the next commits fail, the last one first.
    pub failures: Vec<StoreFailure>,
    /// With so many rows there is no space for more; 0 is no bound.
    pub rows_max: usize,
}

impl Rows for MemoryRows {
    fn lasting(&mut self, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        Ok(self.lasting.get(key).map(|(_, row)| row.clone()))
    }

    fn entry(&mut self, day: Day, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        Ok(self.entries.get(&(day, *key)).cloned())
    }

    fn commit(&mut self, changes: Changes) -> Result<(), StoreFailure> {
        if let Some(failure) = self.failures.pop() {
            return Err(failure);
        }
        for change in changes.entries {
            match change.row {
                Some(row) => self.entries.insert((change.day, change.key), row),
                None => self.entries.remove(&(change.day, change.key)),
            };
        }
        for change in changes.lasting {
            match change {
                LastingChange::Put { key, day, row } => {
                    self.lasting.insert(key, (day, row));
                }
                LastingChange::Move { key, day } => {
                    if let Some((at, _)) = self.lasting.get_mut(&key) {
                        *at = day;
                    }
                }
                LastingChange::Remove { key } => {
                    self.lasting.remove(&key);
                }
            }
        }
        Ok(())
    }

    fn expire(&mut self, today: Day) -> Result<(), StoreFailure> {
        self.entries.retain(|(day, _), _| *day >= today);
        self.lasting.retain(|_, (day, _)| *day >= today);
        Ok(())
    }

    fn room(&self) -> usize {
        let rows = self.entries.len() + self.lasting.len();
        match self.rows_max {
            0 => usize::MAX,
            bound => bound.saturating_sub(rows),
        }
    }
}
