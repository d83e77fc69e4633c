//! Why a relay did not do what was asked.

use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

/// A refusal and when it is worth asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Refusal {
    /// Why.
    pub code: RefusalCode,
    /// Seconds until it is worth asking again; 0 if time does not change it.
    pub retry_after_s: u32,
}

/// The reasons. Each is what the asker needs to decide what to do next, and no more.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, TlsSize, TlsSerialize, TlsDeserializeBytes,
)]
#[repr(u8)]
pub enum RefusalCode {
    /// There is no such log or share, or no such handle on this stream.
    Unknown = 1,
    /// The log or share was destroyed.
    Destroyed = 2,
    /// The log is closed.
    Closed = 3,
    /// The log has as many entries or bytes as it may.
    Full = 4,
    /// No key of the log or share allows it.
    NotAllowed = 5,
    /// A signature is missing or does not fit.
    BadProof = 6,
    /// The access code is missing or wrong.
    BadCode = 7,
    /// A part is larger than this relay takes.
    TooLarge = 8,
    /// More handles or requests than this relay allows on a stream.
    TooMany = 9,
    /// The budget inherited from the log that was created with a code is used up.
    Budget = 10,
    /// The relay is busy.
    Busy = 11,
    /// The relay's disk is full.
    StorageFull = 12,
    /// The client is too old for this relay.
    UpdateNeeded = 13,
    /// The request does not decode, or contradicts itself.
    Malformed = 14,
    /// A log with this capability exists, with another first entry; or another share with this id.
    Exists = 15,
    /// The log's flags refuse to be closed.
    RefusedClose = 16,
    /// The nonce was used for another entry.
    NonceReused = 17,
    /// The relay is shutting down.
    Draining = 18,
    /// The relay could not store it (its fault).
    StoreFailed = 19,
    /// The share answered as often as it may.
    UsedUp = 20,
}

impl Refusal {
    /// A refusal that time does not change.
    #[must_use]
    pub fn now(code: RefusalCode) -> Self {
        Refusal {
            code,
            retry_after_s: 0,
        }
    }

    /// A refusal that may end after `retry_after_s` seconds.
    #[must_use]
    pub fn later(code: RefusalCode, retry_after_s: u32) -> Self {
        Refusal {
            code,
            retry_after_s,
        }
    }
}

impl RefusalCode {
    /// A stable name for machines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RefusalCode::Unknown => "unknown",
            RefusalCode::Destroyed => "destroyed",
            RefusalCode::Closed => "closed",
            RefusalCode::Full => "full",
            RefusalCode::NotAllowed => "not_allowed",
            RefusalCode::BadProof => "bad_proof",
            RefusalCode::BadCode => "bad_code",
            RefusalCode::TooLarge => "too_large",
            RefusalCode::TooMany => "too_many",
            RefusalCode::Budget => "budget",
            RefusalCode::Busy => "busy",
            RefusalCode::StorageFull => "storage_full",
            RefusalCode::UpdateNeeded => "update_needed",
            RefusalCode::Malformed => "malformed",
            RefusalCode::Exists => "exists",
            RefusalCode::RefusedClose => "refused_close",
            RefusalCode::NonceReused => "nonce_reused",
            RefusalCode::Draining => "draining",
            RefusalCode::StoreFailed => "store_failed",
            RefusalCode::UsedUp => "used_up",
        }
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.code.name())
    }
}

impl std::error::Error for Refusal {}
