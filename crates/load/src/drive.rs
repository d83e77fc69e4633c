//! One sender at work, and one recipient: the loops in which everything is counted.

use crate::latency::Latency;
use crate::payload::{lateness, payload};
use crate::schedule::Schedule;
use crate::system::{Recipient, Sender};
use crate::{Trouble, gate::Gate};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;
use tokio::select;
use tokio::time::sleep_until;

/// When a sender sends.
#[derive(Clone, Copy)]
pub enum Pace {
    /// At once, as long as fewer than this are unacknowledged: closed-loop, for the rate.
    Saturate {
        /// Unacknowledged messages of one sender.
        in_flight: usize,
        /// When it stops.
        end: Instant,
    },
    /// When the schedule says, whatever was acknowledged: open-loop, for the latency.
    Scheduled(Schedule),
}

/// Unacknowledged messages of one sender at most; above it the schedule is caught up with later, and latency says so.
const IN_FLIGHT_MAX: usize = 60;

/// To whom a sender sends.
#[derive(Clone, Copy)]
pub enum Aim {
    /// To the recipient with its own number.
    Own,
    /// To all, in an order that looks random.
    All(u32),
}

/// What one sender is to do.
#[derive(Clone, Copy)]
pub struct Plan {
    /// When.
    pub pace: Pace,
    /// To whom.
    pub aim: Aim,
    /// Bytes of a payload.
    pub payload_len: usize,
    /// The sender's number.
    pub number: u32,
}

impl Plan {
    fn due(&self, sent: u64) -> Option<Instant> {
        match self.pace {
            Pace::Saturate { end, .. } => Some(Instant::now()).filter(|now| *now < end),
            Pace::Scheduled(schedule) => schedule.due(sent),
        }
    }

    fn in_flight(&self) -> usize {
        match self.pace {
            Pace::Saturate { in_flight, .. } => in_flight.min(IN_FLIGHT_MAX),
            Pace::Scheduled(_) => IN_FLIGHT_MAX,
        }
    }

    fn to(&self, sent: u64) -> u32 {
        match self.aim {
            Aim::Own => self.number,
            Aim::All(recipients) => {
                let mixed = (sent + 1).wrapping_mul(7_919) + u64::from(self.number) * 104_729;
                u32::try_from(mixed % u64::from(recipients.max(1))).unwrap_or(0)
            }
        }
    }
}

/// What the threads count together.
#[derive(Default)]
pub struct Counters {
    /// Senders that are not done.
    pub sending: AtomicUsize,
    /// Messages that were acknowledged.
    pub acknowledged: AtomicU64,
    /// Messages that arrived.
    pub delivered: AtomicU64,
}

/// What one thread counts.
#[derive(Default)]
pub struct Tally {
    /// From due to acknowledged.
    pub acknowledgement: Latency,
    /// From due to delivered.
    pub delivery: Latency,
    /// When the last acknowledgement came.
    pub last: Option<Instant>,
}

/// The tally of a thread's tasks.
pub type Tallied = Rc<RefCell<Tally>>;

/// Carries a plan out, until everything is acknowledged.
///
/// # Errors
/// Those of the sender.
pub async fn send_all<S: Sender>(
    sender: &mut S,
    plan: Plan,
    counters: &Counters,
    tally: &Tallied,
) -> Result<(), Trouble> {
    let mut waiting: BTreeMap<u64, Instant> = BTreeMap::new();
    let mut sent = 0;
    loop {
        let next = plan.due(sent);
        if next.is_none() && waiting.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        let acknowledged = match next.filter(|_| waiting.len() < plan.in_flight()) {
            Some(due) if due <= now => {
                let payload = payload(plan.payload_len, due, u64::from(plan.number) << 32 | sent);
                let number = sender.send(plan.to(sent), &payload).await?;
                waiting.insert(number, due);
                sent += 1;
                continue;
            }
            Some(due) => select! {
                number = sender.acknowledged(), if !waiting.is_empty() => Some(number?),
                () = sleep_until(due.into()) => None,
            },
            None => Some(sender.acknowledged().await?),
        };
        if let Some(due) = acknowledged.and_then(|number| waiting.remove(&number)) {
            counters.acknowledged.fetch_add(1, Ordering::AcqRel);
            let mut tally = tally.borrow_mut();
            tally.acknowledgement.record(due.elapsed());
            tally.last = Some(Instant::now());
        }
    }
}

/// Counts what arrives, until the connection ends; that is a failure only if somebody still waits for something.
pub async fn receive_all<R: Recipient>(
    mut recipient: R,
    counters: &Counters,
    tally: &Tallied,
    gate: &Gate,
) {
    loop {
        let late = match recipient.receive().await {
            Ok(payload) => lateness(&payload),
            Err(why) => return gate.fail(&format!("a recipient: {why}")),
        };
        let Some(late) = late else {
            return gate.fail("a recipient got bytes that nobody sent");
        };
        counters.delivered.fetch_add(1, Ordering::AcqRel);
        tally.borrow_mut().delivery.record(late);
    }
}
