//! What a client asks.

use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{DeleteShare, EvaluateShare, Handle, PutShare, RenewShare, WipeShare};
use crate::codec::{self, Boolean, DecodeFault, List, Opaque, TooLong};
use crate::entry::Ttl;
use crate::limits::{
    ACCESS_CODE_LEN_MAX, CAST_LEN_MAX, ENTRY_LEN_MAX, NEXT_LOGS_MAX, OPEN_LOGS_MAX,
};
use crate::log::{Capability, Header};
use crate::sign::Signature;

/// One message from a client.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct FromClient {
    /// Chosen by the client; the answer repeats it.
    pub id: u32,
    /// What is asked.
    pub request: Request,
}

/// An operation; chapter 4 of the specification says what each means.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub enum Request {
    /// Answered by `Done` as soon as it is read: the stream lives.
    #[tls_codec(discriminant = 0)]
    Ping,
    /// Creates a log.
    #[tls_codec(discriminant = 1)]
    Create(Create),
    /// Opens logs: view, stored entries, then live ones.
    #[tls_codec(discriminant = 2)]
    Open(Open),
    /// Appends an entry.
    #[tls_codec(discriminant = 3)]
    Append(Append),
    /// Extends a log's life.
    #[tls_codec(discriminant = 4)]
    Renew(Renew),
    /// Removes entries up to a number.
    #[tls_codec(discriminant = 5)]
    Trim(Trim),
    /// Removes a log.
    #[tls_codec(discriminant = 6)]
    Destroy(Destroy),
    /// Forgets a handle; nothing more is pushed for it.
    #[tls_codec(discriminant = 7)]
    Leave(Handle),
    /// Bytes to all other open handles of the log; never stored, never answered but by a refusal.
    #[tls_codec(discriminant = 8)]
    Cast(Cast),
    /// Key records with numbers above this one, oldest first.
    #[tls_codec(discriminant = 9)]
    KeyRecords(u64),
    /// Keeps a share.
    #[tls_codec(discriminant = 16)]
    SharePut(PutShare),
    /// Multiplies an element with a share's key, which counts as a use.
    #[tls_codec(discriminant = 17)]
    ShareEvaluate(EvaluateShare),
    /// Extends a share's life.
    #[tls_codec(discriminant = 18)]
    ShareRenew(RenewShare),
    /// Removes a share.
    #[tls_codec(discriminant = 19)]
    ShareDelete(DeleteShare),
    /// Removes a share by an order that its maker provided for.
    #[tls_codec(discriminant = 20)]
    ShareWipe(WipeShare),
}

/// A log to be created.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct NewLog {
    /// Its header; the relay takes the capability from it.
    pub header: Header,
    /// Its first entry, if it starts with one.
    pub first: Option<First>,
}

/// The first entry of a new log: seq 0, expects 0 slots, no commit, no close, no next.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct First {
    /// How long it is kept.
    pub ttl: Ttl,
    /// Append nonce.
    pub nonce: [u8; 16],
    /// The sealed entry, as long as a class.
    #[tls_codec(with = "Opaque::<ENTRY_LEN_MAX>")]
    pub body: Vec<u8>,
}

/// `create(cap, header, first?, code?)`.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Create {
    /// The log.
    pub new: NewLog,
    /// The relay's access code, where it asks for one.
    pub code: Option<AccessCode>,
}

/// An access code as bytes, at most 64. `Debug` shows nothing; zeroed when dropped.
#[derive(
    Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, TlsSize, TlsSerialize, TlsDeserializeBytes,
)]
pub struct AccessCode {
    #[tls_codec(with = "Opaque::<ACCESS_CODE_LEN_MAX>")]
    bytes: Vec<u8>,
}

/// `open(cap, from, proof?)` for up to 64 logs; answered in the same order.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Open {
    /// The logs.
    #[tls_codec(with = "List::<OPEN_LOGS_MAX>")]
    pub logs: Vec<OpenLog>,
}

/// One log to be opened.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct OpenLog {
    /// Which.
    pub capability: Capability,
    /// The first entry wanted; the view's `next_seq` or more for none of the stored ones.
    pub from: u64,
    /// Signature of the read key, where the header has one ([`crate::proof::Purpose::Read`]).
    pub proof: Option<Signature>,
}

/// `append(handle, expect_slots, body, ttl, nonce, next*)`.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Append {
    /// The log.
    pub handle: Handle,
    /// Nothing is written unless the log holds exactly this many commits.
    pub expect_slots: u64,
    /// It is a commit.
    #[tls_codec(with = "Boolean")]
    pub commit: bool,
    /// It is the last.
    #[tls_codec(with = "Boolean")]
    pub close: bool,
    /// How long it is kept.
    pub ttl: Ttl,
    /// Makes a retry idempotent.
    pub nonce: [u8; 16],
    /// The sealed entry, as long as a class.
    #[tls_codec(with = "Opaque::<ENTRY_LEN_MAX>")]
    pub body: Vec<u8>,
    /// Logs to be created in the same transaction.
    #[tls_codec(with = "List::<NEXT_LOGS_MAX>")]
    pub next: Vec<NewLog>,
    /// Signature of the append key ([`crate::proof::Purpose::Append`]); needed with the first append
    /// on a handle only, where the header has an append key.
    pub proof: Option<Signature>,
}

/// `renew(handle)`.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Renew {
    /// The log.
    pub handle: Handle,
    /// Signature of the append or the owner key; not needed once the append key was proved on this
    /// handle.
    pub proof: Option<RenewProof>,
}

/// By which key a renew is allowed.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub enum RenewProof {
    /// Signed by the append key ([`crate::proof::Purpose::Append`]).
    #[tls_codec(discriminant = 1)]
    Append(Signature),
    /// Signed by the owner key ([`crate::proof::Purpose::Renew`]).
    #[tls_codec(discriminant = 2)]
    Owner(Signature),
}

/// `trim(handle, up_to, sig)`.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Trim {
    /// The log.
    pub handle: Handle,
    /// Entries with a lower number are removed.
    pub up_to: u64,
    /// Signature of the owner key ([`crate::proof::sign_trim`]).
    pub signature: Signature,
}

/// `destroy(cap, sig)`.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Destroy {
    /// The log.
    pub capability: Capability,
    /// Signature of the owner key ([`crate::proof::sign_destroy`]).
    pub signature: Signature,
}

/// `cast(handle, bytes)`.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Cast {
    /// The log.
    pub handle: Handle,
    /// Opaque, at most 4 KiB.
    #[tls_codec(with = "Opaque::<CAST_LEN_MAX>")]
    pub bytes: Vec<u8>,
}

impl FromClient {
    /// The bytes for one frame.
    ///
    /// # Errors
    /// [`TooLong`] if a part exceeds its limit: our caller's mistake.
    pub fn encode(&self) -> Result<Vec<u8>, TooLong> {
        codec::encode(self)
    }

    /// What a client sent.
    ///
    /// # Errors
    /// A [`DecodeFault`]: the client's fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeFault> {
        codec::decode(bytes)
    }
}

impl AccessCode {
    /// A code of at most 64 bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= ACCESS_CODE_LEN_MAX).then_some(AccessCode { bytes })
    }

    /// The bytes, for the moment of their use.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }
}

impl Request {
    /// The operation's name, all that a log line may say.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Request::Ping => "ping",
            Request::Create(_) => "create",
            Request::Open(_) => "open",
            Request::Append(_) => "append",
            Request::Renew(_) => "renew",
            Request::Trim(_) => "trim",
            Request::Destroy(_) => "destroy",
            Request::Leave(_) => "leave",
            Request::Cast(_) => "cast",
            Request::KeyRecords(_) => "key_records",
            Request::SharePut(_) => "share_put",
            Request::ShareEvaluate(_) => "share_evaluate",
            Request::ShareRenew(_) => "share_renew",
            Request::ShareDelete(_) => "share_delete",
            Request::ShareWipe(_) => "share_wipe",
        }
    }
}

impl core::fmt::Debug for Request {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl core::fmt::Debug for FromClient {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.request.name())
    }
}

impl core::fmt::Debug for NewLog {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("NewLog(private)")
    }
}

impl core::fmt::Debug for AccessCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("AccessCode(private)")
    }
}
