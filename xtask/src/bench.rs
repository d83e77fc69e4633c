//! `cargo xtask bench`: docs/benchmarks.md, measured anew with release builds.
//!
//! With the names of parts it measures only those and prints them; without any, it writes the document. `--dev` first
//! measures the development profile instead, for a look without another build of everything; the document says so.

use crate::demo::room::Programs;
use crate::{Outcome, run, system, tree};
use std::fs;

const DOCUMENT: &str = "docs/benchmarks.md";
/// The parts that the program knows: asked here, because building it takes minutes.
const PARTS: &[&str] = &["talk", "client", "start", "vault", "relay"];

pub(crate) fn command(arguments: &[String]) -> Outcome {
    let (flags, parts): (Vec<&String>, Vec<&String>) = arguments
        .iter()
        .partition(|argument| argument.starts_with("--"));
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
        let known = PARTS.join(", ");
        return Err(format!("there is no part `{unknown}`; there are: {known}"));
    }
    system::ready_to_build(false)?;
    // The only flag that there is.
    let is_dev = !flags.is_empty();
    let profile: &[&str] = if is_dev { &[] } else { &["--release"] };
    let programs = Programs::build(profile)?;
    let mut cargo = run::cargo(&["run", "--locked", "--package", "emptyroom-bench"]);
    cargo.args(profile).arg("--");
    cargo.args(&parts);
    cargo
        .env("EMPTYROOM_CLIENT", &programs.client)
        .env("EMPTYROOM_RELAY", &programs.relay);
    if !parts.is_empty() {
        return Ok(run::code(&mut cargo)? == Some(0));
    }
    let report = run::output(&mut cargo)?;
    let path = tree::root().join(DOCUMENT);
    fs::write(&path, report).map_err(|e| format!("{}: {e}", path.display()))?;
    println!("written: {DOCUMENT}");
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_has_these_parts() {
        let program = tree::root().join("crates/bench/src/main.rs");
        let program = fs::read_to_string(program).unwrap();
        let known: Vec<&str> = program
            .lines()
            .filter_map(|line| line.strip_prefix("    (\"")?.split('"').next())
            .collect();
        assert_eq!(known, PARTS);
        let refused = command(&["nonsense".to_owned()]);
        assert!(refused.is_err_and(|why| why.contains("talk, client")));
    }
}
