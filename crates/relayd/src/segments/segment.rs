//! A segment: rows that expire with the same day, a file that says where they lie, and the key under which both are sealed.
//!
//! ```text
//! day-20785-3.key     the key
//! day-20785-3.data    rows, one behind the other; what was removed reads as zeros
//! day-20785-3.index   frames: where rows lie, which are gone
//! ```
//!
//! Rows are durable before the index speaks of them, and the index is durable before what is gone is erased. A segment grows, by
//! the checkpoints of the store, to some 64 MiB. It ends with its day, or when so much of it is gone that what is left is written
//! anew: then its key is overwritten and its files go.

use std::io;

use emptyroom_relay::store::{RowKey, StoreFailure};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::Day;
use rand_chacha::ChaCha20Rng;

use super::Sizes;
use super::disk::{Disk, DiskFile, synced};
use super::frames::{self, Frame, Frames, Unreadable};
use super::index::Used;
use super::keyfile::{self, Found};
use super::record::{self, Spot, Writer};
use crate::data::{io_failure, open_failure};
use crate::seal::{self, NONCE_LEN, Table, row_aad};

const INDEX_LABEL: &[u8] = b"emptyroom v1 day index";

/// Which segment: of the copies of a row, which a crash may leave, the one in the later segment of a day counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentId {
    pub(super) day: Day,
    pub(super) number: u32,
}

pub(super) struct Segment<F> {
    id: SegmentId,
    key: Secret32,
    data: F,
    /// Behind the last row.
    end: u32,
    index: Frames<F>,
    /// Rows of which the index says that they are gone, and whose bytes are still there.
    unerased: Vec<Spot>,
    /// Its key may be overwritten already.
    ends: bool,
}

/// What opening a segment gives: it and the rows that it holds.
pub(super) type Outcome<F> = Result<Option<(Segment<F>, Vec<Spot>)>, Unreadable>;

/// A row to be written.
pub(super) struct NewRow<'a> {
    pub(super) table: Table,
    pub(super) key: RowKey,
    pub(super) row: &'a [u8],
}

impl<'a> NewRow<'a> {
    pub(super) fn of(table: Table, key: RowKey, row: &'a [u8]) -> Self {
        Self { table, key, row }
    }
}

impl SegmentId {
    /// Of a file's name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (id, _) = name.strip_prefix("day-")?.split_once('.')?;
        let (day, number) = id.split_once('-')?;
        Some(Self {
            day: Day(day.parse().ok()?),
            number: number.parse().ok()?,
        })
    }

    pub(super) fn name(self, ending: &str) -> String {
        format!("day-{}-{}.{ending}", self.day.0, self.number)
    }

    fn label(self) -> Vec<u8> {
        let mut label = INDEX_LABEL.to_vec();
        label.extend_from_slice(&self.day.0.to_be_bytes());
        label
    }
}

impl<F: DiskFile> Segment<F> {
    /// Makes its files, durable and empty.
    pub(super) fn create<D: Disk<File = F>>(
        disk: &D,
        id: SegmentId,
        rng: &mut ChaCha20Rng,
    ) -> Result<Self, StoreFailure> {
        let key = keyfile::make(disk, &id.name("key"))?;
        let mut files = || -> io::Result<_> {
            let data = disk.create(&id.name("data"))?;
            let index = disk.create(&id.name("index"))?;
            let index = Frames::begin(index, key.duplicate(), id.label(), rng)?;
            synced(disk.sync_names())?;
            Ok((data, index))
        };
        match files() {
            Ok((data, index)) => Ok(Self {
                id,
                key,
                data,
                end: 0,
                index,
                unerased: Vec::new(),
                ends: false,
            }),
            Err(error) => {
                let made = ["data", "index", "key"].map(|ending| id.name(ending));
                let failure = io_failure(&error, "making a segment");
                Err(keyfile::unmake(disk, &made).err().unwrap_or(failure))
            }
        }
    }

    /// Opens it and tells which rows it holds, in the order in which they were written: of two under one key the later counts. `None`:
    /// the files were on their way in or out, and are gone now. Only if a journal is there (`may_be_torn`) can a checkpoint have been cut
    /// off. `seen` says how many rows its index spoke of, also if it is damaged.
    pub(super) fn open<D: Disk<File = F>>(
        disk: &D,
        id: SegmentId,
        may_be_torn: bool,
        seen: &mut usize,
    ) -> Outcome<F> {
        let failed = |e: io::Error| open_failure(&e, "opening a segment");
        let file = |ending: &str| match disk.open(&id.name(ending)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some).map_err(failed),
        };
        let (data, index) = (file("data")?, file("index")?);
        let len = |file: &Option<F>| file.as_ref().map_or(Ok(0), DiskFile::len).map_err(failed);
        let (len, index_len) = (len(&data)?, len(&index)?);
        // What is on its way in has no rows, and what is on its way out no key.
        let holds_rows = len > 0 || index_len > frames::FILE_HEAD as u64;
        let damaged = |what| holds_rows.then_some(Unreadable::Damaged(what));
        let (key, index) = match (keyfile::read(disk, &id.name("key"))?, index) {
            (Found::Key(key), Some(index)) => (key, index),
            (Found::Key(_), None) => return gone(disk, id, damaged("its index is missing")),
            (Found::Damaged | Found::Nothing, _) => {
                return gone(disk, id, damaged("its key is damaged or lost"));
            }
            (Found::Destroyed, _) => return gone(disk, id, None),
        };
        let mut reading = Reading::expecting(index_len);
        let label = id.label();
        let read = Frames::read(index, key.duplicate(), label, may_be_torn, &mut |group| {
            reading.group(&group)?;
            *seen = reading.rows.len().saturating_sub(reading.removed.len());
            Ok(())
        })?;
        let Some((mut index, tail)) = read else {
            return gone(disk, id, damaged("its index has no head"));
        };
        let end = reading.end;
        let data = match data {
            Some(data) if len >= u64::from(end) => data,
            Some(_) => return Err(Unreadable::Damaged("its rows are cut off")),
            None if end > 0 => return Err(Unreadable::Damaged("its rows are missing")),
            None => return gone(disk, id, None),
        };
        let mut unerased = Vec::new();
        if may_be_torn {
            index.doubt(tail);
            // A crash may have come before these were erased.
            unerased = std::mem::take(&mut reading.last_removed);
        }
        if len > u64::from(end) {
            // Rows of a checkpoint that was cut off: nobody would remember to erase them.
            data.set_len(u64::from(end)).map_err(failed)?;
            synced(data.sync()).map_err(failed)?;
        }
        let segment = Self {
            id,
            key,
            data,
            end,
            index,
            unerased,
            ends: false,
        };
        Ok(Some((segment, reading.into_rows())))
    }

    /// The rows of which its index says that they are there.
    pub(super) fn rows(&self) -> Result<Vec<Spot>, Unreadable> {
        let mut reading = Reading::expecting(self.index.len());
        self.index.read_again(&mut |group| reading.group(&group))?;
        Ok(reading.into_rows())
    }

    /// The row at a spot.
    pub(super) fn row(&self, spot: &Spot) -> Result<Vec<u8>, Unreadable> {
        let len = usize::try_from(spot.len).map_err(|_| StoreFailure::Broken("a row's length"))?;
        let mut sealed = vec![0; len];
        match self.data.read_at(u64::from(spot.at), &mut sealed) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Unreadable::Damaged("its rows are cut off"));
            }
            read => read.map_err(|e| io_failure(&e, "reading a row"))?,
        }
        let aad = row_aad(spot.table, self.id.day, &spot.key);
        seal::open(&self.key, &aad, sealed).ok_or(Unreadable::Damaged("a row does not open"))
    }

    /// Writes rows, as many as fit in one piece, and says where they lie. They are durable then. The piece is put together in a buffer
    /// that is used again.
    pub(super) fn write<'a>(
        &mut self,
        rows: &mut std::iter::Peekable<impl Iterator<Item = NewRow<'a>>>,
        sizes: &Sizes,
        (bytes, rng): (&mut Vec<u8>, &mut ChaCha20Rng),
    ) -> Result<Vec<Spot>, StoreFailure> {
        let too_long = StoreFailure::Broken("a segment is too long");
        bytes.clear();
        let mut spots = Vec::new();
        let mut index = Writer::new(sizes.frame);
        while let Some(new) = rows.next_if(|_| bytes.len() < sizes.piece) {
            let from = bytes.len();
            bytes.resize(from + NONCE_LEN, 0);
            bytes.extend_from_slice(new.row);
            let aad = row_aad(new.table, self.id.day, &new.key);
            seal::seal_from(bytes, from, &self.key, &aad, rng)?;
            let before = u32::try_from(from).map_err(|_| too_long)?;
            let spot = Spot {
                table: new.table,
                key: new.key,
                at: self.end.checked_add(before).ok_or(too_long)?,
                len: u32::try_from(bytes.len() - from).map_err(|_| too_long)?,
            };
            index.spot(true, &spot);
            spots.push(spot);
        }
        let written = u32::try_from(bytes.len()).map_err(|_| too_long)?;
        let end = self.end.checked_add(written).ok_or(too_long)?;
        let outcome = self.write_durably(bytes, index.group(), rng);
        if outcome == Err(StoreFailure::Full) {
            // The index does not speak of it, so nothing of it stays.
            let cut = self.data.set_len(u64::from(self.end));
            cut.and_then(|()| self.data.sync())
                .map_err(|_| StoreFailure::Broken("cutting rows"))?;
        }
        outcome?;
        self.end = end;
        Ok(spots)
    }

    fn write_durably(
        &mut self,
        bytes: &[u8],
        index: &mut [Vec<u8>],
        rng: &mut ChaCha20Rng,
    ) -> Result<(), StoreFailure> {
        self.finish_erasing()?;
        self.data
            .write_at(u64::from(self.end), bytes)
            .map_err(|e| io_failure(&e, "writing rows"))?;
        self.sync_data()?;
        self.index.append(index, rng)?;
        self.index.sync()
    }

    /// Writes into the index, durably, that rows are gone; [`Self::finish_erasing`] follows.
    pub(super) fn remove_rows(
        &mut self,
        spots: &[Spot],
        sizes: &Sizes,
        rng: &mut ChaCha20Rng,
    ) -> Result<(), StoreFailure> {
        self.finish_erasing()?;
        let mut index = Writer::new(sizes.frame);
        spots.iter().for_each(|spot| index.spot(false, spot));
        self.index.append(index.group(), rng)?;
        self.index.sync()?;
        self.unerased.extend(spots);
        Ok(())
    }

    /// Its index was not mended since a crash.
    pub(super) fn is_unsure(&self) -> bool {
        self.index.is_unsure()
    }

    pub(super) fn mend(&mut self) -> Result<(), StoreFailure> {
        self.index.mend()
    }

    pub(super) fn has_unerased(&self) -> bool {
        !self.unerased.is_empty()
    }

    /// Erases, durably, what the index says is gone. Until then the index must not go on: a start knows only its last group again.
    pub(super) fn finish_erasing(&mut self) -> Result<(), StoreFailure> {
        if self.unerased.is_empty() {
            return Ok(());
        }
        self.index.mend()?;
        self.erase(&self.unerased)?;
        self.sync_data()?;
        self.unerased.clear();
        Ok(())
    }

    /// Erases ranges, neighbours together.
    fn erase(&self, spots: &[Spot]) -> Result<(), StoreFailure> {
        let end = |spot: &Spot| spot.at.saturating_add(spot.len);
        let mut ranges: Vec<(u32, u32)> = spots.iter().map(|spot| (spot.at, end(spot))).collect();
        ranges.sort_unstable();
        ranges.dedup_by(|next, last| {
            let joined = next.0 <= last.1;
            if joined {
                last.1 = last.1.max(next.1);
            }
            joined
        });
        for (from, to) in ranges {
            self.data
                .erase(u64::from(from), u64::from(to.saturating_sub(from)))
                .map_err(|e| io_failure(&e, "erasing rows"))?;
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<(), StoreFailure> {
        self.data
            .sync()
            .map_err(|_| StoreFailure::Broken("sync of rows"))
    }

    /// No more rows are written to it.
    pub(super) fn is_full(&self, full_at: u32) -> bool {
        self.ends || self.end >= full_at
    }

    /// From here on its key may be gone at any moment.
    pub(super) fn ends(&mut self) {
        self.ends = true;
    }

    /// More of it is gone than is left, or its index tells more of the past than of the present.
    pub(super) fn is_wasteful(&self, used: Used, sizes: &Sizes) -> bool {
        let gone = self.end.saturating_sub(used.bytes);
        let rows = gone > used.bytes && gone >= sizes.wasted;
        rows || self.index.len() > u64::from(sizes.wasted) + u64::from(self.end / 3)
    }

    /// How long its index is.
    pub(super) fn index_len(&self) -> u64 {
        self.index.len()
    }
}

/// Removes what was on its way in or out, unless it is damage.
fn gone<D: Disk, T>(
    disk: &D,
    id: SegmentId,
    damage: Option<Unreadable>,
) -> Result<Option<T>, Unreadable> {
    match damage {
        Some(damage) => Err(damage),
        None => Ok(remove(disk, id).map(|()| None)?),
    }
}

/// Removes a segment's files, the key first: then nothing opens any more, whatever becomes of the rest.
pub(super) fn remove<D: Disk>(disk: &D, id: SegmentId) -> Result<(), StoreFailure> {
    keyfile::destroy(disk, &id.name("key"), &[id.name("data"), id.name("index")])
}

/// An index being read.
#[derive(Default)]
struct Reading {
    rows: Vec<Spot>,
    /// Where rows lay that were removed.
    removed: Vec<u32>,
    last_removed: Vec<Spot>,
    end: u32,
}

impl Reading {
    /// Of an index of this length.
    fn expecting(index_len: u64) -> Self {
        let rows = index_len / record::SPOT_LEN;
        Self {
            rows: Vec::with_capacity(usize::try_from(rows).unwrap_or(0)),
            ..Self::default()
        }
    }

    fn group(&mut self, group: &[Frame]) -> Result<(), Unreadable> {
        self.last_removed.clear();
        for frame in group {
            record::spots(frame.content(), &mut |stays, spot| self.spot(stays, spot))?;
        }
        Ok(())
    }

    fn spot(&mut self, stays: bool, spot: Spot) {
        if stays {
            self.end = self.end.max(spot.at.saturating_add(spot.len));
            self.rows.push(spot);
        } else {
            self.removed.push(spot.at);
            self.last_removed.push(spot);
        }
    }

    /// Rows stand in the order in which they lie.
    fn into_rows(mut self) -> Vec<Spot> {
        self.removed.sort_unstable();
        let mut removed = self.removed.into_iter().peekable();
        self.rows.retain(|spot| {
            while removed.next_if(|at| *at < spot.at).is_some() {}
            removed.peek() != Some(&spot.at)
        });
        self.rows
    }
}
