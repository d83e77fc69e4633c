//! The keys of all records: short, opaque, ordered where an order is needed.
//!
//! Everything of one conversation begins with the same five bytes, so that forgetting it is one prefix.

use emptyroom_wire::relay_key::IdentityHash;

use crate::position::Position;

/// Which conversation, on this device. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConversationId(pub(crate) u32);

/// The account's root.
pub(crate) const ACCOUNT: &[u8] = b"a";
/// What holds for the whole client: default relay, counters, the clock's high-water mark.
pub(crate) const SETTINGS: &[u8] = b"s";
/// What the device's clock said when the mark was reached.
pub(crate) const DEVICE_CLOCK: &[u8] = b"t";
/// Alarms.
pub(crate) const ALARMS: &[u8] = b"w";
/// Prefix of all conversations.
pub(crate) const CONVERSATIONS: &[u8] = b"c";
/// Prefix of all relays.
pub(crate) const RELAYS: &[u8] = b"r";
/// Prefix of destroys that no relay has confirmed yet.
pub(crate) const DESTROYS: &[u8] = b"d";

/// A relay's hosts and the chain of its keys.
pub(crate) fn relay(relay: &IdentityHash) -> Vec<u8> {
    [RELAYS, &relay.0].concat()
}

/// A destroy that no relay has confirmed yet.
pub(crate) fn destroy(number: u64) -> Vec<u8> {
    [DESTROYS, &number.to_be_bytes()].concat()
}

impl ConversationId {
    /// The id in a key made by any of the functions below.
    pub(crate) fn of_key(key: &[u8]) -> Option<Self> {
        let id = key.get(1..5)?.try_into().ok()?;
        Some(Self(u32::from_be_bytes(id)))
    }

    /// Prefix of everything about the conversation.
    pub(crate) fn all(self) -> Vec<u8> {
        [CONVERSATIONS, &self.0.to_be_bytes()].concat()
    }

    /// The state of all its parts.
    pub(crate) fn head(self) -> Vec<u8> {
        self.part(b'h', &[])
    }

    /// This account's keys in it.
    pub(crate) fn own_keys(self) -> Vec<u8> {
        self.part(b'k', &[])
    }

    /// The MLS group it uses.
    pub(crate) fn group(self) -> Vec<u8> {
        self.part(b'm', &[])
    }

    /// Its message keys, where they are later than the group's record.
    pub(crate) fn message_keys(self) -> Vec<u8> {
        self.part(b'j', &[])
    }

    /// The MLS group it would use once a staged join or restart is accepted.
    pub(crate) fn candidate(self) -> Vec<u8> {
        self.part(b'n', &[])
    }

    /// The append that is being made in the conversation's log.
    pub(crate) fn stage(self) -> Vec<u8> {
        self.part(b's', &[])
    }

    /// The append that is being made in its recovery log.
    pub(crate) fn restart_stage(self) -> Vec<u8> {
        self.part(b't', &[])
    }

    /// The invite that was made, or the link and join that were taken.
    pub(crate) fn origin(self) -> Vec<u8> {
        self.part(b'o', &[])
    }

    /// Prefix of all lines.
    pub(crate) fn lines(self) -> Vec<u8> {
        self.part(b'l', &[])
    }

    /// One line.
    pub(crate) fn line(self, line: u64) -> Vec<u8> {
        self.part(b'l', &line.to_be_bytes())
    }

    /// Prefix of the queue of lines to be sent.
    pub(crate) fn queue(self) -> Vec<u8> {
        self.part(b'q', &[])
    }

    /// A line to be sent.
    pub(crate) fn queued(self, line: u64) -> Vec<u8> {
        self.part(b'q', &line.to_be_bytes())
    }

    /// Prefix of what was sent, by position.
    pub(crate) fn sent(self) -> Vec<u8> {
        self.part(b'p', &[])
    }

    /// What was sent at this position (of the entry itself).
    pub(crate) fn sent_at(self, position: &Position) -> Vec<u8> {
        let mut rest = Vec::with_capacity(24);
        rest.extend_from_slice(&position.restart.to_be_bytes());
        rest.extend_from_slice(&position.generation.to_be_bytes());
        rest.extend_from_slice(&position.next_seq.to_be_bytes());
        self.part(b'p', &rest)
    }

    /// Prefix of the lines whose timer runs, by the time when they end.
    pub(crate) fn expiries(self) -> Vec<u8> {
        self.part(b'e', &[])
    }

    /// A line whose timer runs.
    pub(crate) fn expiry(self, at_ms: u64, line: u64) -> Vec<u8> {
        self.part(b'e', &[at_ms.to_be_bytes(), line.to_be_bytes()].concat())
    }

    /// A part of the intent ids that were shown.
    pub(crate) fn shown_ids(self, chunk: u32) -> Vec<u8> {
        self.part(b'x', &chunk.to_be_bytes())
    }

    /// Prefix of the running hashes of the current log.
    pub(crate) fn hashes(self) -> Vec<u8> {
        self.part(b'v', &[])
    }

    /// A part of the running hashes of the current log.
    pub(crate) fn hash_chunk(self, chunk: u64) -> Vec<u8> {
        self.part(b'v', &chunk.to_be_bytes())
    }

    /// Prefix of what was read in the current log.
    pub(crate) fn copies(self) -> Vec<u8> {
        self.part(b'u', &[])
    }

    /// A part of what was read in the current log.
    pub(crate) fn copies_chunk(self, chunk: u64) -> Vec<u8> {
        self.part(b'u', &chunk.to_be_bytes())
    }

    fn part(self, kind: u8, rest: &[u8]) -> Vec<u8> {
        let mut key = self.all();
        key.push(kind);
        key.extend_from_slice(rest);
        key
    }
}

/// The last eight bytes of a key as a number: a line in a queue or expiry key.
pub(crate) fn last_number(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The time in an expiry key.
pub(crate) fn expiry_time(key: &[u8]) -> Option<u64> {
    let (_, rest) = key.split_at_checked(6)?;
    rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The position in a sent key.
pub(crate) fn sent_position(key: &[u8]) -> Option<Position> {
    let (_, rest) = key.split_at_checked(6)?;
    let (restart, rest) = rest.split_first_chunk()?;
    let (generation, rest) = rest.split_first_chunk()?;
    let (next_seq, _) = rest.split_first_chunk()?;
    Some(Position {
        restart: u64::from_be_bytes(*restart),
        generation: u64::from_be_bytes(*generation),
        next_seq: u64::from_be_bytes(*next_seq),
    })
}
