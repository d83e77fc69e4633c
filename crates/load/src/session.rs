//! Senders and recipients connected to one system, and pieces of work that they do one after the other.
//!
//! Two threads drive the connections; this one gives the orders and reads the costs between them.

use crate::cost::Cost;
use crate::drive::{Aim, Counters, Pace, Plan, Tallied, Tally, receive_all, send_all};
use crate::gate::{Gate, Ticket};
use crate::latency::Latency;
use crate::schedule::{Schedule, on_grid};
use crate::system::System;
use crate::{Trouble, cpu, threads};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::spawn_local;
use tokio::time::sleep;

/// Threads that drive connections: the machine's other half is the server's.
const THREADS: u32 = 2;
/// How long a message may be under way after the last one was sent.
const DRAIN_MAX: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Who takes part.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Connections that send.
    pub senders: u32,
    /// Connections that receive.
    pub recipients: u32,
    /// To whom each sender sends.
    pub aim: Aim,
}

/// One piece of work.
#[derive(Clone, Copy)]
pub struct Work {
    /// How much at a time.
    pub load: Load,
    /// For how long.
    pub lasts: Duration,
    /// Bytes of a payload.
    pub payload_len: usize,
}

/// How much is sent.
#[derive(Clone, Copy)]
pub enum Load {
    /// As fast as it is acknowledged, with so many unacknowledged messages of each sender.
    Saturate(usize),
    /// So many in a second, all senders together, whatever is acknowledged.
    PerSecond(f64),
}

/// What came of it.
pub struct Measured {
    /// Messages that were acknowledged.
    pub acknowledged: u64,
    /// Messages that arrived.
    pub delivered: u64,
    /// From the first message's due time to the last acknowledgement.
    pub lasted: Duration,
    /// From due to acknowledged.
    pub acknowledgement: Latency,
    /// From due to delivered.
    pub delivery: Latency,
    /// The system's.
    pub cost: Cost,
    /// The generator's CPU time.
    pub generator: Duration,
}

impl Measured {
    /// Acknowledged messages in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.acknowledged as f64 / self.lasted.as_secs_f64().max(1e-9)
    }

    /// The system's CPU time for one message, in microseconds.
    #[must_use]
    pub fn cpu_us(&self) -> f64 {
        self.cost.cpu.as_secs_f64() * 1e6 / self.acknowledged.max(1) as f64
    }
}

/// What the threads share.
struct Shared {
    counters: Counters,
    gate: Gate,
    order: Mutex<Option<Work>>,
    tally: Mutex<Tally>,
}

/// Connected senders and recipients.
pub struct Session<'a, S> {
    system: &'a S,
    shape: Shape,
    shared: &'a Shared,
    ticket: Ticket<'a>,
}

/// Connects everybody, lets `body` give work, and disconnects.
///
/// # Errors
/// The first of any thread, or of `body`.
pub fn session<S: System, T>(
    system: &S,
    shape: Shape,
    body: impl FnOnce(&mut Session<'_, S>) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let shared = Arc::new(Shared {
        counters: Counters::default(),
        gate: Gate::new(1 + usize::try_from(THREADS)?),
        order: Mutex::new(None),
        tally: Mutex::default(),
    });
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let shared = Arc::clone(&shared);
            scope.spawn(move || {
                let outcome = threads::run(drive(system, shape, thread, Arc::clone(&shared)));
                if let Err(why) = outcome {
                    shared.gate.fail(&format!("{}: {why}", system.name()));
                }
            });
        }
        let mut session = Session {
            system,
            shape,
            shared: &shared,
            ticket: shared.gate.ticket(),
        };
        let outcome = session.connected().and_then(|()| body(&mut session));
        match outcome {
            Ok(value) => session.end().map(|()| value),
            Err(why) => {
                // So that the threads end, too.
                shared.gate.fail(&why.to_string());
                Err(why)
            }
        }
    })
}

impl<S: System> Session<'_, S> {
    fn connected(&mut self) -> Result<(), Trouble> {
        // Recipients first, then senders.
        self.ticket.pass_blocking()?;
        self.ticket.pass_blocking()
    }

    /// Lets everybody do this work.
    ///
    /// # Errors
    /// When a connection ends or the server refuses something.
    pub fn run(&mut self, work: Work) -> Result<Measured, Trouble> {
        let Shared {
            counters, tally, ..
        } = self.shared;
        counters.acknowledged.store(0, Ordering::Release);
        counters.delivered.store(0, Ordering::Release);
        counters
            .sending
            .store(usize::try_from(self.shape.senders)?, Ordering::Release);
        *tally.lock().map_err(|_| PANICKED)? = Tally::default();
        *self.shared.order.lock().map_err(|_| PANICKED)? = Some(work);
        let before = Cost::of(&self.system.processes())?;
        let generator = cpu::spent();
        let begin = Instant::now();
        self.ticket.pass_blocking()?;
        self.ticket.pass_blocking()?;
        let cost = Cost::of(&self.system.processes())?.since(&before);
        let generator = cpu::spent().saturating_sub(generator);
        let tally = std::mem::take(&mut *tally.lock().map_err(|_| PANICKED)?);
        Ok(Measured {
            acknowledged: counters.acknowledged.load(Ordering::Acquire),
            delivered: counters.delivered.load(Ordering::Acquire),
            lasted: tally.last.map_or(Duration::ZERO, |last| last - begin),
            acknowledgement: tally.acknowledgement,
            delivery: tally.delivery,
            cost,
            generator,
        })
    }

    fn end(&mut self) -> Result<(), Trouble> {
        *self.shared.order.lock().map_err(|_| PANICKED)? = None;
        self.ticket.pass_blocking()
    }
}

const PANICKED: &str = "a thread of the generator panicked";

/// What one thread does from beginning to end.
async fn drive<S: System>(
    system: &S,
    shape: Shape,
    thread: u32,
    shared: Arc<Shared>,
) -> Result<(), Trouble> {
    let mut ticket = shared.gate.ticket();
    let tally = Tallied::default();
    let mine = |count: u32| (thread..count).step_by(usize::try_from(THREADS).unwrap_or(1));
    for number in mine(shape.recipients) {
        let recipient = system.recipient(number).await?;
        let (shared, tally) = (Arc::clone(&shared), Tallied::clone(&tally));
        spawn_local(async move {
            receive_all(recipient, &shared.counters, &tally, &shared.gate).await;
        });
    }
    ticket.pass().await?;
    let mut senders = Vec::new();
    for number in mine(shape.senders) {
        senders.push((number, system.sender(number, shape.recipients).await?));
    }
    ticket.pass().await?;
    loop {
        ticket.pass().await?;
        let Some(work) = *shared.order.lock().map_err(|_| PANICKED)? else {
            return Ok(());
        };
        let begin = on_grid().await;
        let plan = |number| plan(work, shape, begin, number);
        let mut tasks = Vec::new();
        for (number, mut sender) in senders.drain(..) {
            let (shared, tally, plan) = (Arc::clone(&shared), Tallied::clone(&tally), plan(number));
            tasks.push(spawn_local(async move {
                send_all(&mut sender, plan, &shared.counters, &tally).await?;
                shared.counters.sending.fetch_sub(1, Ordering::AcqRel);
                Ok::<_, Trouble>((number, sender))
            }));
        }
        for task in tasks {
            senders.push(task.await??);
        }
        drained(&shared).await?;
        merge(&tally, &shared)?;
        ticket.pass().await?;
    }
}

fn plan(work: Work, shape: Shape, begin: Instant, number: u32) -> Plan {
    let pace = match work.load {
        Load::Saturate(in_flight) => Pace::Saturate {
            in_flight,
            end: begin + work.lasts,
        },
        Load::PerSecond(rate) => {
            let senders = (number, shape.senders);
            Pace::Scheduled(Schedule::new(begin, work.lasts, rate, senders))
        }
    };
    Plan {
        pace,
        aim: shape.aim,
        payload_len: work.payload_len,
        number,
    }
}

/// Waits until everybody has sent and everything has arrived, or nothing more arrives.
async fn drained(shared: &Shared) -> Result<(), Trouble> {
    let Counters {
        sending,
        acknowledged,
        delivered,
    } = &shared.counters;
    let mut arrived = 0;
    let mut since = Instant::now();
    loop {
        shared.gate.check()?;
        let now = delivered.load(Ordering::Acquire);
        if sending.load(Ordering::Acquire) > 0 || now != arrived {
            (arrived, since) = (now, Instant::now());
        } else if now >= acknowledged.load(Ordering::Acquire) || since.elapsed() > DRAIN_MAX {
            return Ok(());
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn merge(tally: &Tallied, shared: &Shared) -> Result<(), Trouble> {
    let mine = tally.take();
    let mut all = shared.tally.lock().map_err(|_| PANICKED)?;
    all.acknowledgement.add(&mine.acknowledgement);
    all.delivery.add(&mine.delivery);
    all.last = all.last.max(mine.last);
    Ok(())
}
