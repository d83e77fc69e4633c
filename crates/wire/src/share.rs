//! Shares: what a relay keeps for a device besides logs. A share is a secret key that answers a few times and is then gone.
//!
//! Whoever knows a share's id may have an element multiplied with its key, as often as its maker allowed: the relay's half of the
//! oblivious function of RFC 9497. The relay learns neither what goes in nor what comes out.
//!
//! What is here: the bytes, one evaluation, and the signatures of a share's owner. What is not: blinding, and what a share is good for.

use core::ops::Mul;

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use subtle::ConstantTimeEq;
use tls_codec::{
    DeserializeBytes, Error, Serialize, Size, TlsDeserializeBytes, TlsSerialize, TlsSize,
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::hash;
use crate::limits::{SHARE_DAYS_MAX, SHARE_USES_MAX};
use crate::proof::StreamBinding;
use crate::relay_key::IdentityHash;
use crate::sign::{BadSignature, SignKey, Signature, VerifyKey};
use crate::wipe::WipePolicy;

const NAME: &str = "emptyroom v1 share name";
const RENEW: &str = "emptyroom v1 proof share renew";
const DELETE: &str = "emptyroom v1 order share delete";

/// Finds a share at its relay; drawn at random by its maker. Whoever knows it may use the share up.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ShareId(Box<[u8; 32]>);

/// Names a share in signatures without giving access to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ShareName(pub [u8; 32]);

/// The secret key of a share: a scalar of the group of RFC 9497's ristretto255-SHA512 that is not zero.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ShareKey(Box<Scalar>);

/// An element of that group that is not the neutral one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Element(RistrettoPoint);

/// A share as it is put.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Share {
    /// May renew and delete it.
    pub owner: VerifyKey,
    /// What elements are multiplied with.
    pub key: ShareKey,
    /// How often.
    pub uses: u8,
    /// How many days it stays after it was put.
    pub days: u16,
    /// Whose order deletes it, besides the owner's.
    pub policy: Option<WipePolicy>,
}

impl Share {
    /// Whether uses, days and policy are what a share may have.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        (1..=SHARE_USES_MAX).contains(&self.uses)
            && are_days(self.days)
            && self.policy.as_ref().is_none_or(WipePolicy::is_sound)
    }
}

/// Whether a share may be kept for so many days.
#[must_use]
pub fn are_days(days: u16) -> bool {
    (1..=SHARE_DAYS_MAX).contains(&days)
}

impl ShareId {
    /// From random bytes, or out of a vault.
    #[must_use]
    pub fn new(mut bytes: [u8; 32]) -> Self {
        let mut id = ShareId(Box::new([0; 32]));
        id.0.copy_from_slice(&bytes);
        bytes.zeroize();
        id
    }

    /// The bytes, for the moment of their use.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The name of this share.
    #[must_use]
    pub fn name(&self) -> ShareName {
        // [SPEC 4.14]
        ShareName(hash::labelled(NAME, &[self.0.as_slice()]))
    }
}

impl ShareKey {
    /// The key with this canonical encoding, if it is one of a scalar that is not zero.
    #[must_use]
    pub fn new(mut bytes: [u8; 32]) -> Option<Self> {
        // [SPEC 4.14]
        let scalar = Option::<Scalar>::from(Scalar::from_canonical_bytes(bytes));
        let scalar = scalar.map(Zeroizing::new);
        bytes.zeroize();
        let mut key = ShareKey(Box::new(Scalar::ZERO));
        *key.0 = *scalar?;
        (*key.0 != Scalar::ZERO).then_some(key)
    }

    /// `BlindEvaluate` of RFC 9497 (section 3.3.1, mode 0x00).
    #[must_use]
    pub fn evaluate(&self, blinded: &Element) -> Element {
        // The group's order is a prime: neither factor is zero, so neither is the product.
        // [SPEC 4.72]
        Element(Mul::mul(&blinded.0, &*self.0))
    }
}

impl Element {
    /// The element with this canonical encoding, if it is one and not the neutral one.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Option<Self> {
        // [SPEC 4.14]
        let point = CompressedRistretto(bytes).decompress()?;
        (!point.is_identity()).then_some(Element(point))
    }

    /// Its encoding.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.compress().to_bytes()
    }
}

/// Proves on one stream that the share may be kept for so many days from now.
#[must_use]
pub fn sign_renew(
    owner: &SignKey,
    relay: &IdentityHash,
    binding: &StreamBinding,
    (share, days): (ShareName, u16),
) -> Signature {
    owner.sign(
        RENEW,
        &[&relay.0, binding.expose(), &share.0, &days.to_be_bytes()],
    )
}

/// Checks what [`sign_renew`] made.
///
/// # Errors
/// [`BadSignature`].
pub fn verify_renew(
    owner: &VerifyKey,
    relay: &IdentityHash,
    binding: &StreamBinding,
    (share, days): (ShareName, u16),
    proof: &Signature,
) -> Result<(), BadSignature> {
    // [SPEC 4.73]
    owner.verify(
        RENEW,
        &[&relay.0, binding.expose(), &share.0, &days.to_be_bytes()],
        proof,
    )
}

/// The owner's order to delete the share. It holds on any stream, so it can be signed in advance.
#[must_use]
pub fn sign_delete(owner: &SignKey, relay: &IdentityHash, share: ShareName) -> Signature {
    owner.sign(DELETE, &[&relay.0, &share.0])
}

/// Checks what [`sign_delete`] made.
///
/// # Errors
/// [`BadSignature`].
pub fn verify_delete(
    owner: &VerifyKey,
    relay: &IdentityHash,
    share: ShareName,
    order: &Signature,
) -> Result<(), BadSignature> {
    // [SPEC 4.74]
    owner.verify(DELETE, &[&relay.0, &share.0], order)
}

impl PartialEq for ShareId {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for ShareId {}

impl PartialEq for ShareKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for ShareKey {}

impl core::fmt::Debug for ShareName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ShareName(private)")
    }
}

/// Each is 32 bytes on the wire: how they are made, and how they are written.
macro_rules! bytes_on_the_wire {
    ($type:ty, $read:expr, $written:expr) => {
        impl Size for $type {
            fn tls_serialized_len(&self) -> usize {
                32
            }
        }

        impl Serialize for $type {
            fn tls_serialize<W: std::io::Write>(&self, writer: &mut W) -> Result<usize, Error> {
                let written: fn(&$type) -> [u8; 32] = $written;
                Zeroizing::new(written(self)).tls_serialize(writer)
            }
        }

        impl DeserializeBytes for $type {
            fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
                let (value, rest) = <[u8; 32]>::tls_deserialize_bytes(bytes)?;
                let value = Zeroizing::new(value);
                let read: fn([u8; 32]) -> Option<$type> = $read;
                Ok((read(*value).ok_or(Error::InvalidInput)?, rest))
            }
        }
    };
}

bytes_on_the_wire!(ShareId, |bytes| Some(ShareId::new(bytes)), |id| *id.0);
bytes_on_the_wire!(ShareKey, ShareKey::new, |key| key.0.to_bytes());
bytes_on_the_wire!(Element, Element::new, Element::to_bytes);
