//! `emptyroom join`: taking a link.

use std::time::Duration;

use clap::Args;
use emptyroom_node::Session;
use emptyroom_node::api::{Call, Failure};
use serde_json::json;

use crate::room::{self, Room};
use crate::{secret, span, terminal, words};

/// Take a link that somebody gave you
///
/// The conversation stands at once, whether the inviter is there or not, and you can write. Without LINK, or with `-`, the
/// link is read from standard input or asked for: as an argument it would stay in the shell's history.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom join --as alice             asks for the link
  emptyroom join --as alice < link.txt")]
pub(crate) struct Join {
    /// The link; better not given here
    link: Option<String>,
    /// What the inviter will be called here; nobody else sees it
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// How long to wait for the relay
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span::seconds)]
    wait: u64,
}

impl Join {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        // One secret from the terminal after the other: first the vault's, then the link.
        let session = room.open()?;
        let given = self.link.as_deref().filter(|link| *link != "-");
        if given.is_some() {
            let text = "other users of this machine can see a link that is given as an argument, and whoever is first takes it: pipe it in, or let the program ask for it";
            room.out.warn("link_in_arguments", text);
        }
        let link = secret::line_or_ask(self.link.as_deref(), "link")?;
        session.call(Call::Join {
            link: link.expose().to_owned(),
            name: self.name.clone(),
        })?;
        let flushed = room::flush(&session, Duration::from_secs(self.wait))?;
        let outcome = self.state(&session).and_then(|state| {
            let value = json!({ "conversation": self.name, "state": state });
            room.out.result("joined", &value, || None)?;
            if state == "joining" {
                let relay = room::contact(&session, &self.name)?.relay;
                let impostor = room::impostor(&session, &relay);
                return Err(room::kept(
                    "the link",
                    &relay,
                    Some(&flushed),
                    impostor.as_deref(),
                ));
            }
            room::note(
                room.out,
                &format!("you can write to {} now", terminal::line(&self.name)),
            );
            room::note(
                room.out,
                "compare keys with `emptyroom verify` when you can: it settles who you talk to",
            );
            Ok(())
        });
        session.close()?;
        outcome
    }

    /// How it stands. A link that can never be taken leaves no contact behind.
    fn state(&self, session: &Session) -> Result<String, Failure> {
        let contact = room::contact(session, &self.name)?;
        if contact.state == "join_failed" {
            session.call(Call::Forget {
                name: self.name.clone(),
            })?;
            return Err(words::join_refused(
                contact.why.as_deref().unwrap_or_default(),
            ));
        }
        Ok(contact.state)
    }
}
