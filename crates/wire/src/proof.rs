//! Signatures by which a log's keys allow an operation.
//!
//! Proofs for reading, appending and renewing are bound to one stream, so that neither another relay
//! nor another stream can use them. The owner's orders (trim, destroy) are bound to the relay only:
//! they can be signed in advance and delivered by anybody. All name the log by its id and not by its
//! capability, so that a relay need not keep capabilities in memory to check them.

use crate::log::LogId;
use crate::relay_key::IdentityHash;
use crate::secret::Secret32;
use crate::sign::{BadSignature, SignKey, Signature, VerifyKey};

const READ: &str = "emptyroom v1 proof read";
const APPEND: &str = "emptyroom v1 proof append";
const RENEW: &str = "emptyroom v1 proof renew";
const TRIM: &str = "emptyroom v1 order trim";
const DESTROY: &str = "emptyroom v1 order destroy";

/// What a proof that is bound to a stream allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Opening a log that has a read key; signed by it.
    Read,
    /// Appending and renewing on one handle; signed by the append key.
    Append,
    /// Renewing; signed by the owner key.
    Renew,
}

/// A value both ends of one stream know and nobody else: what a proof is bound to.
pub struct StreamBinding(Secret32);

/// Where a proof holds: at this relay, on this stream, for this log.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The relay.
    pub relay: &'a IdentityHash,
    /// The stream.
    pub binding: &'a StreamBinding,
    /// The log.
    pub log: LogId,
}

impl StreamBinding {
    /// The value of a stream, see [`crate::stream`].
    #[must_use]
    pub fn new(bytes: Secret32) -> Self {
        StreamBinding(bytes)
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// Signs that this stream may do `purpose` on the log.
#[must_use]
pub fn sign(key: &SignKey, purpose: Purpose, scope: Scope<'_>) -> Signature {
    key.sign(label(purpose), &scope.parts())
}

/// Checks what [`sign`] made.
///
/// # Errors
/// [`BadSignature`].
pub fn verify(
    key: &VerifyKey,
    purpose: Purpose,
    scope: Scope<'_>,
    signature: &Signature,
) -> Result<(), BadSignature> {
    // [SPEC 4.11]
    key.verify(label(purpose), &scope.parts(), signature)
}

/// The owner's order to remove all entries below `up_to`.
#[must_use]
pub fn sign_trim(key: &SignKey, relay: &IdentityHash, log: LogId, up_to: u64) -> Signature {
    key.sign(TRIM, &[&relay.0, &log.0, &up_to.to_be_bytes()])
}

/// Checks what [`sign_trim`] made.
///
/// # Errors
/// [`BadSignature`].
pub fn verify_trim(
    key: &VerifyKey,
    relay: &IdentityHash,
    log: LogId,
    up_to: u64,
    signature: &Signature,
) -> Result<(), BadSignature> {
    // [SPEC 4.12]
    key.verify(TRIM, &[&relay.0, &log.0, &up_to.to_be_bytes()], signature)
}

/// The owner's order to destroy the log.
#[must_use]
pub fn sign_destroy(key: &SignKey, relay: &IdentityHash, log: LogId) -> Signature {
    key.sign(DESTROY, &[&relay.0, &log.0])
}

/// Checks what [`sign_destroy`] made.
///
/// # Errors
/// [`BadSignature`].
pub fn verify_destroy(
    key: &VerifyKey,
    relay: &IdentityHash,
    log: LogId,
    signature: &Signature,
) -> Result<(), BadSignature> {
    // [SPEC 4.12]
    key.verify(DESTROY, &[&relay.0, &log.0], signature)
}

impl Scope<'_> {
    fn parts(&self) -> [&[u8]; 3] {
        [&self.relay.0, self.binding.expose(), &self.log.0]
    }
}

fn label(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Read => READ,
        Purpose::Append => APPEND,
        Purpose::Renew => RENEW,
    }
}
