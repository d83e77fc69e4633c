//! redb's storage, sealed by block: XChaCha20-Poly1305, a fresh random nonce per write, the block's
//! number as context.
//!
//! Blocks other than zero are written whole, and only while no durable transaction refers to them;
//! so a torn write never harms what counts. Block zero is in [`super::block_zero`].

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::Fault;
use super::block_zero::{BLOCK_LEN, BlockZero, COPY_LEN, OFFSETS};
use crate::directory::File;
use crate::memory::LockedKey;
use crate::pair::Pair;
use crate::random::Random;
use crate::seal::{OVERHEAD, open_into, seal_into};

const SEALED_LEN: usize = BLOCK_LEN + OVERHEAD;
/// Where block 1 begins.
const DATA_START: u64 = 16_384;

/// The sealed file, and what stopped it from working.
pub(crate) struct SealedFile {
    file: Box<dyn File>,
    key: LockedKey,
    random: Random,
    state: Mutex<State>,
    fault: Mutex<Option<Fault>>,
}

struct State {
    zero: BlockZero,
    pair: Pair,
    /// Block zero or the length changed since they were written.
    dirty: bool,
    /// Blocks were cut off; the file is cut when that is durable.
    shrunk: bool,
}

impl SealedFile {
    pub(crate) fn create(file: Box<dyn File>, key: LockedKey, random: &Random) -> io::Result<Self> {
        file.reserve(DATA_START)?;
        let start = usize::try_from(DATA_START).unwrap_or(0);
        let mut noise = vec![0; start];
        random.fill(&mut noise);
        file.write_at(0, &noise)?;
        let image = BlockZero::empty().seal(&key, random);
        for offset in OFFSETS {
            file.write_at(offset, &image)?;
        }
        file.sync()?;
        Self::open(file, key, random)
    }

    /// Opens a file that exists. [`SealedFile::reload`] is called before it is used.
    pub(crate) fn open(file: Box<dyn File>, key: LockedKey, random: &Random) -> io::Result<Self> {
        let state = State::load(&*file, &key)?;
        Ok(SealedFile {
            file,
            key,
            random: random.clone(),
            state: Mutex::new(state),
            fault: Mutex::new(None),
        })
    }

    /// Forgets what was not made durable, and the fault.
    pub(crate) fn reload(&self) -> io::Result<()> {
        // What is read from here on is durable: a process may have died before it synced.
        self.file.sync()?;
        let state = State::load(&*self.file, &self.key)?;
        *self.state() = state;
        *lock(&self.fault) = None;
        Ok(())
    }

    /// The first fault since it was opened.
    pub(crate) fn first_fault(&self) -> Option<Fault> {
        *lock(&self.fault)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Remembers the first error, which redb hides behind later ones.
    fn noted<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|e| {
            let fault = Fault::from(io::Error::from(e.kind()));
            lock(&self.fault).get_or_insert(fault);
        })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset.saturating_add(u64_len(out));
        {
            let state = self.state();
            if end > state.zero.len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if end <= BLOCK_LEN as u64 {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let part = state.zero.bytes.get(from..from.saturating_add(out.len()));
                out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
                return Ok(());
            }
        }
        let first = whole_block(offset, out.len())?;
        let mut sealed = vec![0; out.len() / BLOCK_LEN * SEALED_LEN];
        self.file.read_at(place(first), &mut sealed)?;
        for ((number, sealed), out) in (first..)
            .zip(sealed.chunks_exact(SEALED_LEN))
            .zip(out.chunks_exact_mut(BLOCK_LEN))
        {
            // [SPEC 11.11]
            open_into(self.key.expose(), &number.to_be_bytes(), sealed, out)
                .map_err(|_| io::ErrorKind::InvalidData)?;
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(u64_len(data));
        {
            let mut state = self.state();
            if end > state.zero.len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if end <= BLOCK_LEN as u64 {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let part = state
                    .zero
                    .bytes
                    .get_mut(from..from.saturating_add(data.len()));
                part.ok_or(io::ErrorKind::InvalidInput)?
                    .copy_from_slice(data);
                state.dirty = true;
                return Ok(());
            }
        }
        let first = whole_block(offset, data.len())?;
        let mut sealed = vec![0; data.len() / BLOCK_LEN * SEALED_LEN];
        for ((number, sealed), data) in (first..)
            .zip(sealed.chunks_exact_mut(SEALED_LEN))
            .zip(data.chunks_exact(BLOCK_LEN))
        {
            seal_into(
                self.key.expose(),
                &number.to_be_bytes(),
                &self.random,
                data,
                sealed,
            );
        }
        self.file.write_at(place(first), &sealed)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if !len.is_multiple_of(BLOCK_LEN as u64) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut state = self.state();
        if len > state.zero.len {
            self.file.reserve(place(len / BLOCK_LEN as u64))?;
        } else {
            state.shrunk = true;
        }
        state.zero.len = len;
        state.dirty = true;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        if !state.dirty {
            return self.file.sync();
        }
        // [SPEC 11.12]
        state.zero.sequence += 1;
        let image = state.zero.seal(&self.key, &self.random);
        state.pair.write_other(&*self.file, &image)?;
        self.file.sync()?;
        state.pair.promote();
        state.dirty = false;
        if state.shrunk {
            let end = place((state.zero.len / BLOCK_LEN as u64).max(1));
            self.file.truncate(end)?;
            state.shrunk = false;
        }
        state.pair.write_other(&*self.file, &image)
    }

    fn close(&self) -> io::Result<()> {
        if self.first_fault().is_some() {
            // What is on the disk is for the next opening to judge.
            return Ok(());
        }
        self.sync()?;
        self.file.sync()
    }
}

impl State {
    fn load(file: &dyn File, key: &LockedKey) -> io::Result<State> {
        let mut found: [Option<BlockZero>; 2] = [None, None];
        for (offset, found) in OFFSETS.into_iter().zip(&mut found) {
            let mut sealed = [0; COPY_LEN];
            match file.read_at(offset, &mut sealed) {
                Ok(()) => *found = BlockZero::open(key, &sealed),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(e) => return Err(e),
            }
        }
        let (good, zero) = match found {
            [Some(a), Some(b)] if b.sequence > a.sequence => (1, b),
            [Some(a), _] => (0, a),
            [None, Some(b)] => (1, b),
            [None, None] => return Err(io::ErrorKind::InvalidData.into()),
        };
        if zero.len > 0 && file.len()? < place(zero.len / BLOCK_LEN as u64) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(State {
            zero,
            pair: Pair::new(OFFSETS, good),
            dirty: false,
            shrunk: false,
        })
    }
}

/// The file as redb holds it.
#[derive(Clone)]
pub(crate) struct Handle(Arc<SealedFile>);

impl Handle {
    pub(crate) fn new(file: &Arc<SealedFile>) -> Self {
        Handle(Arc::clone(file))
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sealed file")
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.state().zero.len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.noted(self.0.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.noted(self.0.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.noted(self.0.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.noted(self.0.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.0.noted(self.0.close())
    }
}

/// Where a block lies in the file; for the number of blocks, where they end.
fn place(number: u64) -> u64 {
    DATA_START + number.saturating_sub(1).saturating_mul(SEALED_LEN as u64)
}

/// The number of the block at `offset`, if that and `len` are whole blocks, and not block zero.
fn whole_block(offset: u64, len: usize) -> io::Result<u64> {
    let number = offset / BLOCK_LEN as u64;
    if number == 0 || !offset.is_multiple_of(BLOCK_LEN as u64) || !len.is_multiple_of(BLOCK_LEN) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(number)
}

fn u64_len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
