//! All rows of a store in one file, on their way to another store: `export` and `import`.
//!
//! Rows are moved as they are sealed under their logs' own secrets; what they were sealed under once more, day keys and the like, stays with
//! the store that they leave, and the store that they come to seals them under its own.
//!
//! ```text
//! EREXPT01 ‖ identity hash ‖ records ‖ 255 ‖ number of records (8) ‖ SHA-256 of all before
//! record: table (1: 0 lasting, 1 entries) ‖ database (2) ‖ last day (4) ‖ row key (32) ‖ length (4) ‖ row
//! ```
//!
//! Rows of one log come from one database and go to one: nobody can tell which rows belong together, so all of a database go the same way.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use emptyroom_relay::store::{RowKey, StoreFailure};
use emptyroom_wire::limits::ENTRY_LEN_MAX;
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::time::Day;
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::clock;
use crate::data::{DataError, sync_directory};
use crate::medium::Keeper;
use crate::medium::moved::Come;
use crate::seal::Table;

const MAGIC: &[u8; 8] = b"EREXPT01";
const END: u8 = 255;
/// A row is an entry with what it is sealed with.
const ROW_MAX: usize = ENTRY_LEN_MAX + 4_096;
/// Bytes of rows that are written to a store at a time.
const PORTION_BYTES: usize = 4 << 20;
/// And rows.
const PORTION_ROWS: usize = 512;

/// A row on its way.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) table: Table,
    /// In which database it lies, from 0.
    pub(crate) shard: u16,
    /// Its last day.
    pub(crate) day: Day,
    pub(crate) key: RowKey,
    pub(crate) row: Vec<u8>,
}

/// Why rows could not be moved.
#[derive(Debug)]
pub(crate) enum MoveError {
    /// The file.
    File(DataError),
    /// It is not whole, or none of these.
    Damaged(PathBuf, &'static str),
    /// It is of a relay of another identity.
    OtherIdentity,
    /// There are rows already where they were to go.
    NotEmpty,
    /// Rows of another file were being brought there.
    OtherImport,
    /// Not all rows that were being brought there are there.
    HalfImported,
    /// Other programs work with the store.
    Busy,
    /// They do, and not all databases could be told that this was in vain.
    HalfTaken,
    /// None of its rows opens.
    NoneOpens,
    /// The store.
    Store(StoreFailure),
}

impl From<StoreFailure> for MoveError {
    fn from(failure: StoreFailure) -> Self {
        Self::Store(failure)
    }
}

impl From<DataError> for MoveError {
    fn from(error: DataError) -> Self {
        Self::File(error)
    }
}

impl std::fmt::Display for MoveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Damaged(path, what) => write!(f, "{} is damaged: {what}", path.display()),
            Self::OtherIdentity => f.write_str("the rows are those of a relay of another identity"),
            Self::NotEmpty => f.write_str("the store that they are to go to is not empty"),
            Self::OtherImport => f.write_str("an import of another file was begun there"),
            Self::HalfImported => f.write_str("an import into it is not whole"),
            Self::Busy => f.write_str("a relay is running on the store"),
            Self::NoneOpens => f.write_str("none of the rows of the store opens"),
            Self::HalfTaken => f.write_str(
                "a relay is running on the store, and a database that went away meanwhile still says that its rows are on the move",
            ),
            Self::Store(failure) => failure.fmt(f),
        }
    }
}

/// What is not moved.
#[derive(Default)]
pub(crate) struct Left {
    /// Rows that are over, as far as they were seen.
    pub(crate) over: u64,
    /// Rows that do not open.
    pub(crate) lost: u64,
}

/// What was moved.
pub(crate) struct Moved {
    pub(crate) rows: u64,
    /// Rows that are over, and stay behind, as far as they were seen.
    pub(crate) over: u64,
    /// Rows that did not open, and stay behind.
    pub(crate) lost: u64,
}

/// The file that rows go to, which must be a new one. Until it is whole it has another name; what an export of this user left there that was cut
/// off goes first, and nothing else.
pub(crate) fn create(to: &Path) -> Result<File, MoveError> {
    let half = half(to);
    let failed = |e: io::Error| MoveError::File(DataError::io("make", &half, e));
    expect_new(to)?;
    if is_left_over(&half) {
        std::fs::remove_file(&half).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    // No link is followed.
    options.write(true).create_new(true).mode(0o600);
    let file = options.open(&half).map_err(failed)?;
    // So that nobody takes it for one that was left. There are file systems that know no locks.
    let _ = file.try_lock();
    Ok(file)
}

/// Nothing is there yet, nor in its way.
fn expect_new(to: &Path) -> Result<(), MoveError> {
    if to.symlink_metadata().is_ok() {
        let there = io::ErrorKind::AlreadyExists.into();
        return Err(MoveError::File(DataError::io("make", to, there)));
    }
    let half = half(to);
    if half.symlink_metadata().is_ok() && !is_left_over(&half) {
        let there = io::ErrorKind::AlreadyExists.into();
        return Err(MoveError::File(DataError::io("make", &half, there)));
    }
    Ok(())
}

fn is_left_over(half: &Path) -> bool {
    let is_own = half
        .symlink_metadata()
        .is_ok_and(|found| found.is_file() && found.uid() == rustix::process::geteuid().as_raw());
    if !is_own {
        return false;
    }
    let mut begins = Vec::with_capacity(MAGIC.len());
    // Whatever is put there since is not followed, nor waited for.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true);
    let opened = options.custom_flags(flags.bits().cast_signed()).open(half);
    let Ok(file) = opened else {
        return false;
    };
    // Another export writes it.
    if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        return false;
    }
    let read = file.take(8).read_to_end(&mut begins);
    read.is_ok() && MAGIC.starts_with(&begins)
}

/// Removes what is there of it.
pub(crate) fn discard(to: &Path) {
    let _ = std::fs::remove_file(half(to));
}

/// Gives it its name, unless there is something of that name by now.
fn name(to: &Path) -> io::Result<()> {
    let half = half(to);
    match std::fs::hard_link(&half, to) {
        Ok(()) => std::fs::remove_file(&half),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // There are file systems without links, and some of those cannot rename so either.
        Err(_) => match renameat_with(CWD, &half, CWD, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) if to.symlink_metadata().is_err() => {
                std::fs::rename(&half, to)
            }
            outcome => Ok(outcome?),
        },
    }
}

fn half(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Writes all rows of a store to a new file; says now and then how many there are by now.
// [SPEC 6.213]
pub(crate) fn export(
    keeper: &mut Keeper,
    identity: &IdentityHash,
    (file, to): (File, &Path),
    mut tell: impl FnMut(u64),
) -> Result<Moved, MoveError> {
    let failed = |e: io::Error| MoveError::File(DataError::io("write", to, e));
    let mut out = Hashing::new(BufWriter::new(file));
    let mut rows = 0_u64;
    out.put(MAGIC).map_err(failed)?;
    out.put(&identity.0).map_err(failed)?;
    let Left { over, lost } = keeper.each_row(clock::wall().day(), &mut |record: &Record| {
        rows += 1;
        write_record(&mut out, record).map_err(failed)?;
        tell(rows);
        Ok(())
    })?;
    if rows == 0 && lost > 0 {
        return Err(MoveError::NoneOpens);
    }
    let finished = (|| {
        out.put(&[END])?;
        out.put(&rows.to_be_bytes())?;
        let (mut out, hash) = out.finish();
        out.write_all(&hash)?;
        let file = out.into_inner()?;
        file.sync_all()?;
        name(to)
    })();
    finished.map_err(failed)?;
    sync_directory(to)?;
    Ok(Moved { rows, over, lost })
}

/// The hash of a file of rows, which is whole and of this relay.
pub(crate) fn look(from: &Path, identity: &IdentityHash) -> Result<[u8; 32], MoveError> {
    read(from, identity, |_| Ok(())).map(|(_, hash)| hash)
}

/// Brings the rows of a file into a store; those that are over stay behind.
// [SPEC 6.213]
pub(crate) fn import(
    (keeper, come): (&mut Keeper, &Come),
    identity: &IdentityHash,
    (from, hash): (&Path, &[u8; 32]),
    mut tell: impl FnMut(u64),
) -> Result<Moved, MoveError> {
    let today = clock::wall().day();
    let mut portion: Vec<Record> = Vec::new();
    let (mut bytes, mut rows, mut over) = (0, 0, 0);
    let (_, found) = read(from, identity, |record| {
        if record.day < today {
            over += 1;
            return Ok(());
        }
        rows += 1;
        bytes += record.row.len();
        portion.push(record);
        if bytes >= PORTION_BYTES || portion.len() >= PORTION_ROWS {
            keeper.bring(std::mem::take(&mut portion), come)?;
            bytes = 0;
            tell(rows);
        }
        Ok(())
    })?;
    // It was looked at before.
    if found != *hash {
        return Err(MoveError::Damaged(from.to_owned(), "it changed meanwhile"));
    }
    keeper.bring(portion, come)?;
    Ok(Moved {
        rows,
        over,
        lost: 0,
    })
}

fn write_record<W: Write>(out: &mut Hashing<W>, record: &Record) -> io::Result<()> {
    let len = u32::try_from(record.row.len()).map_err(io::Error::other)?;
    out.put(&[record.table.code()])?;
    out.put(&record.shard.to_be_bytes())?;
    out.put(&record.day.0.to_be_bytes())?;
    out.put(&record.key.0)?;
    out.put(&len.to_be_bytes())?;
    out.put(&record.row)
}

/// Reads a file to its end; the number of its records, and its hash.
fn read(
    path: &Path,
    identity: &IdentityHash,
    mut take: impl FnMut(Record) -> Result<(), MoveError>,
) -> Result<(u64, [u8; 32]), MoveError> {
    let damaged = |what| MoveError::Damaged(path.to_owned(), what);
    let cut = |_: io::Error| damaged("it ends in the middle");
    let file = File::open(path).map_err(|e| MoveError::File(DataError::io("open", path, e)))?;
    let mut file = Hashing::new(BufReader::new(file));
    if file.take::<8>().map_err(cut)? != *MAGIC {
        return Err(damaged("it is no export of this version"));
    }
    if file.take::<32>().map_err(cut)? != identity.0 {
        return Err(MoveError::OtherIdentity);
    }
    let mut number = 0_u64;
    loop {
        let [tag] = file.take::<1>().map_err(cut)?;
        if tag == END {
            break;
        }
        let table = Table::of(tag).ok_or_else(|| damaged("there is no such table"))?;
        let shard = u16::from_be_bytes(file.take().map_err(cut)?);
        let day = Day(u32::from_be_bytes(file.take().map_err(cut)?));
        let key = RowKey(file.take().map_err(cut)?);
        let len = u32::from_be_bytes(file.take().map_err(cut)?);
        let len = usize::try_from(len).ok().filter(|len| *len <= ROW_MAX);
        let row = file.take_vec(len.ok_or_else(|| damaged("a row is too long"))?);
        number += 1;
        take(Record {
            table,
            shard,
            day,
            key,
            row: row.map_err(cut)?,
        })?;
    }
    if u64::from_be_bytes(file.take().map_err(cut)?) != number {
        return Err(damaged("rows are missing"));
    }
    let (mut rest, hash) = file.finish();
    let mut kept = [0; 32];
    rest.read_exact(&mut kept).map_err(cut)?;
    if kept != hash {
        return Err(damaged("its checksum does not fit"));
    }
    Ok((number, hash))
}

/// Hashes what goes through.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
        }
    }

    fn finish(self) -> (T, [u8; 32]) {
        (self.inner, self.hash.finalize().into())
    }
}

impl<W: Write> Hashing<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.inner.write_all(bytes)
    }
}

impl<R: Read> Hashing<R> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.hash.update(bytes);
        Ok(bytes)
    }

    fn take_vec(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.inner.read_exact(&mut bytes)?;
        self.hash.update(&bytes);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch;

    // [SPEC 6.215]
    #[test]
    fn what_another_export_is_writing_is_left_alone() {
        let dir = scratch("moving-half");
        let to = dir.path().join("rows");
        let mut first = create(&to).unwrap();
        first.write_all(MAGIC).unwrap();
        assert!(matches!(create(&to), Err(MoveError::File(_))));
        assert!(half(&to).exists());
        // It was killed.
        drop(first);
        create(&to).unwrap();
        // What got the name meanwhile keeps it.
        std::fs::write(&to, b"somebody's").unwrap();
        assert!(name(&to).is_err());
        assert_eq!(std::fs::read(&to).unwrap(), b"somebody's");
    }
}
