//! What a relay answers and pushes.

use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use super::{Evaluated, Handle, Refusal};
use crate::codec::{self, Boolean, DecodeFault, List, Opaque, TooLong};
use crate::entry::{Aad, RunningHash, Ttl};
use crate::limits::{CAST_LEN_MAX, ENTRY_LEN_MAX, KEY_RECORDS_PER_ANSWER_MAX, OPEN_LOGS_MAX};
use crate::log::LogId;
use crate::relay_key::KeyRecord;
use crate::sign::Signature;

/// What a message begins with that is a push.
const PUSH: u8 = 2;

/// One message from a relay.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub enum FromRelay {
    /// To the request with this id.
    #[tls_codec(discriminant = 1)]
    Answer(u32, Answer),
    /// Unasked, for an open handle.
    #[tls_codec(discriminant = "PUSH")]
    Push(Handle, Push),
}

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub enum Answer {
    /// To ping, renew, trim, destroy, leave; to put, renew and delete a share.
    #[tls_codec(discriminant = 0)]
    Done,
    /// It was not done.
    #[tls_codec(discriminant = 1)]
    Refused(Refusal),
    /// To create, also when the same log exists already.
    #[tls_codec(discriminant = 2)]
    Created,
    /// To open, one for each log asked for, in that order.
    #[tls_codec(discriminant = 3)]
    Opened(Opened),
    /// To append, also to a retry of it: durable.
    #[tls_codec(discriminant = 4)]
    Appended(Appended),
    /// To append: the log holds another number of commits; nothing was written.
    #[tls_codec(discriminant = 5)]
    Stale(View),
    /// To key records.
    #[tls_codec(discriminant = 6)]
    KeyRecords(KeyRecords),
    /// To evaluate: the use is durable.
    #[tls_codec(discriminant = 7)]
    Evaluated(Evaluated),
    /// To wipe: the share is gone; signed ([`crate::wipe::verify_wiped`]).
    #[tls_codec(discriminant = 8)]
    Wiped(Signature),
}

/// The outcomes of an open.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Opened {
    /// In the order of the request.
    #[tls_codec(with = "List::<OPEN_LOGS_MAX>")]
    pub logs: Vec<OpenOutcome>,
}

/// What became of one log of an open.
#[derive(Clone, PartialEq, Eq, Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub enum OpenOutcome {
    /// It is open.
    #[tls_codec(discriminant = 1)]
    Open(OpenedLog),
    /// It is not.
    #[tls_codec(discriminant = 2)]
    Refused(Refusal),
}

/// An opened log.
#[derive(Clone, PartialEq, Eq, Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct OpenedLog {
    /// Names it from now on.
    pub handle: Handle,
    /// What it is like now.
    pub view: View,
}

/// What a log is like at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct View {
    /// The oldest entry that is still stored; `next_seq` if there is none.
    pub first_seq: u64,
    /// The number the next entry gets.
    pub next_seq: u64,
    /// How many commits were appended.
    pub slots: u64,
    /// The hash after the last entry.
    pub running_hash: RunningHash,
    /// Whether it takes no more entries.
    #[tls_codec(with = "Boolean")]
    pub closed: bool,
}

/// Where an entry came to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Appended {
    /// Its number.
    pub seq: u64,
    /// The hash after it.
    pub running_hash: RunningHash,
}

/// A piece of the relay's chain of stream keys.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct KeyRecords {
    /// Oldest first; empty when there is none above the number asked for.
    #[tls_codec(with = "List::<KEY_RECORDS_PER_ANSWER_MAX>")]
    pub records: Vec<KeyRecord>,
}

/// What a relay sends unasked for an open handle.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub enum Push {
    /// An entry, stored or live; its close flag says that it is the last.
    #[tls_codec(discriminant = 1)]
    Entry(EntryPush),
    /// The stored entries were all pushed; the next one has this number.
    #[tls_codec(discriminant = 2)]
    CaughtUp(u64),
    /// The log is gone (destroyed, expired); the handle is forgotten.
    #[tls_codec(discriminant = 3)]
    Gone(Refusal),
    /// Bytes that somebody cast.
    #[tls_codec(discriminant = 4)]
    Cast(CastPush),
}

/// Bytes that somebody cast.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct CastPush {
    /// Opaque, at most 4 KiB.
    #[tls_codec(with = "Opaque::<CAST_LEN_MAX>")]
    pub bytes: Vec<u8>,
}

/// An entry with all that its reader needs to check it.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct EntryPush {
    /// Its number.
    pub seq: u64,
    /// The running hash before it, as the relay stored it with the entry.
    pub before: RunningHash,
    /// How many commits the log held before it.
    pub expect_slots: u64,
    /// It is a commit.
    #[tls_codec(with = "Boolean")]
    pub commit: bool,
    /// It is the last.
    #[tls_codec(with = "Boolean")]
    pub close: bool,
    /// How long it is kept.
    pub ttl: Ttl,
    /// Append nonce.
    pub nonce: [u8; 16],
    /// Hash over the logs created with it.
    pub next_hash: [u8; 32],
    /// The sealed entry.
    #[tls_codec(with = "Opaque::<ENTRY_LEN_MAX>")]
    pub body: Vec<u8>,
}

impl EntryPush {
    /// The AAD this entry must be sealed under.
    #[must_use]
    pub fn aad(&self, log_id: LogId) -> Aad {
        Aad {
            log_id,
            expect_slots: self.expect_slots,
            commit: self.commit,
            close: self.close,
            ttl: self.ttl,
            nonce: self.nonce,
            next_hash: self.next_hash,
        }
    }
}

impl FromRelay {
    /// The bytes for one frame.
    ///
    /// # Errors
    /// [`TooLong`] if a part exceeds its limit: our caller's mistake.
    pub fn encode(&self) -> Result<Vec<u8>, TooLong> {
        codec::encode(self)
    }

    /// What a relay sent.
    ///
    /// # Errors
    /// A [`DecodeFault`]: the relay's fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeFault> {
        codec::decode(bytes)
    }
}

/// A push that goes to several handles, each on a stream of its own.
pub struct SharedPush(Vec<u8>);

impl SharedPush {
    /// Encodes it, once.
    ///
    /// # Errors
    /// [`TooLong`] if a part exceeds its limit: our caller's mistake.
    pub fn new(push: &Push) -> Result<Self, TooLong> {
        codec::encode(push).map(SharedPush)
    }

    /// What stands before it in the message to one of the handles.
    #[must_use]
    pub fn head(handle: Handle) -> [u8; 5] {
        let [a, b, c, d] = handle.0.to_be_bytes();
        [PUSH, a, b, c, d]
    }

    /// What follows, the same in all of them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Answer {
    fn name(&self) -> &'static str {
        match self {
            Answer::Done => "done",
            Answer::Refused(refusal) => refusal.code.name(),
            Answer::Created => "created",
            Answer::Opened(_) => "opened",
            Answer::Appended(_) => "appended",
            Answer::Stale(_) => "stale",
            Answer::KeyRecords(_) => "key_records",
            Answer::Evaluated(_) => "evaluated",
            Answer::Wiped(_) => "wiped",
        }
    }
}

impl Push {
    fn name(&self) -> &'static str {
        match self {
            Push::Entry(_) => "entry",
            Push::CaughtUp(_) => "caught_up",
            Push::Gone(_) => "gone",
            Push::Cast(_) => "cast",
        }
    }
}

impl core::fmt::Debug for Answer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl core::fmt::Debug for Push {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl core::fmt::Debug for FromRelay {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            FromRelay::Answer(_, answer) => answer.fmt(f),
            FromRelay::Push(_, push) => push.fmt(f),
        }
    }
}
