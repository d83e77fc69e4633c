//! The hash tables of the index.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::OnceLock;

use emptyroom_relay::store::RowKey;
use foldhash::SharedSeed;
use foldhash::fast::{FoldHasher, SeedableRandomState};

use crate::entropy;

/// Rows by their keys, which are random already. Whoever makes a log can choose among its keys, but does not know what a table's hash
/// begins with.
pub(super) type Places<T> = HashMap<RowKey, T, Seeded>;

/// Seeds from the system's generator: what foldhash takes by itself can be guessed.
#[derive(Clone)]
pub(super) struct Seeded(SeedableRandomState);

impl Default for Seeded {
    fn default() -> Self {
        static SHARED: OnceLock<SharedSeed> = OnceLock::new();
        let shared = SHARED.get_or_init(|| SharedSeed::from_u64(seed()));
        Self(SeedableRandomState::with_seed(seed(), shared))
    }
}

impl BuildHasher for Seeded {
    type Hasher = FoldHasher;

    fn build_hasher(&self) -> FoldHasher {
        self.0.build_hasher()
    }
}

fn seed() -> u64 {
    let mut bytes = [0; 8];
    entropy::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
