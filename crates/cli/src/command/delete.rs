//! `emptyroom delete`: one message less.

use clap::Args;
use emptyroom_node::api::{Answer, Call, Failure};

use crate::room::Room;
use crate::span;

/// Delete one message here
///
/// The message and its key are destroyed on this device, at once and for good. One that still waits is not sent. The other side keeps
/// its copy of one that was.
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
        let session = room.open()?;
        let answer = session.call(Call::Delete {
            name: self.name,
            id: self.id,
        })?;
        room.leave(session)?;
        if let Answer::Deleted {
            may_have_left: true,
        } = answer
        {
            let text = "the message was on its way: it may arrive all the same";
            room.out.warn("may_have_left", text);
        }
        room.out.done()
    }
}
