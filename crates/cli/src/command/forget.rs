//! `emptyroom forget`: the end of a contact.

use clap::Args;
use emptyroom_node::api::{Call, Failure};

use crate::room::Room;

/// Delete a contact and the whole conversation
///
/// Messages, keys and name are destroyed on this device, at once and for good; nobody can undo it. The relay is told to destroy
/// the conversation's log, with what the other side has not fetched yet: wait for `delivered` where he is to read it. Exit code
/// 3 says that the relay has not heard that yet. What he has fetched stays with him, and his program shows that the log is
/// gone; to be silent, use `emptyroom block`. An open invite is made worthless.
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
            let relay = after.relay.as_ref();
            relay.is_some_and(|relay| relay.orders_waiting > 0)
        })
    }
}
