//! Damaged files: kept apart, so that the rest can be served, and named to the operator.

use emptyroom_relay::store::StoreFailure;
use emptyroom_wire::time::Day;

use super::SegmentRows;
use super::disk::{Disk, DiskFile, QUARANTINE, synced};
use super::journal;
use super::keyfile;
use super::record::Spot;
use super::segment::SegmentId;
use crate::data::{io_failure, open_failure};
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

/// A damaged journal that is kept apart, until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeptJournal {
    until: Day,
    pub(super) number: u64,
}

/// For so many days an operator may find a use for a damaged journal: as long as the entries in it live.
// [SPEC 6.113]
const JOURNAL_KEPT_DAYS: u32 = 30;

impl KeptJournal {
    /// Of the name of one of its files.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (id, _) = name.strip_prefix("journal-")?.split_once('.')?;
        let (number, until) = id.split_once("-until-")?;
        Some(Self {
            until: Day(until.parse().ok()?),
            number: number.parse().ok()?,
        })
    }

    fn name(self, ending: &str) -> String {
        let Self { until, number } = self;
        format!("journal-{number}-until-{}.{ending}", until.0)
    }
}

/// The name of a file that is kept apart, without where.
pub(super) fn apart(name: &str) -> Option<&str> {
    name.strip_prefix(QUARANTINE)?.strip_prefix('/')
}

fn put_apart(name: &str) -> String {
    format!("{QUARANTINE}/{name}")
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
        let files = ["key", "index", "data"].map(|ending| id.name(ending));
        self.keep_apart(files.iter().map(|name| (name.clone(), name.clone())))?;
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
        let until = Day(self.opened_on.0.saturating_add(JOURNAL_KEPT_DAYS));
        let kept = KeptJournal { until, number };
        self.keep_apart([
            (journal::key_name(number), kept.name("key")),
            (log.clone(), kept.name("log")),
        ])?;
        self.kept_journals.insert(kept);
        say(&Event::JournalDamaged {
            file: &log,
            what,
            bytes: bytes.unwrap_or(0),
            until: until.0,
        });
        Ok(())
    }

    /// Moves files away to other names, the key first: until the last has gone, what is left without it is damaged as before.
    fn keep_apart(
        &self,
        files: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), StoreFailure> {
        let names = self.names()?;
        for (name, to) in files {
            if names.contains(&name) {
                self.disk
                    .rename(&name, &put_apart(&to))
                    .and_then(|()| synced(self.disk.sync_names()))
                    .map_err(|e| io_failure(&e, "moving a damaged file away"))?;
            }
        }
        Ok(())
    }

    pub(super) fn names(&self) -> Result<Vec<String>, StoreFailure> {
        let names = self.disk.names();
        names.map_err(|e| open_failure(&e, "reading the store's directory"))
    }

    /// Something that is kept apart is to end.
    pub(super) fn is_apart_over(&self) -> bool {
        let segment = self.quarantined.first().map(|id| id.day);
        let journal = self.kept_journals.first().map(|kept| kept.until);
        let mut days = [segment, journal].into_iter().flatten();
        days.any(|day| day < self.over_before)
    }

    /// What is kept apart ends with its day like everything else.
    // [SPEC 6.111] [SPEC 6.113]
    pub(super) fn drop_quarantined(&mut self) -> Result<bool, StoreFailure> {
        let is_over = |day: Day| day < self.over_before;
        if let Some(id) = self.quarantined.first().copied()
            && is_over(id.day)
        {
            let [key, index, data] =
                ["key", "index", "data"].map(|ending| put_apart(&id.name(ending)));
            keyfile::destroy(&*self.disk, &key, &[index, data])?;
            self.quarantined.remove(&id);
            return Ok(true);
        }
        if let Some(kept) = self.kept_journals.first().copied()
            && is_over(kept.until)
        {
            let [key, log] = ["key", "log"].map(|ending| put_apart(&kept.name(ending)));
            keyfile::destroy(&*self.disk, &key, &[log])?;
            self.kept_journals.remove(&kept);
            return Ok(true);
        }
        Ok(false)
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
