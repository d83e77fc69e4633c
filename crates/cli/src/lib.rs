//! `emptyroom`, the command line: words for people and scripts around a [`Session`](emptyroom_node::Session).
//!
//! What is here: what can be typed (`args`), one file per command, what may reach a terminal, where secrets come from,
//! the interactive chat. What is not: anything about messages, relays or vaults; that is `node` and below.
//!
//! Start at [`run`].

mod args;
mod chat;
mod command;
mod failure;
mod out;
mod passphrase;
pub mod platform;
mod qr;
mod room;
mod secret;
mod span;
mod terminal;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Arguments, Command};
use emptyroom_node::api::{Exit, Failure};
use room::Room;

/// Reads the arguments, carries the command out, reports what went wrong.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are results; everything else is wrong use, told by clap. [SPEC 12.4]
            let is_result = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            let _ = error.print();
            return if is_result {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(u8::from(Exit::Usage))
            };
        }
    };
    let json = arguments.common.json;
    match Room::new(arguments.common).and_then(|room| carry_out(&room, arguments.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure::report(&failure, json);
            ExitCode::from(u8::from(failure.exit))
        }
    }
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
        Command::Daemon(command) => command.run(room),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    }
}
