//! `emptyroom timer`: how long the messages of a conversation live.

use clap::Args;
use emptyroom_node::api::{Call, Failure};
use serde_json::json;

use crate::room::{self, Room};
use crate::span::{self, Timer};
use crate::words;

/// Set how long the messages of a conversation live
///
/// For both sides, from the next message on; older messages keep the timer they were sent with. At its reader's the time
/// starts when a message is read, at its sender's when it was sent. Both see a line that says who changed it. Without TIME the
/// timer is shown.
#[derive(Args)]
#[command(
    name = "timer",
    after_long_help = "\
Examples:
  emptyroom timer bob                   show it
  emptyroom timer bob 1h                from 5s to 4w
  emptyroom timer bob read              gone as soon as read
  emptyroom timer bob off"
)]
pub(crate) struct TimerCommand {
    /// The contact
    name: String,
    /// A time from 5s to 4w, `read` or `off`
    #[arg(value_name = "TIME", value_parser = span::timer)]
    timer: Option<Timer>,
}

impl TimerCommand {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        if let Some(Timer(timer_s)) = self.timer {
            let call = Call::SetTimer {
                name: self.name.clone(),
                timer_s,
            };
            let session = room.open()?;
            room::meet(&session, &self.name)?;
            return room.change_in(session, &self.name, [call], |after| {
                let contact = after.contact.as_ref();
                contact.is_some_and(|contact| contact.waiting > 0)
            });
        }
        let session = room.open()?;
        let contact = room::contact(&session, &self.name)?;
        room.leave(session)?;
        let value = json!({ "conversation": self.name, "timer_s": contact.timer_s });
        room.out
            .result("timer", &value, || Some(words::timer(contact.timer_s)))
    }
}
