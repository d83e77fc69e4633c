//! Chat in a pipe: every line of standard input is a message, what arrives goes to standard output.

use std::io::BufRead;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use emptyroom_node::Session;
use emptyroom_node::api::{Answer, Call, Event, Failure, MessageState};

use crate::command::receive::inbox::Inbox;
use crate::command::send;
use crate::out::{self, Out};
use crate::{room, words};

/// How long the end waits for what was sent.
const LEAVE_WAIT: Duration = Duration::from_secs(10);

/// What can come.
enum Input {
    Typed(std::io::Result<String>),
    TypedAll,
    Happened(Event),
    Locked,
}

/// Talks until standard input ends. What was sent then waits for the relay for some seconds.
///
/// # Errors
/// As `send`: 3 when something is kept, 4 when something will not arrive.
pub(crate) fn run(session: &Session, name: &str, out: Out) -> Result<(), Failure> {
    let inputs = inputs(session.events()?);
    let mut inbox = Inbox::of(out, name);
    inbox.show(session)?;
    let mut sent = Vec::new();
    for input in inputs {
        match input {
            Input::Typed(line) => {
                let text = line.map_err(|e| crate::failure::io("standard input", &e))?;
                if text.is_empty() {
                    continue;
                }
                send::check(&text)?;
                let call = Call::Send {
                    to: name.to_owned(),
                    text,
                    burn_s: None,
                    relay_days: None,
                };
                let Answer::Queued { id } = session.call(call)? else {
                    return Err(room::unexpected());
                };
                sent.push(id);
            }
            Input::TypedAll => break,
            Input::Happened(event) => happened(session, name, out, &mut inbox, &event)?,
            Input::Locked => return Err(Failure::locked()),
        }
    }
    let flushed = room::flush(session, LEAVE_WAIT)?;
    inbox.show(session)?;
    let mut kept = false;
    for id in sent {
        match send::state(session, name, id)? {
            Some(MessageState::Failed { why }) => return Err(words::send_failed(&why)),
            Some(MessageState::Queued) => kept = true,
            _ => {}
        }
    }
    if kept {
        Err(room::kept("what was not sent", Some(&flushed)))
    } else {
        Ok(())
    }
}

fn happened(
    session: &Session,
    name: &str,
    out: Out,
    inbox: &mut Inbox,
    event: &Event,
) -> Result<(), Failure> {
    match event {
        Event::Locked {} => return Err(Failure::locked()),
        Event::MessageReceived { .. }
        | Event::Joined { .. }
        | Event::TimerChanged { .. }
        | Event::Gap { .. }
        | Event::Restarted { .. }
        | Event::Missed {} => return inbox.show(session).map(|_| ()),
        Event::MessageState { conversation, .. } | Event::MessageGone { conversation, .. }
            if conversation != name =>
        {
            return Ok(());
        }
        _ => {}
    }
    if !out.event(event)?
        && let Some(text) = words::event(event)
    {
        out::note(&text);
    }
    Ok(())
}

/// Lines and events in one channel, each from its own thread.
fn inputs(events: Receiver<Event>) -> Receiver<Input> {
    let (sender, receiver) = channel();
    let typed = sender.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if typed.send(Input::Typed(line)).is_err() {
                return;
            }
        }
        let _ = typed.send(Input::TypedAll);
    });
    std::thread::spawn(move || {
        for event in events {
            if sender.send(Input::Happened(event)).is_err() {
                return;
            }
        }
        let _ = sender.send(Input::Locked);
    });
    receiver
}
