//! `emptyroom forget`: the end of a contact.

use clap::Args;
use emptyroom_node::api::{Call, Failure};

use crate::room::{self, Room};
use crate::terminal;

/// Delete a contact and the whole conversation
///
/// Messages, keys and name are destroyed on this device, at once and for good; nobody can undo it. The relay is told to destroy
/// the conversation's log, with what the other side has not fetched yet: wait for `delivered` where he is to read it. Exit code
/// 3 says that the relay has not heard that yet. What he has fetched stays with him, and his program shows that the log is
/// gone; to be silent, use `emptyroom block`. An open invite is made worthless. The relay is told until it has heard it, for 210
/// days (invites: 40). Of a damaged conversation the relay is told only of those logs that the vault still names.
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
        let session = room.open()?;
        let before = room::contact(&session, &self.name)?;
        // [SPEC 12.78]
        if before.all_logs_known == Some(false) {
            room.out.warn("log_stays", &log_stays(&self.name));
        }
        room.change_in(session, &self.name, [call], |after| {
            let relay = after.relay.as_ref();
            relay.is_some_and(|relay| relay.orders_waiting > 0)
        })
    }
}

fn log_stays(name: &str) -> String {
    let name = terminal::line(name);
    format!(
        "{name}: the vault does not say any more which logs this conversation has, so the relay is told to destroy those that it names, if any. What is in the others runs out within 30 days; \
         the other side can go on writing there, and an open invite can be taken until it expires"
    )
}
