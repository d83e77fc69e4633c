//! What a server under load must be able to do: take messages from senders and deliver them to recipients.
//!
//! The relay and its peers implement the same traits, so that all do the same work with the same bytes in the same loop.
//! Connections stay on the thread that made them; each thread has a runtime of its own with one worker, so futures need
//! not be `Send`.

// The futures of one thread.
#![allow(async_fn_in_trait)]

use crate::Trouble;

/// A server that runs and can be loaded; it is stopped and its files are removed when this value goes.
pub trait System: Sync {
    /// A connection that sends.
    type Sender: Sender + 'static;
    /// A connection that receives.
    type Recipient: Recipient + 'static;

    /// How tables name it: product, version, and the settings that matter.
    fn name(&self) -> String;

    /// What an acknowledgement of it promises, in a few words: `synced to disk`, or `in memory`.
    fn promise(&self) -> &'static str;

    /// The processes whose CPU time, memory and writes are its cost.
    fn processes(&self) -> Vec<u32>;

    /// Connects recipient `number`, counted from 0; it misses nothing that is sent after this returns.
    ///
    /// # Errors
    /// When the server does not take it.
    async fn recipient(&self, number: u32) -> Result<Self::Recipient, Trouble>;

    /// Connects sender `number`, counted from 0, which will send to the recipients below `recipients`; they are connected
    /// before the first sender is.
    ///
    /// # Errors
    /// When the server does not take it.
    async fn sender(&self, number: u32, recipients: u32) -> Result<Self::Sender, Trouble>;
}

/// A connection that sends.
pub trait Sender {
    /// Sends one message and gives its number; returns when it is written to the socket, not when it is acknowledged.
    /// `payload` is printable ASCII without quotes, `<` and `&`.
    ///
    /// # Errors
    /// When the connection ends or the server refuses.
    async fn send(&mut self, to: u32, payload: &[u8]) -> Result<u64, Trouble>;

    /// The number of a message that was acknowledged, each once, in whatever order. Waits for the next one; may be dropped
    /// while it waits and called again, and nothing is lost by that.
    ///
    /// # Errors
    /// When the connection ends or the server refuses.
    async fn acknowledged(&mut self) -> Result<u64, Trouble>;
}

/// A connection that receives.
pub trait Recipient {
    /// The next payload that was sent to it, acknowledged to the server where its protocol wants that. May be dropped
    /// while it waits and called again.
    ///
    /// # Errors
    /// When the connection ends.
    async fn receive(&mut self) -> Result<Vec<u8>, Trouble>;
}

/// What comes of trying to start a system.
pub enum Started<S> {
    /// It runs.
    Running(S),
    /// It is left out and nothing is wrong: what is not installed, and what to install; or what it does not support.
    LeftOut(String),
}
