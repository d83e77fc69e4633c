//! Random runs.

use emptyroom_sim::run;

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [1, 2] {
        let (one, other) = (run::run(seed, false), run::run(seed, false));
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
