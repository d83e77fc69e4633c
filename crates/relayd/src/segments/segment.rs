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

use std::collections::HashMap;
use std::io;

use emptyroom_relay::store::{RowKey, StoreFailure};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::Day;
use rand_chacha::ChaCha20Rng;

use super::Sizes;
use super::disk::{Disk, DiskFile};
use super::frames::Frames;
use super::keyfile::{self, Found};
use super::record::{self, Spot, Writer};
use crate::data::io_failure;
use crate::seal::{self, Table, row_aad};

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
    /// About how many bytes of it are gone.
    dead: u32,
    /// Rows of which the index says that they are gone, and whose bytes are still there.
    unerased: Vec<Spot>,
    /// Its key may be overwritten already.
    ends: bool,
}

/// A row to be written.
pub(super) struct NewRow<'a> {
    pub(super) table: Table,
    pub(super) key: RowKey,
    pub(super) row: &'a [u8],
}

/// What an index says.
#[derive(Default)]
pub(super) struct Contents {
    /// Where each row lies.
    pub(super) rows: HashMap<(Table, RowKey), Spot>,
    /// Rows that were replaced and not yet removed, and the last that were removed: a crash may have come before these were erased.
    pub(super) gone: Vec<Spot>,
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

    fn name(self, ending: &str) -> String {
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
            keyfile::synced(disk.sync_names())?;
            Ok((data, index))
        };
        match files() {
            Ok((data, index)) => Ok(Self {
                id,
                key,
                data,
                end: 0,
                index,
                dead: 0,
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

    /// Opens it and tells what it holds. `None`: the files were on their way in or out, and are gone now. Only if a journal is there
    /// (`may_be_torn`) can a checkpoint have been cut off.
    pub(super) fn open<D: Disk<File = F>>(
        disk: &D,
        id: SegmentId,
        may_be_torn: bool,
    ) -> Result<Option<(Self, Contents)>, StoreFailure> {
        let failed = |e: io::Error| io_failure(&e, "opening a segment");
        let names = disk.names().map_err(failed)?;
        let has = |ending: &str| names.contains(&id.name(ending));
        let holds_rows = || -> Result<bool, StoreFailure> {
            if !has("data") {
                return Ok(false);
            }
            let data = disk.open(&id.name("data")).map_err(failed)?;
            Ok(!data.is_empty().map_err(failed)?)
        };
        let key = match keyfile::read(disk, &id.name("key"))? {
            Found::Key(key) if has("data") && has("index") => key,
            Found::Key(_) if holds_rows()? => {
                return Err(StoreFailure::Broken("the index of a segment is missing"));
            }
            Found::Damaged | Found::Nothing if holds_rows()? => {
                return Err(StoreFailure::Broken(
                    "the key of a segment is damaged or lost",
                ));
            }
            _ => return remove(disk, id).map(|()| None),
        };
        let data = disk.open(&id.name("data")).map_err(failed)?;
        let index = disk.open(&id.name("index")).map_err(failed)?;
        let mut reading = Reading::default();
        let index = Frames::open(
            index,
            key.duplicate(),
            id.label(),
            may_be_torn,
            &mut |group| reading.group(group),
        )?;
        let Some(index) = index else {
            if holds_rows()? {
                return Err(StoreFailure::Broken("the index of a segment has no head"));
            }
            return remove(disk, id).map(|()| None);
        };
        let len = data.len().map_err(failed)?;
        if len < u64::from(reading.end) {
            return Err(StoreFailure::Broken("the rows of a segment are cut off"));
        }
        if len > u64::from(reading.end) {
            // Rows of a checkpoint that was cut off: nobody would remember to erase them.
            data.set_len(u64::from(reading.end)).map_err(failed)?;
            data.sync().map_err(failed)?;
        }
        let (end, contents) = (reading.end, reading.into_contents());
        let kept = contents.rows.values().map(|spot| spot.len).sum();
        let segment = Self {
            id,
            key,
            data,
            end,
            index,
            dead: end.saturating_sub(kept),
            unerased: Vec::new(),
            ends: false,
        };
        Ok(Some((segment, contents)))
    }

    /// The row at a spot.
    pub(super) fn row(&self, spot: &Spot) -> Result<Vec<u8>, StoreFailure> {
        let len = usize::try_from(spot.len).map_err(|_| StoreFailure::Broken("a row's length"))?;
        let mut sealed = vec![0; len];
        self.data
            .read_at(u64::from(spot.at), &mut sealed)
            .map_err(|e| io_failure(&e, "reading a row"))?;
        seal::open(
            &self.key,
            &row_aad(spot.table, self.id.day, &spot.key),
            &sealed,
        )
        .ok_or(StoreFailure::Broken(
            "a row that does not open under its day's key",
        ))
    }

    /// Writes rows, as many as fit in one piece, and says where they lie. They are durable then.
    pub(super) fn write<'a>(
        &mut self,
        rows: &mut std::iter::Peekable<impl Iterator<Item = NewRow<'a>>>,
        sizes: &Sizes,
        rng: &mut ChaCha20Rng,
    ) -> Result<Vec<Spot>, StoreFailure> {
        let too_long = StoreFailure::Broken("a segment is too long");
        let mut bytes = Vec::new();
        let mut spots = Vec::new();
        let mut index = Writer::new(sizes.frame);
        while let Some(new) = rows.next_if(|_| bytes.len() < sizes.piece) {
            let sealed = seal::seal(
                &self.key,
                &row_aad(new.table, self.id.day, &new.key),
                new.row,
                rng,
            )?;
            let before = u32::try_from(bytes.len()).map_err(|_| too_long)?;
            let spot = Spot {
                table: new.table,
                key: new.key,
                at: self.end.checked_add(before).ok_or(too_long)?,
                len: u32::try_from(sealed.len()).map_err(|_| too_long)?,
            };
            bytes.extend_from_slice(&sealed);
            index.spot(true, &spot);
            spots.push(spot);
        }
        let written = u32::try_from(bytes.len()).map_err(|_| too_long)?;
        let end = self.end.checked_add(written).ok_or(too_long)?;
        let outcome = self.write_durably(&bytes, &index.into_contents(), rng);
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
        index: &[Vec<u8>],
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
        self.index.append(&index.into_contents(), rng)?;
        self.index.sync()?;
        let bytes = spots.iter().map(|spot| spot.len).sum();
        self.dead = self.dead.saturating_add(bytes);
        self.unerased.extend(spots);
        Ok(())
    }

    /// Erases, durably, what the index says is gone. Until then the index must not go on: a start knows only its last group again.
    pub(super) fn finish_erasing(&mut self) -> Result<(), StoreFailure> {
        if self.unerased.is_empty() {
            return Ok(());
        }
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
    pub(super) fn is_full(&self, sizes: &Sizes) -> bool {
        self.ends || self.end >= sizes.segment
    }

    /// From here on its key may be gone at any moment.
    pub(super) fn ends(&mut self) {
        self.ends = true;
    }

    /// More of it is gone than is left, or its index tells more of the past than of the present.
    pub(super) fn is_wasteful(&self, sizes: &Sizes) -> bool {
        let rows = self.dead >= self.end || (self.dead > self.end / 2 && self.dead >= sizes.wasted);
        rows || self.index.len() > u64::from(sizes.wasted) + u64::from(self.end / 3)
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> u32 {
        self.end
    }
}

/// Removes a segment's files, the key first: then nothing opens any more, whatever becomes of the rest.
pub(super) fn remove<D: Disk>(disk: &D, id: SegmentId) -> Result<(), StoreFailure> {
    keyfile::destroy(disk, &id.name("key"), &[id.name("data"), id.name("index")])
}

/// An index being read.
#[derive(Default)]
struct Reading {
    rows: HashMap<(Table, RowKey), Spot>,
    /// Replaced rows by place.
    replaced: HashMap<u32, Spot>,
    last_removed: Vec<Spot>,
    end: u32,
}

impl Reading {
    fn group(&mut self, contents: &[Vec<u8>]) -> Result<(), StoreFailure> {
        self.last_removed.clear();
        for content in contents {
            record::spots(content, &mut |stays, spot| self.spot(stays, spot))?;
        }
        Ok(())
    }

    fn spot(&mut self, stays: bool, spot: Spot) {
        let name = (spot.table, spot.key);
        if stays {
            self.end = self.end.max(spot.at.saturating_add(spot.len));
            if let Some(before) = self.rows.insert(name, spot) {
                self.replaced.insert(before.at, before);
            }
            return;
        }
        self.replaced.remove(&spot.at);
        self.last_removed.push(spot);
        if self.rows.get(&name).is_some_and(|row| row.at == spot.at) {
            self.rows.remove(&name);
        }
    }

    fn into_contents(self) -> Contents {
        let mut gone = self.last_removed;
        gone.extend(self.replaced.into_values());
        Contents {
            rows: self.rows,
            gone,
        }
    }
}
