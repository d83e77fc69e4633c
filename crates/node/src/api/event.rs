//! The events: what happened without being asked for.

use serde::{Deserialize, Serialize};

use super::Failure;
use super::line::{Line, LineBody, MessageState};

/// What happened.
// [SPEC 12.10]
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A message arrived and is stored.
    MessageReceived {
        /// The contact.
        conversation: String,
        /// Its line.
        id: u64,
        /// The text; not there where the event has waited for its reader.
        // [SPEC 12.36]
        #[serde(default, skip_serializing_if = "String::is_empty")]
        text: String,
        /// By the sender's clock.
        sent_at: u64,
        /// By this device's clock.
        received_at: u64,
        /// How long it lives once shown (0: burn on read).
        timer_s: Option<u64>,
        /// When it goes; null without a timer, and before it was shown.
        expires_at: Option<u64>,
    },
    /// An own message moved on.
    MessageState {
        /// The contact.
        conversation: String,
        /// Its line.
        id: u64,
        /// How far it came.
        #[serde(flatten)]
        state: MessageState,
    },
    /// A message and its key are gone from this device.
    MessageGone {
        /// The contact.
        conversation: String,
        /// Its line.
        id: u64,
        /// `expired` or `deleted`.
        why: String,
    },
    /// The relay has the invite: its link works.
    InviteReady {
        /// Who it is for.
        conversation: String,
    },
    /// The invite does not work, or not any more.
    InviteFailed {
        /// Who it was for.
        conversation: String,
        /// `bad_code`, `relay_full`, `refused`, `expired`, `cancelled`, `spoiled` or `lost`.
        why: String,
    },
    /// The conversation stands: the link was taken.
    Joined {
        /// The contact.
        conversation: String,
    },
    /// The link could not be taken.
    JoinFailed {
        /// The contact.
        conversation: String,
        /// `already_used`, `gone`, `unknown`, `not_as_named`, `inviter_not_seen` or `refused`.
        why: String,
    },
    /// How long new messages live has changed.
    TimerChanged {
        /// The contact.
        conversation: String,
        /// Its line.
        id: u64,
        /// From here.
        own: bool,
        /// The timer; none where null.
        timer_s: Option<u64>,
    },
    /// Messages are missing.
    Gap {
        /// The contact.
        conversation: String,
        /// Its line.
        id: u64,
        /// `loss` or `ran_out_or_withheld`.
        kind: String,
        /// How many entries at most.
        entries: u64,
    },
    /// The conversation's encryption began anew; identities, verification and history stay.
    Restarted {
        /// The contact.
        conversation: String,
        /// Its line.
        id: u64,
        /// By this device.
        own: bool,
        /// Why.
        why: String,
        /// One of its predecessors was hidden from one of the two.
        unlinked: bool,
    },
    /// More than ten restarts in a day: the next one waits for the user.
    RestartWaits {
        /// The contact.
        conversation: String,
        /// Why a restart is needed.
        why: String,
    },
    /// The relay lost everything that this conversation could be recovered from.
    ConversationOver {
        /// The contact.
        conversation: String,
    },
    /// A relay did what an honest and healthy one does not do.
    RelayTrouble {
        /// Host and port.
        relay: String,
        /// The contact whose conversation shows it.
        conversation: Option<String>,
        /// `rolled_back`, `two_histories`, `log_lost`, `withheld`, `wrong_sequence`, `foreign_entry`, `key_chain`,
        /// `wrong_identity`, `wrong_certificate`, `malformed` or `wrong_answer`.
        kind: String,
    },
    /// A peer's program did what the protocol does not allow; it was skipped.
    PeerTrouble {
        /// The contact.
        conversation: String,
        /// `rubbish_commit`, `rubbish_message`, `rubbish_restart` or `unknown_content`.
        kind: String,
    },
    /// A relay was reached, or lost.
    Connection {
        /// Host and port.
        relay: String,
        /// Reached.
        up: bool,
    },
    /// A relay speaks only other versions of the protocol.
    UpdateNeeded {
        /// Host and port.
        relay: String,
    },
    /// The vault cannot be written: nothing goes on until it is opened again.
    StorageFailed {
        /// `vault_full`, `vault_read`, `vault_write` or `vault_corrupt`, as failures are named.
        why: String,
    },
    /// Half, four fifths, nearly all or all of the dead-man time has passed.
    Deadman {
        /// So much has passed.
        counted_s: u64,
        /// So much is left; 0 when it is due.
        left_s: u64,
        /// How much longer the vault has to be seen unopened before it is destroyed.
        destroyed_after_s: u64,
    },
    /// That the vault was opened could not be written down: its dead-man time goes on as if it was not.
    DeadmanUnwritten {},
    /// So many times in a row what was given as the present PIN was not that the vault is locked.
    WrongPins {},
    /// The vault is destroyed.
    Wiped {
        /// By an order; else the dead-man time was over.
        ordered: bool,
        /// What of it is left in the TPM, in words; not there where nothing is.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<String>,
    },
    /// The dead-man time was over or an order came, and something stood in the way of destroying the vault whole.
    WipeFailed {
        /// As of `StorageFailed`.
        why: String,
        /// An order came; else the dead-man time was over.
        ordered: bool,
        /// As of `Wiped`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<String>,
    },
    /// The relay of the kill code's switch says that it has no such switch: nobody can order anything any more.
    SwitchGone {
        /// Host and port.
        relay: String,
    },
    /// Somebody who has, or had, the device's files fills the kill code's switch: when it is full nobody can order anything any more.
    SwitchFilled {
        /// Host and port.
        relay: String,
    },
    /// This program was too slow and missed events: read `unread` and `history`.
    Missed {},
    /// The vault was locked: the last event.
    Locked {},
}

impl Event {
    /// A line as the event that it was; nothing for an own message.
    pub fn of_line(conversation: &str, line: Line) -> Option<Self> {
        let conversation = conversation.to_owned();
        let id = line.id;
        Some(match line.body {
            LineBody::Received {
                text,
                sent_at,
                timer_s,
                expires_at,
                ..
            } => Self::MessageReceived {
                conversation,
                id,
                text,
                sent_at,
                received_at: line.at,
                timer_s,
                expires_at,
            },
            LineBody::Sent { .. } => return None,
            LineBody::Joined {} => Self::Joined { conversation },
            LineBody::TimerChanged { own, timer_s } => Self::TimerChanged {
                conversation,
                id,
                own,
                timer_s,
            },
            LineBody::Gap { kind, entries } => Self::Gap {
                conversation,
                id,
                kind,
                entries,
            },
            LineBody::Restarted { own, why, unlinked } => Self::Restarted {
                conversation,
                id,
                own,
                why,
                unlinked,
            },
        })
    }
}

impl Event {
    /// Why nothing comes after it, where nothing does.
    // [SPEC 12.46]
    pub fn end(&self) -> Option<Failure> {
        match self {
            Self::Locked {} => Some(Failure::locked()),
            Self::Wiped { ordered, left } => Some(Failure::wiped(*ordered, left)),
            Self::WipeFailed { why, ordered, left } => {
                let why = match why.as_str() {
                    "vault_full" => "the disk is full",
                    _ => "it could not be read or written",
                };
                Some(Failure::wipe_failed(*ordered, why, left))
            }
            _ => None,
        }
    }
}

/// An event with the interface's version, as it is printed and notified.
#[derive(Clone, Serialize, Deserialize)]
pub struct EventLine {
    /// [`INTERFACE_VERSION`](super::INTERFACE_VERSION).
    pub v: u32,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

impl EventLine {
    /// The event with this program's version of the interface.
    pub fn new(event: Event) -> Self {
        Self {
            v: super::INTERFACE_VERSION,
            event,
        }
    }
}
