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
        room.change_at_relay(&self.name, [Call::AllowRestart { name }], |after| {
            let contact = after.contact.as_ref();
            contact.is_some_and(|contact| match contact.state.as_str() {
                "restart_waits" => true,
                // Until the other side has come; and so it is shown, too, until the relay has it.
                "restarting" => after.is_silent(),
                _ => false,
            })
        })
    }
}
