//! Which kind of store lies in a data directory, and what both kinds can do.

use std::path::PathBuf;

use emptyroom_relay::store::{
    Changes, Ledger, RowKey, Rows, Store, StoreFailure, StoreOp, StoreReply,
};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::{Day, Wall};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::data::{DataDir, DataError, open_failure, read_small};
use crate::entropy;
use crate::postgres::cluster::{Cluster, Purpose, Refused};
use crate::postgres::standing::Standing;
use crate::postgres::upkeep::Slice;
use crate::postgres::{Address, ratchet};
use crate::seal::Table;
use crate::segments::disk::OsDisk;
use crate::segments::{OnDamage, ROW_MEMORY, SegmentRows, Settled, Sizes, Unopened};
use crate::sqlite::SqliteRows;

pub(crate) mod mark;
pub(crate) mod moved;

/// How long a list of databases is at most: each has a thread and a connection of its own.
const DATABASES_MAX: usize = 64;

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
    /// Databases that several nodes share, in this order.
    Databases(Vec<Address>),
}

impl Choice {
    /// Reads `sqlite`, `segments`, an address, or where addresses are found, one a line: `file:PATH` or `env:NAME`.
    ///
    /// # Errors
    /// What is wrong with it, without any part of an address.
    // [SPEC 6.208]
    pub fn parse(text: &str) -> Result<Self, String> {
        let addresses = |text: &str| {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let read: Result<Vec<Address>, _> = lines.map(Address::parse).collect();
            match read {
                Ok(none) if none.is_empty() => Err("there is no address of a database".to_owned()),
                Ok(all) => Ok(Self::Databases(all)),
                Err(fault) => Err(format!("the address of a database: {fault}")),
            }
        };
        if let Some(path) = text.strip_prefix("file:") {
            let bytes =
                read_small(std::path::Path::new(path)).map_err(|error| error.to_string())?;
            let bytes = bytes.ok_or_else(|| format!("there is no file {path}"))?;
            return addresses(std::str::from_utf8(&bytes).unwrap_or_default());
        }
        if let Some(name) = text.strip_prefix("env:") {
            let value = std::env::var(name).map(Zeroizing::new);
            return addresses(
                &value.map_err(|_| format!("there is no environment variable {name}"))?,
            );
        }
        if Address::is_meant(text) {
            return addresses(text);
        }
        match <Kind as clap::ValueEnum>::from_str(text, false) {
            Ok(kind) => Ok(Self::Here(kind)),
            Err(_) => {
                Err("it is none of: sqlite, segments, postgres://…, file:PATH, env:NAME".to_owned())
            }
        }
    }
}

/// What was said in several parts, together.
///
/// # Errors
/// They do not go together.
pub fn together(parts: Vec<Choice>) -> Result<Option<Choice>, &'static str> {
    let mut all: Option<Choice> = None;
    for part in parts {
        all = Some(match (all, part) {
            (None, part) => part,
            (Some(Choice::Databases(mut list)), Choice::Databases(more)) => {
                list.extend(more);
                Choice::Databases(list)
            }
            _ => return Err("the store is either in the data directory or in databases"),
        });
    }
    match &all {
        Some(Choice::Databases(list)) if list.len() > DATABASES_MAX => {
            Err("there are more than 64 databases")
        }
        _ => Ok(all),
    }
}

impl<'de> Deserialize<'de> for Choice {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parts = match Written::deserialize(deserializer)? {
            Written::One(text) => vec![text],
            Written::List(list) => list,
        };
        let custom = serde::de::Error::custom::<String>;
        let parts = parts.iter().map(|text| Self::parse(text).map_err(custom));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let choice = together(parts).map_err(|fault| custom(fault.to_owned()))?;
        choice.ok_or_else(|| custom("the list is empty".to_owned()))
    }
}

/// As it stands in a configuration file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    One(String),
    List(Vec<String>),
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
    /// Rows were being brought into it, and not all of them are there.
    HalfImported,
    /// Its rows were exported.
    Exported,
    /// A database cannot be used.
    Database(Refused),
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
    /// Whether it is to be served, or its rows are brought elsewhere, or come from there.
    pub purpose: Purpose,
}

impl Default for Wanted {
    // [SPEC 6.112]
    fn default() -> Self {
        Self {
            choice: None,
            on_damage: OnDamage::Refuse,
            memory_mib: 1_024,
            purpose: Purpose::Serving,
        }
    }
}

/// A relay's store.
pub(crate) enum Keeper {
    Here(Box<Ledger<Medium>>),
    Databases(Box<Cluster>),
}

/// Rows on the disk of this machine.
pub(crate) enum Medium {
    Sqlite(Box<SqliteRows>),
    Segments(Box<SegmentRows<OsDisk>>),
}

impl Keeper {
    /// Opens the store of a data directory, or the databases that are wanted for one that has none.
    pub(crate) fn open(
        data: &DataDir,
        seed: &Secret32,
        wanted: &Wanted,
        today: Day,
    ) -> Result<Self, MediumError> {
        let coming = match wanted.purpose.serves() {
            true => mark::check(data)?,
            false => None,
        };
        if let Some(Choice::Databases(addresses)) = &wanted.choice {
            // [SPEC 6.90]
            if let Some(found) = Medium::found(data)? {
                return Err(MediumError::Embedded { found });
            }
            let at = (data.join(""), today);
            let cluster = Cluster::open_for(addresses, seed, at, wanted.purpose);
            let mut cluster = cluster.map_err(MediumError::Database)?;
            // Another node may have brought the rest of them.
            // [SPEC 6.215]
            if let Some(hash) = coming {
                if !cluster.has_all_of(&hash)? {
                    return Err(MediumError::HalfImported);
                }
                let forgotten = mark::came(data).map_err(|e| e.failure("removing a mark"));
                forgotten.map_err(MediumError::Store)?;
            }
            return Ok(Self::Databases(Box::new(cluster)));
        }
        if coming.is_some() {
            return Err(MediumError::HalfImported);
        }
        let rows = Medium::open(data, wanted, today)?;
        let ledger = Ledger::new(rows, Box::new(entropy::generator()));
        Ok(Self::Here(Box::new(ledger)))
    }

    pub(crate) fn apply(
        &mut self,
        now: Wall,
        ops: Vec<StoreOp>,
    ) -> Result<Vec<StoreReply>, StoreFailure> {
        match self {
            Self::Here(ledger) => ledger.apply(now, ops),
            Self::Databases(cluster) => cluster.apply(now, ops),
        }
    }

    pub(crate) fn expire(&mut self, now: Wall) -> Result<(), StoreFailure> {
        match self {
            Self::Here(ledger) => ledger.expire(now),
            Self::Databases(cluster) => cluster.expire(now),
        }
    }

    /// A step on the way to leave nothing anywhere of what was deleted or replaced.
    pub(crate) fn tidy(&mut self) -> Result<Settled, StoreFailure> {
        match self {
            Self::Here(ledger) => ledger.rows().tidy(),
            Self::Databases(cluster) => match cluster.upkeep() {
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
            Self::Here(ledger) => ledger.rows().tidy_all(),
            // What is left, other nodes do, or this one later.
            Self::Databases(_) => Ok(()),
        }
    }

    /// How many such steps are due, however much there is to be done.
    pub(crate) fn slices_due(&mut self) -> u64 {
        match self {
            Self::Here(ledger) => ledger.rows().slices_due(),
            Self::Databases(_) => 0,
        }
    }

    /// Which databases are away, if it is kept in some.
    pub(crate) fn standing(&self) -> Option<Standing> {
        match self {
            Self::Here(_) => None,
            Self::Databases(cluster) => Some(cluster.standing().clone()),
        }
    }

    /// Rows it holds, where that is known without looking.
    pub(crate) fn count(&mut self) -> Option<usize> {
        match self {
            Self::Here(ledger) => ledger.rows().count(),
            Self::Databases(_) => None,
        }
    }
}

impl Medium {
    /// The kind of store that a data directory holds.
    fn found(data: &DataDir) -> Result<Option<Kind>, MediumError> {
        match (Kind::Sqlite.is_in(data)?, Kind::Segments.is_in(data)?) {
            (true, true) => {
                let both = StoreFailure::Broken("the data directory holds stores of both kinds");
                Err(MediumError::Store(both))
            }
            (true, false) => Ok(Some(Kind::Sqlite)),
            (false, true) => Ok(Some(Kind::Segments)),
            (false, false) => Ok(None),
        }
    }

    /// Opens the store of a data directory: of the kind that is there, else the one that is wanted, else segments.
    // [SPEC 6.90]
    pub(crate) fn open(data: &DataDir, wanted: &Wanted, today: Day) -> Result<Self, MediumError> {
        let kind = match (Self::found(data)?, &wanted.choice) {
            (Some(found), Some(Choice::Here(wanted))) if found != *wanted => {
                return Err(MediumError::Other { found });
            }
            (None, _) if data.join(ratchet::FILE).exists() => return Err(MediumError::Node),
            (None, Some(Choice::Here(wanted))) => *wanted,
            (found, _) => found.unwrap_or(Kind::Segments),
        };
        kind.open(data, wanted, today)
    }

    /// The places of all rows, with their last days.
    fn spots(&mut self) -> Result<Vec<(Table, Day, RowKey)>, StoreFailure> {
        match self {
            Medium::Sqlite(rows) => rows.spots(),
            Medium::Segments(rows) => Ok(rows.spots()),
        }
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
