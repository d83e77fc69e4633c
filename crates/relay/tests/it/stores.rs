//! The ledger over rows in memory.

use emptyroom_relay::conformance::{CHECKS, Subject};
use emptyroom_relay::store::{Ledger, Store};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::rows::MemoryRows;

struct InMemory {
    ledger: Ledger<MemoryRows>,
    openings: u64,
}

impl InMemory {
    fn new(rows: MemoryRows, openings: u64) -> InMemory {
        let rng = Box::new(ChaCha20Rng::seed_from_u64(openings));
        InMemory {
            ledger: Ledger::new(rows, rng),
            openings,
        }
    }
}

impl Subject for InMemory {
    fn store(&mut self) -> &mut dyn Store {
        &mut self.ledger
    }

    fn crash(&mut self) {
        let rows = self.ledger.rows().clone();
        *self = InMemory::new(rows, self.openings + 1);
    }
}

#[test]
fn conformance() {
    for check in CHECKS {
        println!("{}", check.name);
        (check.run)(&mut InMemory::new(MemoryRows::default(), 0));
    }
}
