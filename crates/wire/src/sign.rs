//! Ed25519 as this protocol uses it: a label before every message, strict verification.

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use crate::hash::labelled_bytes;
use crate::secret::Secret32;

/// A private signing key. It stays in its box; `SigningKey` zeroes itself when dropped.
pub struct SignKey(Box<SigningKey>);

/// A verification key as bytes; whether it is a point on the curve shows when it is used.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, TlsSize, TlsSerialize, TlsDeserializeBytes,
)]
pub struct VerifyKey(pub [u8; 32]);

/// A signature as bytes.
#[derive(Clone, Copy, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Signature(pub [u8; 64]);

/// The signature does not fit key and message; the signer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSignature;

impl SignKey {
    /// The key of a 32-byte seed (the private key of RFC 8032).
    #[must_use]
    pub fn from_seed(seed: &Secret32) -> Self {
        SignKey(Box::new(SigningKey::from_bytes(seed.expose())))
    }

    /// The seed again, to be kept in a vault.
    #[must_use]
    pub fn seed(&self) -> Secret32 {
        Secret32::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn verify_key(&self) -> VerifyKey {
        VerifyKey(self.0.verifying_key().to_bytes())
    }

    /// Signs label ‖ parts. Parts must have fixed lengths, or be one.
    #[must_use]
    pub fn sign(&self, label: &'static str, parts: &[&[u8]]) -> Signature {
        // [SPEC 2.3]
        Signature(self.0.sign(&labelled_bytes(label, parts)).to_bytes())
    }
}

impl VerifyKey {
    /// Checks a signature over label ‖ parts.
    ///
    /// # Errors
    /// [`BadSignature`] if it does not fit, or the key is none or of small order.
    pub fn verify(
        &self,
        label: &'static str,
        parts: &[&[u8]],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        // [SPEC 2.3]
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| BadSignature)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(&labelled_bytes(label, parts), &signature)
            .map_err(|_| BadSignature)
    }
}

impl core::fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("VerifyKey(private)")
    }
}

impl core::fmt::Debug for Signature {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Signature(private)")
    }
}

impl core::fmt::Display for BadSignature {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("signature does not fit")
    }
}

impl std::error::Error for BadSignature {}
