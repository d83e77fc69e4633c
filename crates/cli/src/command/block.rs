//! `emptyroom block`: silence in both directions.

use clap::Args;
use emptyroom_node::api::{Call, Failure};

use crate::room::Room;

/// Read and send nothing for a contact
///
/// The contact is not told: to him it looks as if you were not there. With --off everything that is still at the relay is read.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom block bob
  emptyroom block bob --off")]
pub(crate) struct Block {
    /// The contact
    name: String,
    /// End it
    #[arg(long)]
    off: bool,
}

impl Block {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        room.change_here(Call::Block {
            name: self.name,
            on: !self.off,
        })
    }
}
