//! Damaged files: kept apart, so that the rest can be served, and named to the operator.

use emptyroom_relay::store::StoreFailure;

use super::SegmentRows;
use super::disk::{Disk, DiskFile, QUARANTINE};
use super::journal;
use super::keyfile;
use super::record::Spot;
use super::segment::SegmentId;
use crate::data::io_failure;
use crate::log::{Event, log as say};

/// A file of the store that stops its opening.
#[derive(Debug, PartialEq, Eq)]
pub struct Unopened {
    /// Its name, or nothing where it is about all of them.
    pub file: String,
    /// Why.
    pub failure: StoreFailure,
    /// It holds commits that were acknowledged, and is damaged: [`super::OnDamage::Quarantine`] leaves it out.
    pub damaged_journal: bool,
}

impl From<StoreFailure> for Unopened {
    fn from(failure: StoreFailure) -> Self {
        Self {
            file: String::new(),
            failure,
            damaged_journal: false,
        }
    }
}

impl<D: Disk> SegmentRows<D> {
    /// Keeps a damaged segment apart and says what is lost.
    // [SPEC 6.111]
    pub(super) fn quarantine_segment(
        &mut self,
        id: SegmentId,
        what: &str,
        seen: usize,
    ) -> Result<(), StoreFailure> {
        let bytes = self.disk.open(&id.name("data")).and_then(|file| file.len());
        let files = [id.name("key"), id.name("index"), id.name("data")];
        self.keep_apart(&files)?;
        self.quarantined.insert(id);
        say(&Event::SegmentDamaged {
            file: &id.name("*"),
            what,
            rows: seen,
            bytes: bytes.unwrap_or(0),
            day: id.day.0,
        });
        Ok(())
    }

    /// Keeps a damaged journal apart and says what is lost.
    // [SPEC 6.111]
    pub(super) fn quarantine_journal(
        &mut self,
        number: u64,
        what: &str,
    ) -> Result<(), StoreFailure> {
        let log = journal::log_name(number);
        let bytes = self.disk.open(&log).and_then(|file| file.len());
        self.keep_apart(&[journal::key_name(number), log.clone()])?;
        say(&Event::JournalDamaged {
            file: &log,
            what,
            bytes: bytes.unwrap_or(0),
        });
        Ok(())
    }

    /// Moves files away, the key first: until the last has gone, what is left without it is damaged as before.
    pub(super) fn keep_apart(&self, files: &[String]) -> Result<(), StoreFailure> {
        let names = self.names()?;
        for name in files.iter().filter(|name| names.contains(name)) {
            self.disk
                .rename(name, &format!("{QUARANTINE}/{name}"))
                .and_then(|()| self.disk.sync_names())
                .map_err(|e| io_failure(&e, "moving a damaged file away"))?;
        }
        Ok(())
    }

    pub(super) fn names(&self) -> Result<Vec<String>, StoreFailure> {
        let names = self.disk.names();
        names.map_err(|e| io_failure(&e, "reading the store's directory"))
    }

    /// What is kept apart ends with its day like everything else.
    pub(super) fn drop_quarantined(&mut self) -> Result<bool, StoreFailure> {
        let Some(id) = self.quarantined.first().copied() else {
            return Ok(false);
        };
        if id.day >= self.over_before {
            return Ok(false);
        }
        let [key, index, data] =
            ["key", "index", "data"].map(|ending| format!("{QUARANTINE}/{}", id.name(ending)));
        keyfile::destroy(&self.disk, &key, &[index, data])?;
        self.quarantined.remove(&id);
        Ok(true)
    }

    /// A row does not open any more. Said once for each segment.
    // [SPEC 6.111]
    pub(super) fn lost(&mut self, id: SegmentId, spot: &Spot) {
        self.index.lost(id, spot);
        if self.told.insert(id) {
            say(&Event::RowLost(&id.name("data")));
        }
    }
}
