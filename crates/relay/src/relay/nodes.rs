//! One of several nodes: what it tells the others, what it hears of them, and how it finds out what it did not hear.
//!
//! Everything is in the store that the nodes share. News are only quicker: a handle knows the number of its next entry, an entry
//! beyond that makes it read, and all open logs are looked at from time to time. So a node that hears nothing is slow, and right.

use std::collections::BTreeMap;

use emptyroom_wire::op::{Answer, KeyRecords, Push, RefusalCode};
use emptyroom_wire::relay_key::KeyRecord;
use emptyroom_wire::time::{Mono, Now, SECOND_MS};

use super::handles::Reader;
use super::job::{Asker, Purpose};
use super::queue::Job;
use super::requests::{Next, store_failed};
use super::{Mode, Relay};
use crate::config::Nodes;
use crate::io::{ConnId, Output, Ticket};
use crate::limits::SWEEP_LOGS;
use crate::store::{Place, RowKey, Rules, StoreFailure, StoreOp, StoreReply};

/// Whose turn it is at the store when a node asks for itself.
const SELF: ConnId = ConnId(u64::MAX);
/// So soon a look is tried again that was not done, and a key's record.
const RETRY_MS: u64 = 3 * SECOND_MS;

/// What a node knows of the others.
pub(super) struct Others {
    /// None where there are no others.
    config: Option<Nodes>,
    sweep: Sweep,
    /// Of logs with handles that are behind, or are being opened: where they end, as far as was heard.
    ends: BTreeMap<RowKey, u64>,
    /// Requests to open logs that are not answered.
    openings: usize,
    chain: ChainReads,
}

/// The looks at all open logs.
struct Sweep {
    /// The last log that was looked at; none at the beginning.
    after: Option<RowKey>,
    /// When the next ones are due; none while some are under way.
    at: Option<Mono>,
    /// All are to be looked at once more after this.
    again: bool,
}

/// Who waits for the chain of key records.
#[derive(Default)]
struct ChainReads {
    under_way: Option<Ticket>,
    /// They asked before it began.
    asked: Vec<(Asker, u64)>,
    /// They asked since.
    waiting: Vec<(Asker, u64)>,
}

impl Others {
    pub(super) fn new(now: Now, config: Option<Nodes>) -> Others {
        let every_ms = config.map_or(0, |nodes| nodes.sweep_every_ms);
        Others {
            config,
            sweep: Sweep {
                after: None,
                at: Some(now.mono.plus_ms(every_ms)),
                again: false,
            },
            ends: BTreeMap::new(),
            openings: 0,
            chain: ChainReads::default(),
        }
    }

    /// A log was heard to end there.
    pub(super) fn heard_of(&mut self, log: RowKey, end: u64) {
        if self.config.is_some() {
            let known = self.ends.entry(log).or_insert(end);
            *known = end.max(*known);
        }
    }

    /// A log was heard to end there, perhaps by one of those that are being opened: what they are told of it may be older.
    pub(super) fn heard_while_opening(&mut self, log: RowKey, end: u64) {
        if self.openings > 0 {
            self.heard_of(log, end);
        }
    }

    pub(super) fn opening_begins(&mut self) {
        self.openings += 1;
    }

    pub(super) fn opening_over(&mut self) {
        self.openings = self.openings.saturating_sub(1);
    }

    /// Where a log ends, if more was heard of it than a read found that was decided before; if not, that is forgotten: what is
    /// decided later finds no less.
    pub(super) fn knows_more(&mut self, log: RowKey, read_to: u64) -> Option<u64> {
        let end = self.ends.get(&log).copied().filter(|end| *end > read_to);
        if end.is_none() {
            self.ends.remove(&log);
        }
        end
    }

    /// What was heard of a log does not hold any more.
    pub(super) fn forget(&mut self, log: RowKey) {
        self.ends.remove(&log);
    }

    /// Looks could not be done. Those of the sweep are tried again, and what came before them stays done: under a steady load
    /// the last logs would never be looked at.
    pub(super) fn look_failed(&mut self, now: Now, of_sweep: bool) {
        // [SPEC 6.233]
        let retry_at = now.mono.plus_ms(RETRY_MS);
        if of_sweep {
            self.sweep.at = Some(retry_at);
        } else {
            self.sweep_all(retry_at);
        }
    }

    pub(super) fn news_lost(&mut self, now: Now) {
        self.sweep_all(now.mono);
    }

    /// All logs are to be looked at, beginning then at the latest.
    fn sweep_all(&mut self, at: Mono) {
        let sweep = &mut self.sweep;
        match &mut sweep.at {
            Some(due) if sweep.after.is_none() => *due = at.min(*due),
            _ => sweep.again = true,
        }
    }

    pub(super) fn wake_at(&self) -> Option<Mono> {
        self.sweep.at.filter(|_| self.config.is_some())
    }

    /// When a key's record is to be tried again, where that is not as ever: clients wait for it, or go elsewhere.
    pub(super) fn key_retry_ms(&self) -> Option<u64> {
        self.config.map(|_| RETRY_MS)
    }
}

impl Relay {
    /// Tells the others, if there are any.
    pub(super) fn tell(&mut self, log: RowKey, news: impl FnOnce() -> Push) {
        if self.nodes.config.is_some() {
            self.out.push_back(Output::News(log, news()));
        }
    }

    /// Whether anybody is to be told of an entry.
    pub(super) fn is_heard(&self, log: RowKey) -> bool {
        self.nodes.config.is_some() || self.open_logs.place(log).is_some()
    }

    /// Adds a handle, unless its connection has too many on this log; the first one on a log wants news.
    pub(super) fn open_log(
        &mut self,
        place: Place,
        rules: &Rules,
        reader: Reader,
    ) -> Option<Place> {
        let key = place.key();
        let is_first = self.nodes.config.is_some() && self.open_logs.place(key).is_none();
        if is_first {
            self.out.push_back(Output::Watch(key));
        }
        self.open_logs.open(place, rules, reader)
    }

    /// Takes a handle away; the last one on a log wants no more news.
    pub(super) fn close_log(&mut self, log: RowKey, reader: Reader) {
        if self.open_logs.close(log, reader) && self.nodes.config.is_some() {
            self.nodes.forget(log);
            self.out.push_back(Output::Unwatch(log));
        }
    }

    /// Another node said something.
    pub(super) fn news(&mut self, now: Now, log: RowKey, news: Push) {
        match news {
            Push::Entry(entry) => self.push_live(now, log, entry),
            Push::CaughtUp(end) => {
                self.read_up_to(log, end);
            }
            Push::Gone(refusal) => self.push_gone(now, log, refusal.code),
            Push::Cast(cast) => {
                let readers = self.open_logs.readers(log);
                // What came in as a frame goes out as one.
                let _ = self.push_cast(now, cast, readers);
            }
        }
    }

    /// News of these logs come from now on: what came before is looked for once.
    pub(super) fn watched(&mut self, now: Now, logs: &[RowKey]) {
        // [SPEC 6.232]
        for some in logs.chunks(SWEEP_LOGS) {
            let places = some.iter().filter_map(|log| self.open_logs.place(*log));
            self.look(now, places.collect(), None);
        }
    }

    /// Looks at the next ones of all open logs, when it is time.
    pub(super) fn sweep(&mut self, now: Now) {
        // [SPEC 6.233]
        let Some(Nodes { sweep_every_ms }) = self.nodes.config else {
            return;
        };
        let sweep = &mut self.nodes.sweep;
        let is_due = sweep.at.is_some_and(|at| at <= now.mono);
        if !is_due || self.mode != Mode::Running {
            return;
        }
        let places = self.open_logs.places_after(sweep.after, SWEEP_LOGS);
        let Some(last) = places.last().map(Place::key) else {
            let pause_ms = if sweep.again { 0 } else { sweep_every_ms };
            *sweep = Sweep {
                after: None,
                at: Some(now.mono.plus_ms(pause_ms)),
                again: false,
            };
            return;
        };
        sweep.at = None;
        self.look(now, places, Some(last));
    }

    fn look(&mut self, now: Now, places: Vec<Place>, sweep: Option<RowKey>) {
        if !places.is_empty() {
            self.queue_up(now, SELF, look_again(places, sweep));
        }
    }

    /// What the store says of logs that are open.
    pub(super) fn looked_again(
        &mut self,
        now: Now,
        places: Vec<Place>,
        replies: Vec<StoreReply>,
        sweep: Option<RowKey>,
    ) {
        let mut was_away = false;
        for (place, reply) in places.into_iter().zip(replies) {
            match reply {
                StoreReply::Looked(looked) => {
                    let end = looked.view.next_seq;
                    let furthest = self.read_up_to(place.key(), end);
                    // News may have overtaken this look: only one that begins now can tell.
                    if furthest > end {
                        self.look_back(now, place, furthest);
                    }
                }
                StoreReply::Refused(refusal)
                    if matches!(refusal.code, RefusalCode::Unknown | RefusalCode::Destroyed) =>
                {
                    self.push_gone(now, place.key(), refusal.code);
                }
                _ => was_away = true,
            }
        }
        // The next sweep is soon enough for the others: those behind these must not wait for them.
        if was_away && sweep.is_none() {
            self.nodes.look_failed(now, false);
        }
        if sweep.is_some() {
            self.nodes.sweep.after = sweep;
            self.nodes.sweep.at = Some(now.mono);
        }
    }

    /// Looks whether a log still has the entries below this number.
    pub(super) fn look_back(&mut self, now: Now, place: Place, end: u64) {
        self.queue_up(now, SELF, look_back(place, end));
    }

    /// The chain's records after this one: where others append theirs, as it is now.
    pub(super) fn key_records(&mut self, asker: Asker, after: u64) -> Next {
        if self.nodes.config.is_none() {
            let records = self.keys.records_after(after);
            return Next::Answer(Answer::KeyRecords(KeyRecords { records }));
        }
        self.nodes.chain.waiting.push((asker, after));
        self.read_chain();
        Next::Later
    }

    /// One read for all who asked by now, one at a time.
    fn read_chain(&mut self) {
        // [SPEC 6.231]
        if self.nodes.chain.under_way.is_some() || self.nodes.chain.waiting.is_empty() {
            return;
        }
        let ticket = self.take_ticket();
        let chain = &mut self.nodes.chain;
        chain.under_way = Some(ticket);
        chain.asked = std::mem::take(&mut chain.waiting);
        let newest = self.keys.newest();
        self.out.push_back(Output::ReadKeyRecords(ticket, newest));
    }

    pub(super) fn key_records_read(
        &mut self,
        now: Now,
        ticket: Ticket,
        outcome: Result<Vec<KeyRecord>, StoreFailure>,
    ) {
        let chain = &mut self.nodes.chain;
        if chain.under_way.take_if(|at| *at == ticket).is_none() {
            return;
        }
        let asked = std::mem::take(&mut chain.asked);
        let is_read = outcome.is_ok();
        self.keys.learn(now, outcome.unwrap_or_default());
        for (asker, after) in asked {
            if is_read {
                let records = self.keys.records_after(after);
                self.answer(now, asker, Answer::KeyRecords(KeyRecords { records }));
            } else {
                self.refuse(now, asker, store_failed());
            }
        }
        self.read_chain();
    }
}

/// Looks for what others wrote.
pub(super) fn look_again(places: Vec<Place>, sweep: Option<RowKey>) -> Job<Purpose> {
    let look = |place: &Place| StoreOp::Look {
        place: place.clone(),
    };
    Job {
        ops: places.iter().map(look).collect(),
        purpose: Purpose::LookAgain(places, sweep),
        bytes: 0,
        reads: 0,
    }
}

/// Looks whether entries are lost that a log is known to have had.
pub(super) fn look_back(place: Place, end: u64) -> Job<Purpose> {
    Job {
        ops: vec![StoreOp::Look {
            place: place.clone(),
        }],
        purpose: Purpose::LookBack(place, end),
        bytes: 0,
        reads: 0,
    }
}
