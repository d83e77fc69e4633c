//! `cargo xtask bench`: docs/benchmarks.md, measured anew with release builds.
//!
//! With the names of parts it measures only those and prints them; without any, it writes the document. `--dev` first
//! measures the development profile instead, for a look without another build of everything; the document says so.

use crate::demo::room::Programs;
use crate::{Outcome, run, system, tree};
use std::fs;

const DOCUMENT: &str = "docs/benchmarks.md";

pub(crate) fn command(arguments: &[String]) -> Outcome {
    system::ready_to_build(false)?;
    let is_dev = arguments.first().is_some_and(|first| first == "--dev");
    let arguments = arguments.get(usize::from(is_dev)..).unwrap_or_default();
    let profile: &[&str] = if is_dev { &[] } else { &["--release"] };
    let programs = Programs::build(profile)?;
    let mut cargo = run::cargo(&["run", "--locked", "--package", "emptyroom-bench"]);
    cargo.args(profile).arg("--");
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
