//! The one door through which randomness enters: whoever calls hands it in.
//!
//! Shells and the simulator construct a `rand_chacha::ChaCha20Rng`; nothing in the pure crates asks
//! the operating system, so that a seed reproduces a run.

pub use rand_core::{CryptoRng, Rng};

use crate::secret::Secret;

/// `N` random bytes that are no secret (nonces, ids).
pub fn bytes<const N: usize>(rng: &mut dyn CryptoRng) -> [u8; N] {
    let mut out = [0; N];
    rng.fill_bytes(&mut out);
    out
}

/// `N` random bytes that are a secret.
pub fn secret<const N: usize>(rng: &mut dyn CryptoRng) -> Secret<N> {
    let mut out = Secret::zero();
    rng.fill_bytes(out.expose_mut());
    out
}
