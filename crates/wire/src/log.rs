//! The log: the object that a relay keeps entries in, named by the hash of its header.

use subtle::ConstantTimeEq;
use tls_codec::{
    DeserializeBytes, Error, Serialize, Size, TlsDeserializeBytes, TlsSerialize, TlsSize,
};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::hash;
use crate::secret::Private;
use crate::sign::VerifyKey;

const CAPABILITY: &str = "emptyroom v1 capability";
const LOG_ID: &str = "emptyroom v1 log id";

/// Who knows it may read the log (unless its header has a read key) and append with its key.
///
/// The hash of the [`Header`]. Compared in constant time; `Debug` shows nothing; not an ordered map's
/// key (use [`LogId`] for that).
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Capability(Box<[u8; 32]>);

/// Names a log without giving access to it: SHA-256 of the capability. Part of every entry's AAD.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, TlsSize, TlsSerialize, TlsDeserializeBytes,
)]
pub struct LogId(pub [u8; 32]);

/// What a log is: fixed when it is created, hashed to its capability.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Header {
    /// Makes the capability unguessable and the header unlike any other.
    pub salt: Private<[u8; 32]>,
    /// Must have signed for an append; absent: whoever knows the capability.
    pub append_key: Option<VerifyKey>,
    /// Must have signed for an open; absent: whoever knows the capability.
    pub read_key: Option<VerifyKey>,
    /// May trim, destroy and renew; absent: nobody.
    pub owner_key: Option<VerifyKey>,
    /// How the log behaves.
    pub flags: Flags,
}

/// Behaviour of a log, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// An ordinary log.
    pub const NONE: Flags = Flags(0);
    /// An append with the close flag is refused.
    pub const REFUSE_CLOSE: Flags = Flags(1);
    /// Above 64 entries the oldest is dropped instead of refusing the new one.
    pub const DROP_OLDEST: Flags = Flags(2);
    /// Header and entries live 400 days after the last renew.
    pub const RECOVERY_LIFE: Flags = Flags(4);
    /// All three: the flags of a recovery log.
    pub const RECOVERY: Flags = Flags(7);

    /// Whether every bit of `flags` is set.
    #[must_use]
    pub fn has(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Both together.
    #[must_use]
    pub fn and(self, flags: Flags) -> Flags {
        Flags(self.0 | flags.0)
    }

    /// The byte on the wire.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The flags of a byte; `None` if it has a bit that this version does not know.
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Flags> {
        // [SPEC 2.5]
        (bits & !Flags::RECOVERY.0 == 0).then_some(Flags(bits))
    }
}

impl Header {
    /// The capability of the log with this header.
    #[must_use]
    pub fn capability(&self) -> Capability {
        // [SPEC 2.6]
        let bytes = self
            .tls_serialize_detached()
            .expect("a header has no part that could be too long");
        Capability(Box::new(hash::labelled(CAPABILITY, &[&bytes])))
    }
}

impl Capability {
    /// From bytes that came over the wire or out of a vault.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Capability(Box::new(bytes))
    }

    /// The bytes, for the moment of their use.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id of this log.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        // [SPEC 2.7]
        LogId(hash::labelled(LOG_ID, &[self.0.as_slice()]))
    }
}

impl PartialEq for Capability {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for Capability {}

impl core::fmt::Debug for Capability {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Capability(private)")
    }
}

impl core::fmt::Debug for LogId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("LogId(private)")
    }
}

impl core::fmt::Debug for Header {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Header(private)")
    }
}

impl Size for Capability {
    fn tls_serialized_len(&self) -> usize {
        32
    }
}

impl Serialize for Capability {
    fn tls_serialize<W: std::io::Write>(&self, writer: &mut W) -> Result<usize, Error> {
        self.0.tls_serialize(writer)
    }
}

impl DeserializeBytes for Capability {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (value, rest) = <[u8; 32]>::tls_deserialize_bytes(bytes)?;
        Ok((Capability::new(value), rest))
    }
}

impl Size for Flags {
    fn tls_serialized_len(&self) -> usize {
        1
    }
}

impl Serialize for Flags {
    fn tls_serialize<W: std::io::Write>(&self, writer: &mut W) -> Result<usize, Error> {
        self.0.tls_serialize(writer)
    }
}

impl DeserializeBytes for Flags {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (bits, rest) = u8::tls_deserialize_bytes(bytes)?;
        let flags = Flags::from_bits(bits).ok_or(Error::InvalidInput)?;
        Ok((flags, rest))
    }
}

impl<T: Size> Size for Private<T> {
    fn tls_serialized_len(&self) -> usize {
        self.0.tls_serialized_len()
    }
}

impl<T: Serialize> Serialize for Private<T> {
    fn tls_serialize<W: std::io::Write>(&self, writer: &mut W) -> Result<usize, Error> {
        self.0.tls_serialize(writer)
    }
}

impl<T: DeserializeBytes> DeserializeBytes for Private<T> {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (value, rest) = T::tls_deserialize_bytes(bytes)?;
        Ok((Private(value), rest))
    }
}
