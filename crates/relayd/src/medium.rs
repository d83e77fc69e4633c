//! Which kind of store lies in a data directory, and what both kinds can do.

use emptyroom_relay::store::{Changes, RowKey, Rows, StoreFailure};
use emptyroom_wire::time::Day;

use crate::data::{DataDir, io_failure};
use crate::segments::disk::OsDisk;
use crate::segments::{SegmentRows, Sizes};
use crate::store::SqliteRows;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// SQLite files, one for each expiry day.
    Sqlite,
    /// The relay's own log: a journal, and segments for each expiry day.
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
        let found = match (Kind::Sqlite.is_in(data)?, Kind::Segments.is_in(data)?) {
            (true, true) => {
                let both = StoreFailure::Broken("the data directory holds stores of both kinds");
                return Err(MediumError::Store(both));
            }
            (true, false) => Some(Kind::Sqlite),
            (false, true) => Some(Kind::Segments),
            (false, false) => None,
        };
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

    /// A data directory holds a store of this kind.
    fn is_in(self, data: &DataDir) -> Result<bool, MediumError> {
        match std::fs::read_dir(data.join(self.directory())) {
            Ok(mut files) => Ok(files.next().is_some()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(MediumError::Store(io_failure(
                &error,
                "reading the store's directory",
            ))),
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
                    .map_err(|e| e.failure("making the store's directory"))?;
                SegmentRows::open(disk, Sizes::default())
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
