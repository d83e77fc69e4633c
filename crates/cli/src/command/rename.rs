//! `emptyroom rename`: another name for a contact.

use clap::Args;
use emptyroom_node::api::{Call, Failure};

use crate::room::Room;

/// Call a contact something else
///
/// Names are yours alone: the contact is not told, and no relay sees them.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom rename bob \"Bob from the archive\"")]
pub(crate) struct Rename {
    /// The name now
    name: String,
    /// The name from now on
    to: String,
}

impl Rename {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        room.change_here(Call::Rename {
            name: self.name,
            to: self.to,
        })
    }
}
