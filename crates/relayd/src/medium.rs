//! Which kind of store lies in a data directory, and what both kinds can do.

use emptyroom_relay::store::{Changes, RowKey, Rows, StoreFailure};
use emptyroom_wire::time::Day;

use crate::data::{DataDir, io_failure};
use crate::segments::SegmentRows;
use crate::segments::disk::OsDisk;
use crate::store::SqliteRows;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// SQLite files, one for each expiry day.
    Sqlite,
    /// The relay's own log: a journal, and a partition for each expiry day.
    Segments,
}

/// Why there is no store.
#[derive(Debug)]
pub enum MediumError {
    /// The directory holds a store of the other kind.
    Other {
        /// The kind it holds.
        found: Kind,
    },
    /// The store cannot be opened.
    Store(StoreFailure),
}

/// At so many bytes of journal a checkpoint is made; the rows until then lie in memory.
// [SPEC 6.91]
const JOURNAL_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Rows on the disk of this machine.
pub(crate) enum Medium {
    Sqlite(Box<SqliteRows>),
    Segments(Box<SegmentRows<OsDisk>>),
}

impl Medium {
    /// Opens the store of a data directory: of the kind that is there, else the one that is wanted, else SQLite.
    // [SPEC 6.90]
    pub(crate) fn open(
        data: &DataDir,
        wanted: Option<Kind>,
        today: Day,
    ) -> Result<Self, MediumError> {
        let there = |kind: Kind| {
            let mut files = std::fs::read_dir(data.join(kind.directory())).ok();
            files.as_mut().and_then(Iterator::next).is_some()
        };
        let found = [Kind::Sqlite, Kind::Segments]
            .into_iter()
            .find(|kind| there(*kind));
        let kind = match (found, wanted) {
            (Some(found), Some(wanted)) if found != wanted => {
                return Err(MediumError::Other { found });
            }
            (found, wanted) => found.or(wanted).unwrap_or(Kind::Sqlite),
        };
        kind.open(data, today).map_err(MediumError::Store)
    }

    /// Leaves nothing in any file of what was deleted or replaced. False: there was no space for that.
    pub(crate) fn tidy(&mut self) -> Result<bool, StoreFailure> {
        match self {
            Medium::Sqlite(rows) => rows.tidy(),
            Medium::Segments(rows) => rows.checkpoint(),
        }
    }

    fn rows(&mut self) -> &mut dyn Rows {
        match self {
            Medium::Sqlite(rows) => &mut **rows,
            Medium::Segments(rows) => &mut **rows,
        }
    }
}

impl Kind {
    fn directory(self) -> &'static str {
        match self {
            Kind::Sqlite => "store",
            Kind::Segments => "segments",
        }
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Sqlite => "sqlite",
            Kind::Segments => "segments",
        }
    }

    fn open(self, data: &DataDir, today: Day) -> Result<Medium, StoreFailure> {
        let directory = data.join(self.directory());
        match self {
            Kind::Sqlite => {
                SqliteRows::open(&directory, today).map(|rows| Medium::Sqlite(Box::new(rows)))
            }
            Kind::Segments => {
                let disk = OsDisk::new(&directory)
                    .map_err(|e| io_failure(&e, "making the store's directory"))?;
                SegmentRows::open(disk, JOURNAL_BYTES_MAX)
                    .map(|rows| Medium::Segments(Box::new(rows)))
            }
        }
    }
}

impl Rows for Medium {
    fn lasting(&mut self, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        self.rows().lasting(key)
    }

    fn entry(&mut self, day: Day, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        self.rows().entry(day, key)
    }

    fn commit(&mut self, changes: Changes) -> Result<(), StoreFailure> {
        self.rows().commit(changes)
    }

    fn expire(&mut self, today: Day) -> Result<(), StoreFailure> {
        self.rows().expire(today)
    }
}
