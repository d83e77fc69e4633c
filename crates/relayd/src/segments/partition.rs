//! The rows of one expiry day: a file of rows, a file that says where they lie, and the day's key under which both are sealed.
//!
//! ```text
//! day-20785.key     the key
//! day-20785.data    rows, one behind the other; what was removed reads as zeros
//! day-20785.index   frames: where rows lie, which are gone
//! ```
//!
//! Rows are durable before the index speaks of them, the index is durable before what is gone is erased. A partition only grows,
//! by the checkpoints of the store, until its day is over: then the key is overwritten and the files go.

use std::io;

use emptyroom_relay::store::{RowKey, StoreFailure};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::Day;
use rand_chacha::ChaCha20Rng;

use super::disk::{Disk, DiskFile};
use super::frames::Frames;
use super::keyfile::{self, Found};
use super::record::{self, Spot, Table, Writer};
use super::seal;
use crate::data::io_failure;

const INDEX_LABEL: &[u8] = b"emptyroom v1 day index";
const ROW_LABEL: &[u8] = b"emptyroom v1 day row";

/// Rows are written in pieces of about so many bytes.
const PIECE_BYTES: usize = 4 * 1024 * 1024;

pub(super) struct Partition<F> {
    day: Day,
    key: Secret32,
    data: F,
    /// Behind the last row.
    end: u64,
    index: Frames<F>,
}

/// A row to be written.
pub(super) struct NewRow<'a> {
    pub(super) table: Table,
    pub(super) key: RowKey,
    pub(super) row: &'a [u8],
}

pub(super) fn key_name(day: Day) -> String {
    format!("day-{}.key", day.0)
}

pub(super) fn data_name(day: Day) -> String {
    format!("day-{}.data", day.0)
}

pub(super) fn index_name(day: Day) -> String {
    format!("day-{}.index", day.0)
}

impl<F: DiskFile> Partition<F> {
    /// Makes the files of a day, durable and empty.
    pub(super) fn create<D: Disk<File = F>>(
        disk: &D,
        day: Day,
        rng: &mut ChaCha20Rng,
    ) -> Result<Self, StoreFailure> {
        let key = keyfile::make(disk, &key_name(day))?;
        let mut files = || -> io::Result<_> {
            let data = disk.create(&data_name(day))?;
            let index = disk.create(&index_name(day))?;
            let index = Frames::begin(index, key.duplicate(), index_label(day), rng)?;
            disk.sync_names()?;
            Ok((data, index))
        };
        match files() {
            Ok((data, index)) => Ok(Self {
                day,
                key,
                data,
                end: 0,
                index,
            }),
            Err(error) => {
                // Nothing half made stays, so that the next try can begin anew.
                let removed = remove(disk, day);
                let failure = io_failure(&error, "making a day's files");
                Err(removed.err().unwrap_or(failure))
            }
        }
    }

    /// Opens the files of a day and tells where its rows lie, in the order in which they were written. `None`: the files were on
    /// their way in or out, and are gone now.
    pub(super) fn open<D: Disk<File = F>>(
        disk: &D,
        day: Day,
        names: &[String],
        take: &mut dyn FnMut(bool, Spot),
    ) -> Result<Option<Self>, StoreFailure> {
        let has = |name: &str| names.iter().any(|found| found == name);
        let whole = has(&data_name(day)) && has(&index_name(day));
        let failed = |e: io::Error| io_failure(&e, "opening a day's files");
        let holds_rows = || -> Result<bool, StoreFailure> {
            if !has(&data_name(day)) {
                return Ok(false);
            }
            let data = disk.open(&data_name(day)).map_err(failed)?;
            Ok(!data.is_empty().map_err(failed)?)
        };
        let key = match keyfile::read(disk, &key_name(day))? {
            Found::Key(key) if whole => key,
            Found::Key(_) if holds_rows()? => {
                return Err(StoreFailure::Broken("a day's index is missing"));
            }
            Found::Damaged | Found::Nothing if holds_rows()? => {
                return Err(StoreFailure::Broken("a day's key is damaged or lost"));
            }
            _ => {
                remove(disk, day)?;
                return Ok(None);
            }
        };
        let data = disk.open(&data_name(day)).map_err(failed)?;
        let index = disk.open(&index_name(day)).map_err(failed)?;
        let mut end = 0;
        let mut gone = Vec::new();
        let index = Frames::open(index, key.duplicate(), index_label(day), &mut |contents| {
            gone.clear();
            for content in contents {
                record::spots(content, &mut |stays, spot| {
                    end = end.max(spot.at.saturating_add(u64::from(spot.len)));
                    if !stays {
                        gone.push(spot);
                    }
                    take(stays, spot);
                })?;
            }
            Ok(())
        })?;
        let Some(index) = index else {
            if holds_rows()? {
                return Err(StoreFailure::Broken("a day's index has no head"));
            }
            remove(disk, day)?;
            return Ok(None);
        };
        if data.len().map_err(failed)? < end {
            return Err(StoreFailure::Broken("a day's rows are cut off"));
        }
        data.set_len(end).map_err(failed)?;
        let partition = Self {
            day,
            key,
            data,
            end,
            index,
        };
        // Whether the last ones were erased before the crash is not known.
        partition.erase(&gone)?;
        Ok(Some(partition))
    }

    /// The row at a spot.
    pub(super) fn row(&self, spot: &Spot) -> Result<Vec<u8>, StoreFailure> {
        let len = usize::try_from(spot.len).map_err(|_| StoreFailure::Broken("a row's length"))?;
        let mut sealed = vec![0; len];
        self.data
            .read_at(spot.at, &mut sealed)
            .map_err(|e| io_failure(&e, "reading a row"))?;
        seal::open(&self.key, &self.aad(spot.table, &spot.key), &sealed).ok_or(
            StoreFailure::Broken("a row that does not open under its day's key"),
        )
    }

    /// Writes rows, as many as fit in one piece, and says where they lie. They are durable then.
    pub(super) fn write<'a>(
        &mut self,
        rows: &mut std::iter::Peekable<impl Iterator<Item = NewRow<'a>>>,
        rng: &mut ChaCha20Rng,
    ) -> Result<Vec<Spot>, StoreFailure> {
        let mut bytes = Vec::new();
        let mut spots = Vec::new();
        let mut index = Writer::default();
        while let Some(new) = rows.next_if(|_| bytes.len() < PIECE_BYTES) {
            let sealed = seal::seal(&self.key, &self.aad(new.table, &new.key), new.row, rng)?;
            let spot = Spot {
                table: new.table,
                key: new.key,
                at: self.end.saturating_add(bytes.len() as u64),
                len: u32::try_from(sealed.len())
                    .map_err(|_| StoreFailure::Broken("a row is too long"))?,
            };
            bytes.extend_from_slice(&sealed);
            index.spot(true, &spot);
            spots.push(spot);
        }
        self.data
            .write_at(self.end, &bytes)
            .map_err(|e| io_failure(&e, "writing rows"))?;
        self.sync_data()?;
        self.index.append(&index.into_contents(), rng)?;
        self.index.sync()?;
        self.end = self.end.saturating_add(bytes.len() as u64);
        Ok(spots)
    }

    /// Forgets rows and erases their bytes.
    pub(super) fn remove_rows(
        &mut self,
        spots: &[Spot],
        rng: &mut ChaCha20Rng,
    ) -> Result<(), StoreFailure> {
        let mut index = Writer::default();
        for spot in spots {
            index.spot(false, spot);
        }
        // What was erased before must be so for good, before it is no longer the last group.
        self.sync_data()?;
        self.index.append(&index.into_contents(), rng)?;
        self.index.sync()?;
        self.erase(spots)
    }

    /// Erases ranges, neighbours together.
    fn erase(&self, spots: &[Spot]) -> Result<(), StoreFailure> {
        let mut ranges: Vec<(u64, u64)> = spots
            .iter()
            .map(|spot| (spot.at, spot.at.saturating_add(u64::from(spot.len))))
            .collect();
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
                .erase(from, to.saturating_sub(from))
                .map_err(|e| io_failure(&e, "erasing rows"))?;
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<(), StoreFailure> {
        self.data
            .sync()
            .map_err(|_| StoreFailure::Broken("sync of rows"))
    }

    fn aad(&self, table: Table, key: &RowKey) -> Vec<u8> {
        let mut aad = Vec::with_capacity(ROW_LABEL.len() + 1 + 4 + key.0.len());
        aad.extend_from_slice(ROW_LABEL);
        aad.push(table.code());
        aad.extend_from_slice(&self.day.0.to_be_bytes());
        aad.extend_from_slice(&key.0);
        aad
    }
}

/// Removes a day's files, the key first: then nothing opens any more, whatever becomes of the rest.
pub(super) fn remove<D: Disk>(disk: &D, day: Day) -> Result<(), StoreFailure> {
    keyfile::destroy(disk, &key_name(day), &[data_name(day), index_name(day)])
}

fn index_label(day: Day) -> Vec<u8> {
    let mut label = INDEX_LABEL.to_vec();
    label.extend_from_slice(&day.0.to_be_bytes());
    label
}
