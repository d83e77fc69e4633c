//! Where one is in a conversation: what messages, restarts and joins tell each other about the log.

use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

/// How far a reader is. Positions of one conversation are ordered.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    TlsSize,
    TlsSerialize,
    TlsDeserializeBytes,
)]
pub struct Position {
    /// Which group: 0 for the invite's, else the counter of the restart that made it.
    pub restart: u64,
    /// Which log of that group, from 0 (where it is taken) upwards.
    pub generation: u64,
    /// How many entries of that log come before: the number of the next one.
    pub next_seq: u64,
}

/// A position together with what the log looks like there.
#[derive(Clone, Copy, Default, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct LogPoint {
    /// Where.
    pub position: Position,
    /// How many commits the log counts up to there.
    pub slots: u64,
    /// The running hash after the entry before `next_seq`; zeros at the beginning.
    pub running_hash: [u8; 32],
}

/// What every message says about the history its sender has seen.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct History {
    /// Where the sender is.
    pub here: LogPoint,
    /// Where the generation before it ended, if there was one.
    pub before: Option<LogPoint>,
    /// The relay's newest key record that the sender has verified.
    pub relay_key: Option<KeyHead>,
}

/// The head of a relay's chain of stream keys.
#[derive(Clone, Copy, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct KeyHead {
    /// The record's number.
    pub number: u64,
    /// The record's hash.
    pub hash: [u8; 32],
}

impl std::fmt::Debug for LogPoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogPoint({:?}, slots {})", self.position, self.slots)
    }
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "History({:?})", self.here)
    }
}

impl std::fmt::Debug for KeyHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyHead({})", self.number)
    }
}
