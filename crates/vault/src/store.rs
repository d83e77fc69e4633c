//! The table of records: redb over an encrypting backend.
//!
//! It holds names and sealed values, and which key slots they use. Everything in it is sealed by block; values are
//! sealed once more, each under its own key, and nothing here can open them.

mod backend;
mod block_zero;

pub(crate) use backend::SealedFile;
pub(crate) use block_zero::BlockZero;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::directory::File;
use crate::keys::{KeyRef, KeyTable, set_bit};
use crate::memory::LockedKey;
use crate::random::Random;
use crate::record::row_key;

const RECORDS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("records");
const USED: TableDefinition<'static, u32, u128> = TableDefinition::new("used");

/// Pages kept in memory, in bytes. They hold names and sealed values only.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// What stops the table from working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Full,
    Corrupt,
    Io(io::ErrorKind),
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Fault::Full,
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Fault::Corrupt,
            kind => Fault::Io(kind),
        }
    }
}

/// The open table.
pub(crate) struct Store {
    file: Arc<SealedFile>,
    /// `None` after a fault, until [`Store::reopen`].
    db: Option<Database>,
}

/// One transaction.
pub(crate) struct Transaction<'a> {
    pub(crate) remove: Vec<&'a [u8]>,
    /// Names and rows.
    pub(crate) put: Vec<(&'a [u8], Vec<u8>)>,
    /// The keys of the new rows.
    pub(crate) assigned: &'a [KeyRef],
}

/// What a transaction did.
pub(crate) struct Done {
    /// The use of those sectors' slots that it changed.
    pub(crate) used: BTreeMap<u32, u128>,
    /// Living keys of the rows that were removed or replaced.
    pub(crate) replaced: Vec<KeyRef>,
}

impl Store {
    /// Makes an empty table in `file`.
    pub(crate) fn create(
        file: Box<dyn File>,
        key: LockedKey,
        random: &Random,
    ) -> Result<Self, Fault> {
        let file = SealedFile::create(file, key, random)?;
        let mut store = Store {
            file: Arc::new(file),
            db: None,
        };
        store.reopen()?;
        Ok(store)
    }

    /// Opens the table in `file`; after a crash it is brought to the last durable transaction.
    pub(crate) fn open(
        file: Box<dyn File>,
        key: LockedKey,
        random: &Random,
    ) -> Result<Self, Fault> {
        let file = SealedFile::open(file, key, random)?;
        let mut store = Store {
            file: Arc::new(file),
            db: None,
        };
        store.reopen()?;
        Ok(store)
    }

    /// Begins anew from what is durable. redb refuses everything after a failed write.
    pub(crate) fn reopen(&mut self) -> Result<(), Fault> {
        self.db = None;
        self.file.reload()?;
        let db = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(backend::Handle::new(&self.file))
            .map_err(|e| self.fault(e.into()))?;
        self.db = Some(db);
        if self.has_tables()? {
            return Ok(());
        }
        self.write(|transaction| {
            transaction.open_table(RECORDS)?;
            transaction.open_table(USED)?;
            Ok(())
        })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.db.is_some()
    }

    /// The use of all slots, by sector.
    pub(crate) fn used(&self) -> Result<Vec<(u32, u128)>, Fault> {
        self.read(|db| {
            let table = db.begin_read()?.open_table(USED)?;
            let mut all = Vec::new();
            for entry in table.iter()? {
                let (sector, bits) = entry?;
                all.push((sector.value(), bits.value()));
            }
            Ok(all)
        })
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> Result<u64, Fault> {
        self.read(|db| {
            use redb::ReadableTableMetadata;
            Ok(db.begin_read()?.open_table(RECORDS)?.len()?)
        })
    }

    /// Calls `with` for one row.
    pub(crate) fn row<T>(
        &self,
        name: &[u8],
        with: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, Fault> {
        self.read(|db| {
            let table = db.begin_read()?.open_table(RECORDS)?;
            Ok(table.get(name)?.map(|row| with(row.value())))
        })
    }

    /// Calls `visit` for the rows of a range, until it says `false`.
    pub(crate) fn rows(
        &self,
        range: &Range<'_>,
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Fault> {
        self.read(|db| {
            let table = db.begin_read()?.open_table(RECORDS)?;
            let mut rows = table.range::<&[u8]>((range.lower, range.upper))?;
            loop {
                let next = if range.reverse {
                    rows.next_back()
                } else {
                    rows.next()
                };
                let Some(row) = next else { return Ok(()) };
                let (name, value) = row?;
                if !visit(name.value(), value.value()) {
                    return Ok(());
                }
            }
        })
    }

    /// Carries out one durable transaction.
    pub(crate) fn commit(
        &self,
        transaction: Transaction<'_>,
        table: &KeyTable,
    ) -> Result<Done, Fault> {
        self.write(|redb| {
            let mut freed = Vec::new();
            {
                let mut records = redb.open_table(RECORDS)?;
                for name in &transaction.remove {
                    if let Some(old) = records.remove(*name)? {
                        freed.extend(row_key(old.value()));
                    }
                }
                for (name, row) in &transaction.put {
                    if let Some(old) = records.insert(*name, row.as_slice())? {
                        freed.extend(row_key(old.value()));
                    }
                }
            }
            let used = changed_use(&freed, transaction.assigned, table);
            let mut sectors = redb.open_table(USED)?;
            for (sector, bits) in &used {
                sectors.insert(sector, bits)?;
            }
            let replaced: Vec<KeyRef> = freed
                .into_iter()
                .filter(|key| table.is_alive(*key))
                .collect();
            Ok(Done { used, replaced })
        })
    }

    /// Closes the table cleanly.
    pub(crate) fn close(&mut self) -> Result<(), Fault> {
        if let Some(db) = self.db.take() {
            drop(db);
        }
        self.file.first_fault().map_or(Ok(()), Err)
    }

    fn has_tables(&self) -> Result<bool, Fault> {
        self.read(|db| Ok(db.begin_read()?.list_tables()?.count() == 2))
    }

    fn read<T>(&self, with: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Fault> {
        let db = self.db.as_ref().ok_or_else(|| self.known_fault())?;
        with(db).map_err(|e| self.fault(e))
    }

    fn write<T>(
        &self,
        with: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, Fault> {
        self.read(|db| {
            let mut transaction = db.begin_write()?;
            // Two phases: what the header calls current is durable, so a block that does not open
            // is damage, never the trace of a crash.
            transaction.set_two_phase_commit(true);
            let result = with(&transaction)?;
            transaction.commit()?;
            Ok(result)
        })
    }

    /// What redb's error comes from: what the disk said first, else what redb says.
    fn fault(&self, error: redb::Error) -> Fault {
        self.file.first_fault().unwrap_or(match error {
            redb::Error::Io(e) => e.into(),
            redb::Error::Corrupted(_) | redb::Error::DatabaseClosed => Fault::Corrupt,
            _ => Fault::Io(io::ErrorKind::Other),
        })
    }

    fn known_fault(&self) -> Fault {
        self.file
            .first_fault()
            .unwrap_or(Fault::Io(io::ErrorKind::Other))
    }
}

/// Rows between two names, forwards or backwards.
pub(crate) struct Range<'a> {
    pub(crate) lower: std::ops::Bound<&'a [u8]>,
    pub(crate) upper: std::ops::Bound<&'a [u8]>,
    pub(crate) reverse: bool,
}

fn changed_use(freed: &[KeyRef], assigned: &[KeyRef], table: &KeyTable) -> BTreeMap<u32, u128> {
    let mut used = BTreeMap::new();
    let mut set = |key: &KeyRef, on: bool| {
        let sector = key.sector();
        let bits = used.entry(sector).or_insert_with(|| table.used(sector));
        set_bit(bits, *key, on);
    };
    freed.iter().for_each(|key| set(key, false));
    assigned.iter().for_each(|key| set(key, true));
    used
}
