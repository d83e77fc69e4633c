//! Events and the end of a flush in one queue: what comes first is dealt with first.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use emptyroom_node::Session;
use emptyroom_node::api::{Answer, Call, Event, Failure};

use crate::room::{self, Flushed};

/// What was heard.
pub(crate) enum Heard {
    /// Something happened.
    Event(Event),
    /// What could go out and come in has.
    Flushed(Flushed),
}

enum Raw {
    Event(Event),
    Flushed(Result<Answer, Failure>),
    Locked,
}

/// What waits to be heard; beyond that events wait with the session, where too many become [`Event::Missed`].
const WAITING_MAX: usize = 64;

/// Listens to a session.
pub(crate) struct Ear {
    sender: SyncSender<Raw>,
    receiver: Receiver<Raw>,
}

impl Ear {
    /// From now on hears every event.
    ///
    /// # Errors
    /// When the vault was locked.
    pub(crate) fn to(session: &Session) -> Result<Self, Failure> {
        let events = session.events()?;
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let from_events = sender.clone();
        std::thread::spawn(move || {
            for event in events {
                if from_events.send(Raw::Event(event)).is_err() {
                    return;
                }
            }
            let _ = from_events.send(Raw::Locked);
        });
        Ok(Self { sender, receiver })
    }

    /// Begins a flush; its end will be heard.
    pub(crate) fn flush(&self, session: &Session, wait: Duration) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let (answered, answer) = sync_channel(1);
        session.call_then(Call::Flush { wait_ms }, move |outcome| {
            drop(answered.send(outcome))
        });
        let sender = self.sender.clone();
        // Whoever answers must not be held up, so another thread waits until there is room.
        std::thread::spawn(move || {
            let outcome = answer.recv().unwrap_or_else(|_| Err(Failure::locked()));
            // Nobody listens any more where sending fails.
            let _ = sender.send(Raw::Flushed(outcome));
        });
    }

    /// The next thing; nothing when `until` comes first.
    ///
    /// # Errors
    /// When the vault was locked or cannot be written.
    pub(crate) fn next(&self, until: Option<Instant>) -> Result<Option<Heard>, Failure> {
        let raw = match until {
            None => self
                .receiver
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
            Some(until) => self
                .receiver
                .recv_timeout(until.saturating_duration_since(Instant::now())),
        };
        match raw {
            Ok(Raw::Locked) | Err(RecvTimeoutError::Disconnected) => Err(Failure::locked()),
            // [SPEC 12.46]
            Ok(Raw::Event(event)) => match event.end() {
                Some(why) => Err(why),
                None => Ok(Some(Heard::Event(event))),
            },
            Ok(Raw::Flushed(outcome)) => {
                room::flushed(outcome?).map(|flushed| Some(Heard::Flushed(flushed)))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
        }
    }
}
