//! The ledger over rows in memory, check by check.

use emptyroom_relay::conformance::{CHECKS, MemoryRows, Subject};
use emptyroom_relay::store::{Ledger, Store};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

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

fn check(name: &str) {
    let check = CHECKS.iter().find(|check| check.name == name);
    (check.expect("a check of this name").run)(&mut InMemory::new(MemoryRows::default(), 0));
}

// [SPEC 4.42]
#[test]
fn creating_again() {
    check("creating again");
}

// [SPEC 4.50]
#[test]
fn compare_and_set() {
    check("compare and set");
}

// [SPEC 4.51] [SPEC 4.52]
#[test]
fn an_append_is_answered_once() {
    check("an append is answered once");
}

// [SPEC 4.53] [SPEC 4.54]
#[test]
fn next_is_one_operation_with_its_append() {
    check("next is one operation with its append");
}

#[test]
fn a_batch_is_decided_in_order() {
    check("a batch is decided in order");
}

#[test]
fn reading_in_parts() {
    check("reading in parts");
}

// [SPEC 4.61] [SPEC 6.23]
#[test]
fn closing() {
    check("closing");
}

// [SPEC 4.58]
#[test]
fn trimming() {
    check("trimming");
}

// [SPEC 6.23]
#[test]
fn destroying() {
    check("destroying");
}

// [SPEC 6.20]
#[test]
fn entries_run_out_by_day() {
    check("entries run out by day");
}

// [SPEC 6.25]
#[test]
fn counters_outlive_entries() {
    check("counters outlive entries");
}

// [SPEC 6.21]
#[test]
fn logs_run_out() {
    check("logs run out");
}

// [SPEC 6.22]
#[test]
fn nonces_live_as_long_as_their_log() {
    check("nonces live as long as their log");
}

// [SPEC 6.21]
#[test]
fn recovery_logs_live_on() {
    check("recovery logs live on");
}

#[test]
fn a_clock_that_jumps_back() {
    check("a clock that jumps back");
}

// [SPEC 6.10] [SPEC 6.11]
#[test]
fn a_log_full_of_entries() {
    check("a log full of entries");
}

// [SPEC 6.10] [SPEC 6.11]
#[test]
fn a_log_full_of_bytes() {
    check("a log full of bytes");
}

// [SPEC 6.55]
#[test]
fn the_reach_of_a_batch() {
    check("the reach of a batch");
}

// [SPEC 6.12]
#[test]
fn dropping_the_oldest() {
    check("dropping the oldest");
}

// [SPEC 6.30] [SPEC 6.31]
#[test]
fn budget_of_logs() {
    check("budget of logs");
}

// [SPEC 6.30]
#[test]
fn budget_of_bytes() {
    check("budget of bytes");
}

// [SPEC 6.32]
#[test]
fn the_budget_of_lasting_bytes() {
    check("the budget of lasting bytes");
}

// [SPEC 4.70] [SPEC 4.72]
#[test]
fn shares_are_put_once() {
    check("shares are put once");
}

// [SPEC 4.72] [SPEC 6.173]
#[test]
fn the_uses_of_a_share() {
    check("the uses of a share");
}

// [SPEC 4.71] [SPEC 4.73]
#[test]
fn shares_run_out() {
    check("shares run out");
}

// [SPEC 4.74]
#[test]
fn deleting_shares() {
    check("deleting shares");
}

// [SPEC 4.75] [SPEC 4.76]
#[test]
fn deleting_shares_by_order() {
    check("deleting shares by order");
}

#[test]
fn random_operations() {
    check("random operations");
}

/// A check that is added to the suite is added here.
#[test]
fn all_checks_are_named_here() {
    let here = include_str!("stores.rs");
    for check in CHECKS {
        assert!(
            here.contains(&format!("\"{}\"", check.name)),
            "{}",
            check.name
        );
    }
}
