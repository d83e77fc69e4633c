//! What a conversation keeps in its one state record. Each part is changed by the module that bears its name.

use emptyroom_wire::log::Capability;
use emptyroom_wire::log_keys::{self, LogAccess, Owned};
use emptyroom_wire::op::NewLog;
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::sign::SignKey;
use tls_codec::{DeserializeBytes, TlsDeserializeBytes, TlsSerialize, TlsSize, VLBytes};

use super::lines::Lines;
use super::track::Track;
use crate::api::{Burn, InviteFault, JoinFault, Name, RestartReason};
use crate::content::Gap;
use crate::position::{LogPoint, Position};
use crate::restart;
use crate::store::value::{Flag, StoredBurn, StoredSecret, StoredText};

/// Everything about a conversation but texts, keys and what is under way.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct State {
    /// First, as its name is.
    pub(crate) profile: Profile,
    pub(crate) phase: Phase,
    pub(crate) lines: Lines,
    /// The other side's certificate.
    pub(crate) peer: Option<VLBytes>,
    /// The log it lives in now; in trouble the one it lived in last.
    pub(crate) main: Option<MainLog>,
    pub(crate) sending: Sending,
    pub(crate) receipts: Receipts,
    pub(crate) recovery: Option<Recovery>,
}

impl State {
    /// A conversation that begins now.
    pub(crate) fn fresh(
        name: &Name,
        relay: IdentityHash,
        phase: Phase,
        main: MainLog,
        now_ms: u64,
    ) -> Self {
        Self {
            profile: Profile {
                name: StoredText::of(&name.as_str().into()),
                relay,
                verified: Flag(false),
                blocked: Flag(false),
                receipts_delivered: Flag(true),
                receipts_read: Flag(true),
                burn: StoredBurn(Burn::Never),
                burn_waits: 0,
                burn_logged: StoredBurn(Burn::Never),
                burn_logged_at: Position::default(),
            },
            phase,
            lines: Lines::default(),
            peer: None,
            main: Some(main),
            sending: Sending {
                queued: 0,
                since_update: 0,
                updated_ms: now_ms,
                must_update: Flag(false),
                seen_due: Flag(false),
            },
            receipts: Receipts::default(),
            recovery: None,
        }
    }
}

/// The name in a state record of whatever version, as far as it can be read: it stands first in each.
// [SPEC 8.67]
pub(crate) fn name_in(record: &[u8]) -> Option<Name> {
    let (_version, rest) = record.split_at_checked(2)?;
    let (name, _) = StoredText::tls_deserialize_bytes(rest).ok()?;
    Name::parse(name.text().expose()).ok()
}

/// What its user chose.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Profile {
    pub(crate) name: StoredText,
    pub(crate) relay: IdentityHash,
    pub(crate) verified: Flag,
    pub(crate) blocked: Flag,
    pub(crate) receipts_delivered: Flag,
    pub(crate) receipts_read: Flag,
    /// The timer of new messages.
    pub(crate) burn: StoredBurn,
    /// The line of the last own change that waits and holds here already; 0 = none does.
    pub(crate) burn_waits: u64,
    /// The last change in the order of the log, and its place.
    pub(crate) burn_logged: StoredBurn,
    pub(crate) burn_logged_at: Position,
}

/// Where a conversation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Its link was not taken; main is log 0.
    #[tls_codec(discriminant = 1)]
    Invited,
    #[tls_codec(discriminant = 2)]
    InviteFailed(u8),
    /// This device takes the link; main is log 0.
    #[tls_codec(discriminant = 3)]
    Taking,
    #[tls_codec(discriminant = 4)]
    JoinFailed(u8),
    /// Messages flow; main is a generation.
    #[tls_codec(discriminant = 5)]
    Member,
    /// This device made a restart that nobody took yet; main is its log 0.
    #[tls_codec(discriminant = 6)]
    Alone,
    /// This device takes a restart; main is its log 0.
    #[tls_codec(discriminant = 7)]
    Entering,
    /// There is no group to be used; the recovery log decides. The reason's code.
    #[tls_codec(discriminant = 8)]
    Trouble(u8),
}

/// A log that the conversation lives in.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct MainLog {
    pub(crate) key: LogKey,
    pub(crate) restart: u64,
    pub(crate) generation: u64,
    pub(crate) track: Track,
    /// Where the generation before it ended.
    pub(crate) before: Option<LogPoint>,
    pub(crate) started_ms: u64,
    /// The newest time that a message of the other side says, but no later than it was read.
    pub(crate) sealed_ms: u64,
    pub(crate) renewed_ms: u64,
    /// An entry of the other side was read here.
    pub(crate) peer_seen: Flag,
    /// The relay removed entries below this.
    pub(crate) trimmed: u64,
    /// Order to destroy the generation before, given once the other side was seen here.
    pub(crate) destroy_before: Option<VLBytes>,
}

/// What a log's keys come from.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub(crate) enum LogKey {
    /// Log 0 of an own invite: secret of the link, seed of the owner key.
    #[tls_codec(discriminant = 1)]
    Invite(SecretPair),
    /// Log 0 of a link: its secret and capability.
    #[tls_codec(discriminant = 2)]
    Link(SecretPair),
    /// Log 0 of a restart.
    #[tls_codec(discriminant = 3)]
    Restart(StoredSecret),
    /// A generation.
    #[tls_codec(discriminant = 4)]
    Generation(StoredSecret),
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct SecretPair {
    pub(crate) secret: StoredSecret,
    pub(crate) other: StoredSecret,
}

impl LogKey {
    pub(crate) fn generation(secret: &Secret32) -> Self {
        Self::Generation(StoredSecret(secret.duplicate()))
    }

    pub(crate) fn duplicate(&self) -> Self {
        let copy = |secret: &StoredSecret| StoredSecret(secret.0.duplicate());
        let pair = |pair: &SecretPair| SecretPair {
            secret: copy(&pair.secret),
            other: copy(&pair.other),
        };
        match self {
            Self::Invite(both) => Self::Invite(pair(both)),
            Self::Link(both) => Self::Link(pair(both)),
            Self::Restart(secret) => Self::Restart(copy(secret)),
            Self::Generation(secret) => Self::Generation(copy(secret)),
        }
    }

    /// The log's capability and keys.
    pub(crate) fn access(&self) -> LogAccess {
        match self {
            Self::Invite(pair) => {
                log_keys::invite(&pair.secret.0, SignKey::from_seed(&pair.other.0)).1
            }
            Self::Link(pair) => {
                log_keys::invite_taker(&pair.secret.0, Capability::new(*pair.other.0.expose()))
            }
            Self::Restart(secret) => log_keys::restart(&secret.0).1,
            Self::Generation(secret) => log_keys::conversation(&secret.0, Owned::ByMembers).1,
        }
    }
}

/// The log of a generation, to be made by `next`.
pub(crate) fn new_generation(secret: &Secret32) -> NewLog {
    let (header, _) = log_keys::conversation(secret, Owned::ByMembers);
    NewLog {
        header,
        first: None,
    }
}

/// The recovery log, to be made by `next`.
pub(crate) fn new_recovery(secret: &Secret32) -> NewLog {
    let (header, _) = log_keys::recovery(secret);
    NewLog {
        header,
        first: None,
    }
}

impl MainLog {
    pub(crate) fn new(key: LogKey, restart: u64, generation: u64, now_ms: u64) -> Self {
        Self {
            key,
            restart,
            generation,
            track: Track::default(),
            before: None,
            started_ms: now_ms,
            sealed_ms: now_ms,
            renewed_ms: now_ms,
            peer_seen: Flag(false),
            trimmed: 0,
            destroy_before: None,
        }
    }

    /// The place of the next entry.
    pub(crate) fn position(&self) -> Position {
        self.at(self.track.next_seq())
    }

    /// A place in this log.
    pub(crate) fn at(&self, next_seq: u64) -> Position {
        Position {
            restart: self.restart,
            generation: self.generation,
            next_seq,
        }
    }

    /// The place of the next entry with what the log looks like there.
    pub(crate) fn point(&self) -> LogPoint {
        LogPoint {
            position: self.position(),
            slots: self.track.slots(),
            running_hash: self.track.hash().0,
        }
    }
}

/// What sending needs to remember.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Sending {
    /// Lines in the queue.
    pub(crate) queued: u64,
    /// Own messages since the leaf got new keys.
    pub(crate) since_update: u64,
    pub(crate) updated_ms: u64,
    /// New keys before the next message: entries were missing.
    pub(crate) must_update: Flag,
    /// The first message of a new group is still to be sent.
    pub(crate) seen_due: Flag,
}

/// What both sides told each other about what arrived.
#[derive(Default, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Receipts {
    pub(crate) peer_delivered: Position,
    pub(crate) peer_read: Position,
    /// The place after the last entry of the other side that holds something for the user: how far the conversation was shown.
    /// Other entries do not count, because a relay that was rolled back may give their numbers again.
    pub(crate) got: Position,
    pub(crate) read: Position,
    pub(crate) told_delivered: Position,
    pub(crate) told_read: Position,
    /// When the next receipt goes out; 0 = none is due.
    pub(crate) due_ms: u64,
    pub(crate) gaps: Vec<Gap>,
}

/// What is kept of the recovery log and of restarts.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Recovery {
    /// `S_1`.
    pub(crate) secret: StoredSecret,
    pub(crate) track: Track,
    /// Counter and hash of the last restart made or accepted.
    pub(crate) accepted: u64,
    pub(crate) accepted_hash: [u8; 32],
    /// The highest counter of any valid restart read.
    pub(crate) highest: u64,
    /// Hashes of the restarts that were read, the last 64.
    pub(crate) known: Vec<Hash32>,
    /// The last valid restart of the other side, read but not acted upon yet.
    pub(crate) pending: Option<VLBytes>,
    /// A valid restart was read that cannot be entered.
    pub(crate) cannot_enter: Flag,
    /// When restarts were made or taken, the last ten.
    pub(crate) times_ms: Vec<u64>,
    /// The user allowed one more.
    pub(crate) allowed: Flag,
    /// The user was told that it waits for him.
    pub(crate) waits: Flag,
    pub(crate) next_look_ms: u64,
    /// When it was looked into last.
    pub(crate) looked_ms: u64,
    pub(crate) renewed_ms: u64,
    /// Since when this device waits alone in its own restart.
    pub(crate) alone_since_ms: u64,
    /// Since when the relay does not know the recovery log although it is needed; 0 = it knows it.
    pub(crate) lost_since_ms: u64,
    /// The user was told that all is lost.
    pub(crate) told_over: Flag,
    /// A log that was left and where a hint is still to be written.
    pub(crate) former: Option<LogKey>,
    /// Orders to destroy the logs that restarts left, given when the contact is forgotten.
    pub(crate) left: Vec<VLBytes>,
    /// How far the other side said it had shown the conversation, until the queue was filled accordingly.
    pub(crate) peer_shown: Position,
    /// Why the restart that is being entered was made, and whether its predecessor is unknown here.
    pub(crate) entering_reason: u8,
    pub(crate) entering_unlinked: Flag,
    pub(crate) entering_binding: [u8; 32],
}

/// A hash in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Hash32(pub(crate) [u8; 32]);

impl Recovery {
    pub(crate) fn new(secret: &Secret32, next_look_ms: u64, now_ms: u64) -> Self {
        Self {
            secret: StoredSecret(secret.duplicate()),
            track: Track::default(),
            accepted: 0,
            accepted_hash: [0; 32],
            highest: 0,
            known: Vec::new(),
            pending: None,
            cannot_enter: Flag(false),
            times_ms: Vec::new(),
            allowed: Flag(false),
            waits: Flag(false),
            next_look_ms,
            looked_ms: 0,
            renewed_ms: now_ms,
            alone_since_ms: 0,
            lost_since_ms: 0,
            told_over: Flag(false),
            former: None,
            left: Vec::new(),
            peer_shown: Position::default(),
            entering_reason: 0,
            entering_unlinked: Flag(false),
            entering_binding: [0; 32],
        }
    }
}

impl Phase {
    pub(crate) fn trouble(reason: RestartReason) -> Self {
        Self::Trouble(restart::reason_code(reason))
    }

    /// The reason of a trouble.
    pub(crate) fn reason(self) -> Option<RestartReason> {
        match self {
            Self::Trouble(code) => Some(restart::reason(code).unwrap_or(RestartReason::StateLost)),
            _ => None,
        }
    }

    pub(crate) fn invite_failed(why: InviteFault) -> Self {
        Self::InviteFailed(match why {
            InviteFault::BadCode => 1,
            InviteFault::RelayFull => 2,
            InviteFault::Refused => 3,
            InviteFault::Expired => 4,
            InviteFault::Cancelled => 5,
            InviteFault::Spoiled => 6,
            InviteFault::Lost => 7,
        })
    }

    pub(crate) fn invite_fault(code: u8) -> InviteFault {
        match code {
            1 => InviteFault::BadCode,
            2 => InviteFault::RelayFull,
            4 => InviteFault::Expired,
            5 => InviteFault::Cancelled,
            6 => InviteFault::Spoiled,
            7 => InviteFault::Lost,
            _ => InviteFault::Refused,
        }
    }

    pub(crate) fn join_failed(why: JoinFault) -> Self {
        Self::JoinFailed(match why {
            JoinFault::AlreadyUsed => 1,
            JoinFault::Gone => 2,
            JoinFault::Unknown => 3,
            JoinFault::NotAsNamed => 4,
            JoinFault::InviterNotSeen => 5,
            JoinFault::Refused => 6,
        })
    }

    pub(crate) fn join_fault(code: u8) -> JoinFault {
        match code {
            1 => JoinFault::AlreadyUsed,
            2 => JoinFault::Gone,
            3 => JoinFault::Unknown,
            4 => JoinFault::NotAsNamed,
            5 => JoinFault::InviterNotSeen,
            _ => JoinFault::Refused,
        }
    }

    /// The conversation stands, or is being brought back.
    pub(crate) fn stands(self) -> bool {
        matches!(
            self,
            Self::Member | Self::Alone | Self::Entering | Self::Trouble(_)
        )
    }

    /// It never stood and never will.
    pub(crate) fn failed(self) -> bool {
        matches!(self, Self::InviteFailed(_) | Self::JoinFailed(_))
    }
}
