//! Events: what happened without a command asking for it.

use super::{Burn, Line, LineId, MessageState, Name, Side};

/// Something the user may want to know. Each has a stable name: [`Event::name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A relay was reached, or lost.
    Connection {
        /// Its host and port.
        relay: String,
        /// Whether requests can flow.
        up: bool,
    },
    /// The relay speaks only other versions of the protocol.
    UpdateNeeded {
        /// Its host and port.
        relay: String,
    },
    /// The relay has the invite: its link works from now on.
    InviteReady {
        /// The contact's name.
        conversation: Name,
    },
    /// The invite will never work, or not any more.
    InviteFailed {
        /// The contact's name.
        conversation: Name,
        /// Why.
        why: InviteFault,
    },
    /// The conversation stands: the other side took the link, or this side's join was accepted.
    Joined {
        /// The contact's name.
        conversation: Name,
    },
    /// The link could not be taken.
    JoinFailed {
        /// The contact's name.
        conversation: Name,
        /// Why.
        why: JoinFault,
    },
    /// A message came. It is durable and unread.
    MessageReceived {
        /// The contact's name.
        conversation: Name,
        /// The line that holds it.
        line: Line,
    },
    /// A sent message came further, or failed.
    MessageState {
        /// The contact's name.
        conversation: Name,
        /// The message.
        id: LineId,
        /// How far it came.
        state: MessageState,
    },
    /// A message and its key are gone from this device.
    MessageGone {
        /// The contact's name.
        conversation: Name,
        /// The message.
        id: LineId,
        /// Why.
        why: GoneWhy,
    },
    /// The conversation's timer was changed.
    TimerChanged {
        /// The contact's name.
        conversation: Name,
        /// The line that says so.
        id: LineId,
        /// By whom.
        by: Side,
        /// To what.
        burn: Burn,
    },
    /// Entries are missing, or the conversation was restarted: the line says it.
    Noticed {
        /// The contact's name.
        conversation: Name,
        /// The line ([`super::LineBody::Notice`]).
        line: Line,
    },
    /// More than ten restarts in a day: nothing goes on before the user allows another ([`super::Command::AllowRestart`]).
    RestartWaits {
        /// The contact's name.
        conversation: Name,
        /// Why a restart is needed.
        reason: RestartReason,
    },
    /// The relay lost everything that this conversation could be recovered from. What is left is a new link.
    ConversationOver {
        /// The contact's name.
        conversation: Name,
    },
    /// The relay did what an honest and healthy relay does not do.
    RelayTrouble {
        /// Its host and port.
        relay: String,
        /// The conversation where it showed, if any.
        conversation: Option<Name>,
        /// What it did.
        kind: RelayTrouble,
    },
    /// The other side's program did what the protocol does not allow; it was skipped.
    PeerTrouble {
        /// The contact's name.
        conversation: Name,
        /// What it did.
        kind: PeerTrouble,
    },
    /// Records cannot be written; the client has stopped and must be loaded again.
    StorageFailed,
}

impl Event {
    /// The event's stable name, as in the JSON interface.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connection { .. } => "connection",
            Self::UpdateNeeded { .. } => "update_needed",
            Self::InviteReady { .. } => "invite_ready",
            Self::InviteFailed { .. } => "invite_failed",
            Self::Joined { .. } => "joined",
            Self::JoinFailed { .. } => "join_failed",
            Self::MessageReceived { .. } => "message_received",
            Self::MessageState { .. } => "message_state",
            Self::MessageGone { .. } => "message_gone",
            Self::TimerChanged { .. } => "timer_changed",
            Self::Noticed { .. } => "noticed",
            Self::RestartWaits { .. } => "restart_waits",
            Self::ConversationOver { .. } => "conversation_over",
            Self::RelayTrouble { .. } => "relay_trouble",
            Self::PeerTrouble { .. } => "peer_trouble",
            Self::StorageFailed => "storage_failed",
        }
    }
}

/// Why an invite does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteFault {
    /// The relay wants an access code, or another one.
    BadCode,
    /// The relay has no room for it.
    RelayFull,
    /// The relay refuses it for another reason.
    Refused,
    /// Nobody took it in time.
    Expired,
    /// It was cancelled.
    Cancelled,
    /// Somebody spoiled it: what was appended is no valid join.
    Spoiled,
    /// The relay does not have it any more.
    Lost,
}

/// Why a link cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinFault {
    /// Somebody took it before.
    AlreadyUsed,
    /// The inviter cancelled it, or it expired.
    Gone,
    /// The relay has never heard of it, or forgot it.
    Unknown,
    /// What lies behind it is not what the link names.
    NotAsNamed,
    /// The inviter did not appear within seven days; should he do so later, the conversation stands.
    InviterNotSeen,
    /// The relay refuses for another reason.
    Refused,
}

/// Why a message is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoneWhy {
    /// Its timer ended.
    Expired,
    /// It was deleted here.
    Deleted,
}

/// Why a conversation was started anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartReason {
    /// The relay lost the conversation's log.
    LogLost,
    /// The relay's log is shorter than, or different from, what was seen before.
    RelayRolledBack,
    /// A member closed the log without a valid commit.
    ClosedWithoutCommit,
    /// A valid change of the group could not be followed.
    CannotFollow,
    /// The two sides saw different histories.
    HistoriesDiffer,
    /// This device's group state is lost.
    StateLost,
    /// This device was restored from a backup.
    DeviceRestored,
    /// An earlier restart could not be joined.
    RestartFailed,
    /// An earlier restart was not taken in time.
    NotTaken,
    /// The log is full.
    LogFull,
}

/// What a relay did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayTrouble {
    /// Its log is shorter than what it had acknowledged or delivered.
    RolledBack,
    /// Its log differs from what it had acknowledged or delivered, or from what it showed the other side.
    TwoHistories,
    /// It does not have a log any more that it should have.
    LogLost,
    /// Entries are missing that it should have.
    Withheld,
    /// Its numbers do not fit together.
    WrongSequence,
    /// An entry that does not belong to the log it was delivered for.
    ForeignEntry,
    /// Its key records do not form one chain: restored, or two-faced.
    KeyChain,
    /// It is not the relay that the address names.
    WrongIdentity,
    /// Its certificate is not the one its identity key signed.
    WrongCertificate,
    /// It sent what no relay of this version sends.
    Malformed,
    /// Its answer does not fit the request.
    WrongAnswer,
}

impl RelayTrouble {
    /// A stable code, as in the JSON interface.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::RolledBack => "rolled_back",
            Self::TwoHistories => "two_histories",
            Self::LogLost => "log_lost",
            Self::Withheld => "withheld",
            Self::WrongSequence => "wrong_sequence",
            Self::ForeignEntry => "foreign_entry",
            Self::KeyChain => "key_chain",
            Self::WrongIdentity => "wrong_identity",
            Self::WrongCertificate => "wrong_certificate",
            Self::Malformed => "malformed",
            Self::WrongAnswer => "wrong_answer",
        }
    }
}

/// What a peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerTrouble {
    /// An entry in a commit slot that is no valid commit.
    RubbishCommit,
    /// An entry that is no valid message.
    RubbishMessage,
    /// A restart that is not valid.
    RubbishRestart,
    /// It sent content of a kind this version must understand and does not.
    UnknownContent,
    /// The log that this device lives in was destroyed, as only a member can order: the other side has forgotten the conversation, or
    /// this device went back to an older state.
    LogDestroyed,
}

impl PeerTrouble {
    /// A stable code, as in the JSON interface.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::RubbishCommit => "rubbish_commit",
            Self::RubbishMessage => "rubbish_message",
            Self::RubbishRestart => "rubbish_restart",
            Self::UnknownContent => "unknown_content",
            Self::LogDestroyed => "log_destroyed",
        }
    }
}
