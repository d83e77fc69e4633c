//! `cargo xtask sim`: the simulator, from many seeds or from one.
//!
//! The simulator itself is the program of `crates/sim`; it prints each failing seed.

use crate::{Outcome, run};

/// Runs `emptyroom-sim` with the same arguments, 300 seeds when none are named.
pub(crate) fn command(arguments: &[String]) -> Outcome {
    let mut cargo = run::cargo(&["run", "--quiet", "--package", "emptyroom-sim", "--"]);
    let chosen = arguments.iter().any(|a| a == "--seeds" || a == "--seed");
    if !chosen {
        cargo.args(["--seeds", "300"]);
    }
    cargo.args(arguments);
    run::status(&mut cargo)
}
