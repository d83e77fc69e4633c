//! What waits to be written to one connection. Empty, it holds no memory but its own.
//!
//! It has no bound of its own: the pure relay stops handing out frames for a connection that does not
//! report them as written, and ends it when it listens to nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Frames for one connection, from the engine to the connection's task.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

/// What the connection's task finds.
#[derive(Default)]
pub(crate) struct Waiting {
    /// To be written in this order.
    pub(crate) frames: Vec<Vec<u8>>,
    /// And then the connection ends.
    pub(crate) hangup: bool,
}

impl Outbox {
    pub(crate) fn push(&self, frame: Vec<u8>) {
        self.lock().frames.push(frame);
        self.changed.notify_one();
    }

    pub(crate) fn hang_up(&self) {
        self.lock().hangup = true;
        self.changed.notify_one();
    }

    /// Everything that waits, as soon as there is something. May be dropped and called again.
    pub(crate) async fn take(&self) -> Waiting {
        loop {
            {
                let mut waiting = self.lock();
                if waiting.hangup || !waiting.frames.is_empty() {
                    let hangup = waiting.hangup;
                    return Waiting {
                        frames: std::mem::take(&mut waiting.frames),
                        hangup,
                    };
                }
            }
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics half-way; a poisoned lock holds good data.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
