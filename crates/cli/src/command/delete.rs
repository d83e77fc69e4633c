//! `emptyroom delete`: one message less.

use clap::Args;
use emptyroom_node::api::{Call, Failure};

use crate::room::Room;
use crate::span;

/// Delete one message here
///
/// The message and its key are destroyed on this device, at once and for good. The other side keeps its copy.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom delete bob 12               the numbers stand in `emptyroom history bob`")]
pub(crate) struct Delete {
    /// The contact
    name: String,
    /// The message's number
    #[arg(value_parser = span::number)]
    id: u64,
}

impl Delete {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        room.change_here(Call::Delete {
            name: self.name,
            id: self.id,
        })
    }
}
