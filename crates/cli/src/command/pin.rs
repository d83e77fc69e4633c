//! `emptyroom pin change`: another PIN or passphrase.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use emptyroom_node::api::{Call, Failure, ModeName, SecretText};

use crate::command::vault::{ModeArgument, changed, check_ready};
use crate::out::Out;
use crate::room::{self, Room};
use crate::secret::Source;
use crate::{failure, passphrase, prompt};

/// Change the PIN or passphrase
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Pin {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Change(Change),
}

/// Change the PIN or passphrase
///
/// The present one is always asked for, also when a daemon runs. --pin-file and --pin-fd give the present one.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom pin change
  emptyroom pin change --pin-file old --new-pin-file new")]
struct Change {
    /// Read the new one from the first line of a file
    #[arg(long, value_name = "FILE", conflicts_with = "new_pin_fd", value_hint = clap::ValueHint::FilePath)]
    new_pin_file: Option<PathBuf>,
    /// Read the new one from the first line of an open file descriptor
    #[arg(long, value_name = "N")]
    new_pin_fd: Option<i32>,
    /// In the same step another mode, as for `vault mode`
    ///
    /// After the recovery words opened a vault whose TPM or relays are gone: `passphrase` does without.
    #[arg(long, value_name = "MODE")]
    mode: Option<ModeArgument>,
}

impl Pin {
    /// The file that the new one is read from.
    pub(crate) fn file(&self) -> Option<&Path> {
        let What::Change(change) = &self.what;
        change.new_pin_file.as_deref()
    }

    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        let What::Change(change) = self.what;
        let mode = change.mode.map(ModeName::from);
        let (session, old) = room.open_with_pin()?;
        if let Some(mode) = mode {
            check_ready(&session, mode, false, room.out)?;
        }
        let new = NewSecret {
            file: change.new_pin_file,
            descriptor: change.new_pin_fd,
            what: "PIN or passphrase",
            options: "--new-pin-file or --new-pin-fd",
        }
        .read(room.out)?;
        passphrase::warn_of(&session, &new, mode, room.out)?;
        session.call(Call::ChangeSecret { old, new, mode })?;
        changed(session, room.out);
        room::note(room.out, "the PIN or passphrase was changed");
        room.out.done()
    }
}

/// A PIN that is to be set, from where the options say, else asked for twice.
pub(super) struct NewSecret {
    pub(super) file: Option<PathBuf>,
    pub(super) descriptor: Option<i32>,
    /// What it is, for the prompt.
    pub(super) what: &'static str,
    /// The options that give it.
    pub(super) options: &'static str,
}

impl NewSecret {
    pub(super) fn read(self, out: Out) -> Result<SecretText, Failure> {
        let source = Source::new(self.file, self.descriptor);
        if !source.is_prompt() {
            return source.read("", out);
        }
        let what = self.what;
        let no_terminal = || {
            failure::usage(
                format!("there is no terminal to ask for a new {what}"),
                format!("give {}", self.options),
            )
        };
        let new = prompt::hidden(&format!("New {what}: "))?.ok_or_else(no_terminal)?;
        let again = prompt::hidden("Once more: ")?.ok_or_else(no_terminal)?;
        if new.expose().is_empty() || new.expose() != again.expose() {
            return Err(failure::usage(
                "the two are not the same, or empty",
                "run it again; nothing was changed",
            ));
        }
        Ok(new)
    }
}
