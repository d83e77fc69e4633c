//! Runs the pure relay: one input, all its outputs, next input.
//!
//! It works in rounds. In a round it takes what has come from clients, then what the disk answered: so all of it is in the next batch.
//! At the end it wakes each lane that has something to write, once.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc as threads};

use emptyroom_relay::store::{StoreFailure, StoreReply};
use emptyroom_relay::{ConnId, Input, Output, Relay};
use emptyroom_wire::op::RefusalCode;
use tokio::select;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::committer::{Done, Job};
use crate::connection::{Incoming, Written};
use crate::log::{Event, log};
use crate::metrics::Metrics;
use crate::outbox::{Outbox, Round};
use crate::stack;
use crate::status::{Order, Report};
use crate::wake::{Heard, Wake};

/// Only a bug ends it before the engine.
const THREAD_ENDED: StoreFailure = StoreFailure::Broken("the thread that writes has ended");

/// Frames of clients that one round takes: answers of the disk wait for no more.
const ROUND_MAX: usize = 128;

/// What the engine listens to.
pub(crate) struct Inlets {
    pub(crate) incoming: mpsc::Receiver<Incoming>,
    pub(crate) written: mpsc::UnboundedReceiver<Written>,
    pub(crate) done: mpsc::UnboundedReceiver<Done>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) others: mpsc::Receiver<Heard>,
    pub(crate) drain: oneshot::Receiver<()>,
}

/// The relay with everything around it that its outputs need.
pub(crate) struct Engine {
    relay: Relay,
    clock: Clock,
    jobs: threads::Sender<Job>,
    /// The way to other nodes, if there are any.
    wake: Option<Wake>,
    metrics: Arc<Metrics>,
    outboxes: BTreeMap<ConnId, Arc<Outbox>>,
    round: Round,
    full: bool,
    away: bool,
    failed: bool,
    outcome: Option<Result<(), StoreFailure>>,
}

impl Engine {
    pub(crate) fn new(
        relay: Relay,
        clock: Clock,
        jobs: threads::Sender<Job>,
        wake: Option<Wake>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            wake,
            metrics,
            relay,
            clock,
            jobs,
            outboxes: BTreeMap::new(),
            round: Round::default(),
            full: false,
            away: false,
            failed: false,
            outcome: None,
        }
    }

    /// Works until the relay says that it has stopped.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn run(mut self, mut inlets: Inlets) -> Result<(), StoreFailure> {
        let mut draining = false;
        self.feed(Input::Tick);
        loop {
            if let Some(outcome) = self.outcome.take() {
                return outcome;
            }
            let mut done = None;
            // What comes seldom is looked at first: reports and frames may be there at all times.
            select! {
                biased;
                _ = &mut inlets.drain, if !draining => {
                    draining = true;
                    self.feed(Input::Drain);
                }
                Some(order) = inlets.orders.recv() => self.order(order),
                answer = inlets.done.recv() => done = Some(answer.unwrap_or(Done::Broken(THREAD_ENDED))),
                () = wait(self.wake_at()) => self.feed(Input::Tick),
                Some(heard) = inlets.others.recv() => self.others(heard),
                Some(Written(conn, bytes)) = inlets.written.recv() => self.feed(Input::Written(conn, bytes)),
                Some(incoming) = inlets.incoming.recv() => self.client(incoming),
            }
            self.clients(&mut inlets);
            let outcome = done.map_or(Ok(()), |done| self.disk(done));
            self.round.end();
            // [SPEC 6.80]
            stack::wipe();
            outcome?;
        }
    }

    /// What has come from clients by now: all that was written, so that nobody is taken for slow who is not, then
    /// frames, as far as they fit in a round.
    fn clients(&mut self, inlets: &mut Inlets) {
        for _ in 0..inlets.written.len() {
            let Ok(Written(conn, bytes)) = inlets.written.try_recv() else {
                break;
            };
            self.feed(Input::Written(conn, bytes));
        }
        for _ in 0..ROUND_MAX {
            let Ok(heard) = inlets.others.try_recv() else {
                break;
            };
            self.others(heard);
        }
        for _ in 0..ROUND_MAX {
            let Ok(incoming) = inlets.incoming.try_recv() else {
                break;
            };
            self.client(incoming);
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.relay
            .wake_at()
            .map(|when| Instant::now() + self.clock.until(when))
    }

    /// What other nodes did.
    fn others(&mut self, heard: Heard) {
        self.feed(match heard {
            Heard::News(log, news) => Input::News(log, news),
            Heard::Watched(logs) => Input::Watched(logs),
            Heard::Lost => Input::NewsLost,
        });
    }

    fn client(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Connected(conn, outbox) => {
                self.outboxes.insert(conn, outbox);
                self.feed(Input::Connected(conn));
            }
            Incoming::Frame(conn, frame, share) => {
                // After a hangup the relay wants no more of it.
                if self.outboxes.contains_key(&conn) {
                    self.feed(Input::Frame(conn, frame));
                }
                // What waits for the store from here on is the relay's to bound.
                drop(share);
            }
            Incoming::Disconnected(conn) => {
                if self.outboxes.remove(&conn).is_some() {
                    self.feed(Input::Disconnected(conn));
                }
            }
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Report(to) => {
                // Whoever asked may have gone.
                let _ = to.send(Report {
                    totals: self.relay.totals(),
                    disk_full: self.full,
                    failure: self.relay.failure(),
                });
            }
            Order::Limits(limits, spread_s) => self.feed(Input::Limits(limits, spread_s)),
        }
    }

    fn disk(&mut self, done: Done) -> Result<(), StoreFailure> {
        match done {
            Done::Stored(ticket, outcome) => {
                self.notice_full(is_full(self.full, &outcome));
                self.notice_away(outcome.as_ref().err());
                self.feed(Input::Stored(ticket, outcome));
            }
            Done::Expired(ticket, outcome) => self.feed(Input::Expired(ticket, outcome)),
            Done::Persisted(ticket, outcome) => {
                match outcome {
                    Ok(()) => self.notice_full(false),
                    Err(StoreFailure::Full) => self.notice_full(true),
                    Err(_) => {}
                }
                self.feed(Input::KeyRecordPersisted(ticket, outcome));
            }
            Done::Overtaken(ticket, records) => {
                self.feed(Input::KeyRecordOvertaken(ticket, records));
            }
            Done::ChainRead(ticket, outcome) => self.feed(Input::KeyRecords(ticket, outcome)),
            Done::Held => {}
            Done::Failed(failure) => self.feed(Input::StoreFailed(failure)),
            Done::Broken(failure) => return Err(failure),
        }
        self.notice_failed();
        Ok(())
    }

    /// Says once that nothing is written any more. That the relay stops, whoever started it says.
    // [SPEC 6.69]
    fn notice_failed(&mut self) {
        if let Some(failure) = self.relay.failure()
            && self.outcome.is_none()
            && !std::mem::replace(&mut self.failed, true)
        {
            log(&Event::StoreFailed(&failure));
        }
    }

    /// Says once that the store is away, and once that it is back.
    // [SPEC 6.200]
    fn notice_away(&mut self, failure: Option<&StoreFailure>) {
        let away = failure.filter(|failure| failure.passes() && **failure != StoreFailure::Full);
        match (self.away, away) {
            (false, Some(failure)) => log(&Event::StoreAway(failure)),
            (true, None) => log(&Event::StoreBack),
            _ => {}
        }
        self.away = away.is_some();
    }

    /// Says once that the disk is full, and once that it is not any more.
    // [SPEC 6.151]
    fn notice_full(&mut self, full: bool) {
        // Of several each says so for itself.
        // [SPEC 6.218]
        if self.metrics.has_several() {
            return;
        }
        match (self.full, full) {
            (false, true) => log(&Event::DiskFull),
            (true, false) => log(&Event::SpaceAgain),
            _ => {}
        }
        self.full = full;
    }

    fn feed(&mut self, input: Input) {
        self.relay.handle(self.clock.now(), input);
        while let Some(output) = self.relay.poll() {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Frame(conn, frame) => {
                if let Some(outbox) = self.outboxes.get(&conn) {
                    outbox.push(frame, &mut self.round);
                }
            }
            Output::Hangup(conn, _) => {
                if let Some(outbox) = self.outboxes.remove(&conn) {
                    outbox.hang_up(&mut self.round);
                }
            }
            Output::Store(ticket, ops) => self.ask(Job::Store(ticket, ops)),
            Output::Expire(ticket) => self.ask(Job::Expire(ticket)),
            Output::PersistKeyRecord(ticket, record) => self.ask(Job::Persist(ticket, record)),
            Output::ReadKeyRecords(ticket, after) => self.ask(Job::ReadChain(ticket, after)),
            Output::News(log, news) => {
                if let Some(wake) = &self.wake {
                    wake.tell(log, news);
                }
            }
            Output::Watch(log) => {
                if let Some(wake) = &self.wake {
                    wake.watch(log);
                }
            }
            Output::Unwatch(log) => {
                if let Some(wake) = &self.wake {
                    wake.unwatch(log);
                }
            }
            Output::Stopped(outcome) => self.outcome = Some(outcome),
        }
    }

    fn ask(&mut self, job: Job) {
        if self.jobs.send(job).is_err() {
            self.outcome = Some(Err(THREAD_ENDED));
        }
    }
}

/// Whether the disk is full, after a batch that came out so. Only a new entry shows that there is space: reading needs none. Where memory
/// for rows is what ends, a part of a batch may find none.
fn is_full(before: bool, outcome: &Result<Vec<StoreReply>, StoreFailure>) -> bool {
    let stored = |reply: &StoreReply| matches!(reply, StoreReply::Appended(_));
    let refused = |reply: &StoreReply| matches!(reply, StoreReply::Refused(refusal) if refusal.code == RefusalCode::StorageFull);
    match outcome {
        Ok(replies) if replies.iter().any(refused) => true,
        Ok(replies) => before && !replies.iter().any(stored),
        Err(failure) => before || *failure == StoreFailure::Full,
    }
}

async fn wait(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use emptyroom_relay::Config;
    use emptyroom_relay::store::Placed;
    use emptyroom_wire::entry::RunningHash;
    use emptyroom_wire::op::Refusal;
    use emptyroom_wire::relay_key::RelayIdentity;
    use emptyroom_wire::secret::Secret32;

    use super::*;
    use crate::entropy;

    // [SPEC 6.151]
    #[test]
    fn a_full_disk_is_full_until_something_is_stored() {
        let placed = || Placed {
            seq: 0,
            before: RunningHash([0; 32]),
            after: RunningHash([0; 32]),
        };
        let read = || Ok(vec![StoreReply::Done]);
        let stored = || Ok(vec![StoreReply::Done, StoreReply::Appended(placed())]);
        assert!(!is_full(false, &read()));
        assert!(is_full(false, &Err(StoreFailure::Full)));
        assert!(is_full(true, &read()));
        assert!(is_full(true, &Ok(Vec::new())));
        assert!(!is_full(true, &stored()));
        // [SPEC 6.114]
        let refusal = Refusal::later(RefusalCode::StorageFull, 1);
        let part = vec![StoreReply::Appended(placed()), StoreReply::Refused(refusal)];
        assert!(is_full(false, &Ok(part)));
    }

    struct Ends {
        wrote: mpsc::UnboundedSender<Written>,
        reports: mpsc::UnboundedSender<Done>,
        drain: oneshot::Sender<()>,
        _engine: mpsc::Sender<Incoming>,
        _orders: mpsc::Sender<Order>,
        _to_do: threads::Receiver<Job>,
    }

    fn engine() -> (Engine, Inlets, Ends) {
        let clock = Clock::start();
        let relay = Relay::new(
            clock.now(),
            RelayIdentity::from_seed(&Secret32::new([1; 32])),
            Vec::new(),
            Config::open(),
            Box::new(entropy::generator()),
        );
        let (jobs, to_do) = threads::channel();
        let (engine, incoming) = mpsc::channel(1);
        let (wrote, written) = mpsc::unbounded_channel();
        let (reports, done) = mpsc::unbounded_channel();
        let (orders, ordered) = mpsc::channel(1);
        let (_, others) = mpsc::channel(1);
        let (drain, drained) = oneshot::channel();
        let inlets = Inlets {
            incoming,
            written,
            done,
            orders: ordered,
            others,
            drain: drained,
        };
        let ends = Ends {
            wrote,
            reports,
            drain,
            _engine: engine,
            _orders: orders,
            _to_do: to_do,
        };
        let engine = Engine::new(relay, clock, jobs, None, Arc::default());
        (engine, inlets, ends)
    }

    /// A relay that can write nothing any more does not go on as if it only had to wait.
    #[tokio::test]
    async fn the_end_of_the_thread_that_writes_is_noticed() {
        let (engine, inlets, ends) = engine();
        drop(ends.reports);
        let outcome = engine.run(inlets).await;
        assert_eq!(outcome, Err(THREAD_ENDED));
    }

    // [SPEC 6.78]
    #[tokio::test]
    async fn who_writes_without_a_pause_does_not_keep_a_relay_from_stopping() {
        let (engine, inlets, ends) = engine();
        let wrote = ends.wrote;
        let busy = std::thread::spawn(move || while wrote.send(Written(ConnId(1), 1)).is_ok() {});
        while inlets.written.is_empty() {
            std::thread::yield_now();
        }
        ends.drain.send(()).unwrap();
        let running = tokio::time::timeout(std::time::Duration::from_secs(10), engine.run(inlets));
        assert_eq!(running.await, Ok(Ok(())));
        busy.join().unwrap();
    }
}
