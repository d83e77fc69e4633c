//! What waits for the store: a line of jobs for each connection, handed over in batches, one batch at a time.
//!
//! While one batch is being made durable the next one gathers: that is the group commit, without a timer. One batch at a time
//! also makes the order in which replies are handled the order in which the store decided, and all reasoning about
//! readers rests on it.
//!
//! Connections take turns (deficit round robin): in each turn one gets as much done as in anybody else's. When more waits than may,
//! the newest request of whoever has most waiting is refused. So a flood delays its maker and nobody else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::io::{ConnId, Ticket};
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_OPS_MAX, QUEUE_BYTES_MAX, QUEUE_OPS_MAX, TURN_BYTES, TURN_OP_BYTES,
    TURN_READ_SHARE,
};
use crate::store::{StoreOp, StoreReply};

/// Operations that belong together and what their replies are for.
pub(crate) struct Job<P> {
    pub(crate) ops: Vec<StoreOp>,
    pub(crate) purpose: P,
    /// Bytes of entries that it holds while it waits.
    pub(crate) bytes: usize,
    /// Bytes of entries that its replies will hold: nobody's request, but a reader that is to catch up.
    pub(crate) reads: usize,
}

/// The jobs, of which those of one batch are at the store.
pub(crate) struct Queue<P> {
    lines: BTreeMap<ConnId, Line<P>>,
    /// Those who have a line, in the order of their turns.
    turns: VecDeque<ConnId>,
    /// The same by what waits in it.
    heaviest: BTreeSet<(usize, ConnId)>,
    /// What waits in all lines.
    weight: usize,
    at_store: Option<(Ticket, Vec<Sent<P>>)>,
}

/// What one connection waits for, in its order.
struct Line<P> {
    jobs: VecDeque<Job<P>>,
    weight: usize,
    /// What is left of its turn.
    credit: usize,
}

struct Sent<P> {
    ops: usize,
    purpose: P,
}

/// The store's answer does not belong to the batch: our shell's mistake.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch;

/// Of everything that may wait, an operation takes as much as so many bytes of entries.
const OP_WEIGHT: usize = QUEUE_BYTES_MAX / QUEUE_OPS_MAX;

impl<P> Job<P> {
    /// What it takes of what may wait.
    fn weight(&self) -> usize {
        self.bytes.saturating_add(self.ops.len() * OP_WEIGHT)
    }

    pub(crate) fn writes(&self) -> bool {
        self.ops.iter().any(StoreOp::writes)
    }

    /// What it takes of a turn.
    fn cost(&self) -> usize {
        let ops = self.ops.len() * TURN_OP_BYTES;
        self.bytes.saturating_add(self.reads / TURN_READ_SHARE) + ops
    }
}

impl<P> Queue<P> {
    pub(crate) fn new() -> Queue<P> {
        Queue {
            lines: BTreeMap::new(),
            turns: VecDeque::new(),
            heaviest: BTreeSet::new(),
            weight: 0,
            at_store: None,
        }
    }

    /// Takes a job into a connection's line. Those for which there is no room then are taken out again: its own, unless another
    /// connection has more waiting.
    #[must_use]
    pub(crate) fn push(&mut self, conn: ConnId, job: Job<P>) -> Vec<P> {
        let line = self.lines.entry(conn).or_insert_with(|| {
            self.turns.push_back(conn);
            Line {
                jobs: VecDeque::new(),
                weight: 0,
                credit: TURN_BYTES,
            }
        });
        let weight = job.weight();
        line.jobs.push_back(job);
        self.weigh(conn, weight, 0);
        let mut out = Vec::new();
        // [SPEC 6.52]
        while self.weight > QUEUE_BYTES_MAX {
            match self.take_newest_of_heaviest() {
                Some(purpose) => out.push(purpose),
                None => break,
            }
        }
        out
    }

    /// Keeps those of which `wanted` says so; the others.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&Job<P>) -> bool) -> Vec<P> {
        let mut out = Vec::new();
        for line in self.lines.values_mut() {
            for job in std::mem::take(&mut line.jobs) {
                if wanted(&job) {
                    line.jobs.push_back(job);
                } else {
                    out.push(job.purpose);
                }
            }
            line.weight = line.jobs.iter().map(Job::weight).sum();
        }
        self.lines.retain(|_, line| !line.jobs.is_empty());
        self.turns.retain(|conn| self.lines.contains_key(conn));
        let weights = self.lines.iter().map(|(conn, line)| (line.weight, *conn));
        self.heaviest = weights.collect();
        self.weight = self.heaviest.iter().map(|(weight, _)| weight).sum();
        out
    }

    fn take_newest_of_heaviest(&mut self) -> Option<P> {
        let (_, conn) = *self.heaviest.last()?;
        let line = self.lines.get_mut(&conn)?;
        let newest = line.jobs.iter().rposition(|job| job.reads == 0)?;
        let job = line.jobs.remove(newest)?;
        let left = line.jobs.len();
        self.weigh(conn, 0, job.weight());
        if left == 0 {
            self.turns.retain(|at| *at != conn);
        }
        Some(job.purpose)
    }

    /// A line got heavier and lighter by so much; an empty one goes.
    fn weigh(&mut self, conn: ConnId, more: usize, less: usize) {
        let Some(line) = self.lines.get_mut(&conn) else {
            return;
        };
        self.heaviest.remove(&(line.weight, conn));
        line.weight = (line.weight + more).saturating_sub(less);
        self.weight = (self.weight + more).saturating_sub(less);
        if line.jobs.is_empty() {
            self.lines.remove(&conn);
        } else {
            self.heaviest.insert((line.weight, conn));
        }
    }

    /// Requests that wait, and what they weigh in bytes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let jobs = self.lines.values().map(|line| line.jobs.len());
        (jobs.sum(), self.weight)
    }

    /// Nothing waits and nothing is at the store.
    pub(crate) fn is_idle(&self) -> bool {
        self.lines.is_empty() && self.at_store.is_none()
    }

    /// The next batch, if the store has none and something waits.
    pub(crate) fn next_batch(&mut self, ticket: Ticket) -> Option<Vec<StoreOp>> {
        if self.at_store.is_some() || self.lines.is_empty() {
            return None;
        }
        let mut ops = Vec::new();
        let mut sent = Vec::new();
        let mut bytes = 0;
        // [SPEC 6.145]
        while let Some(&conn) = self.turns.front() {
            let Some(line) = self.lines.get_mut(&conn) else {
                break;
            };
            let Some(job) = line.jobs.front() else {
                break;
            };
            let (cost, moved) = (job.cost(), job.bytes + job.reads);
            if cost > line.credit {
                line.credit += TURN_BYTES;
                self.turns.rotate_left(1);
                continue;
            }
            let full = ops.len() + job.ops.len() > BATCH_OPS_MAX || bytes + moved > BATCH_BYTES_MAX;
            if full && !ops.is_empty() {
                break;
            }
            let Some(job) = line.jobs.pop_front() else {
                break;
            };
            bytes += moved;
            line.credit -= cost;
            if line.jobs.is_empty() {
                self.turns.pop_front();
            }
            self.weigh(conn, 0, job.weight());
            sent.push(Sent {
                ops: job.ops.len(),
                purpose: job.purpose,
            });
            ops.extend(job.ops);
        }
        self.at_store = Some((ticket, sent));
        Some(ops)
    }

    /// What is left of a batch that failed, as the next one, before all that waits.
    pub(crate) fn batch_again(&mut self, ticket: Ticket, jobs: Vec<Job<P>>) -> Vec<StoreOp> {
        let mut ops = Vec::new();
        let mut sent = Vec::with_capacity(jobs.len());
        for job in jobs {
            sent.push(Sent {
                ops: job.ops.len(),
                purpose: job.purpose,
            });
            ops.extend(job.ops);
        }
        self.at_store = Some((ticket, sent));
        ops
    }

    /// The purposes of the batch that came back, each with its replies, in order.
    pub(crate) fn answered(
        &mut self,
        ticket: Ticket,
        replies: Vec<StoreReply>,
    ) -> Result<Vec<(P, Vec<StoreReply>)>, Mismatch> {
        let sent = self.take(ticket)?;
        let mut replies = replies.into_iter();
        let mut answered = Vec::with_capacity(sent.len());
        for Sent { ops, purpose } in sent {
            let part: Vec<StoreReply> = replies.by_ref().take(ops).collect();
            if part.len() != ops {
                return Err(Mismatch);
            }
            answered.push((purpose, part));
        }
        Ok(answered)
    }

    /// The purposes of the batch that was not applied, in order.
    pub(crate) fn failed(&mut self, ticket: Ticket) -> Result<Vec<P>, Mismatch> {
        let sent = self.take(ticket)?;
        Ok(sent.into_iter().map(|sent| sent.purpose).collect())
    }

    fn take(&mut self, ticket: Ticket) -> Result<Vec<Sent<P>>, Mismatch> {
        match self.at_store.take() {
            Some((at, sent)) if at == ticket => Ok(sent),
            other => {
                self.at_store = other;
                Err(Mismatch)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use emptyroom_wire::log::Capability;

    use super::*;
    use crate::store::Place;

    fn looks(count: usize) -> Job<()> {
        let place = Place::of(&Capability::new([1; 32]));
        let look = || StoreOp::Look {
            place: place.clone(),
        };
        Job {
            ops: (0..count).map(|_| look()).collect(),
            purpose: (),
            bytes: 0,
            reads: 0,
        }
    }

    // [SPEC 6.52]
    #[test]
    fn operations_that_wait_are_counted() {
        let mut queue = Queue::new();
        for _ in 0..QUEUE_OPS_MAX / 64 {
            assert!(queue.push(ConnId(1), looks(64)).is_empty());
        }
        assert_eq!(queue.push(ConnId(1), looks(64)).len(), 1);
        assert_eq!(queue.next_batch(Ticket(1)).unwrap().len(), BATCH_OPS_MAX);
        assert!(queue.push(ConnId(1), looks(64)).is_empty());
    }

    /// Whatever comes and goes, the books are right, and nothing is left over.
    #[test]
    fn lines_come_and_go_without_a_trace() {
        let mut queue = Queue::new();
        let mut ticket = 0;
        for round in 0..200_u64 {
            for conn in 0..round % 7 {
                let count = usize::try_from(1 + (round * conn) % 63).unwrap();
                assert!(queue.push(ConnId(conn), looks(count)).is_empty());
            }
            ticket += 1;
            if let Some(ops) = queue.next_batch(Ticket(ticket)) {
                let replies = ops.iter().map(|_| StoreReply::Done).collect();
                queue.answered(Ticket(ticket), replies).unwrap();
            }
            if round % 13 == 0 {
                queue.retain(|job| job.ops.len() % 2 == 0);
            }
            let weight: usize = queue.lines.values().map(|line| line.weight).sum();
            assert_eq!(queue.weight, weight);
            assert_eq!(queue.turns.len(), queue.lines.len());
            assert_eq!(queue.heaviest.len(), queue.lines.len());
        }
        queue.retain(|_| false);
        assert!(queue.is_idle() && queue.turns.is_empty() && queue.weight == 0);
    }
}
