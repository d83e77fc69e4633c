//! `emptyroom-load`: measures a relay and its peers, and prints a part of docs/benchmarks.md. Run it by `cargo xtask bench relay`.

// A program for people at a terminal: printing is its purpose.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use clap::Parser;
use emptyroom_load::plot::Picture;
use emptyroom_load::scenario::nodes::{self, Node};
use emptyroom_load::scenario::{Extent, SCENARIOS};
use emptyroom_load::{Trouble, report, threads};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Measures a relay and its peers. `EMPTYROOM_RELAY` names the relay's program.
#[derive(Parser)]
struct Arguments {
    /// Only this scenario: appends, peers, crash, connected.
    #[arg(long, value_name = "SCENARIO", value_parser = scenario)]
    only: Option<String>,
    /// Clients that are connected at once.
    #[arg(long, value_name = "N", default_value_t = 60_000, value_parser = clap::value_parser!(u32).range(10..=200_000))]
    clients: u32,
    /// Seconds of each run.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// A node of a relay that runs, as PROCESS@ADDRESS: only these are measured, and one row is printed.
    #[arg(long, value_name = "NODE")]
    node: Vec<Node>,
    /// Processes of the servers behind the nodes.
    #[arg(long, value_name = "PROCESS", requires = "node")]
    server: Vec<u32>,
    /// Where the picture goes.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

fn scenario(name: &str) -> Result<String, String> {
    let known: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
    match known.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(format!("there are: {}", known.join(", "))),
    }
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<(), Trouble> {
    threads::prepare()?;
    threads::descriptors()?;
    let extent = Extent {
        clients: arguments.clients,
        lasts: Duration::from_secs(arguments.seconds),
    };
    if !arguments.node.is_empty() {
        println!(
            "{}",
            nodes::measure(&arguments.node, &arguments.server, extent)?
        );
        return Ok(());
    }
    let mut picture = Picture::default();
    let mut sections = report::load_head();
    for (name, measure) in SCENARIOS {
        if arguments.only.as_ref().is_none_or(|only| only == name) {
            eprintln!("measuring: {name}");
            let section = measure(extent, &mut picture).map_err(|why| format!("{name}: {why}"))?;
            sections.push(section.markdown());
        }
    }
    if let Some(path) = &arguments.plot
        && picture.draw(path)?
    {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        sections.push(format!(
            "![latency curves, and CPU time of each server]({name})"
        ));
    }
    println!("{}", sections.join("\n"));
    Ok(())
}
