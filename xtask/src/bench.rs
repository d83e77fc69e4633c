//! `cargo xtask bench`: docs/benchmarks.md, measured anew with release builds.
//!
//! With the names of parts it measures only those and prints them; without any, it writes the document.

use crate::demo::room::Programs;
use crate::{Outcome, run, system, tree};
use std::fs;

const DOCUMENT: &str = "docs/benchmarks.md";

pub(crate) fn command(arguments: &[String]) -> Outcome {
    system::ready_to_build(false)?;
    let programs = Programs::build(&["--release"])?;
    let mut cargo = run::cargo(&[
        "run",
        "--release",
        "--locked",
        "--package",
        "emptyroom-bench",
        "--",
    ]);
    cargo.args(arguments);
    cargo
        .env("EMPTYROOM_CLIENT", &programs.client)
        .env("EMPTYROOM_RELAY", &programs.relay);
    if !arguments.is_empty() {
        return run::status(&mut cargo);
    }
    let report = run::output(&mut cargo)?;
    let path = tree::root().join(DOCUMENT);
    fs::write(&path, report).map_err(|e| format!("{}: {e}", path.display()))?;
    println!("written: {DOCUMENT}");
    Ok(true)
}
