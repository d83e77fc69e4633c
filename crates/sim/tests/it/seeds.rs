//! Random runs.

use emptyroom_sim::run::{self, Grave};

/// To the byte: whatever is sent and stored is part of the hash.
#[test]
fn the_same_seed_is_the_same_run() {
    for (seed, grave) in [(1, Grave::Usual), (2, Grave::Usual), (3, Grave::All)] {
        let run = || run::run_with(seed, false, grave);
        let (one, other) = (run(), run());
        assert_eq!(one.trace_lines, other.trace_lines, "seed {seed}");
        assert_eq!(one.trace_hash, other.trace_hash, "seed {seed}");
    }
}

#[test]
fn a_few_dozen_seeds() {
    for seed in 10_000..10_030 {
        let outcome = run::run(seed, false);
        assert!(
            outcome.faults.is_empty(),
            "seed {seed}: {:#?}",
            outcome.faults
        );
    }
}

#[test]
fn a_few_seeds_with_everything() {
    for seed in 20_000..20_020 {
        let outcome = run::run_with(seed, false, Grave::All);
        assert!(
            outcome.faults.is_empty(),
            "seed {seed}: {:#?}",
            outcome.faults
        );
    }
}
