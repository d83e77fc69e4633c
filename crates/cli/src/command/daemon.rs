//! `emptyroom daemon`: the vault stays open, and the other commands need no PIN.

use std::time::Duration;

use clap::Args;
use emptyroom_node::Session;
use emptyroom_node::api::{Exit, Failure};
use serde_json::json;

use crate::confined;
use crate::room::{self, Room};
use crate::signals::{Then, Watch};
use crate::span::{self, Timer};

/// Keep the vault open and connected, and serve the other commands
///
/// While it runs, messages go out and come in by themselves, timers run, and every command of this user works on this home
/// without the PIN. It ends, and the vault is locked, with `emptyroom lock`, after the idle time without any command, before
/// the machine suspends and when the screen is locked (where logind says so), and on SIGTERM. It stays in the foreground and prints the path of its socket, on which it speaks JSON-RPC 2.0 (chapter 12 of the
/// specification).
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom daemon                      locks after 15 minutes without a command
  emptyroom daemon --idle off &         in the background, until `emptyroom lock`")]
pub(crate) struct Daemon {
    /// Lock after so long without a command; `off` for never
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = span::idle)]
    idle: Timer,
}

impl Daemon {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        if Session::of_daemon(&room.home)?.is_some() {
            return Err(Failure::new(
                Exit::Vault,
                "vault_in_use",
                "a daemon runs in this home already",
            )
            .hint("`emptyroom lock` ends it"));
        }
        let deadman = room.expect_vault()?;
        let pin = room.pin.read("PIN or passphrase: ", room.out)?;
        let by_phrase = emptyroom_node::is_recovery_phrase(&pin);
        let idle = self.idle.0.map(Duration::from_secs);
        let mut watch = None;
        emptyroom_node::serve(
            &room.home,
            pin,
            idle,
            room.desktop(),
            |socket, wrong_before, is_unwritten| {
                // From here on signals are the daemon's.
                watch = Some(Watch::with(|| Then::Stay)?);
                room::warn_of_phrase(by_phrase, room.out);
                room::warn_of_wrong(wrong_before, room.out);
                confined::warn(room.out);
                room.warn_of_journey(deadman.as_ref());
                if is_unwritten {
                    room.warn_of_unwritten();
                }
                let socket = crate::home::shown(socket);
                room.out
                    .result("serving", &json!({ "socket": socket }), || {
                        Some(socket.clone())
                    })
            },
        )
    }
}
