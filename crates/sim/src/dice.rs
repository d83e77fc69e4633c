//! Every choice that a run makes, from its seed.

use emptyroom_wire::rng::CryptoRng;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// A seeded source of choices. Each use has its own stream, so that one more choice here changes nothing there.
pub struct Dice(ChaCha20Rng);

impl Dice {
    /// The choices of one seed for one use.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Dice {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Dice(rng)
    }

    /// A source of randomness for a client, a relay or a disk.
    #[must_use]
    pub fn rng(seed: u64, stream: u64) -> Box<dyn CryptoRng + Send> {
        Box::new(Dice::new(seed, stream).0)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `limit` (0 for a limit of 0).
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number().checked_rem(limit).unwrap_or(0)
    }

    /// A number from `low` up to and with `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Yes in so many of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// An index into a list of this length.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// One of a list that is not empty.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    /// A time whose order of magnitude is random: between 1 ms and `max_ms`.
    pub fn time_ms(&mut self, max_ms: u64) -> u64 {
        let bits = self.below(u64::from(max_ms.max(1).ilog2()) + 1);
        self.between(1, 1 << bits).min(max_ms)
    }
}
