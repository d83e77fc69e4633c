//! `emptyroom forget`: the end of a contact.

use clap::Args;
use emptyroom_node::api::{Call, Failure};

use crate::room::{self, Room};

/// How long the relay has to hear that an open invite is cancelled.
const FORGET_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

/// Delete a contact and the whole conversation
///
/// Messages, keys and name are destroyed on this device, at once and for good; nobody can undo it. What the other side has
/// stays there, and he is not told. An open invite is cancelled.
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
        let session = room.open()?;
        session.call(Call::Forget { name: self.name })?;
        // An open invite is made worthless at the relay: now if it can be reached, else with the next command.
        room::flush(&session, FORGET_WAIT)?;
        session.close()?;
        room.out.done()
    }
}
