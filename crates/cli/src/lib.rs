//! `emptyroom`, the command line: words for people and scripts around a [`Session`](emptyroom_node::Session).
//!
//! What is here: what can be typed (`args`), one file per command, what may reach a terminal, where secrets come from,
//! the interactive chat. What is not: anything about messages, relays or vaults; that is `node` and below.
//!
//! Start at [`run`].

mod alarms;
mod args;
mod chat;
mod command;
mod confined;
mod ear;
mod failure;
mod home;
mod out;
mod passphrase;
mod platform;
mod prompt;
mod qr;
mod room;
mod secret;
mod signals;
mod span;
mod terminal;
mod words;

use std::ffi::OsString;
use std::panic::UnwindSafe;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Arguments, Command};
use emptyroom_node::api::{Exit, Failure};
use room::Room;

/// Reads the arguments, carries the command out, reports what went wrong.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let (json, outcome) = match Arguments::try_parse_from(&arguments) {
        Ok(arguments) => {
            let json = arguments.common.json;
            (
                json,
                Room::new(arguments.common, &arguments.command).and_then(|room| {
                    confined::begin(&room, &arguments.command)?;
                    carry_out(&room, arguments.command)
                }),
            )
        }
        // Help and version are results.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            (
                false,
                error
                    .print()
                    .map_err(|e| failure::io("standard output", &e)),
            )
        }
        Err(error) if asks_for_json(&arguments) => (true, Err(wrong_use(&error))),
        Err(error) => {
            // Nobody is left to be told when standard error is gone.
            let _ = error.print();
            return ExitCode::from(u8::from(Exit::Usage));
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure::report(&failure, json);
            ExitCode::from(u8::from(failure.exit))
        }
    }
}

/// Whether JSON was asked for, for what is told before the arguments are understood.
pub fn asks_for_json(arguments: &[OsString]) -> bool {
    arguments.iter().any(|argument| argument == "--json")
}

/// From now on a panic is told like any failure, and without its text, which may hold anything.
// [SPEC 12.3]
pub fn tell_panics(json: bool) {
    std::panic::set_hook(Box::new(move |panic| {
        let at = panic
            .location()
            .map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        let failure = Failure::fault(format!("a mistake in this program{at}"))
            .hint("please report it; what was confirmed before is stored");
        failure::report(&failure, json);
    }));
}

/// A panic is a fault of this program, and ends as one: with a code that is documented.
// [SPEC 12.4]
pub fn guarded(run: impl FnOnce() -> ExitCode + UnwindSafe) -> ExitCode {
    std::panic::catch_unwind(run).unwrap_or_else(|_| ExitCode::from(u8::from(Exit::Fault)))
}

/// What clap says in several lines, as one failure.
// [SPEC 12.3]
fn wrong_use(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let lines = text.lines().take_while(|line| !line.is_empty());
    let first = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        "a command is missing".to_owned()
    } else {
        lines.map(str::trim).collect::<Vec<_>>().join(" ")
    };
    failure::usage(
        first.trim_start_matches("error: "),
        "`emptyroom --help` says what can be typed",
    )
}

/// The program ends before it has read anything.
pub fn refuse_to_start(error: &std::io::Error, json: bool) -> ExitCode {
    let failure = Failure::fault(format!(
        "the system does not let memory be protected: {}",
        error.kind()
    ));
    failure::report(&failure, json);
    ExitCode::from(u8::from(failure.exit))
}

fn carry_out(room: &Room, command: Command) -> Result<(), Failure> {
    match command {
        Command::Init(command) => command.run(room),
        Command::Invite(command) => command.run(room),
        Command::Invites(command) => command.run(room),
        Command::Join(command) => command.run(room),
        Command::Contacts(command) => command.run(room),
        Command::Rename(command) => command.run(room),
        Command::Forget(command) => command.run(room),
        Command::Send(command) => command.run(room),
        Command::Receive(command) => command.run(room),
        Command::History(command) => command.run(room),
        Command::Delete(command) => command.run(room),
        Command::Chat(command) => command.run(room),
        Command::Timer(command) => command.run(room),
        Command::Receipts(command) => command.run(room),
        Command::Verify(command) => command.run(room),
        Command::Block(command) => command.run(room),
        Command::AllowRestart(command) => command.run(room),
        Command::Status(command) => command.run(room),
        Command::Relay(command) => command.run(room),
        Command::Lock(command) => command.run(room),
        Command::Pin(command) => command.run(room),
        Command::Vault(command) => command.run(room),
        Command::Panic(command) => command.run(room),
        Command::Wipe(command) => command.run(room),
        Command::Killcode(command) => command.run(room),
        Command::Deadman(command) => command.run(room),
        Command::Guard(command) => command.run(room),
        Command::Daemon(command) => command.run(room),
        Command::Desktop(command) => {
            command.run();
            Ok(())
        }
        Command::Completions(command) => command.run(room.out),
        Command::Man(command) => command.run(room.out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 12.3]
    #[test]
    fn wrong_use_is_said_in_one_line() {
        let told = |line: &str| {
            let parsed = Arguments::try_parse_from(line.split(' '));
            wrong_use(&parsed.err().unwrap()).text
        };
        assert_eq!(
            told("emptyroom send"),
            "the following required arguments were not provided: <NAME>"
        );
        assert_eq!(told("emptyroom pin"), "a command is missing");
        assert_eq!(told("emptyroom sned"), "unrecognized subcommand 'sned'");
    }

    // [SPEC 12.4]
    #[test]
    fn a_panic_has_a_documented_exit_code() {
        let code = guarded(|| panic!("a mistake of this test"));
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(1)));
        let code = guarded(|| ExitCode::from(3));
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(3)));
    }
}
