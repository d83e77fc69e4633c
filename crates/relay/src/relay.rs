//! The relay: streams on one side, the store on the other.
//!
//! One input, drain every output, next input. Whatever clients send ends in an answer, a refusal or a hang-up, never in an error to
//! the shell.

use std::collections::VecDeque;

use emptyroom_wire::relay_key::{IdentityHash, KeyRecord, RelayIdentity};
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::time::{DAY_MS, HOUR_MS, Mono, Now};

use crate::config::{Config, Limits};
use crate::io::{ConnId, Input, Output, Reason, Ticket};
use crate::store::{StoreFailure, StoreReply};
use crate::totals::Totals;

mod away;
mod conn;
mod conns;
mod full;
mod handles;
mod job;
mod keys;
mod nodes;
mod opening;
mod queue;
mod readers;
mod replies;
mod requests;
mod sending;
mod shares;

use conns::Conns;
use handles::OpenLogs;
use job::Purpose;
pub use keys::kept_records;
use keys::{Keys, RETRY_MS};
use nodes::Others;
use queue::Queue;
use readers::PutOff;

/// A relay without sockets and disk. See [`crate::io`] for how to run one.
pub struct Relay {
    config: Config,
    keys: Keys,
    /// What everybody is shown first while this stream key is in use.
    greeting: Option<Vec<u8>>,
    rng: Box<dyn CryptoRng + Send>,
    conns: Conns,
    open_logs: OpenLogs,
    /// Connections that have something to read and wait for their turn.
    waiting_readers: VecDeque<ConnId>,
    /// Their part of the store was away.
    put_off: PutOff,
    /// Reads for connections that are behind, on their way to the store and back.
    reads: usize,
    /// Bytes handed out and not sent, on all connections.
    unsent: usize,
    queue: Queue<Purpose>,
    last_ticket: Ticket,
    expiry: Expiry,
    /// Those who write to the same store, if there are any.
    nodes: Others,
    /// The store writes no more.
    failure: Option<StoreFailure>,
    mode: Mode,
    /// Streams at a time, at most, since the start.
    streams_most: usize,
    /// What was counted; what can be looked up is filled in by [`Relay::totals`].
    counted: Totals,
    out: VecDeque<Output>,
}

/// Only a shell that errs says so.
const NO_BATCH: StoreFailure = StoreFailure::Broken("the store's failure fits no batch");

/// When the store is next told to remove what has run out.
enum Expiry {
    At(Mono),
    Running(Ticket),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Running,
    Draining,
    Stopped,
}

impl Relay {
    /// A relay that continues the chain of key records (oldest first) which the shell kept for it. No client is greeted
    /// before the record of its first stream key is durable.
    #[must_use]
    pub fn new(
        now: Now,
        identity: RelayIdentity,
        records: Vec<KeyRecord>,
        config: Config,
        rng: Box<dyn CryptoRng + Send>,
    ) -> Relay {
        let nodes = Others::new(now, config.nodes);
        let retry_ms = nodes.key_retry_ms().unwrap_or(RETRY_MS);
        let mut relay = Relay {
            config,
            nodes,
            keys: Keys::new(now, identity, records, retry_ms),
            greeting: None,
            rng,
            conns: Conns::default(),
            open_logs: OpenLogs::default(),
            waiting_readers: VecDeque::new(),
            put_off: PutOff::default(),
            reads: 0,
            unsent: 0,
            queue: Queue::new(),
            last_ticket: Ticket(0),
            expiry: Expiry::At(now.mono),
            failure: None,
            mode: Mode::Running,
            streams_most: 0,
            counted: Totals::default(),
            out: VecDeque::new(),
        };
        relay.settle(now);
        relay
    }

    /// The name that addresses and links pin.
    #[must_use]
    pub fn identity_hash(&self) -> IdentityHash {
        self.keys.hash()
    }

    /// Takes one input. Drain [`Relay::poll`] before the next.
    pub fn handle(&mut self, now: Now, input: Input) {
        if self.mode == Mode::Stopped {
            return;
        }
        match input {
            Input::Connected(conn) => self.connected(now, conn),
            Input::Frame(conn, frame) => self.frame(now, conn, frame),
            Input::Written(conn, bytes) => self.written(now, conn, bytes),
            Input::Disconnected(conn) => self.forget(conn),
            Input::Stored(ticket, Ok(replies)) => self.stored(now, ticket, replies),
            Input::Stored(ticket, Err(StoreFailure::Full)) => self.store_full(now, ticket),
            Input::KeyRecordPersisted(ticket, Ok(())) => {
                self.keys.stored(now, ticket);
                self.key_turned(now);
            }
            Input::Stored(ticket, Err(StoreFailure::Away(_) | StoreFailure::Conflict)) => {
                self.store_away(now, ticket);
            }
            Input::Stored(ticket, Err(StoreFailure::Lost(_))) => self.store_lost(now, ticket),
            Input::Stored(ticket, Err(failure)) => self.store_broke(now, ticket, failure),
            Input::KeyRecordPersisted(ticket, Err(failure)) if failure.passes() => {
                self.keys.not_stored(now, ticket);
            }
            Input::Expired(ticket, Ok(())) => self.expired(now, ticket),
            Input::Expired(ticket, Err(failure)) if failure.passes() => {
                self.expire_again(now, ticket);
            }
            Input::StoreFailed(failure) if failure.passes() => {}
            Input::KeyRecordPersisted(_, Err(failure))
            | Input::Expired(_, Err(failure))
            | Input::StoreFailed(failure) => self.write_no_more(now, failure),
            Input::KeyRecordOvertaken(ticket, records) => self.keys.overtaken(now, ticket, records),
            Input::KeyRecords(ticket, outcome) => self.key_records_read(now, ticket, outcome),
            Input::News(log, news) => self.news(now, log, news),
            Input::Watched(logs) => self.watched(now, &logs),
            Input::NewsLost => self.nodes.news_lost(now),
            Input::Limits(limits, spread_s) => self.set_limits(limits, spread_s),
            Input::Tick => {}
            Input::Drain if self.mode == Mode::Running => self.mode = Mode::Draining,
            Input::Drain => {}
        }
        self.settle(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// What it holds and did, as sums over all clients.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let (queue_requests, queue_bytes) = self.queue.waiting();
        Totals {
            connections: self.conns.len(),
            handles: self.open_logs.handles(),
            logs_open: self.open_logs.logs(),
            unsent_bytes: self.unsent,
            queue_requests,
            queue_bytes,
            draining: self.mode != Mode::Running,
            ..self.counted.clone()
        }
    }

    /// When [`Input::Tick`] is wanted, unless something else comes before.
    #[must_use]
    pub fn wake_at(&self) -> Option<Mono> {
        if self.mode == Mode::Stopped {
            return None;
        }
        let conns = self.conns.wake_at();
        if self.failure.is_some() {
            return conns;
        }
        let expiry = match self.expiry {
            Expiry::At(at) => Some(at),
            Expiry::Running(_) => None,
        };
        let nodes = self.nodes.wake_at();
        [conns, self.keys.wake_at(), expiry, nodes, self.put_off.at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Why nothing is written any more, if that is so. What was durable is served on.
    #[must_use]
    pub fn failure(&self) -> Option<StoreFailure> {
        self.failure
    }

    /// Does what time and the last input made due.
    fn settle(&mut self, now: Now) {
        if self.mode == Mode::Stopped {
            return;
        }
        if self.failure.is_none() {
            self.turn_key(now);
            self.expire(now);
        }
        self.look_at_due(now);
        self.sweep(now);
        self.take_up(now);
        self.start_reads(now);
        let ticket = Ticket(self.last_ticket.0 + 1);
        if let Some(ops) = self.queue.next_batch(ticket) {
            self.last_ticket = ticket;
            self.out.push_back(Output::Store(ticket, ops));
        }
        if self.mode == Mode::Draining && self.queue.is_idle() {
            self.stop(self.failure.map_or(Ok(()), Err));
        }
    }

    /// What came before stays, also where the new limits would have refused it.
    fn set_limits(&mut self, limits: Limits, reconnect_spread_s: u32) {
        // [SPEC 6.129]
        self.config.limits = limits;
        self.config.reconnect_spread_s = reconnect_spread_s;
    }

    fn turn_key(&mut self, now: Now) {
        let ticket = Ticket(self.last_ticket.0 + 1);
        if let Some(record) = self.keys.turn(now, ticket, &mut *self.rng) {
            self.last_ticket = ticket;
            self.out.push_back(Output::PersistKeyRecord(ticket, record));
        }
    }

    fn expire(&mut self, now: Now) {
        // [SPEC 6.24]
        if let Expiry::At(at) = self.expiry
            && now.mono >= at
        {
            let ticket = self.take_ticket();
            self.expiry = Expiry::Running(ticket);
            self.out.push_back(Output::Expire(ticket));
        }
    }

    fn expired(&mut self, now: Now, ticket: Ticket) {
        if matches!(self.expiry, Expiry::Running(running) if running == ticket) {
            let day_end_ms = DAY_MS - now.wall.0 % DAY_MS;
            self.expiry = Expiry::At(now.mono.plus_ms(day_end_ms.min(HOUR_MS)));
        }
    }

    /// What could not be done now is tried again soon.
    // [SPEC 6.24]
    fn expire_again(&mut self, now: Now, ticket: Ticket) {
        if matches!(self.expiry, Expiry::Running(running) if running == ticket) {
            self.expiry = Expiry::At(now.mono.plus_ms(keys::RETRY_MS));
        }
    }

    fn look_at_due(&mut self, now: Now) {
        while let Some(id) = self.conns.due(now.mono) {
            let Some(conn) = self.conns.conn(id) else {
                continue;
            };
            match conn.overdue(now.mono) {
                Some(reason) => self.end(id, reason),
                None => {
                    let turn = conn.stream().and_then(|stream| stream.ends.turn(now.mono));
                    if let Some(frame) = turn {
                        self.send_frame(now, id, frame);
                    }
                }
            }
        }
    }

    fn stored(&mut self, now: Now, ticket: Ticket, replies: Vec<StoreReply>) {
        match self.queue.answered(ticket, replies) {
            Ok(answered) => {
                let mut lost = Vec::new();
                for (purpose, replies) in answered {
                    if replies.iter().any(StoreReply::is_lost) {
                        lost.push(purpose);
                    } else {
                        self.reply(now, purpose, replies);
                    }
                }
                self.lost(now, lost);
            }
            Err(queue::Mismatch) => {
                self.stop(Err(StoreFailure::Broken(
                    "the store's answer fits no batch",
                )));
            }
        }
    }

    /// Nobody knows what became of the batch.
    fn store_broke(&mut self, now: Now, ticket: Ticket, failure: StoreFailure) {
        let Ok(purposes) = self.queue.failed(ticket) else {
            return self.stop(Err(NO_BATCH));
        };
        // Not even reading goes.
        // [SPEC 6.3]
        if !purposes.iter().any(Purpose::writes) {
            return self.stop(Err(failure));
        }
        self.write_no_more(now, failure);
        for purpose in purposes {
            match purpose {
                // Done or not: neither must be said.
                // [SPEC 6.5]
                Purpose::Create(asker) | Purpose::Append(asker, _) | Purpose::Change(asker, ..) => {
                    self.end(asker.conn, Reason::StoreFailed)
                }
                Purpose::Open(asker, openings) => {
                    self.queue_up(now, asker.conn, requests::look_at(asker, openings));
                }
                Purpose::Share(asker, asked) if asked.writes() => {
                    self.end(asker.conn, Reason::StoreFailed);
                }
                purpose @ (Purpose::DestroyLook(..)
                | Purpose::CatchUp(..)
                | Purpose::LookAgain(..)
                | Purpose::LookBack(..)
                | Purpose::Share(..)) => {
                    self.refuse_job(now, purpose, requests::store_failed());
                }
            }
        }
    }

    /// From now on nothing is written: what would be is refused, what was durable is served.
    fn write_no_more(&mut self, now: Now, failure: StoreFailure) {
        // Nobody was ever greeted, and nobody can be.
        // [SPEC 6.40]
        if self.keys.current().is_none() {
            return self.stop(Err(failure));
        }
        // [SPEC 6.5]
        self.failure.get_or_insert(failure);
        for purpose in self.queue.retain(|job| !job.writes()) {
            self.refuse_job(now, purpose, requests::store_failed());
        }
    }

    /// Hangs up on everybody and says so; nothing is done afterwards.
    fn stop(&mut self, outcome: Result<(), StoreFailure>) {
        let reason = match outcome {
            Ok(()) => Reason::Stopping,
            Err(_) => Reason::StoreFailed,
        };
        for id in self.conns.ids() {
            self.end(id, reason);
        }
        self.mode = Mode::Stopped;
        self.out.push_back(Output::Stopped(outcome));
    }

    /// Ends a connection, if it is not ended yet.
    fn end(&mut self, id: ConnId, reason: Reason) {
        if self.conns.contains(id) {
            self.forget(id);
            self.hang_up(id, reason);
        }
    }

    fn hang_up(&mut self, id: ConnId, reason: Reason) {
        self.counted.hangs_up(reason);
        self.out.push_back(Output::Hangup(id, reason));
    }

    /// Forgets a connection and all its handles.
    fn forget(&mut self, id: ConnId) {
        let Some(conn) = self.conns.remove(id) else {
            return;
        };
        self.unsent = self.unsent.saturating_sub(conn.unsent());
        if let conn::Phase::Open(stream) = conn.phase {
            self.counted.streams = self.counted.streams.saturating_sub(1);
            for log in stream.logs.iter() {
                self.close_log(log.place.key(), (id, log.handle));
            }
        }
    }

    fn take_ticket(&mut self) -> Ticket {
        self.last_ticket = Ticket(self.last_ticket.0 + 1);
        self.last_ticket
    }
}
