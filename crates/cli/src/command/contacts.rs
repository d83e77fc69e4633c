//! `emptyroom contacts`: the people one can talk to.

use clap::Args;
use emptyroom_node::api::{Answer, Call, ContactInfo, Failure};

use crate::room::{self, Room};
use crate::{terminal, words};

/// List the people you can talk to
///
/// One line each: name, how the conversation stands, whether keys were compared, its timer, what was not shown yet.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom contacts
  emptyroom contacts --json | jq -r 'select(.unread > 0) | .name'")]
pub(crate) struct Contacts {}

impl Contacts {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        let session = room.open()?;
        let Answer::Contacts { contacts } = session.call(Call::Contacts {})? else {
            return Err(room::unexpected());
        };
        room.leave(session)?;
        for contact in &contacts {
            room.out
                .result("contact", contact, || Some(text(contact)))?;
        }
        Ok(())
    }
}

fn text(contact: &ContactInfo) -> String {
    let name = terminal::line(&contact.name);
    if contact.state == "damaged" {
        return format!(
            "{name}  {}",
            words::with_why(&contact.state, contact.why.as_deref())
        );
    }
    let mut parts = vec![words::with_why(&contact.state, contact.why.as_deref())];
    parts.push(
        if contact.verified {
            "verified"
        } else {
            "not verified"
        }
        .to_owned(),
    );
    if contact.blocked {
        parts.push("blocked".to_owned());
    }
    if contact.timer_s.is_some() {
        parts.push(format!("timer {}", words::timer(contact.timer_s)));
    }
    if contact.unread > 0 {
        parts.push(format!("{} new", contact.unread));
    }
    if contact.waiting > 0 {
        parts.push(format!("{} waiting", contact.waiting));
    }
    format!("{name}  {}", parts.join(", "))
}
