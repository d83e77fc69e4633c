//! The lines of a conversation: messages, and what happened to it.

use serde::{Deserialize, Serialize};

/// One line of a conversation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number in this conversation on this device: rising, never used twice.
    pub id: u64,
    /// When this device wrote it down.
    pub at: u64,
    /// What it is.
    #[serde(flatten)]
    pub body: LineBody,
}

/// What a line says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum LineBody {
    /// A message of the other side.
    Received {
        /// The text.
        text: String,
        /// By the sender's clock.
        sent_at: u64,
        /// It was shown.
        read: bool,
        /// How long it lives once shown.
        timer_s: Option<u64>,
        /// When it goes, once its timer runs.
        expires_at: Option<u64>,
    },
    /// A message of this side.
    Sent {
        /// The text.
        text: String,
        /// How far it came.
        #[serde(flatten)]
        state: MessageState,
        /// How long it lives.
        timer_s: Option<u64>,
        /// When it goes, once its timer runs.
        expires_at: Option<u64>,
    },
    /// The conversation stands: the link was taken.
    Joined {},
    /// How long new messages live has changed.
    TimerChanged {
        /// From here.
        own: bool,
        /// The timer.
        timer_s: Option<u64>,
    },
    /// Entries are missing.
    Gap {
        /// `loss` or `ran_out_or_withheld`.
        kind: String,
        /// How many at most.
        entries: u64,
    },
    /// The conversation's encryption began anew; identities, verification and history stay.
    Restarted {
        /// By this device.
        own: bool,
        /// Why.
        why: String,
        /// One of its predecessors was hidden from one of the two.
        unlinked: bool,
    },
}

/// How far an own message came; `why` says it for a failed one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum MessageState {
    /// Waits on this device.
    Queued,
    /// The relay has it.
    Sent,
    /// The other device has it.
    Delivered,
    /// It was shown there.
    Read,
    /// It will not arrive.
    Failed {
        /// `ran_out`, `conversation_over` or `relay_refused`.
        why: String,
    },
}

/// A line that was not shown yet, with its conversation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// The contact.
    pub conversation: String,
    /// The line.
    #[serde(flatten)]
    pub line: Line,
}
