//! The checkpoint: what is in memory goes to the segments, what is gone is erased there, and a new journal begins.

use std::collections::{BTreeMap, BTreeSet};

use emptyroom_relay::store::{RowKey, StoreFailure};
use emptyroom_wire::time::Day;

use super::SegmentRows;
use super::disk::Disk;
use super::frames;
use super::held::Held;
use super::journal;
use super::record::Spot;
use super::segment::{self, NewRow, Segment, SegmentId};
use crate::seal::Table;

const NOT_OPEN: StoreFailure = StoreFailure::Broken("a segment that is not open");

impl<D: Disk> SegmentRows<D> {
    pub(super) fn try_checkpoint(&mut self) -> Result<(), StoreFailure> {
        let is_begun = self
            .journal
            .as_ref()
            .is_some_and(|journal| journal.frames.is_empty());
        let over = self
            .segments
            .keys()
            .next()
            .is_some_and(|id| id.day < self.over_before);
        if is_begun && self.fresh.is_empty() && self.done_journals.is_empty() && !over {
            return Ok(());
        }
        let written = self
            .mark()
            .and_then(|()| self.write_entries())
            .and_then(|()| self.write_lasting());
        if matches!(written, Err(StoreFailure::Broken(_))) {
            return written;
        }
        // On a full disk above all: this is what makes space.
        self.drop_over()?;
        written?;
        self.remove_gone()?;
        self.rewrite_wasteful()?;
        self.replace_journal()
    }

    /// An index may end torn only where a journal has frames: an empty one gets a frame without operations.
    // [SPEC 6.92]
    fn mark(&mut self) -> Result<(), StoreFailure> {
        let empty = |len: &u64| *len <= frames::FILE_HEAD as u64;
        if !self.done_journals.values().all(empty) {
            return Ok(());
        }
        if self.journal.is_none() {
            self.begin_journal()?;
        }
        match &mut self.journal {
            Some(journal) if journal.frames.is_empty() => {
                journal.frames.append(&[Vec::new()], &mut self.rng)?;
                journal.frames.sync()
            }
            _ => Ok(()),
        }
    }

    fn replace_journal(&mut self) -> Result<(), StoreFailure> {
        if let Some(journal) = self.journal.take() {
            self.done_journals
                .insert(journal.number, journal.frames.len());
        }
        // Begun first, so that the directory never looks like one without a store.
        let begun = self.begin_journal();
        if matches!(begun, Err(StoreFailure::Broken(_))) {
            return begun;
        }
        // The oldest first, and none before an older one: carried out after what came later it would undo that.
        while let Some(mut oldest) = self.done_journals.first_entry() {
            // Once that has begun it stands for nothing.
            *oldest.get_mut() = 0;
            journal::destroy(&self.disk, *oldest.key())?;
            oldest.remove();
        }
        begun
    }

    fn write_entries(&mut self) -> Result<(), StoreFailure> {
        while let Some((day, keys)) = self.fresh.entries.pop_first() {
            let outcome = self.write_entries_of(day, &keys);
            if outcome.is_err() {
                self.fresh.entries.insert(day, keys);
                return outcome;
            }
        }
        Ok(())
    }

    fn write_entries_of(&mut self, day: Day, keys: &BTreeSet<RowKey>) -> Result<(), StoreFailure> {
        loop {
            let Some(held) = self.index.entries.get(&day) else {
                return Ok(());
            };
            let young = |key: &&RowKey| held.get(key).is_some_and(Held::is_young);
            if !keys.iter().any(|key| young(&key)) {
                return Ok(());
            }
            let id = self.writable(day, &BTreeSet::new())?;
            let (Some(held), Some(segment)) =
                (self.index.entries.get(&day), self.segments.get_mut(&id))
            else {
                return Ok(());
            };
            let mut rows = keys
                .iter()
                .filter_map(|key| match held.get(key) {
                    Some(Held::Young(row)) => Some(NewRow {
                        table: Table::Entries,
                        key: *key,
                        row,
                    }),
                    _ => None,
                })
                .peekable();
            for spot in segment.write(&mut rows, &self.sizes, &mut self.rng)? {
                self.index.put(id, &spot);
            }
        }
    }

    fn write_lasting(&mut self) -> Result<(), StoreFailure> {
        let mut by_day: BTreeMap<Day, Vec<(RowKey, Day)>> = BTreeMap::new();
        for key in &self.fresh.lasting {
            if let Some(row) = self
                .index
                .lasting
                .get(key)
                .filter(|row| row.is_to_be_written())
            {
                by_day.entry(row.day).or_default().push((*key, row.lies));
            }
        }
        for (day, keys) in by_day {
            // What only moved is read first, a part at a time: it may be whole logs.
            let mut keys = keys.into_iter().peekable();
            while keys.peek().is_some() {
                let (mut rows, mut bytes) = (Vec::new(), 0);
                while let Some((key, lies)) = keys.next_if(|_| bytes < self.sizes.piece) {
                    if let Some(row) = self.index.lasting.get(&key) {
                        let row = self.row(Table::Lasting, lies, key, &row.held)?;
                        bytes += row.len();
                        rows.push((Table::Lasting, key, row));
                    }
                }
                self.write(day, &BTreeSet::new(), &rows)?;
            }
        }
        self.fresh.lasting.clear();
        Ok(())
    }

    /// Writes rows to segments of a day, to none of `except`.
    fn write(
        &mut self,
        day: Day,
        except: &BTreeSet<SegmentId>,
        rows: &[(Table, RowKey, Vec<u8>)],
    ) -> Result<(), StoreFailure> {
        let mut rows = rows
            .iter()
            .map(|(table, key, row)| NewRow {
                table: *table,
                key: *key,
                row,
            })
            .peekable();
        while rows.peek().is_some() {
            let id = self.writable(day, except)?;
            let segment = self.segments.get_mut(&id).ok_or(NOT_OPEN)?;
            for spot in segment.write(&mut rows, &self.sizes, &mut self.rng)? {
                let before = self.index.put(id, &spot);
                self.fresh.gone(before);
            }
        }
        Ok(())
    }

    /// The last segment of a day, or a new one behind it.
    fn writable(
        &mut self,
        day: Day,
        except: &BTreeSet<SegmentId>,
    ) -> Result<SegmentId, StoreFailure> {
        let all = SegmentId { day, number: 0 }..=SegmentId {
            day,
            number: u32::MAX,
        };
        let last = self.segments.range(all).next_back();
        if let Some((id, segment)) = last
            && !segment.is_full(&self.sizes)
            && !except.contains(id)
        {
            return Ok(*id);
        }
        let number = last.map_or(Some(0), |(id, _)| id.number.checked_add(1));
        let number = number.ok_or(StoreFailure::Broken("too many segments"))?;
        let id = SegmentId { day, number };
        let segment = Segment::create(&self.disk, id, &mut self.rng)?;
        self.segments.insert(id, segment);
        Ok(id)
    }

    fn remove_gone(&mut self) -> Result<(), StoreFailure> {
        while let Some((id, spots)) = self.fresh.gone.pop_first() {
            let Some(segment) = self.segments.get_mut(&id) else {
                continue;
            };
            let mut rest = spots.as_slice();
            while !rest.is_empty() {
                let (part, after) = rest.split_at(self.sizes.removed.min(rest.len()));
                if let Err(failure) = segment.remove_rows(part, &self.sizes, &mut self.rng) {
                    self.fresh.gone.insert(id, rest.to_vec());
                    return Err(failure);
                }
                rest = after;
            }
        }
        // Also what found no space the last time.
        self.segments
            .values_mut()
            .try_for_each(Segment::finish_erasing)
    }

    /// Drops the segments of days that are over. Where rows moved on from and could not be written elsewhere yet, they stay.
    // [SPEC 6.94]
    fn drop_over(&mut self) -> Result<(), StoreFailure> {
        let over: BTreeSet<SegmentId> = self
            .segments
            .keys()
            .copied()
            .take_while(|id| id.day < self.over_before)
            .collect();
        if over.is_empty() {
            self.over_entries.clear();
            return Ok(());
        }
        let needed: BTreeSet<SegmentId> = self
            .index
            .within(&over)
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        for id in over.difference(&needed) {
            self.drop_segment(*id)?;
        }
        for (day, rows) in std::mem::take(&mut self.over_entries) {
            let places = rows
                .iter()
                .filter_map(|(key, held)| held.place(Table::Entries, day, *key));
            for place in places.filter(|(id, _)| needed.contains(id)) {
                self.fresh.gone(Some(place));
            }
        }
        Ok(())
    }

    fn drop_segment(&mut self, id: SegmentId) -> Result<(), StoreFailure> {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.ends();
        }
        segment::remove(&self.disk, id)?;
        self.segments.remove(&id);
        self.fresh.gone.remove(&id);
        Ok(())
    }

    /// Writes what is left of mostly empty segments to others, and drops them.
    // [SPEC 6.96]
    fn rewrite_wasteful(&mut self) -> Result<(), StoreFailure> {
        let mut bytes = 0_u32;
        let mut wasteful = BTreeSet::new();
        for (id, segment) in &self.segments {
            if segment.is_wasteful(&self.sizes) && bytes < self.sizes.rewritten {
                bytes = bytes.saturating_add(segment.len());
                wasteful.insert(*id);
            }
        }
        if wasteful.is_empty() {
            return Ok(());
        }
        let mut left: BTreeMap<SegmentId, Vec<Spot>> =
            wasteful.iter().map(|id| (*id, Vec::new())).collect();
        for (id, spot) in self.index.within(&wasteful) {
            left.entry(id).or_default().push(spot);
        }
        for (id, mut spots) in left {
            // Keys are random: their order says nothing of the order in which rows came.
            spots.sort_unstable_by_key(|spot| (spot.key, spot.table));
            let mut spots = spots.into_iter().peekable();
            while spots.peek().is_some() {
                let (mut rows, mut bytes) = (Vec::new(), 0);
                while let Some(spot) = spots.next_if(|_| bytes < self.sizes.piece) {
                    let segment = self.segments.get(&id);
                    let segment = segment.ok_or(NOT_OPEN)?;
                    let row = segment.row(&spot)?;
                    bytes += row.len();
                    rows.push((spot.table, spot.key, row));
                }
                self.write(id.day, &wasteful, &rows)?;
            }
            self.drop_segment(id)?;
        }
        Ok(())
    }
}
