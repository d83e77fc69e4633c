//! `emptyroom receive`: what has arrived, and what arrives.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::Args;
use emptyroom_node::api::{Event, Exit, Failure};

use crate::command::receive::inbox::Inbox;
use crate::ear::{Ear, Heard};
use crate::room::{self, Flushed, Room};
use crate::span;

pub(crate) mod inbox;

/// How long the relays have for handing over what they hold.
const FETCH_WAIT: Duration = Duration::from_secs(10);

/// Events take another way than the end of a flush, and are heard for so long after it.
const SETTLING: Duration = Duration::from_millis(50);

/// The longest that `--wait` can mean.
const WAIT_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Print the messages that have arrived
///
/// Prints what was not shown before, oldest first, marks it as shown (burn timers start, read receipts go out) and ends.
/// With --follow it stays and prints what arrives, and the vault stays open without a daemon, too. Receipts go out with a delay of some seconds, for which it stays, too.
/// A message is marked only after it was written: if the program is killed in between, the message is printed again, under
/// the same number.
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
        let ear = Ear::to(&session)?;
        ear.flush(&session, FETCH_WAIT);
        let deadline = deadline(Instant::now(), self.wait.unwrap_or(0));
        let mut inbox = Inbox::new(room.out);
        let mut shown = inbox.show(&session)?;
        let mut fetched = None;
        let mut receipts_wait = false;
        let mut settled = None;
        let mut away = BTreeSet::new();
        loop {
            let until = settled.filter(|_| !self.follow);
            let until = until.map(|at| if shown == 0 { deadline.max(at) } else { at });
            if until.is_some_and(|until| until <= Instant::now()) {
                break;
            }
            let lines = match ear.next(until)? {
                Some(Heard::Flushed(flushed)) => {
                    fetched = Some(flushed);
                    settled = Some(Instant::now() + SETTLING);
                    inbox.show(&session)?
                }
                Some(Heard::Event(Event::StorageFailed { why })) => {
                    return Err(room::storage_failed(&why));
                }
                Some(Heard::Event(event)) => {
                    // That all is well is for who stays, or was told that it is not.
                    let is_news = match &event {
                        Event::Connection { relay, up: true } => away.remove(relay) || self.follow,
                        Event::Connection { relay, up: false } => {
                            away.insert(relay.clone());
                            true
                        }
                        _ => true,
                    };
                    if is_news && !inbox.tells(&event) {
                        room.out.told(&event)?;
                    }
                    inbox.heard(&session, &event)?
                }
                None => break,
            };
            shown += lines;
            receipts_wait |= lines > 0 && fetched.is_some();
        }
        // Receipts for what was shown; they go out some seconds late.
        if receipts_wait && !session.is_daemon() {
            room::flush(&session, FETCH_WAIT)?;
        }
        session.close()?;
        match fetched {
            Some(fetched) if shown == 0 => not_reached(&fetched),
            _ => Ok(()),
        }
    }
}

/// The end of a wait; one that nobody lives to see is cut.
fn deadline(now: Instant, wait_s: u64) -> Instant {
    now + Duration::from_secs(wait_s).min(WAIT_MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 12.4]
    #[test]
    fn the_longest_wait_is_no_fault() {
        let now = Instant::now();
        assert_eq!(deadline(now, 10), now + Duration::from_secs(10));
        assert!(deadline(now, u64::MAX) > now);
    }
}
