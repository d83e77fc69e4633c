//! `cargo xtask`: what this project does to itself: checks, tests, simulator runs, demo, benchmarks.
//!
//! It links nothing of the project. It reads the tree and runs the same commands that a person would,
//! so that it builds in seconds and cannot hide a broken crate behind its own build.
//! Start at [`COMMANDS`]; each command is one module.

// A program for people at a terminal: printing is its purpose.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod check;
mod demo;
mod picture;
mod run;
mod sim;
mod source;
mod spec;
mod system;
mod test;
mod tree;

use std::process::ExitCode;

/// What a command gives back: whether all is well, or why it could not even try.
type Outcome = Result<bool, String>;

struct Command {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Outcome,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "test",
        usage: "[--install]",
        about: "everything that CI runs",
        run: test::command,
    },
    Command {
        name: "demo",
        usage: "[--non-interactive]",
        about: "two people talk through a fresh relay; what its disk holds",
        run: demo::command,
    },
    Command {
        name: "check",
        usage: "[--write-duplicates | --write-fuzz]",
        about: "layout, arrows between crates, purity, licences, duplicates",
        run: check::command,
    },
    Command {
        name: "spec",
        usage: "[--list]",
        about: "every MUST has a test, every citation a clause, every vector a reader",
        run: spec::command,
    },
    Command {
        name: "sim",
        usage: "[--seeds N] [--from S] | --seed S",
        about: "the whole network in one thread, from many seeds",
        run: sim::command,
    },
    Command {
        name: "bench",
        usage: "[--dev] [PART…]",
        about: "measure docs/benchmarks.md anew, or print single parts",
        run: bench::command,
    },
    Command {
        name: "picture",
        usage: "",
        about: "draw docs/demo.svg from a real run of the demo",
        run: picture::command,
    },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        print_usage(&name);
        return ExitCode::from(2);
    };
    match (command.run)(&rest) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => {
            eprintln!("cargo xtask {name}: {why}");
            ExitCode::from(2)
        }
    }
}

fn print_usage(name: &str) {
    if !matches!(name, "" | "help" | "-h" | "--help") {
        eprintln!("there is no command `{name}`\n");
    }
    eprintln!("usage: cargo xtask COMMAND\n");
    for command in COMMANDS {
        eprintln!(
            "  {:<44}{}",
            format!("{} {}", command.name, command.usage),
            command.about
        );
    }
}
