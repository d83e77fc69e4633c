//! In memory: where each row is.
//!
//! A row in a segment costs its key (32 bytes) and its place (12, a lasting row 16) in a hash table that is at most 7/8 full: 51 to 112
//! bytes. Rows that no segment holds yet are kept whole.

use std::collections::{BTreeMap, HashMap, hash_map};

use emptyroom_relay::store::RowKey;
use emptyroom_wire::time::Day;

use super::record::{Op, Spot};
use super::segment::SegmentId;
use super::table::Places;
use super::waiting::Waiting;
use crate::seal::Table;

/// In a segment of a day that is known.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    segment: u32,
    at: u32,
    len: u32,
}

/// A lasting row in a segment.
#[derive(Clone, Copy)]
struct Lasting {
    /// In a segment of which day it lies: not yet of the last day of its life after it moved.
    lies: Day,
    place: Place,
}

/// Where a row was found.
pub(super) enum Found<'a> {
    Waiting(&'a [u8]),
    Segment(SegmentId, Spot),
}

/// What of a segment is there.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Used {
    pub(super) rows: u32,
    pub(super) bytes: u32,
}

/// All rows.
#[derive(Default)]
pub(super) struct Index {
    entries: BTreeMap<Day, Places<Place>>,
    lasting: Places<Lasting>,
    used: BTreeMap<SegmentId, Used>,
    /// What was committed since the last checkpoint began.
    pub(super) fresh: Waiting,
    /// What the checkpoint that is under way has still to do.
    pub(super) settling: Waiting,
}

impl Place {
    fn of(segment: SegmentId, spot: &Spot) -> Self {
        Self {
            segment: segment.number,
            at: spot.at,
            len: spot.len,
        }
    }

    fn spot(self, table: Table, day: Day, key: RowKey) -> (SegmentId, Spot) {
        let number = self.segment;
        let (at, len) = (self.at, self.len);
        let spot = Spot {
            table,
            key,
            at,
            len,
        };
        (SegmentId { day, number }, spot)
    }
}

impl Lasting {
    fn spot(self, key: RowKey) -> (SegmentId, Spot) {
        self.place.spot(Table::Lasting, self.lies, key)
    }
}

impl Index {
    pub(super) fn entry(&self, day: Day, key: &RowKey) -> Option<Found<'_>> {
        let waiting = self.fresh.entries.get(&(day, *key));
        if let Some(row) = waiting.or_else(|| self.settling.entries.get(&(day, *key))) {
            return Some(Found::Waiting(row));
        }
        let place = self.entries.get(&day)?.get(key)?;
        let (id, spot) = place.spot(Table::Entries, day, *key);
        Some(Found::Segment(id, spot))
    }

    pub(super) fn lasting(&self, key: &RowKey) -> Option<Found<'_>> {
        let waiting = self.fresh.lasting.get(key);
        if let Some((_, row)) = waiting.or_else(|| self.settling.lasting.get(key)) {
            return Some(Found::Waiting(row));
        }
        let (id, spot) = self.lasting.get(key)?.spot(*key);
        Some(Found::Segment(id, spot))
    }

    /// All rows, with their last days.
    pub(super) fn all(&self) -> Vec<(Table, Day, RowKey)> {
        let mut all = Vec::with_capacity(self.rows());
        for (day, rows) in &self.entries {
            all.extend(rows.keys().map(|key| (Table::Entries, *day, *key)));
        }
        for (key, row) in &self.lasting {
            let moved = [&self.fresh, &self.settling].map(|waiting| waiting.moved.get(key));
            let day = moved.into_iter().flatten().next().unwrap_or(&row.lies);
            all.push((Table::Lasting, *day, *key));
        }
        for waiting in [&self.settling, &self.fresh] {
            let entries = waiting.entries.keys();
            all.extend(entries.map(|(day, key)| (Table::Entries, *day, *key)));
            let lasting = waiting.lasting.iter();
            all.extend(lasting.map(|(key, (day, _))| (Table::Lasting, *day, *key)));
        }
        all
    }

    /// How many rows there are, in memory or not.
    pub(super) fn rows(&self) -> usize {
        let entries: usize = self.entries.values().map(HashMap::len).sum();
        entries + self.lasting.len() + self.fresh.rows() + self.settling.rows()
    }

    pub(super) fn used(&self, segment: SegmentId) -> Used {
        self.used.get(&segment).copied().unwrap_or_default()
    }

    /// Whether this is where a row lies.
    pub(super) fn lies_at(&self, segment: SegmentId, spot: &Spot) -> bool {
        let place = Place::of(segment, spot);
        match spot.table {
            Table::Entries => {
                let rows = self.entries.get(&segment.day);
                rows.and_then(|rows| rows.get(&spot.key)) == Some(&place)
            }
            Table::Lasting => self
                .lasting
                .get(&spot.key)
                .is_some_and(|row| row.lies == segment.day && row.place == place),
        }
    }

    /// There will be so many more rows in segments of a day.
    pub(super) fn reserve(&mut self, day: Day, entries: usize, lasting: usize) {
        if entries > 0 {
            self.entries.entry(day).or_default().reserve(entries);
        }
        self.lasting.reserve(lasting);
    }

    /// Gives back what was reserved for rows that did not come.
    pub(super) fn trim(&mut self) {
        self.entries.values_mut().for_each(trim);
        trim(&mut self.lasting);
    }

    /// Takes a row that lies in a segment, and returns the place of another that it takes the place of.
    fn put(&mut self, segment: SegmentId, spot: &Spot) -> Option<(SegmentId, Spot)> {
        let used = self.used.entry(segment).or_default();
        used.rows = used.rows.saturating_add(1);
        used.bytes = used.bytes.saturating_add(spot.len);
        let (day, key, place) = (segment.day, spot.key, Place::of(segment, spot));
        let before = match spot.table {
            Table::Entries => {
                let before = self.entries.entry(day).or_default().insert(key, place);
                before.map(|place| place.spot(Table::Entries, day, key))
            }
            Table::Lasting => {
                let row = Lasting { lies: day, place };
                let before = self.lasting.insert(key, row);
                before.map(|row| row.spot(key))
            }
        };
        if let Some((segment, spot)) = &before {
            unuse(&mut self.used, *segment, spot.len);
        }
        before
    }

    /// Rows that an index speaks of, in the order in which they were written; indexes may come in any order. Of two copies the one in the
    /// later segment counts, the other goes.
    pub(super) fn found(&mut self, segment: SegmentId, spots: &[Spot]) {
        let used = self.used.entry(segment).or_default();
        for spot in spots {
            used.rows = used.rows.saturating_add(1);
            used.bytes = used.bytes.saturating_add(spot.len);
        }
        let day = segment.day;
        for spot in spots {
            let place = Place::of(segment, spot);
            let gone = match spot.table {
                Table::Entries => {
                    let rows = self.entries.entry(day).or_default();
                    let other = keep_later(rows, spot.key, place, |place| place.segment);
                    other.map(|place| place.spot(Table::Entries, day, spot.key))
                }
                Table::Lasting => {
                    let row = Lasting { lies: day, place };
                    let later = |row: &Lasting| (row.lies, row.place.segment);
                    let other = keep_later(&mut self.lasting, spot.key, row, later);
                    other.map(|row| row.spot(spot.key))
                }
            };
            if let Some((segment, spot)) = gone {
                self.gone(segment, spot);
            }
        }
    }

    /// A row that waited was written.
    pub(super) fn settled(&mut self, segment: SegmentId, spot: &Spot) {
        match spot.table {
            Table::Entries => drop(self.settling.entries.remove(&(segment.day, spot.key))),
            Table::Lasting => {
                self.settling.lasting.remove(&spot.key);
                self.settling.moved.remove(&spot.key);
            }
        }
        if let Some((segment, spot)) = self.put(segment, spot) {
            self.settling.gone(segment, spot);
        }
    }

    /// A row was written to another segment, and the one where it lay goes.
    pub(super) fn rewritten(&mut self, segment: SegmentId, spot: &Spot) {
        self.put(segment, spot);
    }

    /// A row cannot be read any more. It goes like one that was removed: found again by the next start, it would hide another that was
    /// written under its key since.
    pub(super) fn lost(&mut self, segment: SegmentId, spot: &Spot) {
        if !self.lies_at(segment, spot) {
            return;
        }
        self.gone(segment, *spot);
        match spot.table {
            Table::Entries => {
                if let Some(rows) = self.entries.get_mut(&segment.day) {
                    rows.remove(&spot.key);
                }
            }
            Table::Lasting => {
                self.lasting.remove(&spot.key);
                self.fresh.moved.remove(&spot.key);
                self.settling.moved.remove(&spot.key);
            }
        }
    }

    /// A segment and everything about it is no more.
    pub(super) fn forget_segment(&mut self, segment: SegmentId) {
        self.used.remove(&segment);
        self.fresh.gone.remove(&segment);
        self.settling.gone.remove(&segment);
    }

    /// Does an operation of a journal once more.
    pub(super) fn carry_out(&mut self, op: Op<'_>) {
        match op {
            Op::Put(Table::Entries, day, key, row) => self.put_entry(day, key, row.into()),
            Op::Put(Table::Lasting, day, key, row) => self.put_lasting(day, key, row.into()),
            Op::Remove(Table::Entries, day, key) => self.remove_entry(day, key),
            Op::Remove(Table::Lasting, _, key) => self.remove_lasting(key),
            Op::Move(day, key) => self.move_lasting(day, key),
        }
    }

    pub(super) fn put_entry(&mut self, day: Day, key: RowKey, row: Box<[u8]>) {
        self.remove_entry(day, key);
        self.fresh.entries.insert((day, key), row);
    }

    pub(super) fn put_lasting(&mut self, day: Day, key: RowKey, row: Box<[u8]>) {
        self.remove_lasting(key);
        self.fresh.lasting.insert(key, (day, row));
    }

    pub(super) fn remove_entry(&mut self, day: Day, key: RowKey) {
        self.fresh.entries.remove(&(day, key));
        self.settling.entries.remove(&(day, key));
        let rows = self.entries.get_mut(&day);
        if let Some(place) = rows.and_then(|rows| rows.remove(&key)) {
            let (segment, spot) = place.spot(Table::Entries, day, key);
            self.gone(segment, spot);
        }
    }

    pub(super) fn remove_lasting(&mut self, key: RowKey) {
        for waiting in [&mut self.fresh, &mut self.settling] {
            waiting.lasting.remove(&key);
            waiting.moved.remove(&key);
        }
        if let Some(row) = self.lasting.remove(&key) {
            let (segment, spot) = row.spot(key);
            self.gone(segment, spot);
        }
    }

    pub(super) fn move_lasting(&mut self, day: Day, key: RowKey) {
        let waiting = self.fresh.lasting.get_mut(&key);
        if let Some((at, _)) = waiting.or_else(|| self.settling.lasting.get_mut(&key)) {
            *at = day;
            return;
        }
        let Some(row) = self.lasting.get(&key) else {
            return;
        };
        self.fresh.moved.remove(&key);
        self.settling.moved.remove(&key);
        if row.lies != day {
            self.fresh.moved.insert(key, day);
        }
    }

    /// A row is not there any more; its bytes are to be erased.
    fn gone(&mut self, segment: SegmentId, spot: Spot) {
        unuse(&mut self.used, segment, spot.len);
        self.fresh.gone(segment, spot);
    }

    /// Forgets all rows of days before `today`; false if there is none.
    pub(super) fn expire(&mut self, today: Day) -> bool {
        let before = self.rows();
        let later = self.entries.split_off(&today);
        for (day, rows) in std::mem::replace(&mut self.entries, later) {
            for (key, place) in rows {
                let (segment, spot) = place.spot(Table::Entries, day, key);
                unuse(&mut self.used, segment, spot.len);
            }
        }
        let Self {
            lasting,
            used,
            fresh,
            settling,
            ..
        } = self;
        lasting.retain(|key, row| {
            let waits_in = [&mut *fresh, &mut *settling]
                .into_iter()
                .find(|waiting| waiting.moved.contains_key(key));
            let last = waits_in.as_ref().and_then(|waiting| waiting.moved.get(key));
            let stays = last.unwrap_or(&row.lies) >= &today;
            if !stays {
                let (segment, spot) = row.spot(*key);
                unuse(used, segment, spot.len);
                // The others go with their segments. In a segment of a later day it is over only because a journal says so: its bytes
                // must go before that, in the checkpoint that settles what the journal says.
                if let Some(waiting) = waits_in.filter(|_| segment.day >= today) {
                    waiting.gone(segment, spot);
                }
            }
            stays
        });
        fresh.expire(today);
        settling.expire(today);
        self.rows() < before
    }
}

/// Puts a row in its place and returns the other one, if there are two: of them the later one stays.
fn keep_later<T: Copy, O: Ord>(
    rows: &mut Places<T>,
    key: RowKey,
    row: T,
    order: impl Fn(&T) -> O,
) -> Option<T> {
    match rows.entry(key) {
        hash_map::Entry::Vacant(vacant) => {
            vacant.insert(row);
            None
        }
        hash_map::Entry::Occupied(there) if order(there.get()) > order(&row) => Some(row),
        hash_map::Entry::Occupied(mut there) => Some(there.insert(row)),
    }
}

fn trim<T>(rows: &mut Places<T>) {
    // A table that grew by itself is never so empty.
    if rows.capacity() / 3 > rows.len() {
        rows.shrink_to_fit();
    }
}

fn unuse(used: &mut BTreeMap<SegmentId, Used>, segment: SegmentId, len: u32) {
    if let Some(used) = used.get_mut(&segment) {
        used.rows = used.rows.saturating_sub(1);
        used.bytes = used.bytes.saturating_sub(len);
    }
}
