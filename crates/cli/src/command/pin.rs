//! `emptyroom pin change`: another PIN or passphrase.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use emptyroom_node::Session;
use emptyroom_node::api::{Answer, Call, Failure, SecretText};

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
}

impl Pin {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        let What::Change(change) = self.what;
        let daemon = Session::of_daemon(&room.home)?;
        if daemon.is_none() {
            Session::expect_vault(&room.home)?;
        }
        let old = room.pin.read("Present PIN or passphrase: ", room.out)?;
        let session = match daemon {
            Some(session) => session,
            None => Session::open(&room.home, &old)?,
        };
        let new = change.new_secret(room.out)?;
        let Answer::Status(status) = session.call(Call::Status {})? else {
            return Err(room::unexpected());
        };
        let guess_ms = passphrase::guess_ms(status.vault.kdf_memory_kib, status.vault.kdf_passes);
        if let Some(warning) = passphrase::warning(new.expose(), guess_ms) {
            room.out.warn("short_pin", &warning);
        }
        session.call(Call::ChangeSecret { old, new })?;
        session.close()?;
        room.out.done()
    }
}

impl Change {
    fn new_secret(self, out: Out) -> Result<SecretText, Failure> {
        let source = Source::new(self.new_pin_file, self.new_pin_fd);
        if !source.is_prompt() {
            return source.read("", out);
        }
        let no_terminal = || {
            failure::usage(
                "there is no terminal to ask for a new PIN",
                "give --new-pin-file or --new-pin-fd",
            )
        };
        let new = prompt::hidden("New PIN or passphrase: ")?.ok_or_else(no_terminal)?;
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
