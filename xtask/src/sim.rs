//! `cargo xtask sim`: the simulator, from many seeds or from one.
//!
//! The simulator itself is the program of `crates/sim`; it judges its arguments and prints each failing seed.

use crate::{Outcome, run};

/// What a program says of wrong arguments.
const WRONG_USE: i32 = 2;

/// Runs `emptyroom-sim` with the same arguments.
pub(crate) fn command(arguments: &[String]) -> Outcome {
    let mut cargo = run::cargo(&[
        "run",
        "--quiet",
        "--locked",
        "--package",
        "emptyroom-sim",
        "--",
    ]);
    match run::code(cargo.args(arguments))? {
        Some(WRONG_USE) => Err("these are no arguments of the simulator".into()),
        code => Ok(code == Some(0)),
    }
}
