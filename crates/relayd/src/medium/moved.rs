//! All rows of a store, out and in.

use std::collections::BTreeMap;

use emptyroom_relay::store::{Changes, EntryChange, LastingChange, Rows, StoreFailure};
use emptyroom_wire::time::Day;

use super::{Keeper, Medium, mark};
use crate::data::DataDir;
use crate::moving::{MoveError, Record};
use crate::postgres::cluster::Cluster;
use crate::postgres::moved::Coming;
use crate::seal::Table;
use crate::segments::Settled;

pub(crate) type Sink<'a> = &'a mut dyn FnMut(&Record) -> Result<(), MoveError>;

// [SPEC 6.213]
impl Keeper {
    /// From now on it is not served: its rows go elsewhere. Nobody else works with it.
    pub(crate) fn leave(&mut self, data: &DataDir) -> Result<(), MoveError> {
        if mark::coming(data)?.is_some() {
            return Err(MoveError::HalfImported);
        }
        match self {
            Self::Here(_) => Ok(mark::go(data)?),
            Self::Databases(cluster) => cluster.leave(),
        }
    }

    /// It is served again.
    pub(crate) fn stay(&mut self, data: &DataDir) -> Result<(), MoveError> {
        match self {
            Self::Here(_) => Ok(mark::stay(data)?),
            Self::Databases(cluster) => cluster.stay(),
        }
    }

    /// Until all rows of the file with this hash are there it is not served. It is empty, or some of them are there already. Whether some are missing.
    pub(crate) fn welcome(&mut self, data: &DataDir, hash: &[u8; 32]) -> Result<bool, MoveError> {
        let marked = mark::coming(data)?;
        let is_marked = marked.is_some();
        if marked.is_some_and(|other| other.as_slice() != hash) {
            return Err(MoveError::OtherImport);
        }
        if let Self::Databases(cluster) = self {
            let misses = welcome_there(cluster, is_marked, hash)?;
            mark::come(data, hash)?;
            return Ok(misses);
        }
        if !is_marked {
            if !self.is_empty()? {
                return Err(MoveError::NotEmpty);
            }
            mark::come(data, hash)?;
        }
        Ok(true)
    }

    /// All rows are there.
    pub(crate) fn all_came(&mut self, data: &DataDir) -> Result<(), MoveError> {
        self.tidy_all()?;
        if let Self::Databases(cluster) = self {
            cluster.all_came()?;
        }
        Ok(mark::came(data)?)
    }

    fn is_empty(&mut self) -> Result<bool, MoveError> {
        match self {
            Self::Here(ledger) => Ok(ledger.rows().spots()?.is_empty()),
            Self::Databases(cluster) => cluster.is_empty(),
        }
    }

    /// Gives all rows that are not over, one after the other. How many do not open: they are lost here, too.
    pub(crate) fn each_row(&mut self, today: Day, sink: Sink<'_>) -> Result<u64, MoveError> {
        let ledger = match self {
            Self::Here(ledger) => ledger,
            Self::Databases(cluster) => return cluster.each_row(today, sink),
        };
        let medium = ledger.rows();
        // A row that was put anew may stand there twice; the later place counts.
        let mut spots = BTreeMap::new();
        for (table, day, key) in medium.spots()? {
            let of_day = (table == Table::Entries).then_some(day);
            spots.insert((table, of_day, key), day);
        }
        let mut lost = 0;
        for ((table, _, key), day) in spots {
            if day < today {
                continue;
            }
            let row = match table {
                Table::Lasting => medium.lasting(&key)?,
                Table::Entries => medium.entry(day, &key)?,
            };
            match row {
                Some(row) => sink(&Record {
                    table,
                    shard: 0,
                    day,
                    key,
                    row,
                })?,
                None => lost += 1,
            }
        }
        Ok(lost)
    }

    /// Takes rows in; the same ones once more change nothing.
    pub(crate) fn bring(&mut self, records: Vec<Record>) -> Result<(), StoreFailure> {
        match self {
            Self::Here(ledger) => {
                let medium: &mut Medium = ledger.rows();
                medium.commit(changes(records))?;
                while medium.slices_due() > 0 {
                    if medium.tidy()? == Settled::Full {
                        return Err(StoreFailure::Full);
                    }
                }
                Ok(())
            }
            Self::Databases(cluster) => cluster.bring(&records),
        }
    }
}

/// What the databases say counts: nodes serve them as soon as all rows are there, and whoever brought rows once more then would put old
/// ones over theirs.
fn welcome_there(
    cluster: &mut Cluster,
    is_marked: bool,
    hash: &[u8; 32],
) -> Result<bool, MoveError> {
    match cluster.coming(hash)? {
        Coming::All => return Ok(false),
        Coming::Served if is_marked => return Ok(false),
        Coming::Half => {}
        Coming::New | Coming::Served if cluster.is_empty()? => {}
        Coming::New | Coming::Served => return Err(MoveError::NotEmpty),
    }
    cluster.welcome(hash)?;
    Ok(true)
}

/// As a commit takes them.
pub(crate) fn changes(records: Vec<Record>) -> Changes {
    let mut changes = Changes::default();
    for record in records {
        let Record { day, key, row, .. } = record;
        match record.table {
            Table::Lasting => changes.lasting.push(LastingChange::Put { key, day, row }),
            Table::Entries => changes.entries.push(EntryChange {
                day,
                key,
                row: Some(row),
            }),
        }
    }
    changes
        .entries
        .sort_by_key(|change| (change.day, change.key));
    changes.lasting.sort_by_key(|change| match change {
        LastingChange::Put { key, .. }
        | LastingChange::Move { key, .. }
        | LastingChange::Remove { key } => *key,
    });
    changes
}
