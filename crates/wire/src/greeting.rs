//! The greeting: the first frame on a connection, in clear inside TLS.
//!
//! It holds what a client must know before it can open a stream: versions, identity, stream key, and
//! that the TLS certificate is the relay's. What a client must be able to rely on (limits, time) comes
//! inside the stream, as [`Terms`].

use tls_codec::{DeserializeBytes, TlsDeserializeBytes, TlsSerialize, TlsSize};

use crate::codec::{self, Boolean, DecodeFault};
use crate::relay_key::{IdentityHash, RelayIdentity, SignedKey, StreamKey, verify_carrier_binding};
use crate::sign::{Signature, VerifyKey};
use crate::time::Wall;
use crate::{PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN};

/// The first frame of a relay. The two version numbers stay where they are in every version.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Greeting {
    /// Lowest protocol version the relay speaks.
    pub version_min: u16,
    /// Highest protocol version the relay speaks.
    pub version_max: u16,
    /// The relay's identity key.
    pub identity: VerifyKey,
    /// Its current stream key.
    pub stream_key: SignedKey,
    /// Signature over the SPKI hash of the TLS certificate; absent on carriers without TLS.
    pub carrier_binding: Option<Signature>,
}

/// What a relay tells a client inside the stream, as its first message there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Terms {
    /// The relay's wall clock, unix milliseconds.
    pub time_ms: u64,
    /// After losing the connection wait a random time up to this, in seconds.
    pub reconnect_spread_s: u32,
    /// The largest entry this relay takes, bytes.
    pub entry_len_max: u32,
    /// Handles one stream may hold.
    pub handles_max: u32,
    /// Requests one stream may have under way.
    pub requests_max: u16,
    /// Whether creating a log needs an access code.
    #[tls_codec(with = "Boolean")]
    pub code_needed: bool,
}

/// Why a greeting was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GreetingFault {
    /// This program is too old for the relay.
    UpdateNeeded {
        /// The lowest version the relay speaks.
        relay_min: u16,
    },
    /// The relay is too old for this program.
    RelayTooOld {
        /// The highest version the relay speaks.
        relay_max: u16,
    },
    /// It is another relay than the address or link names.
    WrongIdentity,
    /// The TLS certificate is not this relay's: somebody stands between.
    WrongCertificate,
    /// The stream key is not signed by the relay.
    BadStreamKey,
    /// The bytes are no greeting.
    Malformed(DecodeFault),
}

impl Greeting {
    /// The greeting for connections over the certificate with this SPKI hash (SHA-256).
    #[must_use]
    pub fn new(
        identity: &RelayIdentity,
        stream_key: &StreamKey,
        spki_hash: Option<&[u8; 32]>,
    ) -> Self {
        Greeting {
            version_min: PROTOCOL_VERSION_MIN,
            version_max: PROTOCOL_VERSION_MAX,
            identity: identity.verify_key(),
            stream_key: stream_key.signed().clone(),
            carrier_binding: spki_hash.map(|hash| identity.carrier_binding(hash)),
        }
    }

    /// The bytes for one frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self).expect("a greeting has no part that could be too long")
    }

    /// Reads and checks a greeting: versions, identity, certificate (where the carrier has one),
    /// stream key.
    ///
    /// # Errors
    /// A [`GreetingFault`]: the relay's fault, or that of somebody between.
    pub fn read(
        bytes: &[u8],
        expected: &IdentityHash,
        spki_hash: Option<&[u8; 32]>,
    ) -> Result<Self, GreetingFault> {
        check_versions(bytes)?;
        let greeting: Greeting = codec::decode(bytes).map_err(GreetingFault::Malformed)?;
        // [SPEC 5.2]
        if IdentityHash::of(&greeting.identity) != *expected {
            return Err(GreetingFault::WrongIdentity);
        }
        // [SPEC 5.3]
        if let Some(spki_hash) = spki_hash {
            let binding = greeting
                .carrier_binding
                .ok_or(GreetingFault::WrongCertificate)?;
            verify_carrier_binding(&greeting.identity, spki_hash, &binding)
                .map_err(|_| GreetingFault::WrongCertificate)?;
        }
        greeting
            .stream_key
            .verify(&greeting.identity)
            .map_err(|_| GreetingFault::BadStreamKey)?;
        Ok(greeting)
    }

    /// The highest version that both speak; [`Greeting::read`] made sure that there is one.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version_max.min(PROTOCOL_VERSION_MAX)
    }
}

/// Versions are looked at before the rest, which a newer one may have changed.
fn check_versions(bytes: &[u8]) -> Result<(), GreetingFault> {
    let malformed = |_| GreetingFault::Malformed(DecodeFault::Truncated);
    let (relay_min, rest) = u16::tls_deserialize_bytes(bytes).map_err(malformed)?;
    let (relay_max, _) = u16::tls_deserialize_bytes(rest).map_err(malformed)?;
    // [SPEC 5.2]
    if relay_min > relay_max {
        return Err(GreetingFault::Malformed(DecodeFault::Invalid));
    }
    if relay_min > PROTOCOL_VERSION_MAX {
        return Err(GreetingFault::UpdateNeeded { relay_min });
    }
    if relay_max < PROTOCOL_VERSION_MIN {
        return Err(GreetingFault::RelayTooOld { relay_max });
    }
    Ok(())
}

impl Terms {
    /// The relay's wall clock.
    #[must_use]
    pub fn time(&self) -> Wall {
        Wall(self.time_ms)
    }
}

impl core::fmt::Display for GreetingFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            GreetingFault::UpdateNeeded { relay_min } => {
                write!(
                    f,
                    "the relay needs protocol {relay_min}, this program speaks {PROTOCOL_VERSION_MAX}: update needed"
                )
            }
            GreetingFault::RelayTooOld { relay_max } => {
                write!(
                    f,
                    "the relay speaks protocol {relay_max}, this program needs {PROTOCOL_VERSION_MIN}: the relay must be updated"
                )
            }
            GreetingFault::WrongIdentity => {
                f.write_str("another relay answered than the address names")
            }
            GreetingFault::WrongCertificate => {
                f.write_str("the TLS certificate is not this relay's")
            }
            GreetingFault::BadStreamKey => {
                f.write_str("the relay's stream key is not signed by it")
            }
            GreetingFault::Malformed(fault) => write!(f, "no greeting: {fault}"),
        }
    }
}

impl std::error::Error for GreetingFault {}
