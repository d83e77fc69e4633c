//! What waits to be written to one connection. Empty, it holds no memory but its own.
//!
//! It has no bound of its own: the pure relay stops handing out frames for a connection that does not
//! report them as written, and ends it when it listens to nothing.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Frames for one connection, from the engine to the connection's task.
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    changed: Notify,
    lane: Arc<Wakes>,
}

/// What the connection's task finds.
#[derive(Default)]
pub(crate) struct Waiting {
    /// To be written in this order.
    pub(crate) frames: Vec<Vec<u8>>,
    /// And then the connection ends.
    pub(crate) hangup: bool,
}

/// The connections of one lane that have something to write and do not know it yet. To wake another thread costs a system call, to
/// wake a task of the same thread does not: so the lane is woken once, and wakes its connections itself.
#[derive(Default)]
pub(crate) struct Wakes {
    outboxes: Mutex<Vec<Arc<Outbox>>>,
    changed: Notify,
}

/// So many connections with something to write are kept waiting for the rest of a round.
const TOGETHER: usize = 32;

/// The lanes that are to be woken at the end of the engine's round, or before, when there is enough for them to do meanwhile.
#[derive(Default)]
pub(crate) struct Round {
    lanes: Vec<Arc<Wakes>>,
    connections: usize,
}

impl Outbox {
    /// Of a connection in this lane.
    pub(crate) fn new(lane: Arc<Wakes>) -> Self {
        Self {
            waiting: Mutex::default(),
            changed: Notify::new(),
            lane,
        }
    }

    pub(crate) fn push(self: &Arc<Self>, frame: Vec<u8>, round: &mut Round) {
        self.change(round, |waiting| waiting.frames.push(frame));
    }

    pub(crate) fn hang_up(self: &Arc<Self>, round: &mut Round) {
        self.change(round, |waiting| waiting.hangup = true);
    }

    fn change(self: &Arc<Self>, round: &mut Round, change: impl FnOnce(&mut Waiting)) {
        let mut waiting = lock(&self.waiting);
        let known = waiting.is_something();
        change(&mut waiting);
        drop(waiting);
        if !known {
            self.lane.add(Arc::clone(self), round);
        }
    }

    /// Everything that waits, as soon as there is something. May be dropped and called again.
    pub(crate) async fn take(&self) -> Waiting {
        loop {
            {
                let mut waiting = lock(&self.waiting);
                if waiting.is_something() {
                    let hangup = waiting.hangup;
                    return Waiting {
                        frames: mem::take(&mut waiting.frames),
                        hangup,
                    };
                }
            }
            self.changed.notified().await;
        }
    }
}

impl Waiting {
    fn is_something(&self) -> bool {
        self.hangup || !self.frames.is_empty()
    }
}

impl Wakes {
    /// If others wait already, the lane is woken for them.
    fn add(self: &Arc<Self>, outbox: Arc<Outbox>, round: &mut Round) {
        let mut outboxes = lock(&self.outboxes);
        if outboxes.is_empty() {
            round.lanes.push(Arc::clone(self));
        }
        outboxes.push(outbox);
        drop(outboxes);
        round.connections += 1;
        if round.connections >= TOGETHER {
            round.end();
        }
    }

    /// Wakes the connections of the lane it runs in. Never ends.
    pub(crate) async fn pass_on(self: Arc<Self>) {
        loop {
            self.changed.notified().await;
            let outboxes = mem::take(&mut *lock(&self.outboxes));
            for outbox in outboxes {
                outbox.changed.notify_one();
            }
        }
    }
}

impl Round {
    /// Wakes each lane once, however much there is for it.
    pub(crate) fn end(&mut self) {
        self.connections = 0;
        for lane in self.lanes.drain(..) {
            lane.changed.notify_one();
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half-way; a poisoned lock holds good data.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lane_is_woken_once_in_a_round_and_its_connections_learn_all() {
        let lane = Arc::new(Wakes::default());
        let passing = tokio::spawn(Arc::clone(&lane).pass_on());
        let outboxes = [(); 3].map(|()| Arc::new(Outbox::new(Arc::clone(&lane))));
        let mut round = Round::default();
        for number in 0..2 {
            for outbox in &outboxes {
                outbox.push(vec![number], &mut round);
            }
        }
        assert_eq!((round.lanes.len(), lock(&lane.outboxes).len()), (1, 3));
        round.end();
        for outbox in &outboxes {
            assert_eq!(outbox.take().await.frames, [[0], [1]]);
        }
        // And in the next one again, also those who wait for it already.
        let waiting = Arc::clone(&outboxes[1]);
        let waiting = tokio::spawn(async move { waiting.take().await.hangup });
        tokio::task::yield_now().await;
        outboxes[1].hang_up(&mut round);
        assert_eq!(round.lanes.len(), 1);
        round.end();
        assert!(waiting.await.unwrap());
        passing.abort();
    }
}
