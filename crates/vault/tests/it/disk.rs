//! A disk in memory that crashes, tears, runs full, records and is damaged.
//!
//! Every write reaches the disk only with a sync of its file (names: of the directory). A crash
//! decides for each write since then whether it arrived, did not, or arrived in part.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use emptyroom_vault::Directory;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

// This file is a module of another crate, too, where its place is another.
#[path = "disk/handle.rs"]
mod handle;

/// Blocks of the disk tear between sectors of this many bytes.
const SECTOR: usize = 512;

#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    files: BTreeMap<u64, Content>,
    /// Names as the process sees them, and as they are durable.
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    next_file: u64,
    locked: bool,
    /// Writes, syncs and changes of names so far.
    steps: u64,
    /// After this many steps nothing works any more.
    crash_at: Option<u64>,
    /// Reserving space and growing beyond this many bytes in all fails.
    capacity: Option<u64>,
    /// This step fails with an error, once.
    fail_at: Option<(u64, io::ErrorKind)>,
    /// Writing to this file fails.
    read_only: Option<String>,
    /// So many times no file is opened.
    shut: u32,
    /// Reading this sector of a file fails until it is written over.
    bad: Option<(String, u64)>,
    /// Everything ever written, by name of the file, if it is to be kept.
    recording: Option<Vec<Recorded>>,
    /// Everything that was asked of it, in order, if it is to be kept.
    trace: Option<Vec<String>>,
}

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    reserved: u64,
    unsynced: Vec<Op>,
}

#[derive(Clone)]
enum Op {
    Write(u64, Vec<u8>),
    Grow(u64),
    Truncate(u64),
}

/// One write, as a medium that never forgets has it.
#[derive(Clone)]
pub struct Recorded {
    pub name: String,
    pub offset: u64,
    pub bytes: Vec<u8>,
}

/// What becomes of the writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    All,
    Nothing,
    /// Each arrived in part.
    Torn,
    /// Each by chance: lost, kept, or torn.
    Random(u64),
}

impl Disk {
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn boxed(&self) -> Box<dyn Directory> {
        Box::new(self.clone())
    }

    /// A copy that shares nothing with this one.
    pub fn fork(&self) -> Disk {
        let mut state = self.state().clone();
        state.locked = false;
        Disk(Arc::new(Mutex::new(state)))
    }

    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    pub fn crash_after(&self, steps: u64) {
        let mut state = self.state();
        state.crash_at = Some(state.steps + steps);
    }

    pub fn fail_step(&self, steps: u64, kind: io::ErrorKind) {
        let mut state = self.state();
        state.fail_at = Some((state.steps + steps, kind));
    }

    pub fn fail_nothing(&self) {
        self.state().fail_at = None;
    }

    pub fn refuse_writes_to(&self, name: Option<&str>) {
        self.state().read_only = name.map(str::to_owned);
    }

    /// As where there are no descriptors.
    pub fn shut(&self, times: u32) {
        self.state().shut = times;
    }

    pub fn spoil(&self, name: &str, offset: u64) {
        self.state().bad = Some((name.to_owned(), offset));
    }

    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    pub fn used_bytes(&self) -> u64 {
        self.state().used()
    }

    pub fn record(&self) {
        self.state().recording = Some(Vec::new());
    }

    pub fn recorded(&self) -> Vec<Recorded> {
        self.state().recording.clone().unwrap_or_default()
    }

    pub fn trace(&self) {
        self.state().trace = Some(Vec::new());
    }

    /// What was asked of it since [`Disk::trace`].
    pub fn traced(&self) -> Vec<String> {
        self.state().trace.clone().unwrap_or_default()
    }

    pub fn note(&self, what: String) {
        self.state().note(|| what);
    }

    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[&state.names[name]].now.clone()
    }

    pub fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let id = state.names[name];
        let content = state.files.get_mut(&id).unwrap();
        change(&mut content.now);
        content.durable = content.now.clone();
        content.unsynced.clear();
    }

    pub fn remove(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    /// The disk after only the process died: what it wrote is there, and not yet durable.
    pub fn after_kill(&self) -> Disk {
        let disk = self.fork();
        let mut state = disk.state();
        state.crash_at = None;
        state.fail_at = None;
        drop(state);
        disk
    }

    /// The disk after the power came back.
    pub fn after_crash(&self, loss: Loss) -> Disk {
        let mut state = self.state().clone();
        let mut rng = ChaCha20Rng::seed_from_u64(match loss {
            Loss::Random(seed) => seed,
            _ => 0,
        });
        match loss {
            Loss::All => state.names = state.durable_names.clone(),
            Loss::Nothing | Loss::Torn => {}
            // A rename may have arrived where the creation of another file did not.
            Loss::Random(_) => {
                let either = state.names.keys().chain(state.durable_names.keys());
                let either: Vec<String> = either.cloned().collect();
                for name in either {
                    if rng.next_u32() % 2 == 0 {
                        match state.durable_names.get(&name).copied() {
                            Some(id) => state.names.insert(name, id),
                            None => state.names.remove(&name),
                        };
                    }
                }
            }
        }
        state.durable_names = state.names.clone();
        for content in state.files.values_mut() {
            let mut bytes = content.durable.clone();
            for op in content.unsynced.drain(..) {
                match loss {
                    Loss::All => {}
                    Loss::Nothing => op.apply(&mut bytes),
                    Loss::Torn => op.tear(&mut bytes, &mut rng),
                    Loss::Random(_) => match rng.next_u32() % 3 {
                        0 => {}
                        1 => op.apply(&mut bytes),
                        _ => op.tear(&mut bytes, &mut rng),
                    },
                }
            }
            content.now = bytes.clone();
            content.durable = bytes;
        }
        state.locked = false;
        state.crash_at = None;
        state.fail_at = None;
        Disk(Arc::new(Mutex::new(state)))
    }
}

impl Op {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Op::Write(offset, data) => write(bytes, *offset as usize, data),
            Op::Grow(len) => {
                if bytes.len() < *len as usize {
                    bytes.resize(*len as usize, 0);
                }
            }
            Op::Truncate(len) => bytes.truncate(*len as usize),
        }
    }

    /// Some of the disk's sectors that a write covers arrive, and of one only the first bytes.
    fn tear(&self, bytes: &mut Vec<u8>, rng: &mut ChaCha20Rng) {
        let Op::Write(offset, data) = self else {
            return self.apply(bytes);
        };
        let mut at = 0;
        while at < data.len() {
            let place = *offset as usize + at;
            let len = (SECTOR - place % SECTOR).min(data.len() - at);
            match rng.next_u32() % 4 {
                0 => {}
                1 => {
                    let part = rng.next_u32() as usize % (len + 1);
                    write(bytes, place, &data[at..at + part]);
                }
                _ => write(bytes, place, &data[at..at + len]),
            }
            at += len;
        }
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

impl State {
    fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(what());
        }
    }

    fn name_of(&self, id: u64) -> String {
        let named = self.names.iter().find(|(_, named)| **named == id);
        named.map_or_else(String::new, |(name, _)| name.clone())
    }

    fn used(&self) -> u64 {
        self.files
            .values()
            .map(|content| content.reserved.max(content.now.len() as u64))
            .sum()
    }

    fn step(&mut self) -> io::Result<()> {
        self.alive()?;
        self.steps += 1;
        match self.fail_at {
            Some((at, kind)) if self.steps == at => Err(kind.into()),
            _ => Ok(()),
        }
    }

    fn alive(&self) -> io::Result<()> {
        match self.crash_at {
            Some(at) if self.steps >= at => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Ok(()),
        }
    }

    /// Whether the disk gives these bytes.
    fn reads(&self, name: &str, offset: u64, len: usize) -> io::Result<()> {
        match &self.bad {
            Some((bad, at)) if bad == name && (offset..offset + len as u64).contains(at) => {
                Err(io::ErrorKind::Other.into())
            }
            _ => Ok(()),
        }
    }

    fn room(&self, id: u64, len: u64) -> io::Result<()> {
        let content = &self.files[&id];
        let has = content.reserved.max(content.now.len() as u64);
        let more = len.saturating_sub(has);
        match self.capacity {
            Some(capacity) if more > 0 && self.used() + more > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }
}
