//! Which kind of store lies in a data directory, and what both kinds can do.

use std::path::PathBuf;

use emptyroom_relay::store::{Changes, RowKey, Rows, StoreFailure};
use emptyroom_wire::time::Day;

use crate::data::{DataDir, DataError, open_failure};
use crate::segments::disk::OsDisk;
use crate::segments::{OnDamage, ROW_MEMORY, SegmentRows, Settled, Sizes, Unopened};
use crate::store::SqliteRows;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
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
    /// Nor can this file of it.
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        failure: StoreFailure,
        /// Commits that were acknowledged are damaged: [`Wanted::on_damage`] may leave them out.
        damaged_journal: bool,
    },
}

/// How the store of a data directory is to be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Of which kind, for a directory that has none yet.
    pub kind: Option<Kind>,
    /// What to do where acknowledged commits are damaged.
    pub on_damage: OnDamage,
    /// Memory for the places of rows, in MiB.
    pub memory_mib: u32,
}

impl Default for Wanted {
    // [SPEC 6.112]
    fn default() -> Self {
        Self {
            kind: None,
            on_damage: OnDamage::Refuse,
            memory_mib: 1_024,
        }
    }
}

/// Rows on the disk of this machine.
pub(crate) enum Medium {
    Sqlite(Box<SqliteRows>),
    Segments(Box<SegmentRows<OsDisk>>),
}

impl Medium {
    /// Opens the store of a data directory: of the kind that is there, else the one that is wanted, else segments.
    // [SPEC 6.90]
    pub(crate) fn open(data: &DataDir, wanted: Wanted, today: Day) -> Result<Self, MediumError> {
        let found = match (Kind::Sqlite.is_in(data)?, Kind::Segments.is_in(data)?) {
            (true, true) => {
                let both = StoreFailure::Broken("the data directory holds stores of both kinds");
                return Err(MediumError::Store(both));
            }
            (true, false) => Some(Kind::Sqlite),
            (false, true) => Some(Kind::Segments),
            (false, false) => None,
        };
        let kind = match (found, wanted.kind) {
            (Some(found), Some(wanted)) if found != wanted => {
                return Err(MediumError::Other { found });
            }
            (found, wanted) => found.or(wanted).unwrap_or(Kind::Segments),
        };
        kind.open(data, wanted, today)
    }

    /// A step on the way to leave nothing in any file of what was deleted or replaced.
    pub(crate) fn tidy(&mut self) -> Result<Settled, StoreFailure> {
        match self {
            Medium::Sqlite(rows) => rows
                .tidy()
                .map(|tidy| if tidy { Settled::Done } else { Settled::Full }),
            Medium::Segments(rows) => rows.settle(),
        }
    }

    /// All such steps, as far as there is space.
    // [SPEC 6.115]
    pub(crate) fn tidy_all(&mut self) -> Result<(), StoreFailure> {
        match self {
            Medium::Sqlite(rows) => rows.tidy().map(drop),
            Medium::Segments(rows) => rows.checkpoint().map(drop),
        }
    }

    /// How many such steps are due, however much there is to be done.
    pub(crate) fn slices_due(&self) -> u64 {
        match self {
            // It tidies by itself.
            Medium::Sqlite(_) => 0,
            Medium::Segments(rows) => rows.slices_due(),
        }
    }

    /// Rows it holds, where that is known without looking.
    pub(crate) fn count(&self) -> Option<usize> {
        match self {
            Medium::Sqlite(_) => None,
            Medium::Segments(rows) => Some(rows.rows()),
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
    pub(crate) fn directory(self) -> &'static str {
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
            Err(error) => Err(MediumError::Store(open_failure(
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

    fn open(self, data: &DataDir, wanted: Wanted, today: Day) -> Result<Medium, MediumError> {
        let directory = data.join(self.directory());
        let at = |file: &str, failure, damaged_journal| MediumError::File {
            path: directory.join(file),
            failure,
            damaged_journal,
        };
        match self {
            Kind::Sqlite => SqliteRows::open(&directory, today)
                .map(|rows| Medium::Sqlite(Box::new(rows)))
                .map_err(|failure| at("", failure, false)),
            Kind::Segments => {
                let disk = OsDisk::new(&directory).map_err(|error| {
                    let failure = match &error {
                        DataError::Io { source, .. } => open_failure(source, "making it"),
                        other => other.failure("making it"),
                    };
                    at("", failure, false)
                })?;
                let memory = usize::try_from(wanted.memory_mib).unwrap_or(usize::MAX);
                let sizes = Sizes {
                    rows: memory.saturating_mul(1024 * 1024) / ROW_MEMORY,
                    ..Sizes::default()
                };
                SegmentRows::open(disk, sizes, wanted.on_damage, today)
                    .map(|rows| Medium::Segments(Box::new(rows)))
                    .map_err(
                        |Unopened {
                             file,
                             failure,
                             damaged_journal,
                         }| { at(&file, failure, damaged_journal) },
                    )
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

    fn room(&self) -> usize {
        match self {
            Medium::Sqlite(rows) => rows.room(),
            Medium::Segments(rows) => rows.room(),
        }
    }
}
