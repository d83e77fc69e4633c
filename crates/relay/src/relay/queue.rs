//! What waits for the store: jobs in the order of their arrival, handed over in batches, one batch at a time.
//!
//! While one batch is being made durable the next one gathers: that is the group commit, without a timer. One batch at a time
//! also makes the order in which replies are handled the order in which the store decided, and all reasoning about
//! readers rests on it.

use std::collections::VecDeque;

use crate::io::Ticket;
use crate::limits::{BATCH_BYTES_MAX, BATCH_OPS_MAX, QUEUE_BYTES_MAX, QUEUE_OPS_MAX};
use crate::store::{StoreOp, StoreReply};

/// Operations that belong together and what their replies are for.
pub(crate) struct Job<P> {
    pub(crate) ops: Vec<StoreOp>,
    pub(crate) purpose: P,
    /// Bytes of entries that it holds while it waits.
    pub(crate) bytes: usize,
    /// Bytes of entries that its replies will hold.
    pub(crate) reads: usize,
}

/// The jobs, of which those of one batch are at the store.
pub(crate) struct Queue<P> {
    waiting: VecDeque<Job<P>>,
    waiting_bytes: usize,
    waiting_ops: usize,
    at_store: Option<(Ticket, Vec<Sent<P>>)>,
}

struct Sent<P> {
    ops: usize,
    purpose: P,
}

/// The store's answer does not belong to the batch: our shell's mistake.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch;

impl<P> Queue<P> {
    pub(crate) fn new() -> Queue<P> {
        Queue {
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            waiting_ops: 0,
            at_store: None,
        }
    }

    /// Whether this job may wait, too.
    pub(crate) fn has_room(&self, job: &Job<P>) -> bool {
        // [SPEC 6.52]
        self.waiting_bytes.saturating_add(job.bytes) <= QUEUE_BYTES_MAX
            && self.waiting_ops.saturating_add(job.ops.len()) <= QUEUE_OPS_MAX
    }

    pub(crate) fn push(&mut self, job: Job<P>) {
        self.waiting_bytes = self.waiting_bytes.saturating_add(job.bytes);
        self.waiting_ops = self.waiting_ops.saturating_add(job.ops.len());
        self.waiting.push_back(job);
    }

    /// Nothing waits and nothing is at the store.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.at_store.is_none()
    }

    /// The next batch, if the store has none and something waits.
    pub(crate) fn next_batch(&mut self, ticket: Ticket) -> Option<Vec<StoreOp>> {
        if self.at_store.is_some() || self.waiting.is_empty() {
            return None;
        }
        let mut ops = Vec::new();
        let mut sent = Vec::new();
        let mut bytes = 0;
        while let Some(job) = self.waiting.front() {
            let moved = job.bytes + job.reads;
            let full = ops.len() + job.ops.len() > BATCH_OPS_MAX || bytes + moved > BATCH_BYTES_MAX;
            if full && !ops.is_empty() {
                break;
            }
            let Some(job) = self.waiting.pop_front() else {
                break;
            };
            bytes += moved;
            self.waiting_bytes = self.waiting_bytes.saturating_sub(job.bytes);
            self.waiting_ops = self.waiting_ops.saturating_sub(job.ops.len());
            sent.push(Sent {
                ops: job.ops.len(),
                purpose: job.purpose,
            });
            ops.extend(job.ops);
        }
        self.at_store = Some((ticket, sent));
        Some(ops)
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

    // [SPEC 6.52]
    #[test]
    fn operations_that_wait_are_counted() {
        let place = Place::of(&Capability::new([1; 32]));
        let job = || Job {
            ops: (0..64)
                .map(|_| StoreOp::Look {
                    place: place.clone(),
                })
                .collect(),
            purpose: (),
            bytes: 0,
            reads: 0,
        };
        let mut queue = Queue::new();
        for _ in 0..QUEUE_OPS_MAX / 64 {
            assert!(queue.has_room(&job()));
            queue.push(job());
        }
        assert!(!queue.has_room(&job()));
        assert_eq!(queue.next_batch(Ticket(1)).unwrap().len(), BATCH_OPS_MAX);
        assert!(queue.has_room(&job()));
    }
}
