//! The relay's rows in a log of its own: a journal with one sync for each commit, and a partition for each expiry day.
//!
//! ```text
//! journal-41.log   all commits since the last checkpoint
//! journal-41.key   its key
//! day-20785.data   rows that expire with that day (and .index, .key): see `partition`
//! ```
//!
//! - A **commit** is a group of frames in the journal, synced once. Its rows stay in memory until the checkpoint.
//! - A **checkpoint** writes the rows that are still there to the partitions of their days, erases in them what was removed or
//!   replaced, begins a new journal and destroys the key of the old one. What lived only between two checkpoints was never written
//!   anywhere else.
//! - **Expiry** destroys the key of a day and removes its files.
//! - At **start** the indexes are read, then the journal is carried out once more: each operation says what is to be, so that
//!   carrying it out twice changes nothing.
//!
//! In memory stand the place of every row (some 60 bytes each) and the rows of the journal. A failed sync is never tried again:
//! the store is broken until it is opened anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use emptyroom_relay::store::{Changes, LastingChange, RowKey, Rows, StoreFailure};
use emptyroom_wire::time::Day;
use rand_chacha::ChaCha20Rng;

use disk::Disk;
use journal::Journal;
use partition::{NewRow, Partition};
use record::{Op, Spot, Table, Writer};

use crate::data::io_failure;
use crate::entropy;

pub mod disk;
mod frames;
mod journal;
mod keyfile;
mod partition;
mod record;
mod seal;

/// So many removed rows are written to an index at a time.
const REMOVED_MAX: usize = 64 * 1024;

/// Rows in a journal and day partitions on a disk.
pub struct SegmentRows<D: Disk> {
    disk: D,
    /// At so many bytes of journal a checkpoint is made. Rows of up to four times as many wait in memory while the disk is full.
    journal_bytes_max: u64,
    /// None while the disk has no space for one.
    journal: Option<Journal<D::File>>,
    /// Journals of before: their rows are in memory or written already, they go with the next checkpoint.
    done_journals: BTreeSet<u64>,
    next_journal: u64,
    partitions: BTreeMap<Day, Partition<D::File>>,
    entries: BTreeMap<Day, HashMap<RowKey, Held>>,
    lasting: HashMap<RowKey, Lasting>,
    fresh: Fresh,
    rng: ChaCha20Rng,
    /// Set by the first failure that leaves the state unknown, and never taken back.
    broken: Option<StoreFailure>,
}

/// Where a row is.
enum Held {
    /// In memory and in the journal.
    Young(Box<[u8]>),
    /// In a partition.
    Old { at: u64, len: u32 },
}

/// A lasting row.
struct Lasting {
    /// The last day of its life.
    day: Day,
    /// In whose partition it lies, if it does: not yet in that of `day` after it moved.
    lies: Day,
    held: Held,
}

/// What the next checkpoint is about.
#[derive(Default)]
struct Fresh {
    entries: BTreeMap<Day, BTreeSet<RowKey>>,
    lasting: BTreeSet<RowKey>,
    /// Rows in partitions that were removed or replaced.
    gone: BTreeMap<Day, Vec<Spot>>,
}

impl Fresh {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.lasting.is_empty() && self.gone.is_empty()
    }
}

impl<D: Disk> SegmentRows<D> {
    /// Opens the store on a disk that is this store's alone.
    ///
    /// # Errors
    /// [`StoreFailure::Broken`] says what is damaged or cannot be read.
    pub fn open(disk: D, journal_bytes_max: u64) -> Result<Self, StoreFailure> {
        let names = disk
            .names()
            .map_err(|e| io_failure(&e, "reading the store's directory"))?;
        let numbers = journal::numbers(&names);
        let mut rows = Self {
            disk,
            journal_bytes_max,
            journal: None,
            done_journals: BTreeSet::new(),
            next_journal: numbers.last().map_or(0, |last| last.saturating_add(1)),
            partitions: BTreeMap::new(),
            entries: BTreeMap::new(),
            lasting: HashMap::new(),
            fresh: Fresh::default(),
            rng: entropy::generator(),
            broken: None,
        };
        rows.open_partitions(&names)?;
        rows.replay(&names, &numbers)?;
        forgive_full(rows.begin_journal())?;
        Ok(rows)
    }

    fn open_partitions(&mut self, names: &[String]) -> Result<(), StoreFailure> {
        for day in days(names) {
            let (mut entries, mut lasting) = (HashMap::new(), HashMap::new());
            let partition = Partition::open(&self.disk, day, names, &mut |stays, spot| {
                let rows = match spot.table {
                    Table::Entries => &mut entries,
                    Table::Lasting => &mut lasting,
                };
                if stays {
                    rows.insert(spot.key, Held::of(&spot));
                } else if rows.get(&spot.key).is_some_and(|held| held.is_at(&spot)) {
                    rows.remove(&spot.key);
                }
            })?;
            if let Some(partition) = partition {
                self.partitions.insert(day, partition);
                self.entries.insert(day, entries);
                for (key, held) in lasting {
                    self.take_lasting(day, key, held);
                }
            }
        }
        Ok(())
    }

    /// A lasting row that lies in the partition of `day`. If it lies in another one too, a checkpoint that gave it another day was cut
    /// off: the journal says what is to be, and one of both goes.
    fn take_lasting(&mut self, day: Day, key: RowKey, held: Held) {
        let lies = day;
        let before = self.lasting.insert(key, Lasting { day, lies, held });
        if let Some((lies, spot)) = before.and_then(|before| before.spot(key)) {
            self.fresh.gone.entry(lies).or_default().push(spot);
        }
    }

    fn replay(&mut self, names: &[String], numbers: &[u64]) -> Result<(), StoreFailure> {
        for number in numbers {
            let (entries, lasting, fresh) = (&mut self.entries, &mut self.lasting, &mut self.fresh);
            let mut take = |op: Op<'_>| carry_out(entries, lasting, fresh, op);
            if journal::replay(&self.disk, *number, names, &mut take)? {
                self.done_journals.insert(*number);
            }
        }
        Ok(())
    }

    fn begin_journal(&mut self) -> Result<(), StoreFailure> {
        let journal = Journal::begin(&self.disk, self.next_journal, &mut self.rng);
        self.next_journal = self.next_journal.saturating_add(1);
        self.journal = Some(journal?);
        Ok(())
    }

    fn usable(&self) -> Result<(), StoreFailure> {
        self.broken.map_or(Ok(()), Err)
    }

    fn remember<T>(&mut self, outcome: Result<T, StoreFailure>) -> Result<T, StoreFailure> {
        if let Err(failure @ StoreFailure::Broken(_)) = outcome {
            self.broken = Some(failure);
        }
        outcome
    }

    fn row(
        &self,
        table: Table,
        key: RowKey,
        lies: Day,
        held: &Held,
    ) -> Result<Vec<u8>, StoreFailure> {
        match held {
            Held::Young(row) => Ok(row.to_vec()),
            Held::Old { at, len } => {
                let partition = self
                    .partitions
                    .get(&lies)
                    .ok_or(StoreFailure::Broken("a row without its partition"))?;
                partition.row(&Spot {
                    table,
                    key,
                    at: *at,
                    len: *len,
                })
            }
        }
    }

    fn try_commit(&mut self, changes: Changes) -> Result<(), StoreFailure> {
        let mut writer = Writer::default();
        let mut ops = ops_of(&changes);
        // What expired and still stands in the journal must not move on when that is carried out once more.
        ops.retain(|op| !matches!(op, Op::Move(_, key) if !self.lasting.contains_key(key)));
        ops.iter().for_each(|op| writer.op(op));
        if self.journal.is_none() {
            self.try_checkpoint()?;
        }
        let journal = self.journal.as_mut().ok_or(StoreFailure::Full)?;
        if journal.frames.len() > self.journal_bytes_max.saturating_mul(4) {
            // Checkpoints find no space, and memory has an end as well.
            self.try_checkpoint()?;
        }
        let journal = self.journal.as_mut().ok_or(StoreFailure::Full)?;
        journal
            .frames
            .append(&writer.into_contents(), &mut self.rng)?;
        journal.frames.sync()?;
        let is_long = journal.frames.len() > self.journal_bytes_max;
        for op in ops {
            carry_out(&mut self.entries, &mut self.lasting, &mut self.fresh, op);
        }
        if is_long {
            forgive_full(self.try_checkpoint())?;
        }
        Ok(())
    }

    /// Writes what is in memory to the partitions and leaves nothing of it in a journal, nor of what was removed anywhere. False: there
    /// was no space for that, and what could not be written stays in the journal.
    ///
    /// # Errors
    /// [`StoreFailure::Broken`].
    pub fn checkpoint(&mut self) -> Result<bool, StoreFailure> {
        self.usable()?;
        let outcome = match self.try_checkpoint() {
            Err(StoreFailure::Full) => Ok(false),
            done => done.map(|()| true),
        };
        self.remember(outcome)
    }

    fn try_checkpoint(&mut self) -> Result<(), StoreFailure> {
        let written = self
            .journal
            .as_ref()
            .is_none_or(|journal| !journal.frames.is_empty());
        if self.fresh.is_empty() && self.done_journals.is_empty() && !written {
            return Ok(());
        }
        self.write_entries()?;
        self.write_lasting()?;
        self.remove_gone()?;
        let done = self.journal.take().map(|journal| journal.number);
        self.done_journals.extend(done);
        let begun = self.begin_journal();
        // The oldest first, and none before an older one: carried out after what came later it would undo that.
        while let Some(number) = self.done_journals.first() {
            journal::destroy(&self.disk, *number)?;
            self.done_journals.pop_first();
        }
        begun
    }

    fn write_entries(&mut self) -> Result<(), StoreFailure> {
        while let Some((day, keys)) = self.fresh.entries.pop_first() {
            let outcome = self.write_entries_of(day, &keys);
            if outcome.is_err() {
                self.fresh.entries.insert(day, keys);
                return outcome;
            }
        }
        Ok(())
    }

    fn write_entries_of(&mut self, day: Day, keys: &BTreeSet<RowKey>) -> Result<(), StoreFailure> {
        let Some(held) = self.entries.get_mut(&day) else {
            return Ok(());
        };
        loop {
            let mut rows = keys
                .iter()
                .filter_map(|key| match held.get(key) {
                    Some(Held::Young(row)) => Some(NewRow {
                        table: Table::Entries,
                        key: *key,
                        row,
                    }),
                    _ => None,
                })
                .peekable();
            if rows.peek().is_none() {
                return Ok(());
            }
            let partition = partition(&mut self.partitions, &self.disk, day, &mut self.rng)?;
            for spot in partition.write(&mut rows, &mut self.rng)? {
                held.insert(spot.key, Held::of(&spot));
            }
        }
    }

    fn write_lasting(&mut self) -> Result<(), StoreFailure> {
        let mut by_day: BTreeMap<Day, Vec<RowKey>> = BTreeMap::new();
        for key in &self.fresh.lasting {
            if let Some(row) = self.lasting.get(key).filter(|row| row.is_to_be_written()) {
                by_day.entry(row.day).or_default().push(*key);
            }
        }
        for (day, keys) in by_day {
            self.write_lasting_of(day, &keys)?;
        }
        self.fresh.lasting.clear();
        Ok(())
    }

    fn write_lasting_of(&mut self, day: Day, keys: &[RowKey]) -> Result<(), StoreFailure> {
        // What only moved is read first, a part at a time: it may be whole logs.
        for keys in keys.chunks(1024) {
            let mut rows = Vec::with_capacity(keys.len());
            for key in keys {
                if let Some(row) = self.lasting.get(key) {
                    rows.push((*key, self.row(Table::Lasting, *key, row.lies, &row.held)?));
                }
            }
            let mut rows = rows
                .iter()
                .map(|(key, row)| NewRow {
                    table: Table::Lasting,
                    key: *key,
                    row,
                })
                .peekable();
            while rows.peek().is_some() {
                let partition = partition(&mut self.partitions, &self.disk, day, &mut self.rng)?;
                for spot in partition.write(&mut rows, &mut self.rng)? {
                    let (lies, held) = (day, Held::of(&spot));
                    let before = self.lasting.insert(spot.key, Lasting { day, lies, held });
                    if let Some((lies, spot)) = before.and_then(|before| before.spot(spot.key)) {
                        self.fresh.gone.entry(lies).or_default().push(spot);
                    }
                }
            }
        }
        Ok(())
    }

    fn remove_gone(&mut self) -> Result<(), StoreFailure> {
        while let Some((day, spots)) = self.fresh.gone.pop_first() {
            let Some(partition) = self.partitions.get_mut(&day) else {
                continue;
            };
            for part in spots.chunks(REMOVED_MAX) {
                if let Err(failure) = partition.remove_rows(part, &mut self.rng) {
                    self.fresh.gone.insert(day, spots);
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    fn try_expire(&mut self, today: Day) -> Result<(), StoreFailure> {
        self.entries.retain(|day, _| *day >= today);
        let gone = &mut self.fresh.gone;
        self.lasting.retain(|key, row| {
            let stays = row.day >= today;
            if !stays && let Some((lies, spot)) = row.spot(*key) {
                gone.entry(lies).or_default().push(spot);
            }
            stays
        });
        gone.retain(|day, _| *day >= today);
        let written = self.try_checkpoint();
        // Without space nothing that moved could be written elsewhere: the days where it lies wait.
        let needed: BTreeSet<Day> = self
            .lasting
            .values()
            .filter(|row| matches!(row.held, Held::Old { .. }))
            .map(|row| row.lies)
            .filter(|lies| *lies < today)
            .collect();
        let over: Vec<Day> = self
            .partitions
            .range(..today)
            .map(|(day, _)| *day)
            .collect();
        for day in over.into_iter().filter(|day| !needed.contains(day)) {
            partition::remove(&self.disk, day)?;
            self.partitions.remove(&day);
        }
        forgive_full(written)
    }

    /// The disk below.
    pub fn disk(&self) -> &D {
        &self.disk
    }
}

impl Held {
    fn of(spot: &Spot) -> Self {
        Held::Old {
            at: spot.at,
            len: spot.len,
        }
    }

    fn is_at(&self, spot: &Spot) -> bool {
        matches!(self, Held::Old { at, len } if *at == spot.at && *len == spot.len)
    }

    fn spot(&self, table: Table, key: RowKey) -> Option<Spot> {
        match self {
            Held::Young(_) => None,
            Held::Old { at, len } => Some(Spot {
                table,
                key,
                at: *at,
                len: *len,
            }),
        }
    }
}

impl Lasting {
    fn is_to_be_written(&self) -> bool {
        matches!(self.held, Held::Young(_)) || self.lies != self.day
    }

    /// Where it lies, if it does.
    fn spot(&self, key: RowKey) -> Option<(Day, Spot)> {
        Some((self.lies, self.held.spot(Table::Lasting, key)?))
    }
}

/// The partition of a day, made if it is not there.
fn partition<'a, D: Disk>(
    partitions: &'a mut BTreeMap<Day, Partition<D::File>>,
    disk: &D,
    day: Day,
    rng: &mut ChaCha20Rng,
) -> Result<&'a mut Partition<D::File>, StoreFailure> {
    use std::collections::btree_map::Entry;
    match partitions.entry(day) {
        Entry::Occupied(there) => Ok(there.into_mut()),
        Entry::Vacant(new) => Ok(new.insert(Partition::create(disk, day, rng)?)),
    }
}

/// Does an operation in memory.
fn carry_out(
    entries: &mut BTreeMap<Day, HashMap<RowKey, Held>>,
    lasting: &mut HashMap<RowKey, Lasting>,
    fresh: &mut Fresh,
    op: Op<'_>,
) {
    let gone = match op {
        Op::Put(Table::Entries, day, key, row) => {
            fresh.entries.entry(day).or_default().insert(key);
            let before = entries
                .entry(day)
                .or_default()
                .insert(key, Held::Young(row.into()));
            before.and_then(|held| Some((day, held.spot(Table::Entries, key)?)))
        }
        Op::Remove(Table::Entries, day, key) => {
            let before = entries.get_mut(&day).and_then(|rows| rows.remove(&key));
            before.and_then(|held| Some((day, held.spot(Table::Entries, key)?)))
        }
        Op::Put(Table::Lasting, day, key, row) => {
            fresh.lasting.insert(key);
            let (lies, held) = (day, Held::Young(row.into()));
            let before = lasting.insert(key, Lasting { day, lies, held });
            before.and_then(|before| before.spot(key))
        }
        Op::Move(day, key) => {
            if let Some(row) = lasting.get_mut(&key) {
                row.day = day;
                fresh.lasting.insert(key);
            }
            None
        }
        Op::Remove(Table::Lasting, _, key) => {
            lasting.remove(&key).and_then(|before| before.spot(key))
        }
    };
    if let Some((lies, spot)) = gone {
        fresh.gone.entry(lies).or_default().push(spot);
    }
}

fn ops_of(changes: &Changes) -> Vec<Op<'_>> {
    let entries = changes.entries.iter().map(|change| match &change.row {
        Some(row) => Op::Put(Table::Entries, change.day, change.key, row),
        None => Op::Remove(Table::Entries, change.day, change.key),
    });
    let lasting = changes.lasting.iter().map(|change| match change {
        LastingChange::Put { key, day, row } => Op::Put(Table::Lasting, *day, *key, row),
        LastingChange::Move { key, day } => Op::Move(*day, *key),
        LastingChange::Remove { key } => Op::Remove(Table::Lasting, Day(0), *key),
    });
    entries.chain(lasting).collect()
}

/// The days that have files, in order.
fn days(names: &[String]) -> BTreeSet<Day> {
    names
        .iter()
        .filter_map(|name| name.strip_prefix("day-")?.split_once('.'))
        .filter_map(|(day, _)| day.parse().ok().map(Day))
        .collect()
}

fn forgive_full(outcome: Result<(), StoreFailure>) -> Result<(), StoreFailure> {
    match outcome {
        Err(StoreFailure::Full) => Ok(()),
        other => other,
    }
}

impl<D: Disk> Rows for SegmentRows<D> {
    fn lasting(&mut self, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        self.usable()?;
        let found = self.lasting.get(key);
        let row = found.map(|row| self.row(Table::Lasting, *key, row.lies, &row.held));
        self.remember(row.transpose())
    }

    fn entry(&mut self, day: Day, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        self.usable()?;
        let found = self.entries.get(&day).and_then(|rows| rows.get(key));
        let row = found.map(|held| self.row(Table::Entries, *key, day, held));
        self.remember(row.transpose())
    }

    fn commit(&mut self, changes: Changes) -> Result<(), StoreFailure> {
        self.usable()?;
        let outcome = self.try_commit(changes);
        self.remember(outcome)
    }

    fn expire(&mut self, today: Day) -> Result<(), StoreFailure> {
        self.usable()?;
        let outcome = self.try_expire(today);
        self.remember(outcome)
    }
}
