//! What is held: where each row is, and what the next checkpoint is about.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use emptyroom_relay::store::RowKey;
use emptyroom_wire::time::Day;

use super::record::{Op, Spot};
use super::segment::SegmentId;
use crate::seal::Table;

/// Where a row is.
pub(super) enum Held {
    /// In memory and in the journal.
    Young(Box<[u8]>),
    /// In a segment of its day.
    Old { segment: u32, at: u32, len: u32 },
}

/// A lasting row.
pub(super) struct Lasting {
    /// The last day of its life.
    pub(super) day: Day,
    /// In a segment of which day it lies, if it does: not yet of `day` after it moved.
    pub(super) lies: Day,
    pub(super) held: Held,
}

/// All rows.
#[derive(Default)]
pub(super) struct Index {
    pub(super) entries: BTreeMap<Day, HashMap<RowKey, Held>>,
    pub(super) lasting: HashMap<RowKey, Lasting>,
}

/// What the next checkpoint is about.
#[derive(Default)]
pub(super) struct Fresh {
    pub(super) entries: BTreeMap<Day, BTreeSet<RowKey>>,
    pub(super) lasting: BTreeSet<RowKey>,
    /// Rows in segments that were removed or replaced.
    pub(super) gone: BTreeMap<SegmentId, Vec<Spot>>,
}

impl Fresh {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.lasting.is_empty() && self.gone.is_empty()
    }

    /// A row is not there any more; its bytes are to be erased, if it has any.
    pub(super) fn gone(&mut self, place: Option<(SegmentId, Spot)>) {
        if let Some((segment, spot)) = place {
            self.gone.entry(segment).or_default().push(spot);
        }
    }
}

impl Held {
    pub(super) fn of(segment: SegmentId, spot: &Spot) -> Self {
        Held::Old {
            segment: segment.number,
            at: spot.at,
            len: spot.len,
        }
    }

    pub(super) fn is_young(&self) -> bool {
        matches!(self, Held::Young(_))
    }

    /// Where it lies, if it does.
    pub(super) fn place(&self, table: Table, day: Day, key: RowKey) -> Option<(SegmentId, Spot)> {
        match *self {
            Held::Young(_) => None,
            Held::Old { segment, at, len } => {
                let number = segment;
                let spot = Spot {
                    table,
                    key,
                    at,
                    len,
                };
                Some((SegmentId { day, number }, spot))
            }
        }
    }
}

impl Lasting {
    pub(super) fn is_to_be_written(&self) -> bool {
        self.held.is_young() || self.lies != self.day
    }

    /// Where it lies, if it does.
    pub(super) fn place(&self, key: RowKey) -> Option<(SegmentId, Spot)> {
        self.held.place(Table::Lasting, self.lies, key)
    }
}

impl Index {
    /// Takes a row that lies in a segment, and returns the place of another that it takes the place of.
    pub(super) fn put(&mut self, segment: SegmentId, spot: &Spot) -> Option<(SegmentId, Spot)> {
        let (day, key, held) = (segment.day, spot.key, Held::of(segment, spot));
        match spot.table {
            Table::Entries => {
                let before = self.entries.entry(day).or_default().insert(key, held)?;
                before.place(Table::Entries, day, key)
            }
            Table::Lasting => {
                let lies = day;
                let before = self.lasting.insert(key, Lasting { day, lies, held })?;
                before.place(key)
            }
        }
    }

    /// Does an operation in memory.
    pub(super) fn carry_out(&mut self, fresh: &mut Fresh, op: Op<'_>) {
        let gone = match op {
            Op::Put(Table::Entries, day, key, row) => {
                fresh.entries.entry(day).or_default().insert(key);
                let held = Held::Young(row.into());
                let before = self.entries.entry(day).or_default().insert(key, held);
                before.and_then(|held| held.place(Table::Entries, day, key))
            }
            Op::Remove(Table::Entries, day, key) => {
                let before = self
                    .entries
                    .get_mut(&day)
                    .and_then(|rows| rows.remove(&key));
                before.and_then(|held| held.place(Table::Entries, day, key))
            }
            Op::Put(Table::Lasting, day, key, row) => {
                fresh.lasting.insert(key);
                let (lies, held) = (day, Held::Young(row.into()));
                let before = self.lasting.insert(key, Lasting { day, lies, held });
                before.and_then(|before| before.place(key))
            }
            Op::Move(day, key) => {
                if let Some(row) = self.lasting.get_mut(&key) {
                    row.day = day;
                    fresh.lasting.insert(key);
                }
                None
            }
            Op::Remove(Table::Lasting, _, key) => {
                let before = self.lasting.remove(&key);
                before.and_then(|before| before.place(key))
            }
        };
        fresh.gone(gone);
    }

    /// Forgets all rows of days before `today`, and returns what entries there were.
    pub(super) fn expire(
        &mut self,
        fresh: &mut Fresh,
        today: Day,
    ) -> BTreeMap<Day, HashMap<RowKey, Held>> {
        self.lasting.retain(|key, row| {
            let stays = row.day >= today;
            if !stays {
                fresh.gone(row.place(*key));
            }
            stays
        });
        let later = self.entries.split_off(&today);
        std::mem::replace(&mut self.entries, later)
    }

    /// The places of all rows that lie in one of `segments`.
    pub(super) fn within(&self, segments: &BTreeSet<SegmentId>) -> Vec<(SegmentId, Spot)> {
        let days: BTreeSet<Day> = segments.iter().map(|segment| segment.day).collect();
        let entries = days
            .iter()
            .filter_map(|day| Some((day, self.entries.get(day)?)));
        let entries = entries.flat_map(|(day, rows)| {
            rows.iter()
                .filter_map(|(key, held)| held.place(Table::Entries, *day, *key))
        });
        let lasting = self
            .lasting
            .iter()
            .filter(|(_, row)| days.contains(&row.lies))
            .filter_map(|(key, row)| row.place(*key));
        entries
            .chain(lasting)
            .filter(|(segment, _)| segments.contains(segment))
            .collect()
    }
}
