//! The relay's rows in a log of its own: a journal with one sync for each commit, and segments for each expiry day.
//!
//! ```text
//! journal-41.log     all commits since the last checkpoint
//! journal-41.key     its key
//! day-20785-3.data   rows that expire with that day (and .index, .key): see `segment`
//! ```
//!
//! - A **commit** is a group of frames in the journal, synced once. Its rows stay in memory until the checkpoint.
//! - A **checkpoint** begins a new journal, writes the rows that are still there to segments of their days, erases in them what was
//!   removed or replaced, and destroys the journals of before with their keys. What lived only between two checkpoints was never
//!   written anywhere else. Segments that are mostly gone are written anew, so that disk and start stay in proportion to what is there.
//!   It is done in slices ([`SegmentRows::settle`]), between which commits go on.
//! - **Expiry** destroys the keys of a day and removes its files.
//! - At **start** the indexes are read, then the journals are carried out once more: each operation says what is to be, so that
//!   carrying it out twice changes nothing. See `opening`.
//!
//! In memory stand the place of every row and the rows of the journals. A failed sync is never tried again: the store writes nothing
//! more until it is opened anew, and goes on reading what was durable before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use emptyroom_relay::store::{Changes, EntryChange, LastingChange, RowKey, Rows, StoreFailure};
use emptyroom_wire::time::Day;
use rand_chacha::ChaCha20Rng;

use checkpoint::Round;
use disk::Disk;
use frames::Unreadable;
use index::{Found, Index};
use journal::Journal;
use quarantine::KeptJournal;
use record::{Op, Spot, Writer};
use segment::{Segment, SegmentId};

pub use quarantine::Unopened;

use crate::seal::Table;

mod checkpoint;
pub mod disk;
mod frames;
mod index;
mod journal;
mod keyfile;
mod opening;
mod quarantine;
mod record;
mod segment;
mod table;
mod waiting;

/// How large things get, in bytes but for `removed` and `rows`. Tests make them small.
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
    /// Segments of a small store are smaller, but not than this.
    pub segment_least: u32,
    /// Less waste than this is left alone.
    pub wasted: u32,
    /// Segments written anew by one checkpoint: more wait for the next.
    pub rewritten: u32,
    /// With so many rows there is no space for more.
    pub rows: usize,
    /// Threads that read indexes at start; none, and they are read one after the other.
    pub readers: usize,
}

/// What memory a row needs at most: its key and place, in a table that may be growing.
// [SPEC 6.112]
pub const ROW_MEMORY: usize = 160;

/// What to do where acknowledged commits are damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnDamage {
    /// Do not open.
    Refuse,
    /// Leave out what does not open, keep its file apart, and say so.
    Quarantine,
}

/// How far a checkpoint came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// There is more to do.
    More,
    /// What was committed before it began is settled.
    Done,
    /// There is no space for the rest, which stays in the journals.
    Full,
}

impl Default for Sizes {
    // [SPEC 6.91] [SPEC 6.96]
    fn default() -> Self {
        const MIB: u32 = 1024 * 1024;
        Self {
            journal: 16 * u64::from(MIB),
            frame: 8 * 1024 * 1024,
            piece: 1024 * 1024,
            removed: 1024,
            segment: 64 * MIB,
            segment_least: 4 * MIB,
            wasted: MIB,
            rewritten: 32 * MIB,
            rows: usize::MAX,
            readers: 2,
        }
    }
}

/// A journal of before.
#[derive(Clone, Copy)]
struct Done {
    /// In bytes; nothing from when its end began.
    len: u64,
    /// It is put away, not destroyed.
    damage: Option<&'static str>,
}

impl Done {
    fn whole(len: u64) -> Self {
        Self { len, damage: None }
    }

    /// It holds something, however much.
    fn damaged(what: &'static str) -> Self {
        Self {
            len: u64::MAX,
            damage: Some(what),
        }
    }
}

/// Rows in a journal and day segments on a disk.
pub struct SegmentRows<D: Disk> {
    disk: Arc<D>,
    sizes: Sizes,
    /// None while the disk has no space for one.
    journal: Option<Journal<D::File>>,
    /// Journals of before: their rows are in memory or written already, they go with the next checkpoint.
    done_journals: BTreeMap<u64, Done>,
    next_journal: u64,
    segments: BTreeMap<SegmentId, Segment<D::File>>,
    /// Damaged ones, kept apart.
    quarantined: BTreeSet<SegmentId>,
    kept_journals: BTreeSet<KeptJournal>,
    /// Segments of which it was said that rows are lost.
    told: BTreeSet<SegmentId>,
    index: Index,
    round: Option<Round>,
    /// Buffers that are used again, until all is settled.
    writer: Writer,
    piece: Vec<u8>,
    opened_on: Day,
    /// Days before this one were over at the last expiry.
    over_before: Day,
    rng: ChaCha20Rng,
    /// Set by the first failure that leaves the state unknown, and never taken back.
    broken: Option<StoreFailure>,
}

impl<D: Disk> SegmentRows<D> {
    fn usable(&self) -> Result<(), StoreFailure> {
        self.broken.map_or(Ok(()), Err)
    }

    fn remember<T>(&mut self, outcome: Result<T, StoreFailure>) -> Result<T, StoreFailure> {
        if let Err(failure @ StoreFailure::Broken(_)) = outcome {
            self.broken = Some(failure);
        }
        outcome
    }

    /// A row that does not open is lost.
    fn row(&mut self, id: SegmentId, spot: &Spot) -> Result<Option<Vec<u8>>, StoreFailure> {
        let segment = self.segments.get(&id);
        let segment = segment.ok_or(StoreFailure::Broken("a row without its segment"))?;
        match segment.row(spot) {
            Ok(row) => Ok(Some(row)),
            Err(Unreadable::Damaged(_)) => {
                self.lost(id, spot);
                Ok(None)
            }
            Err(Unreadable::Failed(failure)) => Err(failure),
        }
    }

    fn try_commit(&mut self, changes: Changes) -> Result<(), StoreFailure> {
        if !self.has_memory_for(&changes) {
            return Err(StoreFailure::Full);
        }
        if self.waiting_bytes() > self.sizes.journal.saturating_mul(4) {
            // Memory has an end as well.
            self.try_checkpoint()?;
        }
        if self.journal.is_none() {
            self.begin_journal()?;
        }
        let journal = self.journal.as_mut().ok_or(StoreFailure::Full)?;
        let (writer, index) = (&mut self.writer, &self.index);
        writer.begin();
        // What expired and still stands in the journal must not move on when that is carried out once more.
        ops_of(&changes)
            .filter(|op| !matches!(op, Op::Move(_, key) if index.lasting(key).is_none()))
            .for_each(|op| writer.op(&op));
        journal.frames.append(writer.group(), &mut self.rng)?;
        journal.frames.sync()?;
        self.take(changes);
        Ok(())
    }

    /// What is durable now is there.
    fn take(&mut self, changes: Changes) {
        for EntryChange { day, key, row } in changes.entries {
            match row {
                Some(row) => self.index.put_entry(day, key, row.into()),
                None => self.index.remove_entry(day, key),
            }
        }
        for change in changes.lasting {
            match change {
                LastingChange::Put { key, day, row } => {
                    self.index.put_lasting(day, key, row.into());
                }
                LastingChange::Move { key, day } => self.index.move_lasting(day, key),
                LastingChange::Remove { key } => self.index.remove_lasting(key),
            }
        }
    }

    // [SPEC 6.112]
    fn has_memory_for(&self, changes: &Changes) -> bool {
        let changed = changes.entries.len().saturating_add(changes.lasting.len());
        let left = self.room();
        if changed <= left {
            return true;
        }
        let entries = changes.entries.iter();
        let new_entries = entries.filter(|change| {
            change.row.is_some() && self.index.entry(change.day, &change.key).is_none()
        });
        let lasting = changes.lasting.iter();
        let new_lasting = lasting.filter(|change| {
            matches!(change, LastingChange::Put { key, .. } if self.index.lasting(key).is_none())
        });
        let new = new_entries.count().saturating_add(new_lasting.count());
        new == 0 || new <= left
    }

    /// About how much lies in memory.
    fn waiting_bytes(&self) -> u64 {
        let journal = self
            .journal
            .as_ref()
            .map_or(0, |journal| journal.frames.len());
        self.done_journals
            .values()
            .fold(journal, |sum, done| sum.saturating_add(done.len))
    }

    /// How many slices of a checkpoint are to be done before the next commit, so that memory does not fill.
    // [SPEC 6.110]
    #[must_use]
    pub fn slices_due(&self) -> u64 {
        let halves = self.waiting_bytes() / (self.sizes.journal / 2).max(1);
        if halves < 2 { 0 } else { halves }
    }

    /// A slice of a checkpoint, and what it begins with if there is none under way: what waits in memory is written to the segments,
    /// and in the end nothing of what was removed is left anywhere.
    ///
    /// # Errors
    /// [`StoreFailure::Broken`].
    // [SPEC 6.110]
    pub fn settle(&mut self) -> Result<Settled, StoreFailure> {
        self.usable()?;
        let outcome = match self.try_settle() {
            Err(StoreFailure::Full) => Ok(Settled::Full),
            done => done,
        };
        self.remember(outcome)
    }

    /// Settles everything. False: there was no space for that, and what could not be written stays in the journals.
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
        let ran_out = self.index.expire(today);
        self.over_before = today;
        let first = self.segments.keys().next();
        let files_are_over = first.is_some_and(|id| id.day < today) || self.is_apart_over();
        // Else whoever waits behind this need not wait for a checkpoint.
        if ran_out || files_are_over {
            self.try_checkpoint()?;
        }
        Ok(())
    }

    /// The places of all rows, with their last days.
    #[must_use]
    pub(crate) fn spots(&self) -> Vec<(Table, Day, RowKey)> {
        self.index.all()
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.index.rows()
    }
}

fn ops_of(changes: &Changes) -> impl Iterator<Item = Op<'_>> {
    let entries = changes.entries.iter().map(|change| match &change.row {
        Some(row) => Op::Put(Table::Entries, change.day, change.key, row),
        None => Op::Remove(Table::Entries, change.day, change.key),
    });
    let lasting = changes.lasting.iter().map(|change| match change {
        LastingChange::Put { key, day, row } => Op::Put(Table::Lasting, *day, *key, row),
        LastingChange::Move { key, day } => Op::Move(*day, *key),
        LastingChange::Remove { key } => Op::Remove(Table::Lasting, Day(0), *key),
    });
    entries.chain(lasting)
}

impl<D: Disk> Rows for SegmentRows<D> {
    fn lasting(&mut self, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        match self.index.lasting(key) {
            None => Ok(None),
            Some(Found::Waiting(row)) => Ok(Some(row.to_vec())),
            Some(Found::Segment(id, spot)) => self.row(id, &spot),
        }
    }

    fn entry(&mut self, day: Day, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        match self.index.entry(day, key) {
            None => Ok(None),
            Some(Found::Waiting(row)) => Ok(Some(row.to_vec())),
            Some(Found::Segment(id, spot)) => self.row(id, &spot),
        }
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

    // [SPEC 6.112]
    fn room(&self) -> usize {
        self.sizes.rows.saturating_sub(self.index.rows())
    }
}
