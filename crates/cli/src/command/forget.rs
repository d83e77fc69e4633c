//! `emptyroom forget`: the end of a contact.

use clap::Args;
use emptyroom_node::api::{Call, Failure};

use crate::room::Room;

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
        room.simply(Call::Forget { name: self.name })
    }
}
