//! All rows of a store, out and in.

use std::collections::BTreeMap;

use emptyroom_relay::store::{Changes, EntryChange, LastingChange, Rows, StoreFailure};
use emptyroom_wire::time::Day;

use super::{Keeper, Medium, mark};
use crate::data::DataDir;
use crate::moving::{Left, MoveError, Record};
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

    /// Until all rows of the file with this hash are there it is not served. It is empty, or some of them are there already. Gives into what rows
    /// come; nothing where all are there.
    pub(crate) fn welcome(
        &mut self,
        data: &DataDir,
        hash: &[u8; 32],
    ) -> Result<Option<Come>, MoveError> {
        let marked = mark::coming(data)?;
        let is_marked = marked.is_some();
        if marked.is_some_and(|other| other.as_slice() != hash) {
            return Err(MoveError::OtherImport);
        }
        if let Self::Databases(cluster) = self {
            let come = welcome_there(cluster, is_marked, hash)?;
            mark::come(data, hash)?;
            return Ok(come);
        }
        if !is_marked {
            if !self.is_empty()? {
                return Err(MoveError::NotEmpty);
            }
            mark::come(data, hash)?;
        }
        Ok(Some(Come(Vec::new())))
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

    /// Gives all rows that are not over, one after the other. What does not open is lost here, too.
    pub(crate) fn each_row(&mut self, today: Day, sink: Sink<'_>) -> Result<Left, MoveError> {
        let ledger = match self {
            Self::Here(ledger) => ledger,
            Self::Databases(cluster) => {
                let lost = cluster.each_row(today, sink)?;
                return Ok(Left { over: 0, lost });
            }
        };
        let medium = ledger.rows();
        // A row that was put anew may stand there twice; the later place counts.
        let mut spots = BTreeMap::new();
        for (table, day, key) in medium.spots()? {
            let of_day = (table == Table::Entries).then_some(day);
            spots.insert((table, of_day, key), day);
        }
        let mut left = Left::default();
        for ((table, _, key), day) in spots {
            if day < today {
                left.over += 1;
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
                None => left.lost += 1,
            }
        }
        Ok(left)
    }

    /// Takes rows in; the same ones once more change nothing.
    pub(crate) fn bring(&mut self, records: Vec<Record>, come: &Come) -> Result<(), StoreFailure> {
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
            Self::Databases(cluster) => cluster.bring(&records, &come.0),
        }
    }
}

/// Into which databases rows come: into all but those for which it says no.
pub(crate) struct Come(Vec<bool>);

/// What the databases say counts: nodes serve them as soon as all rows are there, and whoever brought rows once more then would put old
/// ones over theirs.
fn welcome_there(
    cluster: &mut Cluster,
    is_marked: bool,
    hash: &[u8; 32],
) -> Result<Option<Come>, MoveError> {
    let coming = cluster.coming(hash, is_marked)?;
    match coming {
        Coming::Served if is_marked => return Ok(None),
        Coming::Half => {}
        Coming::New | Coming::Served if cluster.is_empty()? => {}
        Coming::New | Coming::Served => return Err(MoveError::NotEmpty),
    }
    let come = cluster.welcome(hash, coming)?;
    Ok(Some(Come(come)))
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
