//! `cargo xtask test`: everything that CI runs, in one run, with one summary.
//!
//! A failed step does not stop the others, so that one run tells everything; only a machine that cannot
//! build ends it at once. Each step says when it starts, how long it took, and repeats its errors at the end.

use crate::{Outcome, run, system};
use std::time::{Duration, Instant};

/// Seeds of the simulator in every run; `cargo xtask sim --seeds N` for more.
const SEEDS: &str = "300";
/// Lines of a failed step that the summary repeats.
const REPEATED_LINES_MAX: usize = 80;

/// Leaves out the tests that need root: to mount small disks, to read another process's memory.
const WITHOUT_ROOT: &str = "EMPTYROOM_TEST_WITHOUT_ROOT";

/// One command of cargo, as a person would type it.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    /// Set for this step only.
    environment: &'static [(&'static str, &'static str)],
}

const fn step(name: &'static str, arguments: &'static [&'static str]) -> Step {
    Step {
        name,
        arguments,
        environment: &[],
    }
}

const STEPS: &[Step] = &[
    step("format", &["fmt", "--all", "--check"]),
    step("check", &["xtask", "check"]),
    step("spec", &["xtask", "spec"]),
    step(
        "clippy",
        &[
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    ),
    Step {
        name: "docs",
        arguments: &["doc", "--locked", "--workspace", "--no-deps"],
        environment: &[("RUSTDOCFLAGS", "-D warnings")],
    },
    // Builds the programs and the fuzz targets as well.
    step(
        "tests",
        &["test", "--locked", "--workspace", "--no-fail-fast"],
    ),
    step("simulator", &["xtask", "sim", "--seeds", SEEDS]),
    step("demo", &["xtask", "demo", "--non-interactive"]),
    step("cluster", &["xtask", "cluster", "--non-interactive"]),
];

struct Done {
    name: &'static str,
    /// The command that does it again, as one would type it.
    again: String,
    well: bool,
    time: Duration,
    lines: Vec<String>,
}

/// What a test prints, with its name and why, that cannot be run on this machine. Its harness counts it as passed.
const NOT_RUN: &str = "not run: ";

/// Tests that passed, failed, were ignored and could not be run.
#[derive(Default)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
    not_run: u64,
}

/// Runs all steps; the last line of the output is the count of tests.
pub(crate) fn command(arguments: &[String]) -> Outcome {
    let install = match arguments {
        [] => false,
        [flag] if flag == "--install" => true,
        _ => return Err("the only argument is --install".into()),
    };
    system::ready_to_test(install)?;
    let start = Instant::now();
    let mut all = Vec::new();
    for (number, step) in (1..).zip(STEPS) {
        println!(
            "\n== {number}/{} {} ({} so far)",
            STEPS.len(),
            step.name,
            shown(start.elapsed())
        );
        let done = carry_out(step);
        println!(
            "== {} {} in {}",
            step.name,
            verdict(done.well),
            shown(done.time)
        );
        all.push(done);
    }
    Ok(summarise(&all, start.elapsed()))
}

fn carry_out(step: &Step) -> Done {
    let start = Instant::now();
    let mut cargo = run::cargo(step.arguments);
    cargo.envs(step.environment.iter().copied());
    if !system::is_root() {
        cargo.env(WITHOUT_ROOT, "1");
    }
    let mut again = run::shown(&cargo);
    for (name, value) in step.environment {
        again = format!("{name}=\"{value}\" {again}");
    }
    println!("   {again}");
    let (well, lines) = run::streamed(&mut cargo).unwrap_or_else(|why| {
        println!("{why}");
        (false, vec![why])
    });
    Done {
        name: step.name,
        again,
        well,
        time: start.elapsed(),
        lines,
    }
}

fn summarise(all: &[Done], time: Duration) -> bool {
    for done in all.iter().filter(|done| !done.well) {
        println!("\n== what failed in {}", done.name);
        for line in telling(&done.lines) {
            println!("   {line}");
        }
        println!("   again: {}", done.again);
    }
    println!("\n== summary after {}", shown(time));
    for done in all {
        println!(
            "   {:<12}{:<8}{}",
            done.name,
            verdict(done.well),
            shown(done.time)
        );
    }
    let counts = count(all.iter().flat_map(|done| &done.lines));
    println!(
        "   {} tests ignored, {} not run",
        counts.ignored, counts.not_run
    );
    if std::env::var_os(WITHOUT_ROOT).is_some() || !system::is_root() {
        println!(
            "   what needs root was left out, and counts as passed: small disks, memory of processes"
        );
    }
    let (well, lines) = verdict_lines(all, &counts);
    println!("{lines}");
    well
}

/// What is said last: which steps failed and how to repeat them, then the count of tests. A failed step without a failed test
/// counts as one, so that the last line never looks better than the run was.
fn verdict_lines(all: &[Done], counts: &Counts) -> (bool, String) {
    let mut lines = String::new();
    for done in all.iter().filter(|done| !done.well) {
        lines += &format!("{} FAILED, again: {}\n", done.name, done.again);
    }
    let steps = u64::from(!lines.is_empty() || counts.passed == 0);
    let failed = counts.failed.max(steps);
    lines += &format!("{} passed, {failed} failed", counts.passed);
    if counts.not_run > 0 {
        lines += &format!(", {} skipped", counts.not_run);
    }
    (failed == 0, lines)
}

/// The lines of a failed step that say why, with a little of what follows each.
fn telling(lines: &[String]) -> Vec<&str> {
    const FOLLOWING: usize = 6;
    let mut kept = Vec::new();
    let mut wanted = 0;
    for line in lines {
        let starts = [
            "error",
            "warning:",
            "Diff in",
            "---- ",
            "thread '",
            "  FAIL ",
            "the demo failed",
            "the cluster failed",
            "seed ",
            "failed: ",
        ];
        let says = starts.iter().any(|start| line.starts_with(start))
            || line.contains("panicked at")
            || line.ends_with("... FAILED");
        wanted = if says { FOLLOWING } else { wanted };
        if wanted > 0 {
            wanted -= 1;
            kept.push(line.as_str());
        }
    }
    let all = if kept.is_empty() {
        lines.iter().map(String::as_str).collect()
    } else {
        kept
    };
    let first = all.len().saturating_sub(REPEATED_LINES_MAX);
    all.into_iter().skip(first).collect()
}

/// Adds up cargo's `test result:` lines, less the tests that say that they were not run.
fn count<'a>(lines: impl Iterator<Item = &'a String>) -> Counts {
    let mut counts = Counts::default();
    for line in lines {
        if line.starts_with(NOT_RUN) {
            counts.not_run += 1;
        }
        if !line.starts_with("test result:") {
            continue;
        }
        for part in line.split([';', '.']) {
            let mut words = part.split_whitespace();
            let number = words.next().and_then(|word| word.parse::<u64>().ok());
            match (number, words.next()) {
                (Some(number), Some("passed")) => counts.passed += number,
                (Some(number), Some("failed")) => counts.failed += number,
                (Some(number), Some("ignored")) => counts.ignored += number,
                _ => {}
            }
        }
    }
    counts.passed = counts.passed.saturating_sub(counts.not_run);
    counts
}

fn verdict(well: bool) -> &'static str {
    if well { "ok" } else { "FAILED" }
}

fn shown(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_binaries_add_up() {
        let lines = [
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s",
            "   test result: no. 5 passed;",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s",
            "not run: a_test: a program is missing",
        ];
        let lines = lines.map(str::to_owned);
        let counts = count(lines.iter());
        assert_eq!((counts.passed, counts.failed, counts.ignored), (14, 2, 1));
        assert_eq!(counts.not_run, 1);
    }

    #[test]
    fn the_last_line_is_no_better_than_the_run() {
        let done = |well| Done {
            name: "docs",
            again: "cargo doc".into(),
            well,
            time: Duration::ZERO,
            lines: Vec::new(),
        };
        let counts = |passed, failed| Counts {
            passed,
            failed,
            ignored: 0,
            not_run: 0,
        };
        let last = |well, passed, failed| verdict_lines(&[done(well)], &counts(passed, failed));
        assert_eq!(last(true, 7, 0), (true, "7 passed, 0 failed".into()));
        let failed = "docs FAILED, again: cargo doc\n7 passed, 1 failed";
        assert_eq!(last(false, 7, 0), (false, failed.into()));
        assert!(last(false, 7, 3).1.ends_with("7 passed, 3 failed"));
        assert_eq!(last(true, 0, 0), (false, "0 passed, 1 failed".into()));
    }

    #[test]
    fn a_failed_step_repeats_its_errors() {
        let lines: Vec<String> = [
            "   Compiling x",
            "error[E0001]: no",
            " --> a.rs:1",
            "   Compiling y",
        ]
        .into_iter()
        .map(str::to_owned)
        .collect();
        assert_eq!(telling(&lines).first(), Some(&"error[E0001]: no"));
        assert_eq!(telling(&lines[..1]), ["   Compiling x"]);
    }
}
