//! The start: journals are read, segments are opened, then what the journals say is carried out once more. Nothing is changed before
//! all journals were read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use emptyroom_relay::store::StoreFailure;
use emptyroom_wire::time::Day;

use super::disk::Disk;
use super::frames::Unreadable;
use super::index::Index;
use super::quarantine::{KeptJournal, Unopened, apart};
use super::record::Writer;
use super::segment::{Outcome, Segment, SegmentId};
use super::{Done, OnDamage, SegmentRows, Settled, Sizes, journal};
use crate::data::forgive_full;
use crate::entropy;
use crate::seal::Table;

/// With more than so many journals of starts before, a start makes a checkpoint.
const JOURNALS_MAX: usize = 16;

/// Index bytes of each day that were not read yet.
type Unread = BTreeMap<Day, u64>;

/// What reading a segment gave, and how many rows its index spoke of.
struct Opened<F> {
    id: SegmentId,
    outcome: Outcome<F>,
    seen: usize,
}

impl<D: Disk> SegmentRows<D> {
    /// Opens the store on a disk that is this store's alone.
    ///
    /// # Errors
    /// [`Unopened`] says what is damaged or cannot be read.
    pub fn open(disk: D, sizes: Sizes, damage: OnDamage, today: Day) -> Result<Self, Unopened> {
        let mut rows = Self {
            disk: Arc::new(disk),
            sizes,
            journal: None,
            done_journals: BTreeMap::new(),
            next_journal: 0,
            segments: BTreeMap::new(),
            quarantined: BTreeSet::new(),
            kept_journals: BTreeSet::new(),
            told: BTreeSet::new(),
            index: Index::default(),
            round: None,
            writer: Writer::new(sizes.frame),
            piece: Vec::new(),
            opened_on: today,
            over_before: Day(0),
            rng: entropy::generator(),
            broken: None,
        };
        let names = rows.names()?;
        let numbers = journal::numbers(&names);
        let apart = || names.iter().filter_map(|name| apart(name));
        rows.quarantined = apart().filter_map(SegmentId::parse).collect();
        rows.kept_journals = apart().filter_map(KeptJournal::parse).collect();
        let kept = rows.kept_journals.iter().map(|kept| kept.number);
        let last = kept.max().max(numbers.last().copied());
        rows.next_journal = last.map_or(0, |last| last.saturating_add(1));
        rows.disk
            .sync_names()
            .map_err(|_| StoreFailure::Broken("sync of the store's directory"))?;
        let journals = rows.read_journals(&numbers, &names, damage)?;
        let may_be_torn = journal::any_written(&*rows.disk, &numbers)?;
        rows.open_segments(&names, may_be_torn)?;
        for (number, read) in journals {
            rows.carry_out(number, read)?;
        }
        forgive_full(rows.begin_journal())?;
        rows.settle_damage()?;
        if rows.done_journals.len() > JOURNALS_MAX {
            forgive_full(rows.settle_what_there_is())?;
        }
        Ok(rows)
    }

    /// So that a start after a thousand crashes takes no longer than one after a few.
    // [SPEC 6.118]
    fn settle_what_there_is(&mut self) -> Result<(), StoreFailure> {
        while self.try_settle()? == Settled::More {}
        Ok(())
    }

    /// Reads all journals, and changes nothing.
    // [SPEC 6.111]
    fn read_journals(
        &self,
        numbers: &[u64],
        names: &[String],
        damage: OnDamage,
    ) -> Result<journal::Journals<D::File>, Unopened> {
        let mut journals = Vec::new();
        for number in numbers {
            let unopened = |failure: StoreFailure| Unopened {
                file: journal::log_name(*number),
                ..failure.into()
            };
            let read = journal::read(&*self.disk, *number, names).map_err(unopened)?;
            if let Some(journal::Read { end: Err(what), .. }) = &read
                && damage == OnDamage::Refuse
            {
                return Err(Unopened {
                    damaged_journal: true,
                    ..unopened(StoreFailure::Broken(what))
                });
            }
            journals.push((*number, read));
        }
        Ok(journals)
    }

    fn carry_out(
        &mut self,
        number: u64,
        read: Option<journal::Read<D::File>>,
    ) -> Result<(), Unopened> {
        let unopened = |failure: StoreFailure| Unopened {
            file: journal::log_name(number),
            ..failure.into()
        };
        let Some(read) = read else {
            return journal::destroy(&*self.disk, number).map_err(unopened);
        };
        read.carry_out(&mut |op| self.index.carry_out(op));
        let done = match read.end {
            Ok((mut frames, tail)) => {
                frames.doubt(tail);
                frames.mend().map_err(unopened)?;
                Done::whole(frames.len())
            }
            Err(what) => Done::damaged(what),
        };
        self.done_journals.insert(number, done);
        Ok(())
    }

    /// What was read before the damage goes to segments, then the damaged journals are put away.
    // [SPEC 6.111]
    fn settle_damage(&mut self) -> Result<(), Unopened> {
        let mut journals = self.done_journals.iter();
        let damaged = journals.find(|(_, done)| done.damage.is_some());
        let Some((&number, _)) = damaged else {
            return Ok(());
        };
        self.try_checkpoint().map_err(|failure| Unopened {
            file: journal::log_name(number),
            ..failure.into()
        })
    }

    /// Reads the indexes of all segments, on threads of their own, and takes their rows.
    fn open_segments(&mut self, names: &[String], may_be_torn: bool) -> Result<(), Unopened> {
        let ids = names.iter().filter_map(|name| SegmentId::parse(name));
        let ids: BTreeSet<SegmentId> = ids.collect();
        let disk = Arc::clone(&self.disk);
        let mut unread = Unread::new();
        for id in &ids {
            let index = disk.open(&id.name("index"));
            let len = index.and_then(|file| super::disk::DiskFile::len(&file));
            *unread.entry(id.day).or_default() += len.unwrap_or(0);
        }
        let left = Mutex::new(ids.into_iter());
        let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
        let read = |id| {
            let mut seen = 0;
            let outcome = Segment::open(&*disk, id, may_be_torn, &mut seen);
            Opened { id, outcome, seen }
        };
        thread::scope(|scope| {
            let (send, opened) = mpsc::sync_channel(self.sizes.readers);
            for _ in 0..self.sizes.readers {
                let send = send.clone();
                // A thread less is no harm: whatever is left is read here.
                let _ = thread::Builder::new().spawn_scoped(scope, move || {
                    while let Some(id) = next() {
                        if send.send(read(id)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(send);
            for opened in opened {
                self.opened(opened, &mut unread)?;
            }
            while let Some(id) = next() {
                self.opened(read(id), &mut unread)?;
            }
            Ok::<(), Unopened>(())
        })?;
        self.index.trim();
        Ok(())
    }

    /// Of two copies of a row in segments of one day the later one counts. In segments of two days there are two if a checkpoint that
    /// gave it another day was cut off: then the journal says what is to be. The other one goes.
    fn opened(&mut self, opened: Opened<D::File>, unread: &mut Unread) -> Result<(), Unopened> {
        let Opened { id, outcome, seen } = opened;
        let (segment, spots) = match outcome {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(()),
            Err(Unreadable::Damaged(what)) => {
                return Ok(self.quarantine_segment(id, what, seen)?);
            }
            Err(Unreadable::Failed(failure)) => {
                return Err(Unopened {
                    file: id.name("*"),
                    ..failure.into()
                });
            }
        };
        // The other indexes of the day will be like this one: its table grows once.
        let unread = unread.entry(id.day).or_default();
        let index_len = segment.index_len().max(1);
        let times = usize::try_from(unread.div_ceil(index_len)).unwrap_or(1);
        *unread = unread.saturating_sub(index_len);
        let entries = spots.iter().filter(|spot| spot.table == Table::Entries);
        let entries = entries.count();
        let lasting = spots.len().saturating_sub(entries);
        let expected = |rows: usize| rows.saturating_mul(times);
        self.index
            .reserve(id.day, expected(entries), expected(lasting));
        self.segments.insert(id, segment);
        self.index.found(id, &spots);
        Ok(())
    }
}
