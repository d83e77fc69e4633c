//! The decisions on a batch: what each operation may do, and what it changes.

mod made;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::rc::Rc;

use emptyroom_wire::op::{Appended, RefusalCode};
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::time::{Day, Wall};

use super::account::{self, AccountPlace};
use super::allowance::{Allowance, Stop};
use super::logrow::{Denied, Funds, LogRow, Room, Row};
use super::nonces::{self, Nonces, Seen};
use super::rowseal::RowSeal;
use super::runs::{Held, Shelf};
use super::shelves::{EntryAt, Shelves};
use super::{
    Append, Batch, Changes, Expected, Looked, NewEntry, NewPlace, Place, Placed, RowKey, Rows,
    StoreFailure, StoreOp, StoreReply, ahead, entryrow, share,
};
/// Rows that a new log makes at most: its own, its first entry, a page of nonces.
const ROWS_OF_LOG: usize = 3;
/// Rows that an append makes at most, besides new logs: the entry, a page of nonces, an account.
const ROWS_OF_APPEND: usize = 3;

/// A batch being decided.
pub(crate) struct Decision<'a, R> {
    shelves: Shelves<'a, R>,
    /// Logs this batch has looked at, so that their rows are opened and sealed once.
    logs: BTreeMap<RowKey, Known>,
    allowance: Allowance,
    now: Wall,
}

/// A log's row as far as this batch has come.
struct Known {
    seal: Rc<RowSeal>,
    row: Option<Row>,
    changed: bool,
}

impl<'a, R: Rows> Decision<'a, R> {
    pub(crate) fn new(rows: &'a mut R, rng: &'a mut dyn CryptoRng, now: Wall) -> Self {
        Decision {
            allowance: Allowance::new(rows.room()),
            shelves: Shelves::new(rows, rng),
            logs: BTreeMap::new(),
            now,
        }
    }

    /// Decides one operation.
    pub(crate) fn decide(&mut self, op: &StoreOp) -> Result<StoreReply, StoreFailure> {
        let outcome = match op {
            StoreOp::Create(new) => self.create(new),
            StoreOp::Look { place } => self.look(place),
            StoreOp::Read {
                place,
                from,
                bytes_max,
            } => self.read(place, *from, *bytes_max),
            StoreOp::Append(append) => self.append(append),
            StoreOp::Renew { place } => self.renew(place),
            StoreOp::Trim { place, up_to } => self.trim(place, *up_to),
            StoreOp::Destroy { place } => self.destroy(place),
            // [SPEC 6.210]
            StoreOp::Share(place, _) if self.shelves.is_elsewhere(&place.key()) => {
                Err(RefusalCode::Unknown.into())
            }
            StoreOp::Share(place, op) => {
                let today = self.today();
                share::decide(&mut self.shelves, &mut self.allowance, today, (place, op))
            }
        };
        match outcome {
            Ok(reply) => Ok(reply),
            Err(Stop::Refused(refusal)) => Ok(StoreReply::Refused(refusal)),
            Err(Stop::Failed(failure)) => Err(failure),
        }
    }

    /// Tells distant rows what the batch will look at: first the rows of its logs, then what these lead to.
    pub(crate) fn look_ahead(&mut self, ops: &[StoreOp]) -> Result<(), StoreFailure> {
        self.shelves.expect(&ahead::logs_of(ops))?;
        let mut next = Expected::default();
        for op in ops {
            let outcome = match op {
                StoreOp::Append(append) => self.expect_append(append, &mut next),
                StoreOp::Read {
                    place,
                    from,
                    bytes_max,
                } => self.expect_read(place, (*from, *bytes_max), &mut next),
                _ => Ok(()),
            };
            // What is refused now is refused when its turn comes.
            if let Err(Stop::Failed(failure)) = outcome {
                return Err(failure);
            }
        }
        self.shelves.expect(&next)
    }

    /// The page with its nonce, and the account that pays.
    fn expect_append(&mut self, append: &Append, next: &mut Expected) -> Result<(), Stop> {
        let (birth, funds) = self.log(&append.place).map(|log| (log.birth, log.funds))?;
        let seal = self.seal(&append.place);
        let page = nonces::page_of(&birth, &append.entry.aad.nonce);
        next.change.push(seal.nonce_page_key(page));
        let own = account::cost(&append.entry);
        let is_paid = match funds {
            Funds::Code => true,
            Funds::Budget(share) => share.prepaid >= own,
        };
        if !is_paid || !append.next.is_empty() {
            let seed = self.account_seed(&append.place)?;
            next.change.push(AccountPlace::of(&seed).key);
        }
        Ok(())
    }

    /// The entries that [`Self::read`] will read.
    fn expect_read(
        &mut self,
        place: &Place,
        (from, bytes_max): (u64, usize),
        next: &mut Expected,
    ) -> Result<(), Stop> {
        let held: Vec<Held> = self.log(place)?.held_from(from).collect();
        let seal = self.seal(place);
        let mut bytes = 0;
        for Held { seq, shelf, len } in held {
            if bytes >= bytes_max {
                break;
            }
            bytes += usize::try_from(len).unwrap_or(usize::MAX);
            match shelf {
                Shelf::Day(day) => next.entries.push((day, seal.entry_key(seq))),
                Shelf::Life => next.look.push(seal.entry_key(seq)),
            }
        }
        Ok(())
    }

    /// Everything the batch changes.
    pub(crate) fn into_changes(mut self) -> Result<Changes, StoreFailure> {
        for (key, known) in self.logs {
            if let (Some(row), true) = (known.row, known.changed) {
                let day = row.last_day();
                self.shelves.save(key, &known.seal, day, &row)?;
            }
        }
        Ok(self.shelves.into_changes())
    }

    fn create(&mut self, new: &NewPlace) -> Result<StoreReply, Stop> {
        if !self.is_made(new)? {
            let made = self.prepare(new, Funds::Code)?;
            self.allowance.take_room(ROWS_OF_LOG)?;
            self.settle(made)?;
        }
        Ok(StoreReply::Created)
    }

    fn look(&mut self, place: &Place) -> Result<StoreReply, Stop> {
        let log = self.log(place)?;
        Ok(StoreReply::Looked(Looked {
            rules: log.rules,
            view: log.view(),
        }))
    }

    fn read(&mut self, place: &Place, from: u64, bytes_max: usize) -> Result<StoreReply, Stop> {
        let log = self.log(place)?;
        let next_seq = log.next_seq();
        let held: Vec<Held> = log.held_from(from).collect();
        let mut batch = Batch {
            entries: Vec::new(),
            cursor: next_seq,
            end: true,
        };
        let seal = self.seal(place);
        let mut bytes = 0;
        for Held { seq, shelf, .. } in held {
            if bytes >= bytes_max && !batch.entries.is_empty() {
                batch.cursor = seq;
                batch.end = false;
                break;
            }
            let key = seal.entry_key(seq);
            // A row that is not there was removed by an operation whose end a crash took: it stays a hole.
            if let Some(content) = self.shelves.content(shelf, &key, &seal)? {
                let entry = entryrow::entry(seq, &content)?;
                bytes += entry.body.len();
                batch.entries.push(entry);
            }
        }
        Ok(StoreReply::Read(batch))
    }

    fn append(&mut self, append: &Append) -> Result<StoreReply, Stop> {
        let Append { place, entry, next } = append;
        let mut log = self.log(place)?.clone();
        // [SPEC 4.51]
        let nonces = self.nonces(place, &log, &entry.aad.nonce)?;
        if let Some(seen) = nonces.page.find(&entry.aad.nonce) {
            return answer_again(seen, entry);
        }
        let view = log.view();
        let room = match log.append(entry, self.today()) {
            Ok(room) => room,
            Err(Denied::Stale) => return Ok(StoreReply::Stale(view)),
            Err(Denied::Refused(code)) => return Err(code.into()),
        };
        // [SPEC 4.53]
        let mut made = self.prepare_next(place, next)?;
        self.allowance.reach(log.moving(self.today()))?;
        self.allowance
            .take_room(ROWS_OF_APPEND + made.len() * ROWS_OF_LOG)?;
        self.pay(place, &mut log, entry, &mut made)?;
        // Nothing is refused from here on.
        for made in made {
            self.settle(made)?;
        }
        let writing = Writing {
            entry,
            room: &room,
            nonces,
        };
        self.write(place, &mut log, writing)?;
        self.put(place, Row::Log(log));
        Ok(StoreReply::Appended(room.placed))
    }

    fn renew(&mut self, place: &Place) -> Result<StoreReply, Stop> {
        let mut log = self.log(place)?.clone();
        self.allowance.reach(log.moving(self.today()))?;
        if self.touch(place, &mut log) {
            self.put(place, Row::Log(log));
        }
        Ok(StoreReply::Done)
    }

    fn trim(&mut self, place: &Place, up_to: u64) -> Result<StoreReply, Stop> {
        // [SPEC 4.58]
        let mut log = self.log(place)?.clone();
        let cut = log.trim(up_to);
        self.allowance.reach(cut.len())?;
        if !cut.is_empty() {
            self.remove(place, &cut);
            self.put(place, Row::Log(log));
        }
        Ok(StoreReply::Done)
    }

    fn destroy(&mut self, place: &Place) -> Result<StoreReply, Stop> {
        // [SPEC 4.59]
        let held: Vec<Held> = self.log(place)?.held_from(0).collect();
        self.allowance.reach(held.len())?;
        self.remove(place, &held);
        let seal = self.seal(place);
        for page in 0..nonces::PAGES {
            self.shelves.remove(Shelf::Life, seal.nonce_page_key(page));
        }
        self.put(place, Row::tombstone(self.today()));
        Ok(StoreReply::Done)
    }

    /// Writes an entry, its nonce, and what follows from it.
    fn write(
        &mut self,
        place: &Place,
        log: &mut LogRow,
        writing: Writing<'_>,
    ) -> Result<(), StoreFailure> {
        let Writing {
            entry,
            room,
            mut nonces,
        } = writing;
        self.touch(place, log);
        let Placed { seq, before, after } = room.placed;
        let seal = self.seal(place);
        let head = entryrow::head(before, entry)?;
        let at = EntryAt {
            shelf: room.shelf,
            life: log.last_day(),
            key: seal.entry_key(seq),
        };
        self.shelves.put_entry(at, &seal, &[&head, &entry.body])?;
        self.remove(place, &room.dropped);
        let nonce = entry.aad.nonce;
        nonces.page.add(Seen::new(nonce, seq, before, after));
        self.shelves
            .save(nonces.key, &seal, log.last_day(), &nonces.page)
    }

    /// Starts a log's life anew, and that of everything that lives as long as it; true if its last day moved.
    fn touch(&mut self, place: &Place, log: &mut LogRow) -> bool {
        // [SPEC 6.21]
        let moved = log.touch(self.today());
        if moved {
            let day = log.last_day();
            let seal = self.seal(place);
            for page in 0..nonces::PAGES {
                self.shelves.move_to(seal.nonce_page_key(page), day);
            }
            for held in log.held_from(0).filter(|held| held.shelf == Shelf::Life) {
                self.shelves.move_to(seal.entry_key(held.seq), day);
            }
            let seed = match log.funds {
                Funds::Code => account::seed_of_root(place),
                Funds::Budget(share) => share.seed,
            };
            let account = AccountPlace::of(&seed);
            self.shelves
                .move_to(account.key, account::last_day(self.today()));
        }
        moved
    }

    fn remove(&mut self, place: &Place, held: &[Held]) {
        let seal = self.seal(place);
        for held in held {
            self.shelves.remove(held.shelf, seal.entry_key(held.seq));
        }
    }

    /// The nonces among which this one stands, or would.
    fn nonces(
        &mut self,
        place: &Place,
        log: &LogRow,
        nonce: &[u8; 16],
    ) -> Result<Nonces, StoreFailure> {
        let key = self.nonce_key(place, log, nonce);
        let page = self.shelves.load(&key, &self.seal(place))?;
        Ok(Nonces::of(key, log.birth, page))
    }

    fn nonce_key(&self, place: &Place, log: &LogRow, nonce: &[u8; 16]) -> RowKey {
        let page = nonces::page_of(&log.birth, nonce);
        self.seal(place).nonce_page_key(page)
    }

    /// The log in this place.
    fn log(&mut self, place: &Place) -> Result<&LogRow, Stop> {
        // [SPEC 6.210]
        if self.shelves.is_elsewhere(place.key_ref()) {
            return Err(RefusalCode::Unknown.into());
        }
        match self.row(place)? {
            Some(Row::Log(log)) => Ok(log),
            // [SPEC 6.23]
            Some(Row::Tombstone(_)) => Err(RefusalCode::Destroyed.into()),
            None => Err(RefusalCode::Unknown.into()),
        }
    }

    fn row(&mut self, place: &Place) -> Result<Option<&Row>, StoreFailure> {
        let today = self.today();
        let known = match self.logs.entry(place.key()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let seal = Rc::new(RowSeal::of(place.secret()));
                let row = self.shelves.load::<Row>(&place.key(), &seal)?;
                // [SPEC 6.21]
                let mut row = row.filter(|row| row.last_day() >= today);
                if let Some(Row::Log(log)) = &mut row {
                    log.forget_expired(today);
                }
                vacant.insert(Known {
                    seal,
                    row,
                    changed: false,
                })
            }
        };
        Ok(known.row.as_ref())
    }

    fn put(&mut self, place: &Place, row: Row) {
        let known = Known {
            seal: self.seal(place),
            row: Some(row),
            changed: true,
        };
        self.logs.insert(place.key(), known);
    }

    /// What seals the rows of the log in this place: derived when the batch first looks at it.
    fn seal(&self, place: &Place) -> Rc<RowSeal> {
        match self.logs.get(place.key_ref()) {
            Some(known) => known.seal.clone(),
            None => Rc::new(RowSeal::of(place.secret())),
        }
    }

    fn today(&self) -> Day {
        self.now.day()
    }
}

/// An entry to be written.
struct Writing<'e> {
    entry: &'e NewEntry,
    room: &'e Room,
    nonces: Nonces,
}

fn answer_again(seen: &Seen, entry: &NewEntry) -> Result<StoreReply, Stop> {
    // [SPEC 4.52]
    if !seen.is(entry) {
        return Err(RefusalCode::NonceReused.into());
    }
    Ok(StoreReply::Already(Appended {
        seq: seen.seq,
        running_hash: seen.after,
    }))
}
