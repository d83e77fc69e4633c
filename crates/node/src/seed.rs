//! The one place of the client where the operating system is asked for randomness.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

use crate::api::Failure;

/// A generator with a fresh seed of the operating system.
///
/// # Errors
/// When the operating system gives none: nothing secret can be made then.
pub(crate) fn generator() -> Result<ChaCha20Rng, Failure> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut())
        .map_err(|_| Failure::fault("the operating system gives no random numbers"))?;
    Ok(ChaCha20Rng::from_seed(*seed))
}

/// A number below `bound`, evenly; for choosing words of a passphrase.
///
/// # Errors
/// When the operating system gives none.
pub fn number_below(bound: std::num::NonZeroU32) -> Result<u32, getrandom::Error> {
    let bound = bound.get();
    // Values of the last, incomplete run of `bound` are drawn again, else the first numbers would come up more often.
    let limit = u32::MAX - u32::MAX % bound;
    loop {
        let mut bytes = [0_u8; 4];
        getrandom::fill(&mut bytes)?;
        let drawn = u32::from_le_bytes(bytes);
        if drawn < limit {
            return Ok(drawn % bound);
        }
    }
}
