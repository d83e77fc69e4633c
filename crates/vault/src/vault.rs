//! The vault itself: what it is made of, and reading.

mod change;
mod drill;
mod open;
mod panic;
mod root;
mod secrets;
mod wipe;

pub use drill::{DRILL_RECORDS, Drill, DrillError, Ground, Way};
pub use open::{Locked, Stretched, Tried};
pub use root::ROTATION_PERIOD_MS;
pub use secrets::Rewrapping;
pub use wipe::{OutsideFile, file_names, is_there, mode_of, wipe, wipe_held};

use std::collections::BTreeSet;
use std::io;
use std::ops::Bound;
use std::sync::atomic::AtomicU32;

use zeroize::Zeroizing;

use crate::derive::KdfParams;
use crate::directory::Directory;
use crate::error::{Part, ReadError, WriteError};
use crate::factors::Mode;
use crate::header::{HeaderFile, Others, Unlocked};
use crate::keys::Keys;
use crate::memory::LockedKey;
use crate::random::Random;
use crate::record::{open_row, row_key};
use crate::store::{Fault, Range, Store};

/// An open vault: one directory, one writer.
///
/// Dropping it is like a crash: nothing that was acknowledged is lost, but the root of the record
/// keys is not rotated. [`Vault::lock`] is the right way to end.
pub struct Vault {
    store: Store,
    keys: Keys,
    header: HeaderFile,
    unlocked: Unlocked,
    others: Others,
    /// Tells whether what is given as the present secret is that. None after the recovery phrase.
    check: Option<LockedKey>,
    /// The stretched secret, kept after opening until it was used to make the slots anew.
    secret: Option<LockedKey>,
    errands: Vec<u8>,
    /// Wrong present secrets since the last right one.
    wrong_in_row: AtomicU32,
    random: Random,
    /// Names of rows whose keys are dead, to be removed from the table.
    dead_rows: BTreeSet<Vec<u8>>,
    /// Keys were killed since the last rotation, at the latest.
    rotation_due: bool,
    /// When [`Vault::rotate_if_due`] last saw that no key had been killed since the rotation before.
    untouched_at_ms: Option<u64>,
    /// A fault of the disk after which nothing is written: what it did is known only by reading
    /// everything again.
    broken: Option<io::ErrorKind>,
    dir: Box<dyn Directory>,
    /// Held last: the directory is free when everything else is closed.
    lock: Box<dyn Send + Sync>,
}

/// Where a vault lies: its directory, header and lock.
struct Place {
    header: HeaderFile,
    random: Random,
    dir: Box<dyn Directory>,
    lock: Box<dyn Send + Sync>,
}

/// What was learnt when a vault was opened or made.
struct Known {
    unlocked: Unlocked,
    others: Others,
    check: Option<LockedKey>,
    secret: Option<LockedKey>,
    errands: Vec<u8>,
}

/// One record's new value, or its deletion.
pub struct Change {
    /// The record's key, its name in the table: 1 to 128 bytes. Deletion does not erase names as it
    /// erases values, so they hold ids, never content.
    pub key: Vec<u8>,
    /// The new value (at most 1 MiB), or `None` to delete.
    pub value: Option<Vec<u8>>,
}

/// A record as [`Vault::scan`] gives it: name and value.
pub type Record = (Vec<u8>, Zeroizing<Vec<u8>>);

/// What `status` shows.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// What protects it.
    pub mode: Mode,
    /// Whether a recovery phrase opens it, too.
    pub recovery: bool,
    /// Format version.
    pub version: u16,
    /// Cost of trying one secret.
    pub kdf: KdfParams,
    /// Number of records.
    pub records: u64,
    /// Record keys in the key file, assigned or not.
    pub keys: u64,
    /// Whether keys were killed since the root was last rotated.
    pub rotation_due: bool,
    /// Whether the operating system keeps all keys out of the swap file.
    pub memory_locked: bool,
}

impl Vault {
    fn new(place: Place, known: Known, keys: Keys, store: Store) -> Self {
        Vault {
            store,
            keys,
            header: place.header,
            unlocked: known.unlocked,
            others: known.others,
            check: known.check,
            secret: known.secret,
            errands: known.errands,
            wrong_in_row: AtomicU32::new(0),
            random: place.random,
            dead_rows: BTreeSet::new(),
            rotation_due: false,
            untouched_at_ms: None,
            broken: None,
            dir: place.dir,
            lock: place.lock,
        }
    }

    /// The value of a record.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn get(&self, name: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, ReadError> {
        self.store
            .row(name, |row| self.open_living(name, row))
            .map_err(read_error)?
            .transpose()
            .map(Option::flatten)
    }

    /// The records whose names begin with `prefix`, in the order of their names (or backwards):
    /// those beyond `after`, which is excluded, at most `limit`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Record>, ReadError> {
        let end = prefix_end(prefix);
        let Some(range) = scan_range(prefix, end.as_deref(), after, reverse) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let mut failed = None;
        if limit == 0 {
            return Ok(found);
        }
        self.store
            .rows(&range, |name, row| {
                match self.open_living(name, row) {
                    Ok(Some(value)) => found.push((name.to_vec(), value)),
                    Ok(None) => {}
                    Err(e) => failed = Some(e),
                }
                failed.is_none() && found.len() < limit
            })
            .map_err(read_error)?;
        failed.map_or(Ok(found), Err)
    }

    /// The directory it lies in, whose lock it holds: for what lies beside it ([`crate::outside`]).
    #[must_use]
    pub fn directory(&self) -> &dyn Directory {
        &*self.dir
    }

    /// How the vault stands.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn status(&self) -> Result<Status, ReadError> {
        let rows = self.store.len().map_err(read_error)?;
        let dead = u64::try_from(self.dead_rows.len()).unwrap_or(u64::MAX);
        Ok(Status {
            mode: self.header.current().mode,
            recovery: self.others.recovery.is_some(),
            version: self.header.current().version,
            kdf: self.header.current().kdf,
            records: rows.saturating_sub(dead),
            keys: u64::from(self.keys.table.slots()),
            rotation_due: self.rotation_due,
            memory_locked: self.unlocked.vault.is_locked()
                && self.keys.root().is_locked()
                && self.keys.table.is_locked(),
        })
    }

    /// What besides a secret opens it.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.header.current().mode
    }

    /// Whether it is known what the present secret is: not after the recovery phrase opened it.
    #[must_use]
    pub fn knows_secret(&self) -> bool {
        self.check.is_some()
    }

    /// What stands in the header in clear for whoever asks the factors; of no meaning without any.
    #[must_use]
    pub fn area(&self) -> &[u8] {
        &self.header.current().area
    }

    /// What is left to be destroyed of a vault that was here before, as
    /// [`Besides::errands`](crate::Besides::errands) said.
    #[must_use]
    pub fn errands(&self) -> &[u8] {
        &self.errands
    }

    /// The value of a row, unless it was deleted.
    fn open_living(
        &self,
        name: &[u8],
        row: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, ReadError> {
        let corrupt = ReadError::Corrupt(Part::Records);
        let key_ref = row_key(row).ok_or(corrupt)?;
        let Some(key) = self.keys.table.key(key_ref) else {
            // [SPEC 11.14]
            return if self.dead_rows.contains(name) {
                Ok(None)
            } else {
                Err(corrupt)
            };
        };
        open_row(key, name, row).map(Some).map_err(|_| corrupt)
    }
}

/// The first name after all that begin with `prefix`, if there is one.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return Some(end);
        }
        end.pop();
    }
    None
}

/// The range to read, or `None` if it is empty.
fn scan_range<'a>(
    prefix: &'a [u8],
    end: Option<&'a [u8]>,
    after: Option<&'a [u8]>,
    reverse: bool,
) -> Option<Range<'a>> {
    let mut lower = Bound::Included(prefix);
    let mut upper = end.map_or(Bound::Unbounded, Bound::Excluded);
    match after {
        Some(after) if reverse => {
            if after <= prefix {
                return None;
            }
            if end.is_none_or(|end| after < end) {
                upper = Bound::Excluded(after);
            }
        }
        Some(after) => {
            if end.is_some_and(|end| after >= end) {
                return None;
            }
            if after >= prefix {
                lower = Bound::Excluded(after);
            }
        }
        None => {}
    }
    Some(Range {
        lower,
        upper,
        reverse,
    })
}

fn read_error(fault: Fault) -> ReadError {
    match fault {
        Fault::Corrupt => ReadError::Corrupt(Part::Records),
        Fault::Full => ReadError::Io(io::ErrorKind::StorageFull),
        Fault::Io(kind) => ReadError::Io(kind),
    }
}

fn write_error(fault: Fault) -> WriteError {
    match fault {
        Fault::Corrupt => WriteError::Corrupt(Part::Records),
        Fault::Full => WriteError::Full,
        Fault::Io(kind) => WriteError::Io(kind),
    }
}
