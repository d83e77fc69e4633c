//! `emptyroom-sim`: runs seeds, and says which of them fail.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal"
)]

use std::process::ExitCode;
use std::time::Instant;

use emptyroom_sim::run::{self, Grave, Outcome};
use emptyroom_sim::trouble::GRAVE;

const USAGE: &str =
    "usage: emptyroom-sim [--seeds N] [--from S]   run N seeds from S on (300 from 0)
       emptyroom-sim --seed S [--trace]    run one seed, with --trace everything that happens
       with --only KIND, the only kind of grave trouble is KIND; with --all there is every kind in each run";

struct Options {
    from: u64,
    seeds: u64,
    trace: bool,
    grave: Grave,
}

fn main() -> ExitCode {
    let Some(options) = options(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let begun = Instant::now();
    let (mut failed, mut messages, mut restarts, mut days, mut storm) = (Vec::new(), 0, 0, 0, 0);
    for number in 0..options.seeds {
        let seed = options.from.saturating_add(number);
        let outcome = run::run_with(seed, options.trace, options.grave);
        messages += outcome.messages;
        restarts += outcome.restarts;
        days += outcome.days;
        storm = storm.max(outcome.most_steps);
        if !outcome.faults.is_empty() {
            report(&outcome, &options);
            failed.push(seed);
        }
        if (number + 1) % 50 == 0 {
            println!("{} seeds, {} failed", number + 1, failed.len());
        }
    }
    println!(
        "{} seeds from {}: {} failed; {messages} messages, {restarts} restarts, {days} virtual days, at most {storm} steps an hour, {:.0} s",
        options.seeds,
        options.from,
        failed.len(),
        begun.elapsed().as_secs_f64(),
    );
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {failed:?}");
    ExitCode::FAILURE
}

fn report(outcome: &Outcome, options: &Options) {
    let seed = outcome.seed;
    println!("seed {seed} fails:");
    for fault in &outcome.faults {
        println!("  {fault}");
    }
    if !options.trace {
        let only = match options.grave {
            Grave::Usual => String::new(),
            Grave::Only(kind) => format!(" --only {kind:?}"),
            Grave::All => " --all".to_owned(),
        };
        println!("  reproduce: cargo xtask sim --seed {seed}{only} --trace");
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options {
        from: 0,
        seeds: 300,
        trace: false,
        grave: Grave::Usual,
    };
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next()?.parse().ok();
        match argument.as_str() {
            "--seeds" => options.seeds = number()?,
            "--from" => options.from = number()?,
            "--seed" => {
                options.from = number()?;
                options.seeds = 1;
            }
            "--only" => {
                let kind = arguments.next()?;
                let mut kinds = GRAVE.iter();
                options.grave = Grave::Only(*kinds.find(|known| format!("{known:?}") == kind)?);
            }
            "--all" => options.grave = Grave::All,
            "--trace" => options.trace = true,
            _ => return None,
        }
    }
    Some(options)
}
