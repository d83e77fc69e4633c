//! `emptyroom panic`: destroying the vault now, or by a PIN of its own.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use emptyroom_node::Session;
use emptyroom_node::api::{Call, Failure, ModeName};

use crate::command::pin::NewSecret;
use crate::command::vault::changed;
use crate::prompt;
use crate::room::{self, Room};
use crate::{failure, passphrase};

/// What has to be typed.
const WORD: &str = "destroy";

const UNRECOVERABLE: &str = "the panic PIN destroys this vault and shows an empty one. It makes what was here unrecoverable; it does not hide that \
     something was done: the relay's records, your contacts' devices and the disk may show it";

pub(super) const LEGAL_HOLD: &str =
    "destroying what must be kept for a court, an authority or an employer may be an offence";

/// Destroy the vault now, or set a PIN that does
///
/// Without `set` or `unset` the vault is destroyed, for ever: its keys are overwritten, and nothing can bring back what was in
/// it. No PIN is asked for. Where a panic PIN is set and a daemon holds the vault, an empty vault is left that the panic
/// PIN opens; else nothing is left. docs/vault.md says what this protects from, and what not.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "\
Examples:
  emptyroom panic              asks once
  emptyroom panic --yes        does not ask
  emptyroom panic set          a PIN that does it when it is entered to open the vault"
)]
pub(crate) struct Panic {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    Set(Set),
    Unset(Unset),
}

/// Set or change the panic PIN
///
/// Entered where the PIN opens the vault, it destroys the vault and opens an empty one in its place, as after `init`. (While a
/// daemon holds the vault, no PIN opens anything: then it is `emptyroom panic`.) The present PIN is always asked for, also when a daemon runs. --pin-file and --pin-fd give the present one. No command tells
/// whether a panic PIN is set.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom panic set
  emptyroom panic set --pin-file pin --panic-pin-file panic")]
struct Set {
    /// Read the panic PIN from the first line of a file
    #[arg(long, value_name = "FILE", conflicts_with = "panic_pin_fd", value_hint = clap::ValueHint::FilePath)]
    panic_pin_file: Option<PathBuf>,
    /// Read the panic PIN from the first line of an open file descriptor
    #[arg(long, value_name = "N")]
    panic_pin_fd: Option<i32>,
}

/// Take the panic PIN away
///
/// The present PIN is always asked for, also when a daemon runs. It does the same where none is set.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom panic unset")]
struct Unset {}

impl Panic {
    /// The file that the panic PIN is read from.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.what {
            Some(What::Set(set)) => set.panic_pin_file.as_deref(),
            Some(What::Unset(Unset {})) | None => None,
        }
    }

    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        match self.what {
            Some(What::Set(set)) => set.run(room),
            Some(What::Unset(Unset {})) => {
                let (session, secret) = room.open_with_pin_that_stays()?;
                session.call(Call::UnsetPanic { secret })?;
                changed(session, room.out);
                room.out.done()
            }
            None => now(room, self.yes),
        }
    }
}

impl Set {
    fn run(self, room: &Room) -> Result<(), Failure> {
        // [SPEC 12.41]
        room.out.warn("legal_hold", LEGAL_HOLD);
        room::note(room.out, UNRECOVERABLE);
        let (session, secret) = room.open_with_pin_that_stays()?;
        let panic = NewSecret {
            file: self.panic_pin_file,
            descriptor: self.panic_pin_fd,
            what: "panic PIN",
            options: "--panic-pin-file or --panic-pin-fd",
        }
        .read(room.out)?;
        passphrase::warn_of(&session, &panic, Some(ModeName::Passphrase), room.out)?;
        session.call(Call::SetPanic { secret, panic })?;
        changed(session, room.out);
        room.out.done()
    }
}

// [SPEC 12.44]
fn now(room: &Room, sure: bool) -> Result<(), Failure> {
    let daemon = Session::of_daemon(&room.home)?;
    // [SPEC 12.41]
    Session::expect_panic_allowed(&room.home)?;
    if !sure {
        let asked = format!(
            "This destroys the vault in {}, for ever. Type \"{WORD}\" to go on: ",
            crate::home::shown(&room.home)
        );
        let typed = prompt::hidden(&asked)?.ok_or_else(|| {
            failure::usage("there is no terminal to ask on", "give --yes to be sure")
        })?;
        if typed.expose() != WORD {
            return Err(failure::usage(
                "nothing was destroyed",
                format!("type \"{WORD}\", or give --yes"),
            ));
        }
    }
    let destroyed = match daemon.map(|session| session.call(Call::Panic {})) {
        // It was locking already, or ended before it could answer: what there is is destroyed.
        Some(Err(failure)) if failure.error == "vault_locked" => Session::destroy(&room.home)
            .or_else(|failure| match failure.error.as_str() {
                // Not where the home is not mounted any more: nothing was destroyed there.
                "vault_missing" if emptyroom_node::had_vault(&room.home) => Ok(()),
                _ => Err(failure),
            }),
        Some(outcome) => outcome.map(drop),
        None => Session::destroy(&room.home),
    };
    destroyed?;
    room::note(room.out, "the vault was destroyed");
    room.out.done()
}
