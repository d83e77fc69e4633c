//! `emptyroom forget`: the end of a contact.

use clap::Args;
use emptyroom_node::api::{Call, Failure};

use crate::room::{INVITED, Room};

/// Delete a contact and the whole conversation
///
/// Messages, keys and name are destroyed on this device, at once and for good; nobody can undo it. What the other side has
/// stays there, and he is not told. An open invite is made worthless at the relay; exit code 3 says that the relay has not
/// heard it yet.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom forget bob")]
pub(crate) struct Forget {
    /// The contact
    name: String,
}

impl Forget {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        let call = Call::Forget {
            name: self.name.clone(),
        };
        room.change_at_relay(&self.name, [call], |after| {
            let orders = after.relay.as_ref().map_or(0, |relay| relay.orders_waiting);
            after.before.state == INVITED && orders > 0
        })
    }
}
