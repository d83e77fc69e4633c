//! What an acknowledgement is worth: messages for recipients who are away, `kill -9`, a start on the same files, and how many
//! are still there.
//!
//! A killed process loses what it held itself; what it has written, synced or not, the system still has. A power cut
//! takes that, too, and is not tried here: a server that loses nothing in this experiment may lose everything there.

// The futures of one thread.
#![allow(async_fn_in_trait)]

use crate::Trouble;
use crate::payload::payload;
use crate::system::{Recipient, Sender, System};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Mailboxes over which the messages are spread.
const RECIPIENTS: u32 = 50;
/// Messages that wait for their acknowledgement at the same time.
const IN_FLIGHT_MAX: usize = 16;
/// How long an acknowledgement may take.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);
/// A recipient to whom nothing came for so long has received everything.
const QUIET: Duration = Duration::from_secs(5);

/// A system that can crash, and be started again on its files.
pub trait Crashes: System {
    /// A recipient goes, and the server knows it: what is sent from now on has to wait.
    ///
    /// # Errors
    /// When the server does not let it go.
    async fn leave(&self, recipient: Self::Recipient) -> Result<(), Trouble>;

    /// `kill -9`, then a start on the same files.
    ///
    /// # Errors
    /// When it does not start again.
    async fn crash(&mut self) -> Result<(), Trouble>;
}

/// What was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survival {
    /// Messages that the server had acknowledged.
    pub acknowledged: u64,
    /// Those that it still delivered after the crash.
    pub left: u64,
}

/// Runs the experiment with so many messages, within [`run`](crate::threads::run).
///
/// # Errors
/// When the server refuses a message or does not come back.
pub async fn measure<S: Crashes>(
    system: &mut S,
    messages: u32,
    payload_len: usize,
) -> Result<Survival, Trouble>
where
    S::Recipient: 'static,
{
    for number in 0..RECIPIENTS {
        let recipient = system.recipient(number).await?;
        system.leave(recipient).await?;
    }
    let acknowledged = send(system, messages, payload_len).await?;
    system.crash().await?;
    let mut receiving = JoinSet::new();
    for number in 0..RECIPIENTS {
        let recipient = system.recipient(number).await?;
        receiving.spawn_local(receive_all(recipient));
    }
    // What is delivered twice is one message.
    let mut left = BTreeSet::new();
    for received in receiving.join_all().await {
        left.extend(received?);
    }
    Ok(Survival {
        acknowledged,
        left: u64::try_from(left.len())?,
    })
}

/// Sends all, and waits until each is acknowledged.
async fn send(system: &impl System, messages: u32, payload_len: usize) -> Result<u64, Trouble> {
    let mut sender = system.sender(0, RECIPIENTS).await?;
    let mut waiting = BTreeSet::new();
    let mut acknowledged = 0;
    for message in 0..messages {
        let payload = payload(payload_len, Instant::now(), message.into());
        waiting.insert(sender.send(message % RECIPIENTS, &payload).await?);
        let last = message + 1 == messages;
        while waiting.len() >= IN_FLIGHT_MAX || last && !waiting.is_empty() {
            let number = timeout(ACKNOWLEDGED_WITHIN, sender.acknowledged()).await;
            let number =
                number.map_err(|_| "an acknowledgement did not come within a minute")??;
            acknowledged += u64::from(waiting.remove(&number));
        }
    }
    Ok(acknowledged)
}

/// Receives until nothing comes any more.
async fn receive_all(mut recipient: impl Recipient) -> Result<Vec<Vec<u8>>, Trouble> {
    let mut received = Vec::new();
    while let Ok(payload) = timeout(QUIET, recipient.receive()).await {
        received.push(payload?);
    }
    Ok(received)
}
