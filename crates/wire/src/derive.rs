//! Every key derivation of the specification: HKDF-SHA256 with a label of our own.

use hkdf::Hkdf;
use sha2::Sha256;

use crate::secret::Secret;

/// `N` bytes from `secret` for one purpose: HKDF-Extract without salt, then HKDF-Expand with
/// info = label length (one byte) ‖ label ‖ context.
///
/// Labels begin with `emptyroom v1 `. `N` is at most 8,160 (255 hashes).
#[must_use]
pub fn expand<const N: usize>(secret: &[u8], label: &'static str, context: &[u8]) -> Secret<N> {
    // [SPEC 2.2]
    expand_salted(&[], secret, label, context)
}

/// The same with a salt that is mixed in by HKDF-Extract.
#[must_use]
pub fn expand_salted<const N: usize>(
    salt: &[u8],
    secret: &[u8],
    label: &'static str,
    context: &[u8],
) -> Secret<N> {
    const { assert!(N <= 255 * 32, "HKDF-SHA256 gives at most 255 hashes") };
    let info = crate::hash::labelled_bytes(label, &[context]);
    let mut out = Secret::zero();
    Hkdf::<Sha256>::new(Some(salt), secret)
        .expand(&info, out.expose_mut())
        .expect("the length is checked above");
    out
}
