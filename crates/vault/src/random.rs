//! The injected randomness, shared by the parts of one vault.

use std::sync::{Arc, Mutex, PoisonError};

use rand_core::CryptoRng;

/// A handle to the vault's one generator.
#[derive(Clone)]
pub(crate) struct Random(Arc<Mutex<Box<dyn CryptoRng + Send>>>);

impl Random {
    pub(crate) fn new(rng: Box<dyn CryptoRng + Send>) -> Self {
        Random(Arc::new(Mutex::new(rng)))
    }

    pub(crate) fn fill(&self, out: &mut [u8]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill_bytes(out);
    }

    pub(crate) fn array<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// A number below `n`, of at most 256: only used where a slight bias is harmless.
    pub(crate) fn below(&self, n: u8) -> u8 {
        let [byte] = self.array::<1>();
        byte % n.max(1)
    }
}
