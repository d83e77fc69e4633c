//! Who a relay is, and its short-lived stream keys as one signed chain.
//!
//! A relay is the hash of its Ed25519 identity key. Every hour (and at every start: the private
//! halves live in memory only) it makes an X-Wing stream key and signs a [`KeyRecord`] for it, which
//! names the record before. A client keeps the head it saw ([`KeyChain`]), so a key made for one
//! client alone, or a relay put back to an older state, shows.

mod chain;

pub use chain::{ChainFault, ChainStep, Head, KeyBelow, KeyChain, Trail};

use rand_core::CryptoRng;
use tls_codec::{
    DeserializeBytes, Error, Serialize, Size, TlsDeserializeBytes, TlsSerialize, TlsSize,
};

use crate::hash;
use crate::kem::{KemPublicKey, KemSecretKey, PUBLIC_KEY_LEN, ReadyKey};
use crate::secret::Secret32;
use crate::share::ShareName;
use crate::sign::{BadSignature, SignKey, Signature, VerifyKey};
use crate::time::{SECOND_MS, Wall};
use crate::wipe::{self, OrderHash};

const IDENTITY: &str = "emptyroom v1 relay identity";
const STREAM_KEY: &str = "emptyroom v1 stream key";
const RECORD: &str = "emptyroom v1 key record";
const CARRIER: &str = "emptyroom v1 carrier binding";

/// Names a relay: SHA-256 of its identity key. Pinned by addresses and links.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, TlsSize, TlsSerialize, TlsDeserializeBytes,
)]
pub struct IdentityHash(pub [u8; 32]);

/// The relay's own long-term key.
pub struct RelayIdentity {
    key: SignKey,
    public: VerifyKey,
    hash: IdentityHash,
}

/// One link of the chain of stream keys.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct KeyRecord {
    /// Higher than its predecessor's: the unix time in seconds where that is higher.
    pub number: u64,
    /// [`KeyRecord::hash`] of the record before; zero for a chain's first.
    pub previous: [u8; 32],
    /// Hash of the stream key.
    pub key_hash: [u8; 32],
    /// By the identity key.
    pub signature: Signature,
}

/// A record together with the key it is for: what a client needs to open a stream.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct SignedKey {
    /// The record.
    pub record: KeyRecord,
    /// The key whose hash it holds.
    pub key: KemPublicKey,
}

/// A relay's stream key with its private half; memory only, an hour.
pub struct StreamKey {
    secret: ReadyKey,
    signed: SignedKey,
    hash: [u8; 32],
}

impl RelayIdentity {
    /// The identity of a seed that the relay made at its first start.
    #[must_use]
    pub fn from_seed(seed: &Secret32) -> Self {
        let key = SignKey::from_seed(seed);
        let public = key.verify_key();
        RelayIdentity {
            key,
            public,
            hash: IdentityHash::of(&public),
        }
    }

    /// The name of this relay.
    #[must_use]
    pub fn hash(&self) -> IdentityHash {
        self.hash
    }

    /// The public half.
    #[must_use]
    pub fn verify_key(&self) -> VerifyKey {
        self.public
    }

    /// A fresh stream key whose record follows `previous`. The record must be durable before the key
    /// is used.
    #[must_use]
    pub fn next_stream_key(
        &self,
        previous: Option<&KeyRecord>,
        now: Wall,
        rng: &mut dyn CryptoRng,
    ) -> StreamKey {
        // [SPEC 5.4]
        let secret = KemSecretKey::generate(rng).ready();
        let key = secret.public_key();
        let key_hash = hash::labelled(STREAM_KEY, &[key.as_bytes()]);
        let after = previous.map_or(0, |record| record.number.saturating_add(1));
        let number = after.max(now.0 / SECOND_MS);
        let previous = previous.map_or([0; 32], |record| record.hash(&self.hash));
        let signature = self.key.sign(
            RECORD,
            &[&self.hash.0, &number.to_be_bytes(), &previous, &key_hash],
        );
        let record = KeyRecord {
            number,
            previous,
            key_hash,
            signature,
        };
        let hash = record.hash(&self.hash);
        StreamKey {
            secret,
            signed: SignedKey { record, key },
            hash,
        }
    }

    /// Says that this share is gone from here by this order.
    #[must_use]
    pub fn wiped(&self, share: ShareName, order: &OrderHash) -> Signature {
        // [SPEC 4.76]
        wipe::sign_wiped(&self.key, &self.hash, share, order)
    }

    /// Says that the TLS certificate with this SPKI hash (SHA-256) is this relay's.
    #[must_use]
    pub fn carrier_binding(&self, spki_hash: &[u8; 32]) -> Signature {
        self.key.sign(CARRIER, &[&self.hash.0, spki_hash])
    }
}

impl IdentityHash {
    /// The name of the relay with this identity key.
    #[must_use]
    pub fn of(key: &VerifyKey) -> Self {
        // [SPEC 5.1]
        IdentityHash(hash::labelled(IDENTITY, &[&key.0]))
    }
}

/// Checks what [`RelayIdentity::carrier_binding`] made.
///
/// # Errors
/// [`BadSignature`].
pub fn verify_carrier_binding(
    identity: &VerifyKey,
    spki_hash: &[u8; 32],
    signature: &Signature,
) -> Result<(), BadSignature> {
    // [SPEC 5.3]
    let hash = IdentityHash::of(identity);
    identity.verify(CARRIER, &[&hash.0, spki_hash], signature)
}

impl KeyRecord {
    /// What the next record and an opening name this one by; the signature is not part of it.
    #[must_use]
    pub fn hash(&self, relay: &IdentityHash) -> [u8; 32] {
        // [SPEC 5.5]
        hash::labelled(
            RECORD,
            &[
                &relay.0,
                &self.number.to_be_bytes(),
                &self.previous,
                &self.key_hash,
            ],
        )
    }

    /// Checks that the relay with this identity key signed the record.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, identity: &VerifyKey) -> Result<(), BadSignature> {
        // [SPEC 5.5]
        let relay = IdentityHash::of(identity);
        let number = self.number.to_be_bytes();
        identity.verify(
            RECORD,
            &[&relay.0, &number, &self.previous, &self.key_hash],
            &self.signature,
        )
    }
}

impl SignedKey {
    /// Checks signature and key hash.
    ///
    /// # Errors
    /// [`BadSignature`] also when the key is not the record's.
    pub fn verify(&self, identity: &VerifyKey) -> Result<(), BadSignature> {
        // [SPEC 5.5]
        if hash::labelled(STREAM_KEY, &[self.key.as_bytes()]) != self.record.key_hash {
            return Err(BadSignature);
        }
        self.record.verify(identity)
    }
}

impl StreamKey {
    /// The record and public key, for greetings and for whoever used an old one.
    #[must_use]
    pub fn signed(&self) -> &SignedKey {
        &self.signed
    }

    /// What an opening names this key by.
    #[must_use]
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    pub(crate) fn secret(&self) -> &ReadyKey {
        &self.secret
    }
}

impl Size for KemPublicKey {
    fn tls_serialized_len(&self) -> usize {
        PUBLIC_KEY_LEN
    }
}

impl Serialize for KemPublicKey {
    fn tls_serialize<W: std::io::Write>(&self, writer: &mut W) -> Result<usize, Error> {
        self.as_bytes().tls_serialize(writer)
    }
}

impl DeserializeBytes for KemPublicKey {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (key, rest) = bytes
            .split_at_checked(PUBLIC_KEY_LEN)
            .ok_or(Error::EndOfStream)?;
        let key = KemPublicKey::new(key).map_err(|_| Error::InvalidInput)?;
        Ok((key, rest))
    }
}

impl core::fmt::Debug for IdentityHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("IdentityHash(private)")
    }
}

impl core::fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KeyRecord(private)")
    }
}
