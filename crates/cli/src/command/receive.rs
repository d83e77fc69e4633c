//! `emptyroom receive`: what has arrived, and what arrives.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use clap::Args;
use emptyroom_node::api::{Event, Exit, Failure};

use crate::command::receive::inbox::Inbox;
use crate::room::{self, Flushed, Room};
use crate::{out, span, words};

pub(crate) mod inbox;

/// How long the relays have for handing over what they hold.
const FETCH_WAIT: Duration = Duration::from_secs(10);

/// Print the messages that have arrived
///
/// Prints what was not shown before, oldest first, marks it as shown (burn timers start, read receipts go out) and ends.
/// With --follow it stays and prints what arrives. A message is marked only after it was written: if the program is killed in
/// between, the message is printed again, under the same number.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom receive
  emptyroom receive --wait 10s          wait for a first message if there is none
  emptyroom receive --follow --json     for scripts: every event as one JSON object")]
pub(crate) struct Receive {
    /// Stay, and print what arrives
    #[arg(long)]
    follow: bool,
    /// Wait so long for a first message
    #[arg(long, value_name = "TIME", value_parser = span::seconds, conflicts_with = "follow")]
    wait: Option<u64>,
}

impl Receive {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        let session = room.open()?;
        let events = session.events()?;
        let flushed = room::flush(&session, FETCH_WAIT)?;
        let mut inbox = Inbox::new(room.out);
        let deadline = Instant::now() + Duration::from_secs(self.wait.unwrap_or(0));
        let mut shown = inbox.show(&session)?;
        loop {
            let done = !self.follow && (shown > 0 || Instant::now() >= deadline);
            if !self.hear(room, &events, deadline, done)? {
                break;
            }
            shown += inbox.show(&session)?;
        }
        // Receipts for what was shown.
        if shown > 0 && !session.is_daemon() {
            room::flush(&session, FETCH_WAIT)?;
        }
        session.close()?;
        if shown == 0 {
            not_reached(&flushed)
        } else {
            Ok(())
        }
    }

    /// Tells what the events say and waits for the next one. False when it is time to end.
    fn hear(
        &self,
        room: &Room,
        events: &Receiver<Event>,
        deadline: Instant,
        done: bool,
    ) -> Result<bool, Failure> {
        let wait = if done {
            Duration::ZERO
        } else if self.follow {
            Duration::MAX
        } else {
            deadline.saturating_duration_since(Instant::now())
        };
        let first = if wait == Duration::MAX {
            events.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            events.recv_timeout(wait)
        };
        match first {
            Ok(event) => tell(room, event)?,
            Err(RecvTimeoutError::Timeout) => return Ok(false),
            Err(RecvTimeoutError::Disconnected) => return Err(Failure::locked()),
        }
        while let Ok(event) = events.try_recv() {
            tell(room, event)?;
        }
        Ok(!done)
    }
}

/// Events that are no lines of a conversation: those come from the records, once and in order.
fn tell(room: &Room, event: Event) -> Result<(), Failure> {
    match &event {
        Event::MessageReceived { .. }
        | Event::Joined { .. }
        | Event::TimerChanged { .. }
        | Event::Gap { .. }
        | Event::Restarted { .. } => return Ok(()),
        Event::Locked {} => return Err(Failure::locked()),
        Event::StorageFailed {} => {
            return Err(
                Failure::new(Exit::Vault, "vault_write", "the vault could not be written")
                    .hint("see to the disk (is it full?), then run the command again"),
            );
        }
        _ => {}
    }
    if !room.out.event(&event)?
        && let Some(text) = words::event(&event)
    {
        out::note(&text);
    }
    Ok(())
}

/// Nothing came, and nothing could have come.
fn not_reached(flushed: &Flushed) -> Result<(), Failure> {
    match flushed.unreachable.first() {
        Some(relay) => Err(Failure::new(
            Exit::Kept,
            "unreachable",
            format!("{relay} cannot be reached"),
        )
        .hint("what waits there is kept; try again later")),
        None if flushed.timed_out => {
            Err(
                Failure::new(Exit::Kept, "unreachable", "the relay has not answered yet")
                    .hint("what waits there is kept; try again later"),
            )
        }
        None => Ok(()),
    }
}
