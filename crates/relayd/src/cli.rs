//! The command line: what can be asked, and what comes back as exit code.

use std::io::ErrorKind;
use std::net::SocketAddr;

use clap::{Parser, Subcommand};

use crate::{config, log};

mod address;
mod ask;
mod backup;
mod completions;
mod export;
mod import;
mod man;
mod restore;
mod serve;
mod status;
mod store;

const AFTER_HELP: &str = "\
A relay keeps sealed entries under random-looking keys until they run out. It
knows no users, and logs nothing about clients.

First start:
  emptyroom-relay serve --data /var/lib/emptyroom-relay --public relay.example.org
  emptyroom-relay address --data /var/lib/emptyroom-relay
The second line prints the address with its access code, for your users.

Standard output holds results only; everything else goes to standard error.

Exit codes:
  0   done; for `serve`: stopped by SIGTERM or SIGINT
  2   wrong use: the arguments say what
  3   another relay is running on the data directory
  4   the data directory cannot be used: rights, space, or a damaged file
  5   the address cannot be listened on
  6   storage failed while running (a failed sync, a damaged file), or a database
      cannot be used for now: starting again is worth it
  7   the relay is not healthy (`status`)
  8   no relay answers (`status`, `backup`)
  70  a bug; please report the line on standard error
What was acknowledged is on disk in every case.";

/// A relay for Emptyroom: keeps sealed entries, knows nobody.
#[derive(Parser)]
#[command(name = "emptyroom-relay", version, about, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Address(address::Arguments),
    Status(status::Arguments),
    Backup(backup::Arguments),
    Restore(restore::Arguments),
    Export(export::Arguments),
    Import(import::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// Why a command did not do what it was asked, with what to do about it.
pub(crate) struct Failure {
    code: u8,
    what: String,
    hint: Option<&'static str>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            code: exit as u8,
            what: what.into(),
            hint: None,
        }
    }

    /// Says what came of it, too.
    pub(crate) fn and(mut self, what: &str) -> Self {
        self.what.push_str(what);
        self
    }

    pub(crate) fn hint(self, hint: &'static str) -> Self {
        Self {
            hint: Some(hint),
            ..self
        }
    }
}

/// The exit codes of [`AFTER_HELP`].
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Exit {
    WrongUse = 2,
    InUse = 3,
    Data = 4,
    Listen = 5,
    Storage = 6,
    Unhealthy = 7,
    NoAnswer = 8,
    Bug = 70,
}

/// Runs the command and returns the exit code.
#[must_use]
pub fn run(arguments: Arguments) -> u8 {
    let outcome = match arguments.command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Address(arguments) => address::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Backup(arguments) => backup::run(&arguments),
        Command::Restore(arguments) => restore::run(&arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Import(arguments) => import::run(arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
    };
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            log::failure(&failure.what, failure.hint, failure.code);
            failure.code
        }
    }
}

/// Where to listen, or to ask.
fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let parsed = text.parse();
    parsed.map_err(|_| format!("it must be {}", config::SOCKET_ADDRESS))
}

/// It may be the sandbox that refuses.
fn is_sandbox(error: &std::io::Error) -> bool {
    let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
    denied && emptyroom_sandbox::in_force().has_files()
}

/// The system did not let the process protect its memory: nothing runs then.
#[must_use]
pub fn not_hardened(error: &std::io::Error) -> u8 {
    let code = Exit::Bug as u8;
    log::failure(&format!("cannot forbid core dumps: {error}"), None, code);
    code
}

impl From<crate::data::DataError> for Failure {
    fn from(error: crate::data::DataError) -> Self {
        use crate::data::DataError;
        let (exit, hint) = match &error {
            DataError::InUse => (
                Exit::InUse,
                "stop it first, or give this one a directory of its own",
            ),
            DataError::Io { source, .. } if source.kind() == ErrorKind::AlreadyExists => (
                Exit::Data,
                "give another path; nothing that is there is written over",
            ),
            DataError::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
                (Exit::Data, "is the path right?")
            }
            DataError::NoBackup { .. } => (
                Exit::Data,
                "name the directory that `emptyroom-relay backup --to` made; one that was cut off is none",
            ),
            DataError::Io { source, .. } if is_sandbox(source) => (
                Exit::Data,
                "the user that runs the relay must own the directory, and links in it are followed only if they lie directly in it; EMPTYROOM_SANDBOX=off shows whether it is the sandbox",
            ),
            DataError::Io { .. } => (
                Exit::Data,
                "the user that runs the relay must own the directory; see --data",
            ),
            DataError::Damaged { .. } => (
                Exit::Data,
                "restore the file from a backup; nothing was changed",
            ),
            DataError::Newer { .. } => (
                Exit::Data,
                "use the program that wrote it, or a later one; nothing was changed",
            ),
            DataError::NoCode { .. } => (
                Exit::Data,
                "write a code into it, on a line of its own; nothing was changed",
            ),
            DataError::Moving => (
                Exit::Data,
                "finish the import, or `export --undo`; a backup without entries can be made",
            ),
            DataError::HalfRestored => (
                Exit::Data,
                "run `emptyroom-relay restore` again with this --data; nothing was changed",
            ),
            DataError::NeverServed => (
                Exit::Data,
                "run `emptyroom-relay serve` once; it makes the address",
            ),
        };
        Self::new(exit, error.to_string()).hint(hint)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Data, format!("cannot write the result: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn definitions_hold_together() {
        Arguments::command().debug_assert();
    }

    /// The longest that is not wrapped once more, in the middle of a sentence.
    #[test]
    fn what_stands_below_the_help_fits_a_line() {
        let command = Arguments::command();
        for command in std::iter::once(&command).chain(command.get_subcommands()) {
            let text = command.get_after_help().map(ToString::to_string);
            for line in text.unwrap_or_default().lines() {
                assert!(line.chars().count() <= 100, "{line}");
            }
        }
    }

    #[test]
    fn help_names_every_exit_code() {
        for exit in [
            Exit::WrongUse,
            Exit::InUse,
            Exit::Data,
            Exit::Listen,
            Exit::Storage,
            Exit::Unhealthy,
            Exit::NoAnswer,
            Exit::Bug,
        ] {
            assert!(
                AFTER_HELP.contains(&format!("\n  {} ", exit as u8)),
                "{}",
                exit as u8
            );
        }
    }
}
