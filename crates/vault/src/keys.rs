//! The record keys: a table in memory, sealed sectors on the disk, and how a key dies.
//!
//! There are two key files, of which one counts (the header says which). A key is killed by
//! rewriting its sector in place through the journal. A rotation writes every sector, under a new
//! root, to the other file; when the header names that file, the old root is gone, and with it
//! every earlier state of every sector, wherever a medium may have kept it.

mod journal;
mod sector;
mod table;

pub(crate) use journal::{Index as JournalIndex, SECTORS_MAX as KILL_SECTORS_MAX};
pub(crate) use sector::SECTOR_LEN;
use table::SECTOR_PLAIN_LEN;
pub(crate) use table::{KEYS_PER_SECTOR, KeyRef, KeyTable, set_bit};

use std::collections::BTreeSet;
use std::io;

use zeroize::Zeroizing;

use crate::derive::{LABEL_JOURNAL, LABEL_SECTORS, root_subkey};
use crate::directory::{Directory, File};
use crate::memory::{KEY_LEN, LockedKey};
use crate::random::Random;

const FILE_NAMES: [&str; 2] = ["keys.0", "keys.1"];
const JOURNAL_NAME: &str = "journal";
/// Everything here that has a name.
pub(crate) const NAMES: [&str; 3] = [FILE_NAMES[0], FILE_NAMES[1], JOURNAL_NAME];

/// Sectors of a new vault: 448 keys.
pub(crate) const SECTORS_FIRST: u32 = 4;
/// More sectors are not made (about 110 million keys).
pub(crate) const SECTORS_MAX: u32 = 1_000_000;

/// A root and the keys that die with it.
pub(crate) struct Root {
    pub(crate) root: LockedKey,
    sectors: LockedKey,
    journal: LockedKey,
}

impl Root {
    pub(crate) fn new(vault: &LockedKey, root: LockedKey) -> Self {
        Root {
            sectors: root_subkey(vault, &root, LABEL_SECTORS),
            journal: root_subkey(vault, &root, LABEL_JOURNAL),
            root,
        }
    }

    /// The record keys in a block, if it is one of the first `sectors` sectors under this root, wherever it was found.
    pub(crate) fn keys_in(&self, block: &[u8], sectors: u32) -> Vec<[u8; KEY_LEN]> {
        let mut plain = Zeroizing::new([0; SECTOR_PLAIN_LEN]);
        let mut opens = |number| sector::open(&self.sectors, number, block, &mut *plain).is_ok();
        if block.len() != SECTOR_LEN || !(0..sectors).any(&mut opens) {
            return Vec::new();
        }
        table::keys_of(&plain).copied().collect()
    }
}

/// Why the keys were not loaded.
pub(crate) enum LoadFault {
    Corrupt,
    Io(io::Error),
}

impl From<io::Error> for LoadFault {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound => LoadFault::Corrupt,
            _ => LoadFault::Io(e),
        }
    }
}

/// Key files, journal and table.
pub(crate) struct Keys {
    files: [Box<dyn File>; 2],
    journal: Box<dyn File>,
    journal_len: usize,
    active: u8,
    root: Root,
    random: Random,
    pub(crate) table: KeyTable,
    /// Sectors that are newer in memory than on the disk.
    dirty: BTreeSet<u32>,
    /// Sectors whose writing in place began: the journal still repairs them.
    in_place: BTreeSet<u32>,
}

/// A rotation that is written to the idle file, but that the header does not name yet.
pub(crate) struct Rotation {
    pub(crate) root: Root,
    pub(crate) active: u8,
    table: KeyTable,
}

impl Rotation {
    pub(crate) fn sectors(&self) -> u32 {
        self.table.sectors()
    }
}

impl Keys {
    /// Makes both files and the journal, and writes the first one.
    pub(crate) fn create(dir: &dyn Directory, root: Root, random: &Random) -> io::Result<Keys> {
        let files = [dir.create(FILE_NAMES[0])?, dir.create(FILE_NAMES[1])?];
        let journal = dir.create(JOURNAL_NAME)?;
        journal.reserve(journal::FILE_LEN)?;
        journal::scrub(&*journal, random, journal::whole_len())?;
        journal.sync()?;
        let table = KeyTable::new(SECTORS_FIRST).renewed(SECTORS_FIRST, random);
        let keys = Keys {
            files,
            journal,
            journal_len: 0,
            active: 0,
            root,
            random: random.clone(),
            table,
            dirty: BTreeSet::new(),
            in_place: BTreeSet::new(),
        };
        keys.reserve(SECTORS_FIRST)?;
        keys.write_all(0, &keys.root, &keys.table)?;
        keys.scrub_file(1, SECTORS_FIRST)?;
        Ok(keys)
    }

    /// Reads every sector of the file that counts. Says, too, whether rows of dead keys may
    /// still be in the table.
    pub(crate) fn load(
        dir: &dyn Directory,
        root: Root,
        active: u8,
        sectors: u32,
        random: &Random,
    ) -> Result<(Keys, bool), LoadFault> {
        if sectors > SECTORS_MAX {
            return Err(LoadFault::Corrupt);
        }
        let files = [dir.open(FILE_NAMES[0])?, dir.open(FILE_NAMES[1])?];
        let journal = dir.open(JOURNAL_NAME)?;
        // What is read from here on is durable: a process may have died before it synced.
        journal.sync()?;
        for file in &files {
            file.sync()?;
        }
        let mut keys = Keys {
            files,
            journal,
            journal_len: journal::whole_len(),
            active,
            root,
            random: random.clone(),
            table: KeyTable::new(0),
            dirty: BTreeSet::new(),
            in_place: BTreeSet::new(),
        };
        if keys.file(active).len()? < sector::offset(sectors) {
            return Err(LoadFault::Corrupt);
        }
        let sweep = keys.replay(sectors)?;
        keys.table = KeyTable::new(sectors);
        let mut sealed = [0; SECTOR_LEN];
        for number in 0..sectors {
            keys.file(active)
                .read_at(sector::offset(number), &mut sealed)?;
            // [SPEC 11.13]
            sector::open(
                &keys.root.sectors,
                number,
                &sealed,
                keys.table.sector_mut(number),
            )
            .map_err(|_| LoadFault::Corrupt)?;
        }
        Ok((keys, sweep))
    }

    pub(crate) fn root(&self) -> &LockedKey {
        &self.root.root
    }

    /// Kills keys in memory. They are dead on the disk when [`Keys::flush`] has succeeded.
    pub(crate) fn kill(&mut self, keys: impl IntoIterator<Item = KeyRef>) {
        for key in keys {
            if self.table.kill(key, &self.random) {
                self.dirty.insert(key.sector());
            }
        }
    }

    /// Whether the disk has everything that the table has.
    pub(crate) fn is_flushed(&self) -> bool {
        self.dirty.is_empty() && self.in_place.is_empty()
    }

    /// Brings all kills to the disk: journal, sync, in place, sync; at most 63 sectors at a time.
    /// `sweep` says whether the table may have rows of keys that are dead by then.
    pub(crate) fn flush(&mut self, sweep: bool) -> io::Result<()> {
        // What an earlier attempt began is repaired by its journal until it is finished.
        self.finish_in_place()?;
        while !self.dirty.is_empty() {
            let round: Vec<u32> = self
                .dirty
                .iter()
                .copied()
                .take(journal::SECTORS_MAX)
                .collect();
            let images = self.images(round.iter());
            let journal = journal::Journal { images, sweep };
            let len = journal::used_len(&journal.images);
            // [SPEC 11.15]
            let used_before = self.journal_len;
            self.journal_len = used_before.max(len);
            journal::write(
                &*self.journal,
                &self.root.journal,
                &self.random,
                &journal,
                used_before,
            )?;
            self.journal.sync()?;
            self.journal_len = len;
            for number in round {
                self.dirty.remove(&number);
                self.in_place.insert(number);
            }
            self.write_in_place(&journal.images)?;
            self.in_place.clear();
        }
        Ok(())
    }

    /// Overwrites the journal: the records whose keys it killed are gone.
    pub(crate) fn scrub_journal(&mut self) -> io::Result<()> {
        // [SPEC 11.16]
        if self.journal_len > 0 && self.in_place.is_empty() {
            journal::scrub(&*self.journal, &self.random, self.journal_len)?;
            self.journal_len = 0;
        }
        Ok(())
    }

    pub(crate) fn sync_journal(&self) -> io::Result<()> {
        self.journal.sync()
    }

    /// Writes everything under a new root to the idle file, with room for at least `sectors`.
    /// Nothing counts before the header says so.
    pub(crate) fn begin_rotation(&self, vault: &LockedKey, sectors: u32) -> io::Result<Rotation> {
        if sectors > self.table.sectors() {
            // Both at once, before anything else: later rotations then need no space.
            self.reserve(sectors)?;
        }
        let root = LockedKey::new(|out| self.random.fill(out));
        let rotation = Rotation {
            root: Root::new(vault, root),
            active: 1 - self.active.min(1),
            table: self.table.renewed(sectors, &self.random),
        };
        self.write_all(rotation.active, &rotation.root, &rotation.table)?;
        Ok(rotation)
    }

    /// The header names the rotation's file and root: from now on they count.
    pub(crate) fn finish_rotation(&mut self, rotation: Rotation) {
        self.root = rotation.root;
        self.active = rotation.active;
        self.table = rotation.table;
        self.dirty.clear();
        self.in_place.clear();
    }

    /// Overwrites the file that no longer counts. Its root is gone already; this is for media that
    /// keep the header's old versions but not this file's.
    pub(crate) fn scrub_idle(&self) -> io::Result<()> {
        self.scrub_file(1 - self.active.min(1), self.table.sectors())
    }

    fn file(&self, which: u8) -> &dyn File {
        let [first, second] = &self.files;
        if which == 0 { &**first } else { &**second }
    }

    fn reserve(&self, sectors: u32) -> io::Result<()> {
        for file in &self.files {
            file.reserve(sector::offset(sectors))?;
        }
        for file in &self.files {
            file.sync()?;
        }
        Ok(())
    }

    fn write_all(&self, which: u8, root: &Root, table: &KeyTable) -> io::Result<()> {
        const CHUNK: u32 = 64;
        let file = self.file(which);
        let mut out = Vec::with_capacity(SECTOR_LEN * table::to_usize(CHUNK));
        let mut first = 0;
        while first < table.sectors() {
            out.clear();
            for number in first..table.sectors().min(first + CHUNK) {
                let mut sealed = [0; SECTOR_LEN];
                sector::seal(
                    &root.sectors,
                    number,
                    &self.random,
                    table.sector(number),
                    &mut sealed,
                );
                out.extend_from_slice(&sealed);
            }
            file.write_at(sector::offset(first), &out)?;
            first += CHUNK;
        }
        file.sync()
    }

    fn scrub_file(&self, which: u8, sectors: u32) -> io::Result<()> {
        scrub(self.file(which), &self.random, sector::offset(sectors))
    }

    fn images<'a>(&self, numbers: impl Iterator<Item = &'a u32>) -> Vec<journal::Image> {
        numbers
            .map(|number| (*number, self.image(*number)))
            .collect()
    }

    fn image(&self, number: u32) -> Box<[u8; SECTOR_LEN]> {
        let mut sealed = Box::new([0; SECTOR_LEN]);
        sector::seal(
            &self.root.sectors,
            number,
            &self.random,
            self.table.sector(number),
            &mut sealed,
        );
        sealed
    }

    fn write_in_place(&self, images: &[journal::Image]) -> io::Result<()> {
        let file = self.file(self.active);
        for (number, image) in images {
            file.write_at(sector::offset(*number), &**image)?;
        }
        file.sync()
    }

    /// Finishes a round that failed. What was killed since then stays dirty: the journal on the disk
    /// does not have it, and would bring it back.
    fn finish_in_place(&mut self) -> io::Result<()> {
        if !self.in_place.is_empty() {
            let images = self.images(self.in_place.iter());
            self.write_in_place(&images)?;
            self.in_place.clear();
        }
        Ok(())
    }

    /// Writes in place what a crash interrupted. Says whether rows of dead keys may remain.
    fn replay(&mut self, sectors: u32) -> Result<bool, LoadFault> {
        let Some(journal) = journal::read(&*self.journal, &self.root.journal)? else {
            return Ok(false);
        };
        if journal.images.iter().any(|(number, _)| *number >= sectors) {
            return Err(LoadFault::Corrupt);
        }
        self.write_in_place(&journal.images)?;
        Ok(journal.sweep)
    }
}

/// Overwrites key files and journal, those that are there: each is tried, whatever becomes of the
/// others.
pub(crate) fn scrub_files(dir: &dyn Directory, random: &Random) -> io::Result<()> {
    let scrubbed = NAMES.into_iter().map(|name| match dir.open(name) {
        Ok(file) => scrub(&*file, random, file.len()?),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    });
    scrubbed.fold(Ok(()), io::Result::and)
}

/// Overwrites the first `len` bytes of a file with random ones.
fn scrub(file: &dyn File, random: &Random, len: u64) -> io::Result<()> {
    let mut noise = vec![0; SECTOR_LEN * 64];
    let (mut at, mut written) = (0, Ok(()));
    while at < len {
        let left = usize::try_from(len - at).unwrap_or(usize::MAX);
        let count = left.min(noise.len());
        let part = noise.get_mut(..count).unwrap_or_default();
        random.fill(part);
        // What follows a part that cannot be written is.
        written = written.and(file.write_at(at, part));
        at += u64::try_from(count).unwrap_or(u64::MAX);
    }
    written.and(file.sync())
}
