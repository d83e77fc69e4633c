//! The relay's rows in a log of its own: a journal with one sync for each commit, and segments for each expiry day.
//!
//! ```text
//! journal-41.log     all commits since the last checkpoint
//! journal-41.key     its key
//! day-20785-3.data   rows that expire with that day (and .index, .key): see `segment`
//! ```
//!
//! - A **commit** is a group of frames in the journal, synced once. Its rows stay in memory until the checkpoint.
//! - A **checkpoint** writes the rows that are still there to segments of their days, erases in them what was removed or
//!   replaced, begins a new journal and destroys the key of the old one. What lived only between two checkpoints was never written
//!   anywhere else. Segments that are mostly gone are written anew, so that disk and start stay in proportion to what is there.
//! - **Expiry** destroys the keys of a day and removes its files.
//! - At **start** the indexes are read, then the journal is carried out once more: each operation says what is to be, so that
//!   carrying it out twice changes nothing.
//!
//! In memory stand the place of every row and the rows of the journal. A failed sync is never tried again: the store is broken until it
//! is opened anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use emptyroom_relay::store::{Changes, LastingChange, RowKey, Rows, StoreFailure};
use emptyroom_wire::time::Day;
use rand_chacha::ChaCha20Rng;

use disk::Disk;
use held::{Fresh, Held, Index};
use journal::Journal;
use record::{Op, Writer};
use segment::{Segment, SegmentId};

use crate::data::{forgive_full, io_failure};
use crate::entropy;
use crate::seal::Table;

mod checkpoint;
pub mod disk;
mod frames;
mod held;
mod journal;
mod keyfile;
mod record;
mod segment;

/// How large things get, in bytes but for `removed`. Tests make them small.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// At so much of journal a checkpoint is made; up to four times as much waits, in memory too, while the disk is full.
    pub journal: u64,
    /// A frame's content.
    pub frame: usize,
    /// Rows written to a segment at a time.
    pub piece: usize,
    /// Rows removed from a segment at a time.
    pub removed: usize,
    /// From this size on a segment gets no more rows.
    pub segment: u32,
    /// Less waste than this is left alone.
    pub wasted: u32,
    /// Segments written anew by one checkpoint: more wait for the next.
    pub rewritten: u32,
}

impl Default for Sizes {
    // [SPEC 6.91] [SPEC 6.96]
    fn default() -> Self {
        const MIB: u32 = 1024 * 1024;
        Self {
            journal: 16 * u64::from(MIB),
            frame: 8 * 1024 * 1024,
            piece: 4 * 1024 * 1024,
            removed: 64 * 1024,
            segment: 64 * MIB,
            wasted: MIB,
            rewritten: 32 * MIB,
        }
    }
}

/// Rows in a journal and day segments on a disk.
pub struct SegmentRows<D: Disk> {
    disk: D,
    sizes: Sizes,
    /// None while the disk has no space for one.
    journal: Option<Journal<D::File>>,
    /// Journals of before, with their lengths: their rows are in memory or written already, they go with the next checkpoint.
    done_journals: BTreeMap<u64, u64>,
    next_journal: u64,
    /// The length of the journal at which a checkpoint is tried.
    checkpoint_at: u64,
    segments: BTreeMap<SegmentId, Segment<D::File>>,
    index: Index,
    fresh: Fresh,
    /// Entries that are over, as long as their segments are there.
    over_entries: BTreeMap<Day, HashMap<RowKey, Held>>,
    /// Days before this one were over at the last expiry.
    over_before: Day,
    rng: ChaCha20Rng,
    /// Set by the first failure that leaves the state unknown, and never taken back.
    broken: Option<StoreFailure>,
}

impl<D: Disk> SegmentRows<D> {
    /// Opens the store on a disk that is this store's alone.
    ///
    /// # Errors
    /// [`StoreFailure::Broken`] says what is damaged or cannot be read.
    pub fn open(disk: D, sizes: Sizes) -> Result<Self, StoreFailure> {
        let names = disk
            .names()
            .map_err(|e| io_failure(&e, "reading the store's directory"))?;
        let numbers = journal::numbers(&names);
        let mut rows = Self {
            disk,
            sizes,
            journal: None,
            done_journals: BTreeMap::new(),
            next_journal: numbers.last().map_or(0, |last| last.saturating_add(1)),
            checkpoint_at: sizes.journal,
            segments: BTreeMap::new(),
            index: Index::default(),
            fresh: Fresh::default(),
            over_entries: BTreeMap::new(),
            over_before: Day(0),
            rng: entropy::generator(),
            broken: None,
        };
        rows.disk
            .sync_names()
            .map_err(|_| StoreFailure::Broken("sync of the store's directory"))?;
        let may_be_torn = journal::any_written(&rows.disk, &numbers)?;
        let ids: BTreeSet<SegmentId> = names
            .iter()
            .filter_map(|name| SegmentId::parse(name))
            .collect();
        for id in ids {
            rows.open_segment(id, may_be_torn)?;
        }
        for number in numbers {
            rows.replay(number, &names)?;
        }
        forgive_full(rows.begin_journal())?;
        Ok(rows)
    }

    /// Of two copies of a row in segments of one day the later one counts. In segments of two days there are two if a checkpoint that
    /// gave it another day was cut off: then the journal says what is to be. The other one goes.
    fn open_segment(&mut self, id: SegmentId, may_be_torn: bool) -> Result<(), StoreFailure> {
        let Some((segment, contents)) = Segment::open(&self.disk, id, may_be_torn)? else {
            return Ok(());
        };
        self.segments.insert(id, segment);
        for spot in contents.gone {
            self.fresh.gone(Some((id, spot)));
        }
        for spot in contents.rows.values() {
            let before = self.index.put(id, spot);
            self.fresh.gone(before);
        }
        Ok(())
    }

    fn replay(&mut self, number: u64, names: &[String]) -> Result<(), StoreFailure> {
        let (index, fresh) = (&mut self.index, &mut self.fresh);
        let read = journal::replay(&self.disk, number, names, &mut |op| {
            index.carry_out(fresh, op)
        })?;
        if let Some(len) = read {
            self.done_journals.insert(number, len);
        }
        Ok(())
    }

    fn begin_journal(&mut self) -> Result<(), StoreFailure> {
        let journal = Journal::begin(&self.disk, self.next_journal, &mut self.rng);
        self.next_journal = self.next_journal.saturating_add(1);
        self.journal = Some(journal?);
        self.checkpoint_at = self.sizes.journal;
        Ok(())
    }

    fn usable(&self) -> Result<(), StoreFailure> {
        self.broken.map_or(Ok(()), Err)
    }

    fn remember<T>(&mut self, outcome: Result<T, StoreFailure>) -> Result<T, StoreFailure> {
        if let Err(failure @ StoreFailure::Broken(_)) = outcome {
            self.broken = Some(failure);
        }
        outcome
    }

    fn row(
        &self,
        table: Table,
        day: Day,
        key: RowKey,
        held: &Held,
    ) -> Result<Vec<u8>, StoreFailure> {
        let (id, spot) = match (held, held.place(table, day, key)) {
            (Held::Young(row), _) => return Ok(row.to_vec()),
            (Held::Old { .. }, Some(place)) => place,
            (Held::Old { .. }, None) => return Err(StoreFailure::Broken("a row without a place")),
        };
        let segment = self.segments.get(&id);
        segment
            .ok_or(StoreFailure::Broken("a row without its segment"))?
            .row(&spot)
    }

    fn try_commit(&mut self, changes: Changes) -> Result<(), StoreFailure> {
        let mut writer = Writer::new(self.sizes.frame);
        let mut ops = ops_of(&changes);
        // What expired and still stands in the journal must not move on when that is carried out once more.
        ops.retain(|op| !matches!(op, Op::Move(_, key) if !self.index.lasting.contains_key(key)));
        ops.iter().for_each(|op| writer.op(op));
        if self.journal.is_none() || self.waiting_bytes() > self.sizes.journal.saturating_mul(4) {
            // Memory has an end as well.
            self.try_checkpoint()?;
        }
        let journal = self.journal.as_mut().ok_or(StoreFailure::Full)?;
        journal
            .frames
            .append(&writer.into_contents(), &mut self.rng)?;
        journal.frames.sync()?;
        let len = journal.frames.len();
        for op in ops {
            self.index.carry_out(&mut self.fresh, op);
        }
        if len > self.checkpoint_at {
            // Without space it is not tried with every commit.
            self.checkpoint_at = len.saturating_add(self.sizes.journal);
            forgive_full(self.try_checkpoint())?;
        }
        Ok(())
    }

    /// About how much lies in memory.
    fn waiting_bytes(&self) -> u64 {
        let journal = self
            .journal
            .as_ref()
            .map_or(0, |journal| journal.frames.len());
        self.done_journals
            .values()
            .fold(journal, |sum, len| sum.saturating_add(*len))
    }

    /// Writes what is in memory to the segments and leaves nothing of it in a journal, nor of what was removed anywhere. False: there
    /// was no space for that, and what could not be written stays in the journal.
    ///
    /// # Errors
    /// [`StoreFailure::Broken`].
    pub fn checkpoint(&mut self) -> Result<bool, StoreFailure> {
        self.usable()?;
        let outcome = match self.try_checkpoint() {
            Err(StoreFailure::Full) => Ok(false),
            done => done.map(|()| true),
        };
        self.remember(outcome)
    }

    fn try_expire(&mut self, today: Day) -> Result<(), StoreFailure> {
        let over = self.index.expire(&mut self.fresh, today);
        self.over_entries.extend(over);
        self.over_before = today;
        self.try_checkpoint()
    }
}

fn ops_of(changes: &Changes) -> Vec<Op<'_>> {
    let entries = changes.entries.iter().map(|change| match &change.row {
        Some(row) => Op::Put(Table::Entries, change.day, change.key, row),
        None => Op::Remove(Table::Entries, change.day, change.key),
    });
    let lasting = changes.lasting.iter().map(|change| match change {
        LastingChange::Put { key, day, row } => Op::Put(Table::Lasting, *day, *key, row),
        LastingChange::Move { key, day } => Op::Move(*day, *key),
        LastingChange::Remove { key } => Op::Remove(Table::Lasting, Day(0), *key),
    });
    entries.chain(lasting).collect()
}

impl<D: Disk> Rows for SegmentRows<D> {
    fn lasting(&mut self, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        self.usable()?;
        let found = self.index.lasting.get(key);
        let row = found.map(|row| self.row(Table::Lasting, row.lies, *key, &row.held));
        self.remember(row.transpose())
    }

    fn entry(&mut self, day: Day, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        self.usable()?;
        let found = self.index.entries.get(&day).and_then(|rows| rows.get(key));
        let row = found.map(|held| self.row(Table::Entries, day, *key, held));
        self.remember(row.transpose())
    }

    fn commit(&mut self, changes: Changes) -> Result<(), StoreFailure> {
        self.usable()?;
        let outcome = self.try_commit(changes);
        self.remember(outcome)
    }

    fn expire(&mut self, today: Day) -> Result<(), StoreFailure> {
        self.usable()?;
        let outcome = self.try_expire(today);
        self.remember(outcome)
    }
}
