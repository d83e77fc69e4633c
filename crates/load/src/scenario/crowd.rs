//! One thread's part of many clients: each connects, opens its logs, listens, and comes back when the relay was away.

use crate::Trouble;
use crate::drive::Counters;
use crate::gate::Gate;
use crate::latency::Latency;
use crate::payload::lateness;
use crate::relay::{header, opening, source};
use crate::wire_client::{Dialler, WireClient};
use emptyroom_wire::log::Header;
use emptyroom_wire::op::{Answer, FromRelay, Handle, OpenOutcome, Push, Request};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::select;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

/// Open logs of one client.
pub(super) const LOGS_EACH: usize = 20;
/// Clients of one thread that connect or open at a time, before the relay's restart. After it they come as they like.
const AT_A_TIME: usize = 32;
/// A client that heard nothing for so long asks whether its stream lives; a relay ends idle connections after 5 minutes.
const PING_AFTER: Duration = Duration::from_secs(120);
/// How long one try to connect and open may take.
const TRY_MAX: Duration = Duration::from_secs(30);
/// After the first try that failed, doubled so many times at most: a minute.
const BACKOFF_FIRST_MS: u64 = 1_000;
const BACKOFF_DOUBLINGS_MAX: u32 = 6;
/// Failures of a client in a row before the restart, after which it is said that the relay does not take so many: two minutes.
const FIRST_FAILURES_MAX: u32 = 7;
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What all clients are doing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Connecting, and opening a stream.
    Connect,
    /// Opening their logs, and listening.
    Open,
    /// Coming back after the relay was killed.
    Return,
}

/// What became of the clients.
#[derive(Default)]
pub(super) struct Outcome {
    /// Entries delivered live, from the moment they were due.
    pub(super) delivery: Latency,
    /// From the end of a client's random wait to having caught up with all its logs.
    pub(super) back: Latency,
    /// Tries that did not come to an end, before and after the restart.
    pub(super) failed: [u64; 2],
    /// Connections that ended although the relay ran.
    pub(super) lost: u64,
    /// Logs that were shorter after the restart than what had been read before.
    pub(super) rolled_back: u64,
    /// The longest wait that the relay's terms asked for.
    pub(super) spread_s: u32,
}

impl Outcome {
    pub(super) fn add(&mut self, other: &Outcome) {
        self.delivery.add(&other.delivery);
        self.back.add(&other.back);
        for (sum, more) in self.failed.iter_mut().zip(other.failed) {
            *sum += more;
        }
        self.lost += other.lost;
        self.rolled_back += other.rolled_back;
        self.spread_s = self.spread_s.max(other.spread_s);
    }
}

/// The logs of client `number`.
pub(super) fn logs_of(number: u64) -> Vec<Header> {
    (0..LOGS_EACH)
        .map(|log| header(1, [number, u64::try_from(log).unwrap_or(0)]))
        .collect()
}

/// One thread's clients.
pub(super) struct Crowd {
    dialler: Dialler,
    counters: Arc<Counters>,
    stage: watch::Sender<Stage>,
    places: Semaphore,
    /// Clients that are done with the stage.
    done: Cell<usize>,
    /// Why the clients cannot all be there.
    trouble: RefCell<Option<String>>,
    pub(super) outcome: RefCell<Outcome>,
}

impl Crowd {
    /// Starts a task for each of these clients; they connect at once.
    pub(super) fn start(
        dialler: Dialler,
        counters: Arc<Counters>,
        numbers: impl Iterator<Item = u64>,
    ) -> Rc<Crowd> {
        let crowd = Rc::new(Crowd {
            dialler,
            counters,
            stage: watch::Sender::new(Stage::Connect),
            places: Semaphore::new(AT_A_TIME),
            done: Cell::new(0),
            trouble: RefCell::default(),
            outcome: RefCell::default(),
        });
        for number in numbers {
            spawn_local(live(Rc::clone(&crowd), number));
        }
        crowd
    }

    /// Begins the next stage.
    pub(super) fn begin(&self, stage: Stage) {
        self.done.set(0);
        self.stage.send_replace(stage);
    }

    /// Waits until so many are done with it.
    ///
    /// # Errors
    /// When one of them cannot be, or another thread failed.
    pub(super) async fn done(&self, clients: usize, gate: &Gate) -> Result<(), Trouble> {
        while self.done.get() < clients {
            gate.check()?;
            if let Some(why) = self.trouble.take() {
                return Err(why.into());
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    fn step(&self) {
        self.done.set(self.done.get() + 1);
        // For whoever tells how far it is.
        self.counters.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    fn now_at(&self) -> Stage {
        *self.stage.borrow()
    }

    fn gives_up(&self, what: &str, why: &Trouble) {
        let text = || format!("a client could not {what}: {why}");
        self.trouble.borrow_mut().get_or_insert_with(text);
    }

    fn failed(&self) {
        let after = self.now_at() == Stage::Return;
        if let Some(count) = self.outcome.borrow_mut().failed.get_mut(usize::from(after)) {
            *count += 1;
        }
    }
}

/// Which of a client's logs a handle names.
type Logs = BTreeMap<Handle, usize>;

/// One client from beginning to end.
async fn live(crowd: Rc<Crowd>, number: u64) {
    let mut nexts = [0; LOGS_EACH];
    let mut wire = match first_connection(&crowd, number).await {
        Ok(wire) => wire,
        Err(why) => return crowd.gives_up("connect", &why),
    };
    crowd.step();
    let mut failures = 0;
    let mut logs = match opened(&crowd, number, &mut wire, &mut nexts).await {
        Ok(logs) => Some(logs),
        Err(why) => return crowd.gives_up("open its logs", &why),
    };
    crowd.step();
    loop {
        if let Some(logs) = logs.take() {
            // It ends with the connection.
            let _ = listen(&crowd, &mut wire, logs, &mut nexts).await;
            if crowd.now_at() != Stage::Return {
                crowd.outcome.borrow_mut().lost += 1;
            }
        }
        let spread_s = wire.terms.reconnect_spread_s;
        {
            let mut outcome = crowd.outcome.borrow_mut();
            outcome.spread_s = outcome.spread_s.max(spread_s);
        }
        sleep(wait(number, failures, spread_s)).await;
        let start = Instant::now();
        match timeout(TRY_MAX, come_back(&crowd, number, &mut nexts)).await {
            Ok(Ok((back, its_logs))) => {
                wire = back;
                logs = Some(its_logs);
                failures = 0;
                crowd.outcome.borrow_mut().back.record(start.elapsed());
                crowd.step();
            }
            Ok(Err(_)) | Err(_) => {
                failures += 1;
                crowd.failed();
            }
        }
    }
}

async fn first_connection(crowd: &Crowd, number: u64) -> Result<WireClient, Trouble> {
    let mut failures = 0;
    loop {
        // The semaphore is never closed.
        let place = crowd.places.acquire().await;
        let dialling = crowd.dialler.connect(Some(source(number)), number);
        let dialled = timeout(TRY_MAX, dialling).await;
        drop(place);
        match dialled {
            Ok(Ok(wire)) => return Ok(wire),
            Ok(Err(why)) if failures >= FIRST_FAILURES_MAX => return Err(why),
            Ok(Err(_)) | Err(_) => crowd.failed(),
        }
        failures += 1;
        sleep(wait(number, failures, 0)).await;
    }
}

/// Waits for its stage, keeps the stream alive meanwhile, and opens all logs with one request.
async fn opened(
    crowd: &Crowd,
    number: u64,
    wire: &mut WireClient,
    nexts: &mut [u64; LOGS_EACH],
) -> Result<Logs, Trouble> {
    let mut stage = crowd.stage.subscribe();
    loop {
        select! {
            changed = stage.wait_for(|stage| *stage >= Stage::Open) => {
                changed?;
                break;
            }
            heard = timeout(PING_AFTER, wire.next()) => match heard {
                Ok(message) => drop(message?),
                Err(_) => drop(wire.send(Request::Ping).await?),
            },
        }
    }
    let _place = crowd.places.acquire().await;
    catch_up(crowd, number, wire, nexts).await
}

async fn come_back(
    crowd: &Crowd,
    number: u64,
    nexts: &mut [u64; LOGS_EACH],
) -> Result<(WireClient, Logs), Trouble> {
    let mut wire = crowd.dialler.connect(Some(source(number)), number).await?;
    let logs = catch_up(crowd, number, &mut wire, nexts).await?;
    Ok((wire, logs))
}

/// One `open` for all logs, until each has said that it is caught up.
async fn catch_up(
    crowd: &Crowd,
    number: u64,
    wire: &mut WireClient,
    nexts: &mut [u64; LOGS_EACH],
) -> Result<Logs, Trouble> {
    let headers = logs_of(number);
    let from = nexts.iter().copied();
    wire.send(opening(headers.iter().zip(from))).await?;
    let mut logs = Logs::new();
    let mut missing = LOGS_EACH;
    while missing > 0 {
        match wire.next().await? {
            FromRelay::Answer(_, Answer::Opened(opened)) => {
                for (at, (outcome, next)) in opened.logs.iter().zip(nexts.iter()).enumerate() {
                    let OpenOutcome::Open(log) = outcome else {
                        return Err("a log was not opened".into());
                    };
                    if log.view.next_seq < *next {
                        crowd.outcome.borrow_mut().rolled_back += 1;
                    }
                    logs.insert(log.handle, at);
                }
            }
            FromRelay::Push(_, Push::CaughtUp(_)) => missing -= 1,
            FromRelay::Push(handle, Push::Entry(entry)) => note(&logs, handle, entry.seq, nexts),
            FromRelay::Answer(_, Answer::Refused(why)) => return Err(why.into()),
            _ => {}
        }
    }
    Ok(logs)
}

/// Counts what is pushed, until the connection ends.
async fn listen(
    crowd: &Crowd,
    wire: &mut WireClient,
    logs: Logs,
    nexts: &mut [u64; LOGS_EACH],
) -> Result<(), Trouble> {
    loop {
        let Ok(message) = timeout(PING_AFTER, wire.next()).await else {
            wire.send(Request::Ping).await?;
            continue;
        };
        let FromRelay::Push(handle, Push::Entry(entry)) = message? else {
            continue;
        };
        note(&logs, handle, entry.seq, nexts);
        if let Some(late) = lateness(&entry.body) {
            crowd.outcome.borrow_mut().delivery.record(late);
            crowd.counters.delivered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn note(logs: &Logs, handle: Handle, seq: u64, nexts: &mut [u64; LOGS_EACH]) {
    let next = logs.get(&handle).and_then(|at| nexts.get_mut(*at));
    if let Some(next) = next {
        *next = seq + 1;
    }
}

/// How long a client waits after `failures` tries that led to nothing: first a random time within what the relay asked for, then
/// doubling ones, as the real client does.
// [SPEC 10.40]
fn wait(number: u64, failures: u32, spread_s: u32) -> Duration {
    let mut mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^= u64::from(failures + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 20;
    let first_ms = u64::from(spread_s.max(1)) * 1_000;
    Duration::from_millis(match failures.checked_sub(1) {
        None => mixed % first_ms,
        Some(doublings) => {
            let base = BACKOFF_FIRST_MS << doublings.min(BACKOFF_DOUBLINGS_MAX);
            base / 2 + mixed % base
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_over_the_time_asked_for() {
        let waits: Vec<u64> = (0..10_000)
            .map(|number| u64::try_from(wait(number, 0, 10).as_millis()).unwrap())
            .collect();
        assert!(waits.iter().all(|wait| *wait < 10_000));
        for second in 0..10 {
            let within = second * 1_000..(second + 1) * 1_000;
            let count = waits.iter().filter(|wait| within.contains(*wait)).count();
            assert!((850..1_150).contains(&count), "{second}: {count}");
        }
        assert!(wait(1, 1, 10) < Duration::from_millis(1_500));
        assert!(wait(1, 4, 10) >= Duration::from_secs(4));
        assert!(wait(1, u32::MAX - 1, 10) < Duration::from_secs(100));
    }
}
