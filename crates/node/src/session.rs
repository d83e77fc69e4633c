//! A session: what a program talks to, whether a daemon holds the vault or this process does.

mod local;
mod remote;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::time::Duration;

use crate::api::{Answer, Call, DeadmanInfo, Event, Exit, Failure, SecretText, StatusInfo};
use crate::carrier::Direct;
use crate::desktop::Desktop;
use crate::engine::Watcher;
use crate::factors::WrongBefore;
use crate::home::{self, Kdf};
use crate::{clock, deadman, policy};
use local::Local;
pub(crate) use local::runtime;
use remote::Remote;

/// Events that may wait for a program; beyond that it hears [`Event::Missed`].
pub(crate) const EVENTS_WAITING_MAX: usize = 1_024;

/// An open vault, here or at a daemon.
pub struct Session {
    inner: Inner,
    wrong_before: Option<WrongBefore>,
}

enum Inner {
    Local(Local),
    Remote(Remote),
}

impl Session {
    #[cfg(test)]
    pub(crate) fn over(started: crate::engine::Started, runtime: tokio::runtime::Runtime) -> Self {
        Self {
            inner: Inner::Local(Local::over(started, runtime)),
            wrong_before: None,
        }
    }

    /// The daemon of a home, if one runs.
    ///
    /// # Errors
    /// When something answers there that is not this user's daemon.
    // [SPEC 12.32]
    pub fn of_daemon(home: &Path) -> Result<Option<Self>, Failure> {
        Ok(Remote::connect(home)?.map(|remote| Self {
            inner: Inner::Remote(remote),
            wrong_before: None,
        }))
    }

    /// Whether there is a vault in a home, before anybody is asked for a PIN. Gives its dead-man time, where one lies outside.
    ///
    /// # Errors
    /// When there is none, or its dead-man time is over.
    // [SPEC 11.80]
    pub fn expect_vault(home: &Path) -> Result<Option<DeadmanInfo>, Failure> {
        let deadman = deadman::start::look(home, &clock::here())?;
        if home::holds_vault(home) {
            Ok(deadman)
        } else {
            Err(home::missing())
        }
    }

    /// The dead-man time of a home's vault, as it lies outside of it: no PIN is needed, and nothing begins anew.
    ///
    /// # Errors
    /// When what lies there cannot be read.
    pub fn deadman(home: &Path) -> Result<Option<DeadmanInfo>, Failure> {
        deadman::start::show(home, &clock::here())
    }

    /// Whether the vault of a home is locked: there is one, and no process has it open.
    ///
    /// # Errors
    /// When there is none, or it is open.
    pub fn expect_locked(home: &Path) -> Result<(), Failure> {
        Self::expect_vault(home)?;
        if !home::is_open(home) {
            return Ok(());
        }
        let text = "a command without a daemon has this vault open";
        Err(Failure::new(Exit::Vault, "vault_in_use", text)
            .hint("end it; it may be a `chat` or a `receive --follow`"))
    }

    /// Whether a vault can be made in a home.
    ///
    /// # Errors
    /// When there is one.
    pub fn expect_no_vault(home: &Path) -> Result<(), Failure> {
        deadman::start::look(home, &clock::here())?;
        if home::holds_vault(home) {
            Err(home::exists())
        } else {
            Ok(())
        }
    }

    /// Opens the vault of a home in this process.
    ///
    /// # Errors
    /// Each kind of trouble with a vault by its own name.
    pub fn open(home: &Path, secret: &SecretText) -> Result<Self, Failure> {
        let carrier = Arc::new(direct()?);
        let opened = home::open_vault(home, secret)?;
        Ok(Self {
            inner: Inner::Local(Local::start(opened.vault, home, carrier)?),
            wrong_before: opened.wrong_before,
        })
    }

    /// Whether this is an address line of a relay.
    ///
    /// # Errors
    /// It is not; what is wrong with it.
    pub fn check_relay(address: &SecretText) -> Result<(), Failure> {
        crate::convert::check_address(address.expose())
    }

    /// Makes a vault and an account in a home, at a relay if an address is given.
    ///
    /// # Errors
    /// When the address is wrong, there is a vault, or the disk fails. A wrong address leaves nothing behind.
    pub fn create(
        home: &Path,
        secret: &SecretText,
        kdf: Kdf,
        relay: Option<&SecretText>,
    ) -> Result<Self, Failure> {
        if let Some(address) = relay {
            Self::check_relay(address)?;
        }
        let vault = home::create_vault(home, secret, kdf)?;
        let session = Self {
            inner: Inner::Local(Local::start(vault, home, Arc::new(direct()?))?),
            wrong_before: None,
        };
        if let Some(address) = relay {
            session.call(Call::SetRelay {
                address: address.expose().to_owned(),
            })?;
        }
        Ok(session)
    }

    /// Whether the policy lets a vault be destroyed by command. Where it does not, one whose dead-man time is over still is.
    ///
    /// # Errors
    /// When the policy forbids it, or the dead-man time was over.
    // [SPEC 12.41]
    pub fn expect_panic_allowed(home: &Path) -> Result<(), Failure> {
        policy::allows_panic().or_else(|refused| {
            deadman::start::look(home, &clock::here())?;
            Err(refused)
        })
    }

    /// Destroys the locked vault of a home, for which no PIN is needed. Nothing is left of it.
    ///
    /// # Errors
    /// When there is none, a command has it open for long, the policy forbids it, or the disk fails.
    pub fn destroy(home: &Path) -> Result<(), Failure> {
        home::destroy_vault(home)
    }

    /// Wrong PINs that were entered before the one that opened this session, where somebody counts.
    pub fn wrong_before(&self) -> Option<WrongBefore> {
        self.wrong_before.clone()
    }

    /// Whether a daemon holds the vault.
    pub fn is_daemon(&self) -> bool {
        matches!(self.inner, Inner::Remote(_))
    }

    /// Asks for one thing and waits for the answer.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn call(&self, call: Call) -> Result<Answer, Failure> {
        let (answered, answer) = sync_channel(1);
        // Nobody waits any more where sending fails.
        self.call_then(call, move |outcome| drop(answered.send(outcome)));
        answer.recv().unwrap_or_else(|_| Err(Failure::locked()))
    }

    /// Asks for one thing; `then` gets the answer, on a thread that it must not hold up.
    pub fn call_then(
        &self,
        call: Call,
        then: impl FnOnce(Result<Answer, Failure>) + Send + 'static,
    ) {
        match &self.inner {
            Inner::Local(local) => local.call(call, Box::new(then)),
            Inner::Remote(remote) => remote.call(
                &call,
                Box::new(move |outcome| {
                    then(outcome.map(|answer| match answer {
                        Answer::Status(status) => Answer::Status(StatusInfo {
                            daemon: true,
                            ..status
                        }),
                        answer => answer,
                    }));
                }),
            ),
        }
    }

    /// From now on all events; of a message without its text, which [`Call::Unread`] and [`Call::History`] give. They end with [`Event::Locked`], or without it when a daemon ends by force.
    ///
    /// # Errors
    /// When the vault was locked in the meantime.
    pub fn events(&self) -> Result<Events, Failure> {
        match &self.inner {
            Inner::Local(local) => local.events(),
            Inner::Remote(remote) => remote.events(),
        }
    }

    /// Locks the vault when the desktop says so, if this process has it open: a daemon hears that by itself. Then calls `locked`,
    /// for a program that may be held up by something else; on a thread of its own.
    // [SPEC 11.91]
    pub fn lock_by(&self, desktop: Desktop, locked: impl FnOnce() + Send + 'static) {
        if let Inner::Local(local) = &self.inner {
            let leave = local.leaver();
            desktop.on_lock(|| {
                leave();
                locked();
            });
        }
    }

    /// Ends it: a vault that was opened here is locked, a daemon goes on.
    ///
    /// # Errors
    /// When the last write of the vault fails; it is closed all the same.
    pub fn close(self) -> Result<(), Failure> {
        match &self.inner {
            Inner::Local(_) => self.call(Call::Lock {}).map(|_| ()),
            Inner::Remote(_) => Ok(()),
        }
    }
}

pub(crate) fn direct() -> Result<Direct, Failure> {
    Direct::new().map_err(|_| Failure::fault("TLS could not be set up"))
}

/// The events of a session, as many as wait at most; for those that found no room there is one [`Event::Missed`].
pub struct Events {
    receiver: Receiver<Event>,
    missed: Missed,
}

impl Events {
    /// The next one; nothing when none comes in time, or never more.
    pub fn next_within(&self, wait: Duration) -> Option<Event> {
        self.next_waiting()
            .or_else(|| self.receiver.recv_timeout(wait).ok())
    }

    fn next_waiting(&self) -> Option<Event> {
        let event = self.receiver.try_recv().ok();
        event.or_else(|| self.missed.take().then_some(Event::Missed {}))
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.next_waiting().or_else(|| self.receiver.recv().ok())
    }
}

/// A bounded queue of events between a watcher and whoever reads it. Texts do not wait in it: they could outlive their lines.
pub(crate) fn events() -> (Watcher, Events) {
    let (sender, receiver) = sync_channel(EVENTS_WAITING_MAX);
    let missed = Missed::default();
    let watcher = watcher(missed.clone(), move |event| {
        match sender.try_send(without_text(event)) {
            Ok(()) => Sent::Yes,
            Err(TrySendError::Full(_)) => Sent::Full,
            Err(TrySendError::Disconnected(_)) => Sent::Closed,
        }
    });
    (watcher, Events { receiver, missed })
}

// [SPEC 12.36]
pub(crate) fn without_text(mut event: Event) -> Event {
    if let Event::MessageReceived { text, .. } = &mut event {
        *text = String::new();
    }
    event
}

/// That events found no room and the reader was not told so yet: he finds it when he has taken all that did.
#[derive(Clone, Default)]
pub(crate) struct Missed(Arc<AtomicBool>);

impl Missed {
    /// Whether he is to be told now.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Turns a bounded sender into a watcher: events that find no room are told as one [`Event::Missed`], by the next that does
/// or by the reader who has taken everything.
// [SPEC 12.12]
pub(crate) fn watcher(
    missed: Missed,
    mut send: impl FnMut(Event) -> Sent + Send + 'static,
) -> Watcher {
    let tell_missed = move |missed: &Missed, send: &mut dyn FnMut(Event) -> Sent| {
        let sent = send(Event::Missed {});
        if matches!(sent, Sent::Yes) {
            missed.take();
        }
        sent
    };
    Box::new(move |event| {
        if missed.is_set() {
            match tell_missed(&missed, &mut send) {
                Sent::Yes => {}
                Sent::Full => return true,
                Sent::Closed => return false,
            }
        }
        match send(event.clone()) {
            Sent::Yes => true,
            Sent::Full => {
                missed.set();
                // The reader may have taken everything in this moment, and would wait.
                !matches!(tell_missed(&missed, &mut send), Sent::Closed)
            }
            Sent::Closed => false,
        }
    })
}

/// What became of an event.
pub(crate) enum Sent {
    Yes,
    Full,
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 12.12]
    #[test]
    fn events_without_room_are_told_as_missed() {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let mut watcher = watcher(Missed::default(), move |event| {
            match sender.try_send(event) {
                Ok(()) => Sent::Yes,
                Err(std::sync::mpsc::TrySendError::Full(_)) => Sent::Full,
                Err(std::sync::mpsc::TrySendError::Disconnected(_)) => Sent::Closed,
            }
        });
        let up = Event::Connection {
            relay: "r".into(),
            up: true,
        };
        assert!(watcher(&up) && watcher(&up));
        assert!(receiver.recv().unwrap() == up);
        assert!(watcher(&up));
        assert!(receiver.recv().unwrap() == Event::Missed {});
        drop(receiver);
        assert!(!watcher(&up));
    }

    // [SPEC 12.36]
    #[test]
    fn no_text_waits_for_a_reader() {
        let (mut watcher, mut events) = events();
        let received = |text: &str| Event::MessageReceived {
            conversation: "ben".into(),
            id: 1,
            text: text.into(),
            sent_at: 1,
            received_at: 1,
            timer_s: Some(30),
            expires_at: None,
        };
        assert!(watcher(&received("this burns")));
        assert!(events.next() == Some(received("")));
    }

    /// Also when nothing happens any more that could tell him.
    // [SPEC 12.12]
    #[test]
    fn a_reader_who_has_caught_up_is_told_what_he_missed() {
        let (mut watcher, mut events) = events();
        let up = Event::Connection {
            relay: "r".into(),
            up: true,
        };
        for _ in 0..EVENTS_WAITING_MAX + 9 {
            assert!(watcher(&up));
        }
        for _ in 0..EVENTS_WAITING_MAX {
            assert!(events.next() == Some(up.clone()));
        }
        assert!(events.next() == Some(Event::Missed {}));
        assert!(watcher(&up));
        assert!(events.next() == Some(up));
        drop(watcher);
        assert!(events.next().is_none());
    }
}
