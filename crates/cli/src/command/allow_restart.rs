//! `emptyroom allow-restart`: the user's leave for one more.

use clap::Args;
use emptyroom_node::api::{Call, Failure};

use crate::room::Room;

/// Let a conversation be restarted once more
///
/// A conversation whose encryption is in trouble begins anew by itself. After ten times in a day it waits for you, because
/// somebody, the relay or the other side, may be disturbing it. Identities, verification and history stay in any case.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom allow-restart bob           `emptyroom status` says when it is needed")]
pub(crate) struct AllowRestart {
    /// The contact
    name: String,
}

impl AllowRestart {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        let name = self.name.clone();
        room.change_at_relay(&self.name, [Call::AllowRestart { name }], |contact| {
            contact.state == "restart_waits"
        })
    }
}
