//! Every key derivation of the specification: HKDF-SHA256 with a label of our own.

use hkdf::Hkdf;
use sha2::Sha256;

use crate::hash::label_len;
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
    Source(Hkdf::new(Some(salt), secret)).secret(label, context)
}

/// What HKDF-Extract makes of a secret without salt, where several things are derived from it.
pub struct Source(Hkdf<Sha256>);

impl Source {
    /// That of this secret.
    #[must_use]
    pub fn of(secret: &[u8]) -> Source {
        Source(Hkdf::new(None, secret))
    }

    /// The same as [`expand`] gives.
    #[must_use]
    pub fn secret<const N: usize>(&self, label: &'static str, context: &[u8]) -> Secret<N> {
        let mut out = Secret::zero();
        self.fill(label, context, out.expose_mut());
        out
    }

    /// The same where it is no secret.
    #[must_use]
    pub fn bytes<const N: usize>(&self, label: &'static str, context: &[u8]) -> [u8; N] {
        let mut out = [0; N];
        self.fill(label, context, &mut out);
        out
    }

    fn fill<const N: usize>(&self, label: &'static str, context: &[u8], out: &mut [u8; N]) {
        const { assert!(N <= 255 * 32, "HKDF-SHA256 gives at most 255 hashes") };
        let info = [&[label_len(label)], label.as_bytes(), context];
        self.0
            .expand_multi_info(&info, out)
            .expect("the length is checked above");
    }
}
