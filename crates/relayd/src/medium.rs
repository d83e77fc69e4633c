//! Which kind of store lies in a data directory, and what both kinds can do.

use std::path::PathBuf;

use emptyroom_relay::store::{Access, Changes, Expected, RowKey, Rows, StoreFailure};
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::time::Day;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::data::{DataDir, DataError, open_failure, read_small};
use crate::postgres::upkeep::Slice;
use crate::postgres::{Address, PostgresRows, Seat, Unusable, ratchet};
use crate::segments::disk::OsDisk;
use crate::segments::{OnDamage, ROW_MEMORY, SegmentRows, Settled, Sizes, Unopened};
use crate::store::SqliteRows;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// SQLite files, one for each expiry day.
    Sqlite,
    /// The relay's own log: a journal, and segments for each expiry day.
    Segments,
}

/// What a relay's rows are kept in.
#[derive(Clone, Debug)]
pub enum Choice {
    /// Files in the data directory.
    Here(Kind),
    /// A database that several nodes share.
    Database(Address),
}

impl Choice {
    /// Reads `sqlite`, `segments`, an address, or where that is found: `file:PATH` or `env:NAME`.
    ///
    /// # Errors
    /// What is wrong with it, without any part of an address.
    // [SPEC 6.208]
    pub fn parse(text: &str) -> Result<Self, String> {
        let address = |text: &str| match Address::parse(text.trim()) {
            Ok(address) => Ok(Self::Database(address)),
            Err(fault) => Err(format!("the address of the database: {fault}")),
        };
        if let Some(path) = text.strip_prefix("file:") {
            let bytes =
                read_small(std::path::Path::new(path)).map_err(|error| error.to_string())?;
            let bytes = bytes.ok_or_else(|| format!("there is no file {path}"))?;
            return address(std::str::from_utf8(&bytes).unwrap_or_default());
        }
        if let Some(name) = text.strip_prefix("env:") {
            let value = std::env::var(name).map(Zeroizing::new);
            return address(
                &value.map_err(|_| format!("there is no environment variable {name}"))?,
            );
        }
        if Address::is_meant(text) {
            return address(text);
        }
        match <Kind as clap::ValueEnum>::from_str(text, false) {
            Ok(kind) => Ok(Self::Here(kind)),
            Err(_) => {
                Err("it is none of: sqlite, segments, postgres://…, file:PATH, env:NAME".to_owned())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Why there is no store.
#[derive(Debug)]
pub enum MediumError {
    /// The directory holds a store of the other kind.
    Other {
        /// The kind it holds.
        found: Kind,
    },
    /// The directory holds a store, and databases are wanted.
    Embedded {
        /// The kind it holds.
        found: Kind,
    },
    /// The directory is that of a node, and no database is wanted.
    Node,
    /// A database cannot be used.
    Database {
        /// Which one; neither user nor password.
        address: String,
        /// Why.
        why: Unusable,
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
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What is to keep it, if that was said.
    pub choice: Option<Choice>,
    /// What to do where acknowledged commits are damaged.
    pub on_damage: OnDamage,
    /// Memory for the places of rows, in MiB.
    pub memory_mib: u32,
}

impl Default for Wanted {
    // [SPEC 6.112]
    fn default() -> Self {
        Self {
            choice: None,
            on_damage: OnDamage::Refuse,
            memory_mib: 1_024,
        }
    }
}

/// Rows on the disk of this machine, or in a database.
pub(crate) enum Medium {
    Sqlite(Box<SqliteRows>),
    Segments(Box<SegmentRows<OsDisk>>),
    Postgres(Box<PostgresRows>),
}

impl Medium {
    /// Opens the store of a data directory: of the kind that is there, else the one that is wanted, else segments. Or the database that
    /// is wanted, for a directory without a store.
    // [SPEC 6.90]
    pub(crate) fn open(
        data: &DataDir,
        identity: IdentityHash,
        wanted: &Wanted,
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
        let kind = match (found, &wanted.choice) {
            (Some(found), Some(Choice::Here(wanted))) if found != *wanted => {
                return Err(MediumError::Other { found });
            }
            (Some(found), Some(Choice::Database(_))) => {
                return Err(MediumError::Embedded { found });
            }
            (None, Some(Choice::Database(address))) => {
                return Self::open_database(data, identity, address, today);
            }
            (None, _) if data.join(ratchet::FILE).exists() => return Err(MediumError::Node),
            (None, Some(Choice::Here(wanted))) => *wanted,
            (found, _) => found.unwrap_or(Kind::Segments),
        };
        kind.open(data, wanted, today)
    }

    fn open_database(
        data: &DataDir,
        identity: IdentityHash,
        address: &Address,
        today: Day,
    ) -> Result<Self, MediumError> {
        let seat = Seat {
            identity,
            shard: 0,
            shards: 1,
        };
        let directory = data.join("");
        // Not in a thread where other futures run: it waits.
        let opened = std::thread::scope(|scope| {
            let open = || PostgresRows::open(address, seat, &directory, today);
            scope.spawn(open).join()
        });
        let failed = || StoreFailure::Broken("a bug in opening the database").into();
        let opened = opened.unwrap_or_else(|_| Err(failed()));
        opened
            .map(|rows| Medium::Postgres(Box::new(rows)))
            .map_err(|why| MediumError::Database {
                address: address.to_string(),
                why,
            })
    }

    /// A step on the way to leave nothing in any file of what was deleted or replaced.
    pub(crate) fn tidy(&mut self) -> Result<Settled, StoreFailure> {
        match self {
            Medium::Sqlite(rows) => rows
                .tidy()
                .map(|tidy| if tidy { Settled::Done } else { Settled::Full }),
            Medium::Segments(rows) => rows.settle(),
            Medium::Postgres(rows) => match rows.upkeep() {
                Ok(Slice::More) => Ok(Settled::More),
                Ok(Slice::Done) => Ok(Settled::Done),
                Err(failure) if failure.passes() => Ok(Settled::Full),
                Err(failure) => Err(failure),
            },
        }
    }

    /// All such steps, as far as there is space.
    // [SPEC 6.115]
    pub(crate) fn tidy_all(&mut self) -> Result<(), StoreFailure> {
        match self {
            Medium::Sqlite(rows) => rows.tidy().map(drop),
            Medium::Segments(rows) => rows.checkpoint().map(drop),
            // What is left, other nodes do, or this one later.
            Medium::Postgres(_) => Ok(()),
        }
    }

    /// How many such steps are due, however much there is to be done.
    pub(crate) fn slices_due(&self) -> u64 {
        match self {
            // It tidies by itself.
            Medium::Sqlite(_) | Medium::Postgres(_) => 0,
            Medium::Segments(rows) => rows.slices_due(),
        }
    }

    /// Rows it holds, where that is known without looking.
    pub(crate) fn count(&self) -> Option<usize> {
        match self {
            Medium::Sqlite(_) | Medium::Postgres(_) => None,
            Medium::Segments(rows) => Some(rows.rows()),
        }
    }

    fn rows(&mut self) -> &mut dyn Rows {
        match self {
            Medium::Sqlite(rows) => &mut **rows,
            Medium::Segments(rows) => &mut **rows,
            Medium::Postgres(rows) => &mut **rows,
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

    fn open(self, data: &DataDir, wanted: &Wanted, today: Day) -> Result<Medium, MediumError> {
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
    fn begin(&mut self, access: Access) -> Result<(), StoreFailure> {
        self.rows().begin(access)
    }

    fn are_distant(&self) -> bool {
        matches!(self, Medium::Postgres(_))
    }

    fn expect(&mut self, expected: &Expected) -> Result<(), StoreFailure> {
        self.rows().expect(expected)
    }

    fn end(&mut self) {
        self.rows().end();
    }

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
            Medium::Postgres(rows) => rows.room(),
        }
    }
}
