//! `emptyroom invite`: a link for one person.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use emptyroom_node::Session;
use emptyroom_node::api::{Answer, Call, Exit, Failure, InviteInfo};
use serde_json::json;

use crate::room::{self, Flushed, Room};
use crate::{out, qr, span, words};

/// Print a link for one person
///
/// The link works once. Whoever sees it first can take it, so give it to the person in private: on paper, by a call, over
/// another messenger that you trust with that. Compare keys with `emptyroom verify` afterwards; that settles who took it.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom invite bob                  the link, and on a terminal its QR code
  emptyroom invite bob --expires 1h
  emptyroom invite bob > bob.link       only the link goes to standard output")]
pub(crate) struct Invite {
    /// What this person will be called here; nobody else sees it
    name: String,
    /// How long the link works, from 1m to 30d
    ///
    /// Whoever takes it afterwards is refused by his own program; the daemon, or your next command, destroys it at the relay.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = span::seconds)]
    expires: u64,
    /// How long to wait for the relay
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span::seconds)]
    wait: u64,
}

impl Invite {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        let session = room.open()?;
        let call = Call::Invite {
            name: self.name.clone(),
            expires_in_s: Some(self.expires),
        };
        let Answer::Invited { link, expires_at } = session.call(call)? else {
            return Err(room::unexpected());
        };
        let flushed = room::flush(&session, Duration::from_secs(self.wait))?;
        let outcome = self.state(&session).and_then(|state| {
            self.print(room, &link, expires_at, &state)?;
            if state == "waiting" {
                let relay = room::contact(&session, &self.name)?.relay;
                let impostor = room::impostor(&session, &relay);
                Err(not_yet(&relay, &flushed, impostor.as_deref()))
            } else {
                Ok(())
            }
        });
        session.close()?;
        outcome
    }

    /// What the relay made of it. One that can never work is taken back, so that its name is free again.
    fn state(&self, session: &Session) -> Result<String, Failure> {
        match invite(session, &self.name)? {
            Some(InviteInfo {
                state,
                why: Some(why),
                ..
            }) if state == "failed" => {
                session.call(Call::Forget {
                    name: self.name.clone(),
                })?;
                Err(words::invite_refused(&why))
            }
            Some(invite) => Ok(invite.state),
            // Taken already.
            None => Ok("open".to_owned()),
        }
    }

    fn print(&self, room: &Room, link: &str, expires_at: u64, state: &str) -> Result<(), Failure> {
        let value = json!({ "conversation": self.name, "link": link, "expires_at": expires_at, "state": state });
        room.out
            .result("invited", &value, || Some(link.to_owned()))?;
        if room.out.json {
            return Ok(());
        }
        if std::io::stdout().is_terminal()
            && let Some(lines) = qr::lines(link, out::columns())
        {
            out::picture(&lines);
        }
        out::note(&format!(
            "this link works once, until {}; whoever sees it first can take it: hand it over in private",
            span::local(expires_at)
        ));
        Ok(())
    }
}

fn not_yet(relay: &str, flushed: &Flushed, impostor: Option<&str>) -> Failure {
    let mut failure = room::kept("the invite", relay, Some(flushed), impostor);
    if impostor.is_some() {
        return failure;
    }
    failure.hint = Some(
        "the link works once the relay has it: with the next command, or by `emptyroom daemon`"
            .to_owned(),
    );
    failure
}

fn invite(session: &Session, name: &str) -> Result<Option<InviteInfo>, Failure> {
    match session.call(Call::Invites {})? {
        Answer::Invites { invites } => Ok(invites.into_iter().find(|invite| invite.name == name)),
        _ => Err(Failure::new(
            Exit::Fault,
            "fault",
            "the answer does not fit the call",
        )),
    }
}
