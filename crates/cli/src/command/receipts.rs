//! `emptyroom receipts`: what the other side is told about its messages.

use clap::{Args, ValueEnum};
use emptyroom_node::api::{Call, Failure};
use serde_json::json;

use crate::room::{self, Room};

/// Turn the receipts of a conversation on or off
///
/// Receipts tell the sender that a message arrived (delivered) and that it was shown (read). They are sealed like messages, and
/// go out some seconds late, so that they tell no exact time. Without on or off the settings are shown.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom receipts bob                show them
  emptyroom receipts bob off            tell nothing
  emptyroom receipts bob off read       tell only what arrived")]
pub(crate) struct Receipts {
    /// The contact
    name: String,
    /// On or off
    switch: Option<Switch>,
    /// Only this kind
    kind: Option<Kind>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// Tell
    On,
    /// Do not tell
    Off,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// "It arrived"
    Delivered,
    /// "It was shown"
    Read,
}

impl Receipts {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        let session = room.open()?;
        let contact = room::contact(&session, &self.name)?;
        let (mut delivered, mut read) = (contact.receipts_delivered, contact.receipts_read);
        if let Some(switch) = self.switch {
            let on = switch == Switch::On;
            delivered = if self.kind == Some(Kind::Read) {
                delivered
            } else {
                on
            };
            read = if self.kind == Some(Kind::Delivered) {
                read
            } else {
                on
            };
            session.call(Call::SetReceipts {
                name: self.name.clone(),
                delivered,
                read,
            })?;
        }
        room.leave(session)?;
        let value = json!({ "conversation": self.name, "delivered": delivered, "read": read });
        let word = |on: bool| if on { "on" } else { "off" };
        room.out.result("receipts", &value, || {
            Some(format!(
                "delivered {}, read {}",
                word(delivered),
                word(read)
            ))
        })
    }
}
