//! The checkpoint, in slices: what waits in memory goes to the segments, what is gone is erased there, journals go.
//!
//! It begins with a new journal; what is committed from then on waits for the next checkpoint. Each slice is a few syncs and at most a
//! piece of rows, so that commits between them do not wait long. Journals go at the very end: until then all that a checkpoint does can
//! be done once more.

use std::collections::BTreeMap;

use emptyroom_relay::store::{RowKey, StoreFailure};
use emptyroom_wire::time::Day;

use super::disk::Disk;
use super::frames::{self, Unreadable};
use super::index::Found;
use super::journal::{self, Journal};
use super::record::Spot;
use super::segment::{self, NewRow, Segment, SegmentId};
use super::{Done, SegmentRows, Settled};
use crate::seal::Table;

const NOT_OPEN: StoreFailure = StoreFailure::Broken("a segment that is not open");

/// Of all rows a segment takes so much.
const PARTS: u64 = 64;

/// A checkpoint under way.
pub(super) struct Round {
    /// There was no space for a new journal, so that the one that is written does not end.
    journal_stays: bool,
    /// Journals before this one go at its end.
    journals_before: u64,
    /// Segments to be written anew, once it was looked for them.
    wasteful: Option<Vec<SegmentId>>,
    rewriting: Option<Rewriting>,
}

/// A segment that is written anew, and what is left of it to write. Whatever a commit changes in it meanwhile waits for the next
/// checkpoint, so the copy that stays behind is gone before.
struct Rewriting {
    id: SegmentId,
    left: BTreeMap<(RowKey, Table), Spot>,
}

impl<D: Disk> SegmentRows<D> {
    pub(super) fn try_settle(&mut self) -> Result<Settled, StoreFailure> {
        // On a full disk above all the latter: it makes space.
        if self.mend_index()? || self.drop_over()? {
            return Ok(Settled::More);
        }
        if self.round.is_none() {
            return self.begin_round();
        }
        let worked = self.drop_empty()?
            || self.erase_gone()?
            || self.write_waiting()?
            || self.write_moved()?
            || self.finish_erasing()?
            || self.rewrite_wasteful()?
            || self.end_journal()?;
        if worked {
            return Ok(Settled::More);
        }
        // What this journal says is in segments, and its bytes are there still.
        let stays = self.round.take().is_some_and(|round| round.journal_stays);
        if self.is_settled() {
            self.writer.rest();
            self.piece = Vec::new();
        }
        Ok(if stays { Settled::Full } else { Settled::Done })
    }

    /// Settles everything.
    pub(super) fn try_checkpoint(&mut self) -> Result<(), StoreFailure> {
        loop {
            // A round that leaves its journal is followed by one that needs space for another.
            if self.try_settle()? == Settled::Done && self.is_settled() {
                return Ok(());
            }
        }
    }

    /// Nothing waits, in memory or in a journal.
    fn is_settled(&self) -> bool {
        let journal = self.journal.as_ref();
        let is_begun = journal.is_some_and(|journal| journal.frames.is_empty());
        let waits = !self.index.fresh.is_empty() || !self.done_journals.is_empty();
        is_begun && !waits && self.round.is_none()
    }

    fn begin_round(&mut self) -> Result<Settled, StoreFailure> {
        if self.is_settled() {
            return Ok(Settled::Done);
        }
        self.mark()?;
        // Without space for a new journal this one stays, and the checkpoint only makes space.
        let begun = self.begin_journal();
        let idle = self.index.fresh.is_empty() && self.done_journals.is_empty();
        if idle || begun != Err(StoreFailure::Full) {
            begun?;
        }
        let number = self.journal.as_ref().map(|journal| journal.number);
        let journal_stays = begun.is_err();
        self.index.settling = std::mem::take(&mut self.index.fresh);
        self.round = Some(Round {
            journal_stays,
            journals_before: number.unwrap_or(self.next_journal),
            wasteful: None,
            rewriting: None,
        });
        Ok(Settled::More)
    }

    /// An index may end torn only where a journal has frames: an empty one gets a frame without operations.
    // [SPEC 6.92]
    fn mark(&mut self) -> Result<(), StoreFailure> {
        let empty = |done: &Done| done.len <= frames::FILE_HEAD as u64;
        if !self.done_journals.values().all(empty) {
            return Ok(());
        }
        if self.journal.is_none() {
            self.begin_journal()?;
        }
        match &mut self.journal {
            Some(journal) if journal.frames.is_empty() => {
                let mut group = [frames::empty(Vec::new())];
                journal.frames.append(&mut group, &mut self.rng)?;
                journal.frames.sync()
            }
            _ => Ok(()),
        }
    }

    /// Begins a journal; the one before is done then.
    pub(super) fn begin_journal(&mut self) -> Result<(), StoreFailure> {
        let begun = Journal::begin(&*self.disk, self.next_journal, &mut self.rng);
        self.next_journal = self.next_journal.saturating_add(1);
        if let Some(done) = self.journal.replace(begun?) {
            let len = done.frames.len();
            self.done_journals.insert(done.number, Done::whole(len));
        }
        Ok(())
    }

    /// The oldest first, and none before an older one: carried out after what came later it would undo that. What is damaged is put away.
    fn end_journal(&mut self) -> Result<bool, StoreFailure> {
        let before = self.round.as_ref().map_or(0, |round| round.journals_before);
        let mut oldest = match self.done_journals.first_entry() {
            Some(oldest) if *oldest.key() < before => oldest,
            _ => return Ok(false),
        };
        // Once that has begun it stands for nothing.
        oldest.get_mut().len = 0;
        let (number, damage) = (*oldest.key(), oldest.get().damage);
        match damage {
            None => journal::destroy(&*self.disk, number)?,
            Some(what) => self.quarantine_journal(number, what)?,
        }
        self.done_journals.remove(&number);
        Ok(true)
    }

    /// Erases a part of what is gone from a segment.
    // [SPEC 6.93]
    fn erase_gone(&mut self) -> Result<bool, StoreFailure> {
        let Some(mut gone) = self.index.settling.gone.first_entry() else {
            return Ok(false);
        };
        if let Some(segment) = self.segments.get_mut(gone.key()) {
            let spots = gone.get_mut();
            let from = spots.len().saturating_sub(self.sizes.removed);
            let part = spots.get(from..).unwrap_or_default();
            segment.remove_rows(part, &self.sizes, &mut self.rng)?;
            spots.truncate(from);
            segment.finish_erasing()?;
            if !spots.is_empty() {
                return Ok(true);
            }
        }
        gone.remove();
        Ok(true)
    }

    /// What a crash left, and what found no space the last time.
    fn finish_erasing(&mut self) -> Result<bool, StoreFailure> {
        let unerased = |segment: &&mut Segment<D::File>| segment.has_unerased();
        let Some(segment) = self.segments.values_mut().find(unerased) else {
            return Ok(false);
        };
        segment.finish_erasing().map(|()| true)
    }

    /// A copy of a row of which only an unsure group speaks may be the only one when the others are erased.
    fn mend_index(&mut self) -> Result<bool, StoreFailure> {
        let mut segments = self.segments.values_mut();
        let Some(segment) = segments.find(|segment| segment.is_unsure()) else {
            return Ok(false);
        };
        segment.mend().map(|()| true)
    }

    /// Writes a piece of what waits to a segment of its day.
    fn write_waiting(&mut self) -> Result<bool, StoreFailure> {
        let Some(day) = self.index.settling.first_day() else {
            return Ok(false);
        };
        let id = self.writable(day)?;
        let segment = self.segments.get_mut(&id).ok_or(NOT_OPEN)?;
        let mut rows = self.index.settling.rows_of(day).peekable();
        let tools = (&mut self.piece, &mut self.rng);
        let spots = segment.write(&mut rows, &self.sizes, tools)?;
        drop(rows);
        for spot in spots {
            self.index.settled(id, &spot);
        }
        Ok(true)
    }

    /// Writes rows that got another last day to segments of that.
    fn write_moved(&mut self) -> Result<bool, StoreFailure> {
        let moved = &self.index.settling.moved;
        let Some(day) = moved.values().next().copied() else {
            return Ok(false);
        };
        let keys = moved.iter().filter(|(_, to)| **to == day);
        let places = keys.filter_map(|(key, _)| match self.index.lasting(key) {
            Some(Found::Segment(id, spot)) => Some((id, spot)),
            _ => None,
        });
        let mut places = places.collect::<Vec<_>>().into_iter();
        let rows = self.read_piece(&mut places)?;
        let id = self.writable(day)?;
        for spot in self.write(id, &rows)? {
            self.index.settled(id, &spot);
        }
        Ok(true)
    }

    /// Reads rows, so many as make a piece. Those that do not open are lost.
    fn read_piece(
        &mut self,
        places: &mut dyn Iterator<Item = (SegmentId, Spot)>,
    ) -> Result<Vec<(Spot, Vec<u8>)>, StoreFailure> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while bytes < self.sizes.piece
            && let Some((id, spot)) = places.next()
        {
            match self.segments.get(&id).ok_or(NOT_OPEN)?.row(&spot) {
                Ok(row) => {
                    bytes += row.len();
                    rows.push((spot, row));
                }
                Err(Unreadable::Damaged(_)) => self.lost(id, &spot),
                Err(Unreadable::Failed(failure)) => return Err(failure),
            }
        }
        Ok(rows)
    }

    fn write(
        &mut self,
        id: SegmentId,
        rows: &[(Spot, Vec<u8>)],
    ) -> Result<Vec<Spot>, StoreFailure> {
        let rows = rows
            .iter()
            .map(|(spot, row)| NewRow::of(spot.table, spot.key, row));
        let segment = self.segments.get_mut(&id).ok_or(NOT_OPEN)?;
        let tools = (&mut self.piece, &mut self.rng);
        segment.write(&mut rows.peekable(), &self.sizes, tools)
    }

    /// The last segment of a day, or a new one behind it.
    fn writable(&mut self, day: Day) -> Result<SegmentId, StoreFailure> {
        let all = SegmentId { day, number: 0 }..=SegmentId {
            day,
            number: u32::MAX,
        };
        let full_at = self.full_at();
        let last = self.segments.range(all.clone()).next_back();
        if let Some((id, segment)) = last
            && !segment.is_full(full_at)
        {
            return Ok(*id);
        }
        let last = last.map(|(id, _)| id.number);
        let last = last.max(self.quarantined.range(all).next_back().map(|id| id.number));
        let number = last.map_or(Some(0), |last| last.checked_add(1));
        let number = number.ok_or(StoreFailure::Broken("too many segments"))?;
        let id = SegmentId { day, number };
        let segment = Segment::create(&*self.disk, id, &mut self.rng)?;
        self.segments.insert(id, segment);
        Ok(id)
    }

    /// From how many bytes on a segment takes no more: what is gone of one stays on the disk until half of it is, so that those of a
    /// small store are small.
    // [SPEC 6.96]
    fn full_at(&self) -> u32 {
        let ids = self.segments.keys();
        let used: u64 = ids.map(|id| u64::from(self.index.used(*id).bytes)).sum();
        let part = u32::try_from(used / PARTS).unwrap_or(u32::MAX);
        part.max(self.sizes.segment_least).min(self.sizes.segment)
    }

    /// Drops a segment of a day that is over. Where rows moved on from and could not be written elsewhere yet, it stays.
    // [SPEC 6.94]
    fn drop_over(&mut self) -> Result<bool, StoreFailure> {
        let over = self.segments.keys().copied();
        let mut over = over.take_while(|id| id.day < self.over_before);
        if let Some(id) = over.find(|id| self.index.used(*id).rows == 0) {
            return self.drop_segment(id).map(|()| true);
        }
        self.drop_quarantined()
    }

    /// Drops a segment of which nothing is left: nothing in it needs to be erased one by one.
    // [SPEC 6.96]
    fn drop_empty(&mut self) -> Result<bool, StoreFailure> {
        let mut ids = self.segments.keys();
        let Some(id) = ids.find(|id| self.index.used(**id).rows == 0) else {
            return Ok(false);
        };
        self.drop_segment(*id).map(|()| true)
    }

    fn drop_segment(&mut self, id: SegmentId) -> Result<(), StoreFailure> {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.ends();
        }
        segment::remove(&*self.disk, id)?;
        self.segments.remove(&id);
        self.index.forget_segment(id);
        Ok(())
    }

    /// Writes what is left of mostly empty segments to others, and drops them.
    // [SPEC 6.96]
    fn rewrite_wasteful(&mut self) -> Result<bool, StoreFailure> {
        let rewriting = self.round.as_mut().and_then(|round| round.rewriting.take());
        let Some(mut rewriting) = rewriting else {
            return self.begin_rewriting();
        };
        let outcome = self.rewrite_piece(&mut rewriting);
        if outcome != Ok(true)
            && let Some(round) = &mut self.round
        {
            round.rewriting = Some(rewriting);
        }
        outcome.map(|_| true)
    }

    /// True: nothing of it is left.
    fn rewrite_piece(&mut self, rewriting: &mut Rewriting) -> Result<bool, StoreFailure> {
        let (id, index) = (rewriting.id, &self.index);
        rewriting.left.retain(|_, spot| index.lies_at(id, spot));
        if rewriting.left.is_empty() {
            return Ok(true);
        }
        let mut places = rewriting.left.values().map(|spot| (id, *spot));
        let rows = self.read_piece(&mut places)?;
        let to = self.writable(id.day)?;
        for spot in self.write(to, &rows)? {
            self.index.rewritten(to, &spot);
        }
        Ok(false)
    }

    fn begin_rewriting(&mut self) -> Result<bool, StoreFailure> {
        let (index, sizes) = (&self.index, self.sizes);
        let Some(round) = &mut self.round else {
            return Ok(false);
        };
        let wasteful = round.wasteful.get_or_insert_with(|| {
            let mut bytes = 0_u32;
            let all = self.segments.iter();
            let all = all.map(|(id, segment)| (*id, segment, index.used(*id)));
            let wasteful = all.filter(|(_, segment, used)| segment.is_wasteful(*used, &sizes));
            let some = wasteful.take_while(|(_, _, used)| {
                let more = bytes < sizes.rewritten;
                bytes = bytes.saturating_add(used.bytes);
                more
            });
            some.map(|(id, ..)| id).collect()
        });
        let Some(id) = wasteful.pop() else {
            return Ok(false);
        };
        let Some(segment) = self.segments.get_mut(&id) else {
            return Ok(true);
        };
        segment.ends();
        // Keys are random: their order says nothing of the order in which rows came.
        let rows = segment.rows()?.into_iter();
        let left = rows.map(|spot| ((spot.key, spot.table), spot)).collect();
        round.rewriting = Some(Rewriting { id, left });
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use emptyroom_relay::store::{Changes, LastingChange, Rows};

    use super::*;
    use crate::segments::disk::OsDisk;
    use crate::segments::{OnDamage, Sizes};
    use crate::testing::scratch;

    /// Its day may have ended meanwhile, and a clock that went back have begun another of its name.
    // [SPEC 6.96]
    #[test]
    fn a_segment_that_is_written_anew_ends_only_when_nothing_is_left_of_it() {
        let dir = scratch("rewriting");
        let (disk, day) = (OsDisk::new(dir.path()).unwrap(), Day(20_000));
        let sizes = Sizes::default();
        let mut rows = SegmentRows::open(disk, sizes, OnDamage::Refuse, day).unwrap();
        let (key, row) = (RowKey([1; 32]), vec![1; 500]);
        let put = LastingChange::Put {
            key,
            day,
            row: row.clone(),
        };
        let lasting = vec![put];
        let entries = Vec::new();
        rows.commit(Changes { entries, lasting }).unwrap();
        assert_eq!(rows.checkpoint(), Ok(true));
        let id = *rows.segments.keys().next().unwrap();
        let left = BTreeMap::new();
        rows.round = Some(Round {
            journal_stays: false,
            journals_before: 0,
            wasteful: Some(Vec::new()),
            rewriting: Some(Rewriting { id, left }),
        });
        assert_eq!(rows.checkpoint(), Ok(true));
        assert_eq!(rows.lasting(&key), Ok(Some(row)));
    }
}
