//! `cargo xtask bench`: docs/benchmarks.md, measured anew with release builds.
//!
//! With the names of parts it measures only those and prints them; without any, it writes its part of the document. `bench store`
//! is the relay's own store, and `bench relay` a relay under load: they write parts of their own, the latter with a picture. `--dev`
//! measures the development profile instead, for a look without another build of everything; the document says so.

mod cluster;
mod document;

use crate::demo::room::Programs;
use crate::{Outcome, run, system, tree};
use document::Part;
use std::process::Command;

/// The parts that the program knows: asked here, because building it takes minutes.
const PARTS: &[&str] = &[
    "talk", "client", "start", "vault", "panic", "tpm", "modes", "wipe", "stream", STORE, CLUSTER,
];
/// Among them those that stand apart in the document; the second has a command of its own, which starts what it needs.
const STORE: &str = "store";
const CLUSTER: &str = "cluster";
/// The scenarios of the other one.
const SCENARIOS: &[&str] = &["appends", "peers", "crash", "connected"];
/// Where the picture is, from the document.
const PICTURE: &str = "relay-load.svg";

pub(crate) fn command(arguments: &[String]) -> Outcome {
    match arguments.split_first() {
        Some((first, rest)) if first == "relay" => relay(rest),
        Some((first, rest)) if first == CLUSTER => cluster::command(rest),
        _ => parts(arguments),
    }
}

fn parts(arguments: &[String]) -> Outcome {
    let (flags, parts): (Vec<&String>, Vec<&String>) = arguments
        .iter()
        .partition(|argument| argument.starts_with("--"));
    if let Some(flag) = flags.iter().find(|flag| *flag != &"--dev") {
        return Err(format!("{flag} is an option of `cargo xtask bench relay`"));
    }
    let is_known = |part: &str| part != CLUSTER && PARTS.contains(&part);
    if let Some(unknown) = parts.iter().find(|part| !is_known(part)) {
        let known = PARTS.join(", ");
        return Err(format!(
            "there is no part `{unknown}`; there are: {known}, and `relay` and `cluster`"
        ));
    }
    let mut cargo = program("emptyroom-bench", !flags.is_empty())?;
    let part = match parts.as_slice() {
        [] => Part::Costs,
        [only] if *only == STORE => Part::Store,
        _ => return Ok(run::code(cargo.args(&parts))? == Some(0)),
    };
    let measured = PARTS
        .iter()
        .filter(|name| **name != CLUSTER)
        .filter(|name| (**name == STORE) == (part == Part::Store));
    let report = run::output(cargo.args(measured))?;
    document::write(part, &String::from_utf8_lossy(&report))
}

fn relay(arguments: &[String]) -> Outcome {
    let (dev, others): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| *argument == "--dev");
    let only = others.iter().position(|argument| *argument == "--only");
    let scenario = only.map(|at| others.get(at + 1).map_or("", |name| name.as_str()));
    if let Some(unknown) = scenario.filter(|name| !SCENARIOS.contains(name)) {
        let known = SCENARIOS.join(", ");
        return Err(format!(
            "there is no scenario `{unknown}`; there are: {known}"
        ));
    }
    let mut cargo = program("emptyroom-load", !dev.is_empty())?;
    cargo.args(&others);
    if !others.is_empty() {
        return Ok(run::code(&mut cargo)? == Some(0));
    }
    cargo
        .arg("--plot")
        .arg(tree::root().join("docs").join(PICTURE));
    let report = run::output(&mut cargo)?;
    let report = String::from_utf8_lossy(&report);
    document::write(Part::Load, &report)
}

/// The program that measures, with those that it measures, built and ready to run.
fn program(package: &str, dev: bool) -> Result<Command, String> {
    Ok(programs(package, dev)?.1)
}

/// The same, and where those are that it measures.
fn programs(package: &str, dev: bool) -> Result<(Programs, Command), String> {
    system::ready_to_build(false)?;
    let profile: &[&str] = if dev { &[] } else { &["--release"] };
    let programs = Programs::build(profile)?;
    let mut cargo = run::cargo(&["run", "--locked", "--package", package]);
    cargo.args(profile).arg("--");
    cargo
        .env("EMPTYROOM_CLIENT", &programs.client)
        .env("EMPTYROOM_RELAY", &programs.relay);
    Ok((programs, cargo))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn known(path: &str) -> Vec<String> {
        let program = fs::read_to_string(tree::root().join(path)).unwrap();
        let names = program.lines().filter_map(|line| {
            let name = line.strip_prefix("    (\"")?.split('"').next()?;
            Some(name.to_owned())
        });
        names.collect()
    }

    #[test]
    fn the_programs_have_these_parts() {
        assert_eq!(known("crates/bench/src/main.rs"), PARTS);
        assert_eq!(known("crates/load/src/scenario.rs"), SCENARIOS);
        let refused = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|&one| one.to_owned()).collect();
            command(&arguments).unwrap_err()
        };
        assert!(refused(&["nonsense"]).contains("talk, client"));
        assert!(refused(&["--clients", "7"]).contains("bench relay"));
        assert!(refused(&["relay", "--only", "nonsense"]).contains("appends, peers"));
        assert!(refused(&["relay", "--only"]).contains("appends, peers"));
    }
}
