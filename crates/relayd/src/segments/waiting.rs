//! What was committed and stands in no segment yet: rows to be written, rows to be moved, bytes to be erased.

use std::collections::BTreeMap;

use emptyroom_relay::store::RowKey;
use emptyroom_wire::time::Day;

use super::record::Spot;
use super::segment::{NewRow, SegmentId};
use crate::seal::Table;

/// Keys are random, so their order says nothing of the order in which rows came.
// [SPEC 6.68]
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) entries: BTreeMap<(Day, RowKey), Box<[u8]>>,
    /// With the last day of their lives.
    pub(super) lasting: BTreeMap<RowKey, (Day, Box<[u8]>)>,
    /// Lasting rows in segments of another day than the last of their lives, which is this.
    pub(super) moved: BTreeMap<RowKey, Day>,
    /// Rows in segments that were removed or replaced.
    pub(super) gone: BTreeMap<SegmentId, Vec<Spot>>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.rows() == 0 && self.moved.is_empty() && self.gone.is_empty()
    }

    /// Rows that are in no segment.
    pub(super) fn rows(&self) -> usize {
        self.entries.len() + self.lasting.len()
    }

    /// A day of which rows are in no segment.
    pub(super) fn first_day(&self) -> Option<Day> {
        let entry = self.entries.first_key_value().map(|((day, _), _)| *day);
        entry.or_else(|| self.lasting.values().next().map(|(day, _)| *day))
    }

    /// Rows of a day that are in no segment.
    pub(super) fn rows_of(&self, day: Day) -> impl Iterator<Item = NewRow<'_>> {
        let of_day = (day, RowKey([0; 32]))..=(day, RowKey([u8::MAX; 32]));
        let entries = self.entries.range(of_day);
        let entries = entries.map(|((_, key), row)| (Table::Entries, key, row));
        let lasting = self.lasting.iter();
        let lasting = lasting.filter(move |(_, (last, _))| *last == day);
        let lasting = lasting.map(|(key, (_, row))| (Table::Lasting, key, row));
        entries
            .chain(lasting)
            .map(|(table, key, row)| NewRow::of(table, *key, row))
    }

    /// A row is not there any more; its bytes are to be erased.
    pub(super) fn gone(&mut self, segment: SegmentId, spot: Spot) {
        self.gone.entry(segment).or_default().push(spot);
    }

    /// Forgets what is of days before `today`.
    pub(super) fn expire(&mut self, today: Day) {
        self.entries = self.entries.split_off(&(today, RowKey([0; 32])));
        self.lasting.retain(|_, (day, _)| *day >= today);
        self.moved.retain(|_, day| *day >= today);
    }
}
