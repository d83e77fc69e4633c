//! The figures of docs/benchmarks.md: what a message, a vault and a relay cost, next to a named reference in the same run.
//!
//! Run it by `cargo xtask bench`. Costs are CPU time of this process (or of the named one), because that is what stays the
//! same on a busy machine; latencies are wall time and are worth as much as the machine was idle. Every part makes its
//! own data, in a temporary directory or in memory, and every ratio is of two measurements of one run.

// A program for people at a terminal: printing is its purpose.
#![allow(clippy::print_stdout, clippy::print_stderr)]
// Measuring turns counts into seconds and seconds into text.
#![allow(clippy::cast_precision_loss)]

mod bare_mls;
mod client;
mod cluster;
mod modes;
mod panic;
mod start;
mod store;
mod stream;
mod talk;
mod tpm;
mod vault;
mod wipe;

use emptyroom_load::Trouble;
use emptyroom_load::report::{self, Section};
use std::process::ExitCode;

/// One part: its name on the command line and what measures it.
type Part = (&'static str, fn() -> Result<Vec<Section>, Trouble>);

const PARTS: &[Part] = &[
    ("talk", || Ok(vec![talk::measure()?])),
    ("client", || Ok(vec![client::measure()?])),
    ("start", || Ok(vec![start::measure()?])),
    ("vault", || Ok(vec![vault::measure()?])),
    ("panic", || Ok(vec![panic::measure()?])),
    ("tpm", || Ok(vec![tpm::measure()?])),
    ("modes", || Ok(vec![modes::measure()?])),
    ("wipe", || Ok(vec![wipe::measure()?])),
    ("stream", || Ok(vec![stream::measure()?])),
    ("store", store::measure),
    ("cluster", || Ok(vec![cluster::measure()?])),
];

fn main() -> ExitCode {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let unknown = chosen
        .iter()
        .find(|name| !PARTS.iter().any(|(part, _)| part == name));
    if let Some(name) = unknown {
        let parts: Vec<&str> = PARTS.iter().map(|(part, _)| *part).collect();
        eprintln!("there is no part `{name}`; there are: {}", parts.join(", "));
        return ExitCode::from(2);
    }
    // The store has a part of the document of its own.
    let mut report = match chosen.as_slice() {
        [only] if only == "store" => report::store_head(),
        // Its part of the document has a head already.
        [only] if only == "cluster" => String::new(),
        _ => report::head(),
    };
    for (name, measure) in PARTS {
        if !chosen.is_empty() && !chosen.iter().any(|chosen| chosen == name) {
            continue;
        }
        eprintln!("measuring: {name}");
        match measure() {
            Ok(sections) => sections
                .iter()
                .for_each(|section| report.push_str(&section.markdown())),
            Err(why) => {
                eprintln!("{name}: {why}");
                return ExitCode::FAILURE;
            }
        }
    }
    print!("{report}");
    ExitCode::SUCCESS
}
