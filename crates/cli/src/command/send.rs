//! `emptyroom send`: one message.

use std::io::{IsTerminal, Read};
use std::time::Duration;

use clap::Args;
use emptyroom_node::Session;
use emptyroom_node::api::{
    Answer, Call, ContactInfo, Event, Exit, Failure, LineBody, MessageState, TEXT_BYTES_MAX,
};
use serde_json::json;
use zeroize::Zeroizing;

use crate::ear::{Ear, Heard};
use crate::room::{self, Flushed, Room};
use crate::{failure, out, span};

// [SPEC 12.77]
const IN_ARGUMENTS: &str = "other users of this machine can see a message that is given as an argument: leave it out, and it is read from standard input";

/// Send a message
///
/// Prints the message's number. The exit code says where the message is: 0 the relay has it, 3 it is kept here and goes out
/// with the next command or by the daemon, 4 it will not arrive. Without TEXT it is read from standard input, up to 16 KiB,
/// where neither the shell's history nor other users of this machine see it.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom send bob                          type it, then Ctrl-D on a line of its own
  emptyroom send bob < note.txt
  emptyroom send bob --burn 30s < code.txt    gone 30 seconds after it was read
  emptyroom send bob --burn read < once.txt   gone as soon as it was read
  emptyroom send bob \"I am there\"             other users of this machine may see it")]
pub(crate) struct Send {
    /// The contact
    name: String,
    /// The message; from standard input where absent
    text: Option<String>,
    /// A timer of this message's own: from 5s to 4w, or `read`
    #[arg(long, value_name = "TIME", value_parser = span::burn)]
    burn: Option<u64>,
    /// How many days the relay keeps its copy at most: 1, 7 or 30
    #[arg(long, value_name = "DAYS")]
    relay_days: Option<u8>,
    /// How long to wait for the relay
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span::seconds)]
    wait: u64,
}

impl Send {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        let session = room.open()?;
        let ear = Ear::to(&session)?;
        let text = match &self.text {
            Some(text) => {
                room.out.warn("text_in_arguments", IN_ARGUMENTS);
                Zeroizing::new(text.clone())
            }
            None => from_stdin()?,
        };
        check(&text)?;
        room::meet(&session, &self.name)?;
        let call = Call::Send {
            to: self.name.clone(),
            text: text.to_string(),
            burn_s: self.burn,
            relay_days: self.relay_days,
        };
        let Answer::Queued { id } = session.call(call)? else {
            return Err(room::unexpected());
        };
        let flushed = arrival(
            &session,
            &ear,
            &self.name,
            id,
            Duration::from_secs(self.wait),
        )?;
        let state = state(&session, &self.name, id)?;
        let contact = room::contact(&session, &self.name)?;
        let impostor = room::impostor(&session, &contact.relay);
        session.close()?;
        let value = state
            .as_ref()
            .map(|state| json!(state))
            .unwrap_or_else(|| json!({ "state": "sent" }));
        let mut value = value;
        if let Some(object) = value.as_object_mut() {
            object.insert("conversation".to_owned(), json!(self.name));
            object.insert("id".to_owned(), json!(id));
        }
        room.out.result("sent", &value, || Some(id.to_string()))?;
        match state {
            Some(MessageState::Queued) => {
                Err(kept(&contact, flushed.as_ref(), impostor.as_deref()))
            }
            Some(MessageState::Failed { why }) => Err(crate::words::send_failed(&why)),
            _ => Ok(()),
        }
    }
}

/// Why the relay does not have it yet.
fn kept(contact: &ContactInfo, flushed: Option<&Flushed>, impostor: Option<&str>) -> Failure {
    let (text, hint) = match contact.state.as_str() {
        "restarting" if impostor.is_none() => (
            "this conversation is being begun anew, and the other side has not answered yet; the message is kept",
            "it goes out when the other side has answered; `emptyroom history` says why it was begun anew",
        ),
        "restart_waits" => (
            "this conversation was begun anew ten times in a day and stands still; the message is kept",
            "`emptyroom allow-restart` lets it be begun anew once more; then the message goes out",
        ),
        _ => return room::kept("the message", &contact.relay, flushed, impostor),
    };
    Failure::new(Exit::Kept, "kept", text).hint(hint)
}

/// Waits until the relay has the message, or a flush says that it cannot have it now.
fn arrival(
    session: &Session,
    ear: &Ear,
    name: &str,
    id: u64,
    wait: Duration,
) -> Result<Option<Flushed>, Failure> {
    ear.flush(session, wait);
    loop {
        match ear.next(None)? {
            Some(Heard::Flushed(flushed)) => return Ok(Some(flushed)),
            Some(Heard::Event(Event::MessageState {
                conversation,
                id: moved,
                state,
            })) if conversation == name && moved == id && state != MessageState::Queued => {
                return Ok(None);
            }
            _ => {}
        }
    }
}

/// Where the message is; nothing where it has burnt already.
pub(crate) fn state(
    session: &Session,
    name: &str,
    id: u64,
) -> Result<Option<MessageState>, Failure> {
    let call = Call::History {
        name: name.to_owned(),
        before: id.checked_add(1),
        limit: 1,
    };
    let Answer::History { lines } = session.call(call)? else {
        return Err(room::unexpected());
    };
    Ok(lines
        .into_iter()
        .find(|line| line.id == id)
        .and_then(|line| match line.body {
            LineBody::Sent { state, .. } => Some(state),
            _ => None,
        }))
}

/// What can be sent at all.
///
/// # Errors
/// When it is empty or too long.
pub(crate) fn check(text: &str) -> Result<(), Failure> {
    if text.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "bad_text",
            "the message is empty",
        ));
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(
            Failure::new(Exit::Usage, "bad_text", "the message is longer than 16 KiB")
                .hint("send it in parts"),
        );
    }
    Ok(())
}

/// All of standard input, without its last line break.
fn from_stdin() -> Result<Zeroizing<String>, Failure> {
    if std::io::stdin().is_terminal() {
        out::note("type the message; Ctrl-D on a line of its own sends it, Ctrl-C does not");
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let bytes_max = u64::try_from(TEXT_BYTES_MAX).unwrap_or(0).saturating_add(2);
    std::io::stdin()
        .lock()
        .take(bytes_max)
        .read_to_end(&mut bytes)
        .map_err(|e| failure::io("standard input", &e))?;
    let text = as_text(&bytes)?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(Zeroizing::new(text.to_owned()))
}

/// Bytes that were read up to the limit, as text.
///
/// # Errors
/// When they are none.
pub(crate) fn as_text(bytes: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(bytes)
        .or_else(|e| {
            // The limit may cut a character, and then the text is too long in any case.
            if bytes.len() > TEXT_BYTES_MAX {
                std::str::from_utf8(bytes.get(..e.valid_up_to()).unwrap_or_default())
            } else {
                Err(e)
            }
        })
        .map_err(|_| failure::usage("the message is not UTF-8 text", "only text can be sent"))
}
