//! Chat in a pipe: every line of standard input is a message, what arrives goes to standard output.

use std::io::{BufRead, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use emptyroom_node::api::{Answer, Call, Event, Failure, MessageState, TEXT_BYTES_MAX};
use emptyroom_node::{Events, Session};

use super::INPUTS_WAITING_MAX;
use super::idle::Idle;
use crate::command::receive::inbox::Inbox;
use crate::command::send;
use crate::out::Out;
use crate::{failure, room, words};

/// How long the end waits for what was sent.
const LEAVE_WAIT: Duration = Duration::from_secs(10);

/// What can come.
enum Input {
    Typed(Result<String, Failure>),
    TypedAll,
    Happened(Event),
    Locked,
}

/// Talks until standard input ends. What was sent then waits for the relay for some seconds.
///
/// # Errors
/// As `send`: 3 when something is kept, 4 when something will not arrive.
pub(crate) fn run(session: &Session, name: &str, out: Out, mut idle: Idle) -> Result<(), Failure> {
    let inputs = inputs(session.events()?);
    let mut inbox = Inbox::of(out, name);
    inbox.show(session)?;
    let mut sent = Vec::new();
    let mut refused = None;
    loop {
        let input = match inputs.recv_timeout(idle.left()) {
            Ok(input) => input,
            Err(RecvTimeoutError::Timeout) => {
                idle.check()?;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return Err(Failure::locked()),
        };
        idle.check()?;
        match input {
            Input::Typed(line) => {
                idle.typed();
                // What was taken before goes out first.
                match line.and_then(|text| say(session, name, text)) {
                    Ok(id) => sent.extend(id),
                    Err(failure) => {
                        refused = Some(failure);
                        break;
                    }
                }
            }
            Input::TypedAll => break,
            Input::Happened(event) => happened(session, name, out, &mut inbox, &event)?,
            Input::Locked => return Err(Failure::locked()),
        }
    }
    let flushed = match (room::flush(session, LEAVE_WAIT), &refused) {
        (Err(_), Some(refused)) => return Err(refused.clone()),
        (flushed, _) => flushed?,
    };
    inbox.show(session)?;
    let mut kept = false;
    for id in sent {
        match send::state(session, name, id)? {
            Some(MessageState::Failed { why }) => return Err(words::send_failed(&why)),
            Some(MessageState::Queued) => kept = true,
            _ => {}
        }
    }
    if let Some(refused) = refused {
        if kept {
            out.warn(
                "kept",
                "of what was sent before, some is kept and goes out with the next command",
            );
        }
        Err(refused)
    } else if kept {
        let relay = room::contact(session, name)?.relay;
        let impostor = room::impostor(session, &relay);
        let impostor = impostor.as_deref();
        Err(room::kept(
            "what was not sent",
            &relay,
            Some(&flushed),
            impostor,
        ))
    } else {
        Ok(())
    }
}

/// Sends a line, if there is something in it.
fn say(session: &Session, name: &str, text: String) -> Result<Option<u64>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    send::check(&text)?;
    let call = Call::Send {
        to: name.to_owned(),
        text,
        burn_s: None,
        relay_days: None,
    };
    match session.call(call)? {
        Answer::Queued { id } => Ok(Some(id)),
        _ => Err(room::unexpected()),
    }
}

fn happened(
    session: &Session,
    name: &str,
    out: Out,
    inbox: &mut Inbox,
    event: &Event,
) -> Result<(), Failure> {
    // [SPEC 12.46]
    if let Some(why) = event.end() {
        return Err(why);
    }
    match event {
        Event::StorageFailed { why } => return Err(room::storage_failed(why)),
        Event::MessageState { conversation, .. } | Event::MessageGone { conversation, .. }
            if conversation != name =>
        {
            return Ok(());
        }
        event if inbox.tells(event) => {}
        event => out.told(event)?,
    }
    inbox.heard(session, event).map(|_| ())
}

/// Lines and events in one channel, each from its own thread. Who is not read waits: lines in the pipe, events where too
/// many become [`Event::Missed`].
fn inputs(events: Events) -> Receiver<Input> {
    let (sender, receiver) = sync_channel(INPUTS_WAITING_MAX);
    let typed = sender.clone();
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        while let Some(line) = next_line(&mut input) {
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

/// The next line without its end, or so much of it that it is too long to be sent.
fn next_line(input: &mut impl BufRead) -> Option<Result<String, Failure>> {
    let bytes_max = u64::try_from(TEXT_BYTES_MAX).unwrap_or(0).saturating_add(2);
    let mut line = Vec::new();
    match input.take(bytes_max).read_until(b'\n', &mut line) {
        Ok(0) => return None,
        Ok(_) => {}
        Err(e) => return Some(Err(failure::io("standard input", &e))),
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Some(send::as_text(&line).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_read_further_than_it_could_be_sent() {
        let mut input = &[b"one\ntwo\r\n\n".to_vec(), vec![b'x'; 1 << 20]].concat()[..];
        let mut next = || next_line(&mut input).and_then(Result::ok);
        for line in ["one", "two", ""] {
            assert_eq!(next().as_deref(), Some(line));
        }
        assert_eq!(next().map(|line| line.len()), Some(TEXT_BYTES_MAX + 2));
        assert!(next_line(&mut &b"\xff\n"[..]).is_some_and(|line| line.is_err()));
        assert!(next_line(&mut &b""[..]).is_none());
    }
}
