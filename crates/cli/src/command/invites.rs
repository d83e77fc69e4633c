//! `emptyroom invites`: the links that nobody took yet.

use clap::Args;
use emptyroom_node::api::{Answer, Call, Failure};

use crate::room::{self, Room};
use crate::{span, terminal, words};

/// List the open invites, or cancel one
///
/// A cancelled link is made worthless at the relay, and its name is free again; one that was taken already cannot be cancelled any more, but the contact
/// can be forgotten.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom invites
  emptyroom invites --show bob          print bob's link again
  emptyroom invites --cancel bob")]
pub(crate) struct Invites {
    /// Make the link for this name worthless
    #[arg(long, value_name = "NAME", conflicts_with = "show")]
    cancel: Option<String>,
    /// Print the link for this name again
    #[arg(long, value_name = "NAME")]
    show: Option<String>,
}

impl Invites {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        if let Some(name) = self.cancel {
            // The name is free again.
            let calls = [
                Call::CancelInvite { name: name.clone() },
                Call::Forget { name: name.clone() },
            ];
            return room.change_at_relay(&name, calls, |after| {
                let relay = after.relay.as_ref();
                relay.is_some_and(|relay| relay.orders_waiting > 0)
            });
        }
        let session = room.open()?;
        let Answer::Invites { invites } = session.call(Call::Invites {})? else {
            return Err(room::unexpected());
        };
        room.leave(session)?;
        if let Some(name) = self.show {
            let invite = invites
                .into_iter()
                .find(|invite| invite.name == name && invite.link.is_some())
                .ok_or_else(|| {
                    crate::failure::usage(
                        "there is no open invite of this name",
                        "`emptyroom invites` lists them",
                    )
                })?;
            return room.out.result("invite", &invite, || invite.link.clone());
        }
        for invite in &invites {
            room.out.result("invite", invite, || {
                let state = words::with_why(&invite.state, invite.why.as_deref());
                Some(format!(
                    "{}  {state}, until {}",
                    terminal::line(&invite.name),
                    span::local(invite.expires_at)
                ))
            })?;
        }
        Ok(())
    }
}
