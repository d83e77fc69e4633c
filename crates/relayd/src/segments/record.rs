//! What frames hold: the operations of a commit in the journal, the places of rows in a segment's index.

use emptyroom_relay::store::RowKey;
use emptyroom_wire::time::Day;

use super::frames::{self, Unreadable};
use crate::seal::Table;

/// An operation of a commit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Op<'a> {
    Put(Table, Day, RowKey, &'a [u8]),
    Remove(Table, Day, RowKey),
    /// Of a lasting row.
    Move(Day, RowKey),
}

const PUT: u8 = 0;
const REMOVE: u8 = 2;
const MOVE: u8 = 4;

/// Gathers operations into frames.
pub(super) struct Writer {
    content_max: usize,
    group: Vec<Vec<u8>>,
    /// The buffer of a frame that was written, for the next: it holds nothing that was not sealed.
    spare: Vec<u8>,
}

impl Writer {
    /// For contents of about so many bytes; one record more is never cut.
    pub(super) fn new(content_max: usize) -> Self {
        Self {
            content_max,
            group: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Begins a new group.
    pub(super) fn begin(&mut self) {
        if let Some(frame) = self.group.drain(..).next() {
            self.spare = frame;
        }
    }

    /// Gives the memory back that waits for the next group.
    pub(super) fn rest(&mut self) {
        self.begin();
        self.spare = Vec::new();
    }

    pub(super) fn op(&mut self, op: &Op<'_>) {
        let (code, day, key, row) = match op {
            Op::Put(table, day, key, row) => (PUT + table.code(), day, key, Some(*row)),
            Op::Remove(table, day, key) => (REMOVE + table.code(), day, key, None),
            Op::Move(day, key) => (MOVE, day, key, None),
        };
        let (day, len) = (day.0.to_be_bytes(), row.map_or(0, <[u8]>::len));
        let len = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
        match row {
            Some(row) => self.add(&[&[code], &day, &key.0, &len, row]),
            None => self.add(&[&[code], &day, &key.0]),
        }
    }

    pub(super) fn spot(&mut self, stays: bool, spot: &Spot) {
        let code = spot.table.code() + if stays { PUT } else { REMOVE };
        let (at, len) = (spot.at.to_be_bytes(), spot.len.to_be_bytes());
        self.add(&[&[code], &spot.key.0, &at, &len]);
    }

    pub(super) fn group(&mut self) -> &mut [Vec<u8>] {
        &mut self.group
    }

    fn add(&mut self, record: &[&[u8]]) {
        let len: usize = record.iter().map(|part| part.len()).sum();
        let fits = |frame: &&mut Vec<u8>| frame.len() + len <= self.content_max + frames::ROOM;
        if let Some(last) = self.group.last_mut().filter(fits) {
            record.iter().for_each(|part| last.extend_from_slice(part));
            return;
        }
        let mut frame = frames::empty(std::mem::take(&mut self.spare));
        record.iter().for_each(|part| frame.extend_from_slice(part));
        self.group.push(frame);
    }
}

/// What an index takes for each place, in bytes.
pub(super) const SPOT_LEN: u64 = 1 + 32 + 4 + 4;

/// A row in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) table: Table,
    pub(super) key: RowKey,
    pub(super) at: u32,
    pub(super) len: u32,
}

const BAD: Unreadable = Unreadable::Damaged("a frame holds what it cannot");

/// Reads operations.
pub(super) fn ops<'a>(mut bytes: &'a [u8], take: &mut dyn FnMut(Op<'a>)) -> Result<(), Unreadable> {
    while let Some((code, rest)) = bytes.split_first() {
        let (day, rest) = rest.split_first_chunk::<4>().ok_or(BAD)?;
        let (key, rest) = rest.split_first_chunk::<32>().ok_or(BAD)?;
        let (day, key) = (Day(u32::from_be_bytes(*day)), RowKey(*key));
        bytes = rest;
        match *code {
            MOVE => take(Op::Move(day, key)),
            code if code >= REMOVE => {
                take(Op::Remove(Table::of(code - REMOVE).ok_or(BAD)?, day, key));
            }
            code => {
                let (len, rest) = rest.split_first_chunk::<4>().ok_or(BAD)?;
                let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| BAD)?;
                let (row, rest) = rest.split_at_checked(len).ok_or(BAD)?;
                bytes = rest;
                take(Op::Put(Table::of(code).ok_or(BAD)?, day, key, row));
            }
        }
    }
    Ok(())
}

/// Reads places, and whether each stays.
pub(super) fn spots(mut bytes: &[u8], take: &mut dyn FnMut(bool, Spot)) -> Result<(), Unreadable> {
    while let Some((code, rest)) = bytes.split_first() {
        let (key, rest) = rest.split_first_chunk::<32>().ok_or(BAD)?;
        let (at, rest) = rest.split_first_chunk::<4>().ok_or(BAD)?;
        let (len, rest) = rest.split_first_chunk::<4>().ok_or(BAD)?;
        bytes = rest;
        let stays = *code < REMOVE;
        let table = if stays { *code } else { *code - REMOVE };
        let spot = Spot {
            table: Table::of(table).ok_or(BAD)?,
            key: RowKey(*key),
            at: u32::from_be_bytes(*at),
            len: u32::from_be_bytes(*len),
        };
        take(stays, spot);
    }
    Ok(())
}
