//! The drill: a throw-away vault is made, destroyed as a real one would be, and searched for.
//!
//! A wipe that has silently stopped working, for whatever reason in the program, the file system or
//! the disk, is found by whoever tries it, and by nobody else before he needs it.

mod witness;

use std::error::Error;
use std::fmt;
use std::io;

use rand_core::CryptoRng;

use super::{Change, OutsideFile, Vault, wipe};
use crate::derive::KdfParams;
use crate::directory::Directory;
use crate::error::{CreateError, OpenError, ReadError, SecretError, WriteError};
use crate::factors::{Besides, Factors};
use crate::forensic::{Found, Known, Row};
use crate::header::{Header, HeaderFile, HeaderOpenFault};
use crate::secret::Passphrase;
use crate::store::Range;
use witness::{GivenUp, Witness};

/// Records of the throw-away vault.
pub const DRILL_RECORDS: usize = 200;
/// So many are written in one transaction.
const BATCH: usize = 20;
const MARKER_LEN: usize = 32;

/// How the throw-away vault is destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By opening it with its panic PIN.
    PanicPin,
    /// Without any secret.
    WithoutSecret,
    /// While it is open, by command: what is left is what its panic PIN opens.
    OpenPanic,
    /// While it is open, by an order: what lies outside stays. As its time is over it goes, too.
    OpenWipe,
}

impl Way {
    /// Whether an empty vault is left.
    fn leaves_empty(self) -> bool {
        matches!(self, Way::PanicPin | Way::OpenPanic)
    }

    /// Whether it is open when it is destroyed.
    fn is_open(self) -> bool {
        matches!(self, Way::OpenPanic | Way::OpenWipe)
    }
}

/// Where a drill takes place.
pub struct Ground<'a> {
    /// An empty directory, the same each time.
    pub directory: &'a dyn Fn() -> Box<dyn Directory>,
    /// A generator.
    pub random: &'a dyn Fn() -> Box<dyn CryptoRng + Send>,
}

/// Why a drill did not come to its end, which is as bad as what it may find.
#[derive(Debug)]
pub enum DrillError {
    /// A step failed.
    Failed(Box<dyn Error + Send + Sync>),
    /// The search did not find the vault while it was there.
    Blind,
    /// What the panic PIN opened was not empty.
    NotEmpty,
}

impl DrillError {
    /// Whether a disk that is full stood in the way, and nothing else.
    pub fn is_full(&self) -> bool {
        let DrillError::Failed(error) = self else {
            return false;
        };
        matches!(error.downcast_ref(), Some(CreateError::Full))
            || matches!(error.downcast_ref(), Some(OpenError::Full))
            || matches!(error.downcast_ref(), Some(WriteError::Full))
            || matches!(
                error.downcast_ref(),
                Some(SecretError::Write(WriteError::Full))
            )
    }
}

impl fmt::Display for DrillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DrillError::Failed(error) => error.fmt(f),
            DrillError::Blind => f.write_str("the search does not find what is there"),
            DrillError::NotEmpty => f.write_str("the vault is not empty"),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for DrillError {
    fn from(error: E) -> Self {
        DrillError::Failed(Box::new(error))
    }
}

/// A throw-away vault, and everything that can be known of it.
pub struct Drill<'a> {
    ground: &'a Ground<'a>,
    way: Way,
    /// Where it is to be destroyed while it is open.
    open: Option<Vault>,
    known: Known,
    panic: Passphrase,
    given_up: GivenUp,
}

impl<'a> Drill<'a> {
    /// Makes the vault, fills it, opens and locks it again, opens it once more where the way takes that, and makes sure that the
    /// search finds it.
    ///
    /// # Errors
    /// See [`DrillError`].
    pub fn prepare(ground: &'a Ground<'a>, kdf: KdfParams, way: Way) -> Result<Self, DrillError> {
        let (pin, panic) = (ground.passphrase(), ground.passphrase());
        let marker = ground.array::<MARKER_LEN>().to_vec();
        let mut vault = Vault::create(ground.dir(), &pin, kdf, (ground.random)())?;
        let change = vault.with_panic(&pin, &panic)?;
        vault.rewrap(change, &Factors::default())?;
        let records: Vec<usize> = (0..DRILL_RECORDS).collect();
        for batch in records.chunks(BATCH) {
            vault.apply(batch.iter().map(|n| record(*n, &marker)).collect())?;
        }
        vault.lock()?;
        let vault = Vault::open(ground.dir(), &pin, (ground.random)())?;
        let rows = vault.rows()?;
        vault.lock()?;
        let known = Known::of(&ground.header()?, pin, rows, marker).ok_or(DrillError::Blind)?;
        let mut drill = Drill {
            ground,
            way,
            open: None,
            known,
            panic,
            given_up: GivenUp::default(),
        };
        drill.expect_sight()?;
        if way.is_open() {
            drill.open()?;
        }
        Ok(drill)
    }

    /// Opening gives it another root: from now on that is searched for.
    fn open(&mut self) -> Result<(), DrillError> {
        let random = (self.ground.random)();
        let vault = Vault::open(self.watched(), self.known.secret(), random)?;
        let renewed = self.known.renew(&self.ground.header()?, vault.rows()?);
        renewed.ok_or(DrillError::Blind)?;
        self.open = Some(vault);
        self.expect_sight()
    }

    /// The search finds what is there.
    fn expect_sight(&self) -> Result<(), DrillError> {
        let before = self.known.look(&files(&*self.ground.dir())?);
        if before.headers == 0 || before.values != DRILL_RECORDS {
            return Err(DrillError::Blind);
        }
        Ok(())
    }

    /// Destroys it, as the real one is destroyed.
    ///
    /// # Errors
    /// See [`DrillError`].
    pub fn destroy(&mut self) -> Result<(), DrillError> {
        match (self.way, self.open.take()) {
            (Way::OpenPanic, Some(vault)) => {
                let besides = Besides {
                    errands: &mut |_| Vec::new(),
                    destroy: &mut || {},
                };
                let empty = vault.panic(besides)?;
                Ok(empty.map_or(Ok(()), Vault::lock)?)
            }
            (Way::OpenWipe, Some(vault)) => Ok(vault.wipe(&mut || {}, OutsideFile::Stays)?),
            (way, _) if way.leaves_empty() => self.open_empty(self.watched()),
            _ => Ok(wipe(self.watched(), (self.ground.random)(), &mut |_| {})?),
        }
    }

    fn watched(&self) -> Box<dyn Directory> {
        Box::new(Witness {
            watched: self.ground.dir(),
            given_up: self.given_up.clone(),
        })
    }

    /// Searches for what is left, in the files and in what they held when their space was given back; tries
    /// the secret, too.
    ///
    /// # Errors
    /// See [`DrillError`].
    // [SPEC 11.92]
    pub fn look(mut self) -> Result<Found, DrillError> {
        drop(self.open.take());
        let mut files = files(&*self.ground.dir())?;
        files.extend(self.given_up.contents());
        let mut found = self.known.look(&files);
        let again = Vault::open(
            self.ground.dir(),
            self.known.secret(),
            (self.ground.random)(),
        );
        match again {
            Ok(_) => found.headers = found.headers.max(1),
            // What was found says more.
            Err(_) if !found.is_nothing() => {}
            Err(OpenError::WrongSecret) if self.way.leaves_empty() => {
                self.open_empty(self.ground.dir())?;
            }
            Err(OpenError::Missing) if !self.way.leaves_empty() => {}
            Err(error) => return Err(error.into()),
        }
        Ok(found)
    }

    fn open_empty(&self, dir: Box<dyn Directory>) -> Result<(), DrillError> {
        let vault = Vault::open(dir, &self.panic, (self.ground.random)())?;
        let records = vault.status()?.records;
        vault.lock()?;
        if records > 0 {
            return Err(DrillError::NotEmpty);
        }
        Ok(())
    }
}

impl Ground<'_> {
    fn dir(&self) -> Box<dyn Directory> {
        (self.directory)()
    }

    fn header(&self) -> Result<Header, DrillError> {
        let header = HeaderFile::open(&*self.dir()).map_err(|fault| match fault {
            HeaderOpenFault::Io(e) => e.into(),
            HeaderOpenFault::Fault(_) => DrillError::Blind,
        })?;
        Ok(header.current().clone())
    }

    fn array<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        (self.random)().fill_bytes(&mut out);
        out
    }

    fn passphrase(&self) -> Passphrase {
        Passphrase::new(self.array::<16>().to_vec())
    }
}

impl Vault {
    /// All rows as they lie in the table.
    fn rows(&self) -> Result<Vec<Row>, ReadError> {
        let all = Range {
            lower: std::ops::Bound::Unbounded,
            upper: std::ops::Bound::Unbounded,
            reverse: false,
        };
        let mut rows = Vec::new();
        let visited = self.store.rows(&all, |name, row| {
            rows.push((name.to_vec(), row.to_vec()));
            true
        });
        visited.map(|()| rows).map_err(super::read_error)
    }
}

fn record(n: usize, marker: &[u8]) -> Change {
    let mut value = marker.to_vec();
    value.extend(format!("-{n:04}").bytes());
    value.resize(value.len() + n, b'.');
    Change {
        key: format!("message/{n:04}").into_bytes(),
        value: Some(value),
    }
}

/// All files of the vault, whole.
fn files(dir: &dyn Directory) -> io::Result<Vec<Vec<u8>>> {
    let files = super::wipe::names().map(|name| match dir.open(name) {
        Ok(file) => witness::read(&*file).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    });
    files.filter_map(Result::transpose).collect()
}
