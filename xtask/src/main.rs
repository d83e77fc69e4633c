//! `cargo xtask`: what this project does to itself: checks, tests, simulator runs, demo, benchmarks.
//!
//! It links nothing of the project. It reads the tree and runs the same commands that a person would,
//! so that it builds in seconds and cannot hide a broken crate behind its own build.
//! Start at [`COMMANDS`]; each command is one module.

// A program for people at a terminal: printing is its purpose.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod check;
mod cluster;
mod deb;
mod demo;
mod picture;
mod run;
mod sim;
mod soak;
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
    /// Every option that there is stands in it: others are refused before anything is built.
    usage: &'static str,
    about: &'static str,
    /// For `--help`: what the arguments mean, a line each.
    arguments: &'static str,
    run: fn(&[String]) -> Outcome,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "test",
        usage: "[--install]",
        about: "everything that CI runs",
        arguments: "--install           install missing system packages with sudo (root needs no asking)",
        run: test::command,
    },
    Command {
        name: "demo",
        usage: "[--non-interactive]",
        about: "two people talk through a fresh relay; what its disk holds",
        arguments: "--non-interactive   end when the story is told, also in a terminal",
        run: demo::command,
    },
    Command {
        name: "cluster",
        usage: "[--non-interactive]",
        about: "one relay on three nodes, with PostgreSQL and NATS; parts of it are killed",
        arguments: "--non-interactive   end when the story is told, also in a terminal",
        run: cluster::command,
    },
    Command {
        name: "check",
        usage: "[--write-duplicates | --write-fuzz]",
        about: "layout, arrows between crates, purity, licences, duplicates",
        arguments: "--write-duplicates  write the list of packages that are there in several versions
  --write-fuzz        write one target per fuzz function",
        run: check::command,
    },
    Command {
        name: "spec",
        usage: "[--list]",
        about: "every MUST has a test, every citation a clause, every vector a reader",
        arguments: "--list              name the clauses that no test cites",
        run: spec::command,
    },
    Command {
        name: "deb",
        usage: "[--program FILE]",
        about: "the relay as a Debian package, in target/deb",
        arguments: "--program FILE      pack this program instead of building one",
        run: deb::command,
    },
    Command {
        name: "sim",
        usage: "[--seeds N] [--from S] [--all | --only KIND] | --seed S [--trace]",
        about: "the whole network in one thread, from many seeds",
        arguments: "--seeds N           so many seeds (300)
  --from S            from this one on (0)
  --seed S            this one alone
  --trace             everything that happens in it
  --all               every kind of grave trouble in each run
  --only KIND         this kind alone, as the simulator names it",
        run: sim::command,
    },
    Command {
        name: "soak",
        usage: "[--kills N] [--traces N]",
        about: "the relay's crash tests for hours: kills of the program, of nodes and databases, power cuts on a disk that forgets",
        arguments: "--kills N           kills on each kind of store (1000)
  --traces N          random traces with power cuts (10000)",
        run: soak::command,
    },
    Command {
        name: "bench",
        usage: "[--dev] [PART…] | store [--dev] | relay [--dev] [--only SCENARIO] [--clients N] [--seconds N] | cluster [--dev] [--seconds N]",
        about: "measure docs/benchmarks.md anew, or print single parts",
        arguments: "--dev               measure the development profile: no other build, and no figures to compare
  PART                print one part and write nothing: talk, client, start, vault, panic, tpm, modes, wipe, stream
  store               the relay's own store, for some minutes: its own part of the document
  relay               a relay under load, next to its peers: its own part of the document, and a picture
  cluster             a relay on one, two and three nodes, with PostgreSQL and NATS: its own part, too
  --only SCENARIO     print one scenario of it and write nothing: appends, peers, crash, connected
  --clients N         so many clients at once (60000); nothing is written with another number
  --seconds N         so long each run (8); the same",
        run: bench::command,
    },
    Command {
        name: "picture",
        usage: "",
        about: "draw docs/demo.svg from a real run of the demo",
        arguments: "",
        run: picture::command,
    },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    if matches!(name.as_str(), "help" | "-h" | "--help") {
        print!("{}", overview());
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        if !name.is_empty() {
            eprintln!("there is no command `{name}`\n");
        }
        eprint!("{}", overview());
        return ExitCode::from(2);
    };
    if rest
        .iter()
        .any(|argument| matches!(argument.as_str(), "-h" | "--help"))
    {
        print!("{}", help(command));
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = rest.iter().find(|argument| !command.knows(argument)) {
        eprint!("`{name}` knows no `{unknown}`\n\n{}", help(command));
        return ExitCode::from(2);
    }
    match (command.run)(&rest) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => {
            eprintln!("cargo xtask {name}: {why}");
            ExitCode::from(2)
        }
    }
}

impl Command {
    /// Whether an argument is none, or one of its options. Each command judges the others itself.
    fn knows(&self, argument: &str) -> bool {
        let mut options = self.usage.split(['[', ']', ' ', '|']);
        !argument.starts_with('-') || options.any(|option| option == argument)
    }
}

fn overview() -> String {
    let mut text = "usage: cargo xtask COMMAND [--help]\n\n".to_owned();
    for command in COMMANDS {
        text += &format!("  {:<10}{}\n", command.name, command.about);
    }
    text
}

fn help(command: &Command) -> String {
    let Command {
        name,
        usage,
        about,
        arguments,
        ..
    } = command;
    let usage = format!("cargo xtask {name} {usage}");
    let arguments = match *arguments {
        "" => String::new(),
        arguments => format!("\n\n  {arguments}"),
    };
    format!("{about}\n\nusage: {}{arguments}\n", usage.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_of_the_usage() {
        for command in COMMANDS {
            for line in command.arguments.lines() {
                let word = line.split_whitespace().next().unwrap();
                assert!(
                    command.knows(word) && command.usage.contains(word),
                    "{word}"
                );
            }
            assert!(!command.knows("--no-such") && !command.knows("--"));
            assert!(help(command).starts_with(command.about));
        }
    }
}
