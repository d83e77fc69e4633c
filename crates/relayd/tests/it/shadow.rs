//! A disk in memory that keeps apart what was synced and what was not, and at a crash loses, tears and reorders the latter.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use emptyroom_relayd::segments::disk::{Disk, DiskFile};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

const SECTOR: usize = 512;

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct ShadowDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<NameChange>,
    /// The longest write of all.
    longest_write: usize,
    /// Operations that still go well, and what the later ones fail with.
    fault: Option<(u64, Fault)>,
}

/// How operations fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Everything fails: the power is gone.
    Dead,
    /// What needs space fails.
    Full,
    /// Files cannot be made.
    NoNewFiles,
    /// Syncs fail.
    Sync,
    /// One sync fails, and the next ones do not.
    OneSync,
    /// Syncs fail, and say that there is no space.
    FullSync,
}

/// What an operation needs, and a fault can deny it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Space,
    /// A new file.
    Name,
    Sync,
}

#[derive(Default, Clone)]
struct File {
    durable: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Len(u64),
}

#[derive(Clone)]
enum NameChange {
    Add(String, usize),
    Remove(String),
    Rename(String, String),
}

/// An open file.
pub struct ShadowFile {
    disk: ShadowDisk,
    id: usize,
}

impl ShadowDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// After `count` more operations they fail.
    pub fn fail_after(&self, count: u64, fault: Fault) {
        self.state().fault = Some((count, fault));
    }

    /// All is well again.
    pub fn mend(&self) {
        self.state().fault = None;
    }

    /// What a crash at this moment leaves.
    pub fn crash(&self, rng: &mut ChaCha20Rng) -> ShadowDisk {
        let state = self.state();
        let mut names = state.durable_names.clone();
        for change in &state.pending_names {
            if rng.next_u32().is_multiple_of(2) {
                match change {
                    NameChange::Add(name, id) => drop(names.insert(name.clone(), *id)),
                    NameChange::Remove(name) => drop(names.remove(name)),
                    NameChange::Rename(from, to) => {
                        if let Some(id) = names.remove(from) {
                            names.insert(to.clone(), id);
                        }
                    }
                }
            }
        }
        let files: Vec<File> = state.files.iter().map(|file| file.crash(rng)).collect();
        ShadowDisk(Arc::new(Mutex::new(State {
            files,
            durable_names: names.clone(),
            names,
            ..State::default()
        })))
    }

    /// All bytes of all files, with their names.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let content = |id: &usize| state.files[*id].current.clone();
        state
            .names
            .iter()
            .map(|(name, id)| (name.clone(), content(id)))
            .collect()
    }

    /// What a disk without power holds at this moment, if nothing was written but what was synced.
    pub fn durable(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let content = |id: &usize| state.files[*id].durable.clone();
        state
            .durable_names
            .iter()
            .map(|(name, id)| (name.clone(), content(id)))
            .collect()
    }

    /// How many bytes were written at once at most.
    pub fn longest_write(&self) -> usize {
        self.state().longest_write
    }

    /// What was in the files that have no name any more.
    pub fn removed(&self) -> Vec<Vec<u8>> {
        let state = self.state();
        let named: Vec<usize> = state.names.values().copied().collect();
        (0..state.files.len())
            .filter(|id| !named.contains(id))
            .map(|id| state.files[id].durable.clone())
            .collect()
    }

    /// Changes a file's bytes behind everybody's back.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let id = state.names[name];
        let file = &mut state.files[id];
        change(&mut file.current);
        file.durable.clone_from(&file.current);
        file.pending.clear();
    }
}

impl State {
    fn reach(&mut self, needs: Needs) -> io::Result<()> {
        let Some((left, fault)) = &mut self.fault else {
            return Ok(());
        };
        if *left > 0 {
            *left -= 1;
            return Ok(());
        }
        match fault {
            Fault::Dead => Err(io::Error::other("dead")),
            Fault::Full if matches!(needs, Needs::Space | Needs::Name) => {
                Err(io::ErrorKind::StorageFull.into())
            }
            Fault::NoNewFiles if needs == Needs::Name => Err(io::ErrorKind::StorageFull.into()),
            Fault::Sync if needs == Needs::Sync => Err(io::Error::other("sync")),
            Fault::FullSync if needs == Needs::Sync => Err(io::ErrorKind::StorageFull.into()),
            Fault::OneSync if needs == Needs::Sync => {
                self.fault = None;
                Err(io::Error::other("sync"))
            }
            _ => Ok(()),
        }
    }
}

impl File {
    fn apply(bytes: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Write(at, new) => {
                let at = usize::try_from(*at).unwrap();
                if bytes.len() < at + new.len() {
                    bytes.resize(at + new.len(), 0);
                }
                bytes[at..at + new.len()].copy_from_slice(new);
            }
            Change::Len(len) => bytes.resize(usize::try_from(*len).unwrap(), 0),
        }
    }

    /// Everything that was not synced happened, or did not, sector by sector.
    fn crash(&self, rng: &mut ChaCha20Rng) -> File {
        let mut bytes = self.durable.clone();
        // Often all or nothing; else each sector by itself.
        let mode = rng.next_u32() % 4;
        for change in &self.pending {
            let mut keep = || match mode {
                0 => false,
                1 => true,
                _ => rng.next_u32().is_multiple_of(2),
            };
            match change {
                Change::Len(_) if keep() => File::apply(&mut bytes, change),
                Change::Len(_) => {}
                Change::Write(at, new) => {
                    let mut from = 0;
                    while from < new.len() {
                        let place = usize::try_from(*at).unwrap() + from;
                        let to = (from + SECTOR - place % SECTOR).min(new.len());
                        if keep() {
                            let part = Change::Write(place as u64, new[from..to].to_vec());
                            File::apply(&mut bytes, &part);
                        }
                        from = to;
                    }
                }
            }
        }
        File {
            durable: bytes.clone(),
            current: bytes,
            pending: Vec::new(),
        }
    }
}

impl Disk for ShadowDisk {
    type File = ShadowFile;

    fn names(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.reach(Needs::Nothing)?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<ShadowFile> {
        let mut state = self.state();
        state.reach(Needs::Name)?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.files.len();
        state.files.push(File::default());
        state.names.insert(name.to_owned(), id);
        state
            .pending_names
            .push(NameChange::Add(name.to_owned(), id));
        Ok(ShadowFile {
            disk: self.clone(),
            id,
        })
    }

    fn open(&self, name: &str) -> io::Result<ShadowFile> {
        let mut state = self.state();
        state.reach(Needs::Nothing)?;
        let id = state.names.get(name).copied();
        id.map(|id| ShadowFile {
            disk: self.clone(),
            id,
        })
        .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.reach(Needs::Nothing)?;
        state
            .names
            .remove(name)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        state
            .pending_names
            .push(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.reach(Needs::Name)?;
        let id = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), id);
        let change = NameChange::Rename(from.to_owned(), to.to_owned());
        state.pending_names.push(change);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        state.reach(Needs::Sync)?;
        state.durable_names = state.names.clone();
        state.pending_names.clear();
        Ok(())
    }
}

impl ShadowFile {
    fn change(&self, change: Change, needs: Needs) -> io::Result<()> {
        let mut state = self.disk.state();
        if let Err(error) = state.reach(needs) {
            // A part of it was written.
            if let Change::Write(at, bytes) = &change {
                let part = Change::Write(*at, bytes[..bytes.len() / 2].to_vec());
                File::apply(&mut state.files[self.id].current, &part);
                state.files[self.id].pending.push(part);
            }
            return Err(error);
        }
        let file = &mut state.files[self.id];
        File::apply(&mut file.current, &change);
        file.pending.push(change);
        Ok(())
    }
}

impl DiskFile for ShadowFile {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.reach(Needs::Nothing)?;
        Ok(state.files[self.id].current.len() as u64)
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.reach(Needs::Nothing)?;
        let at = usize::try_from(at).unwrap();
        let content = &state.files[self.id].current;
        let part = content.get(at..at + bytes.len());
        bytes.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.longest_write = state.longest_write.max(bytes.len());
        drop(state);
        self.change(Change::Write(at, bytes.to_vec()), Needs::Space)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Len(len), Needs::Nothing)
    }

    fn erase(&self, at: u64, len: u64) -> io::Result<()> {
        let zeros = vec![0; usize::try_from(len).unwrap()];
        self.change(Change::Write(at, zeros), Needs::Nothing)
    }

    /// What a sync that fails should have written is lost, though it is read: the next sync that goes well knows nothing of it.
    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let reached = state.reach(Needs::Sync);
        let file = &mut state.files[self.id];
        let pending = std::mem::take(&mut file.pending);
        reached?;
        for change in &pending {
            File::apply(&mut file.durable, change);
        }
        Ok(())
    }
}
