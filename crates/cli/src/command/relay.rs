//! `emptyroom relay`: where invites are made.

use clap::Args;
use emptyroom_node::api::{Answer, Call, Failure};
use serde_json::json;

use crate::room::{self, Room};
use crate::{secret, terminal};

/// Show or set the relay for new invites
///
/// Conversations stay at the relay where they were made. With `-` the address is read from standard input or asked for.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom relay                       show it
  emptyroom relay - < address.txt       set it")]
pub(crate) struct Relay {
    /// The address line of the relay; `-` reads or asks for it
    address: Option<String>,
}

impl Relay {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        let session = room.open()?;
        if self.address.is_some() {
            let address = secret::line_or_ask(self.address.as_deref(), "relay address")?;
            session.call(Call::SetRelay {
                address: address.expose().to_owned(),
            })?;
            room.leave(session)?;
            return room.out.done();
        }
        let Answer::Status(status) = session.call(Call::Status {})? else {
            return Err(room::unexpected());
        };
        room.leave(session)?;
        if status.relay.is_none() {
            room::note(room.out, "none is set: `emptyroom relay -` asks for one");
        }
        room.out
            .result("relay", &json!({ "relay": status.relay }), || {
                status.relay.as_deref().map(terminal::line)
            })
    }
}
