//! `emptyroom lock`: the end of a daemon.

use clap::Args;
use emptyroom_node::Session;
use emptyroom_node::api::{Call, Failure};

use crate::room::{self, Room};

/// Lock the vault of a running daemon
///
/// The daemon closes its connections, locks the vault and ends. Without a daemon the vault is locked anyway.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom lock")]
pub(crate) struct Lock {}

impl Lock {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        match Session::of_daemon(&room.home)? {
            Some(session) => {
                session.call(Call::Lock {})?;
            }
            None => room::note(room.out, "no daemon runs: the vault is locked"),
        }
        room.out.done()
    }
}
