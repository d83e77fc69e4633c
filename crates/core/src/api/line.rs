//! Lines: what a conversation consists of for its user.

use emptyroom_wire::time::Wall;

use super::{Burn, LineId, RestartReason, Text};

/// One line of a conversation: a message, or something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub id: LineId,
    /// When this device wrote it down.
    pub at: Wall,
    /// What it is.
    pub body: LineBody,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineBody {
    /// A message of the other side.
    Received {
        /// Its text.
        text: Text,
        /// When its sender says it was written.
        sent_at: Wall,
        /// Its timer.
        burn: Burn,
        /// Whether it was marked as read here.
        read: bool,
        /// When it disappears, once its timer runs.
        expires_at: Option<Wall>,
    },
    /// A message of this side.
    Sent {
        /// Its text.
        text: Text,
        /// Its timer.
        burn: Burn,
        /// How far it came.
        state: MessageState,
        /// When it disappears, once its timer runs.
        expires_at: Option<Wall>,
    },
    /// Something that happened.
    Notice(Notice),
}

/// How far a sent message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// Waits on this device.
    Queued,
    /// Durable at the relay.
    Sent,
    /// On the other side's device.
    Delivered,
    /// Marked as read there.
    Read,
    /// Will not arrive.
    Failed(FailedWhy),
}

/// Why a message will not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedWhy {
    /// It left the relay before the other side fetched it.
    RanOut,
    /// The conversation ended: its link failed, or its relay lost everything.
    ConversationOver,
    /// The relay refuses it for good.
    RelayRefused,
}

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This device.
    Me,
    /// The other side.
    Peer,
}

/// Something that happened in a conversation and that its user should see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The conversation stands.
    Joined,
    /// The conversation's timer was changed.
    TimerChanged {
        /// By whom.
        by: Side,
        /// To what.
        burn: Burn,
    },
    /// Entries are missing.
    Gap {
        /// What is known about the reason.
        kind: GapKind,
        /// How many entries at most (receipts and the like count, too).
        entries: u64,
    },
    /// The conversation's encryption was started anew; identities and history stay.
    Restarted {
        /// By whom.
        by: Side,
        /// Why.
        reason: RestartReason,
        /// It names another predecessor than the restart this device knows: one of them was hidden from one of the two.
        unlinked: bool,
    },
}

/// Why entries are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapKind {
    /// Less than a day passed: they should have been there. The relay lost or withheld them.
    Loss,
    /// Their time was over, or the relay withheld them.
    RanOutOrWithheld,
}
