//! The one place where the operating system's randomness enters.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

/// Fills a buffer from the operating system.
///
/// # Panics
/// If the system has no randomness to give: nothing can be done safely then.
#[allow(clippy::expect_used)]
pub fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives randomness");
}

/// A generator seeded by the operating system.
#[must_use]
pub fn generator() -> ChaCha20Rng {
    let mut seed = Zeroizing::new([0; 32]);
    fill(seed.as_mut());
    ChaCha20Rng::from_seed(*seed)
}
