//! The wheel of the client: an input goes in, every output is carried out, and what is to be stored is.

use emptyroom_core::api::{Input, Output, Settings};
use emptyroom_core::{Client, LoadError};
use emptyroom_vault::{Change, WriteError};

use super::own::OutsideInfo;
use super::records::Stored;
use super::{Anew, Engine, own};
use crate::api::{Event, Exit, Failure};
use crate::carrier::Target;
use crate::{clock, convert, seed};

impl Engine {
    /// A client over what is stored.
    pub(super) fn load(&mut self) -> Result<(), Failure> {
        let generator = seed::generator()?;
        let stored = Stored::new(&self.vault);
        let client = Client::load(
            clock::now(),
            Box::new(generator),
            &stored,
            Settings::default(),
        );
        if let Some(error) = stored.failure() {
            return Err(error);
        }
        self.client = Some(client.map_err(|e| {
            match e {
                LoadError::Newer => Failure::new(
                    Exit::Vault,
                    "vault_newer",
                    "the vault's records were written by a newer version",
                )
                .hint("update this program"),
                LoadError::Damaged => Failure::new(
                    Exit::Vault,
                    "vault_corrupt",
                    "the vault's records are damaged",
                )
                .hint("restore the vault from a backup, or begin a new one"),
            }
        })?);
        self.anew = Anew::ByTime;
        self.drain();
        Ok(())
    }

    pub(super) fn feed(&mut self, input: Input) {
        let Some(client) = &mut self.client else {
            return;
        };
        let stored = Stored::new(&self.vault);
        client.handle(clock::now(), input, &stored);
        match stored.failure() {
            None => self.drain(),
            // Nothing that came of a record that could not be read may leave.
            Some(failure) => self.give_up(&failure, Anew::Not),
        }
    }

    /// Carries out what the client asks for, in its order.
    pub(super) fn drain(&mut self) {
        while let Some(output) = self.client.as_mut().and_then(Client::poll) {
            match output {
                Output::Persist(ticket, changes) => self
                    .unstored
                    .push((ticket, changes.into_iter().map(change).collect())),
                Output::Dial(id, endpoint) => {
                    self.links.dial(
                        id,
                        Target {
                            host: endpoint.host,
                            port: endpoint.port,
                        },
                    );
                }
                Output::Frame(id, bytes) => {
                    if !self.links.frame(id, bytes) {
                        self.inputs.push_back(Input::LinkDown(id));
                    }
                }
                Output::Hangup(id) => self.links.hang_up(id),
                Output::Event(event) => {
                    if let Some(event) = convert::event(event) {
                        self.tell(&event);
                    }
                }
                Output::Reply(id, reply) => self.reply(id, reply),
            }
        }
    }

    /// Stores everything handed out so far in one transaction.
    pub(super) fn store(&mut self) {
        let Some((last, _)) = self.unstored.last() else {
            return;
        };
        let last = *last;
        let changes = std::mem::take(&mut self.unstored)
            .into_iter()
            .flat_map(|(_, changes)| changes)
            .collect();
        match self.vault.apply(changes) {
            Ok(()) => self.inputs.push_back(Input::Persisted(last)),
            Err(error) => {
                // Of neither of the first two is anything written.
                let anew = match error {
                    WriteError::Full => Anew::ByTime,
                    WriteError::TooLong => Anew::ByCall,
                    WriteError::Corrupt(_) | WriteError::Io(_) => Anew::Not,
                };
                self.give_up(&own::write_failure(error), anew);
            }
        }
    }

    /// The client is in doubt: it goes, with everything that waits for it. For good where the vault is damaged; else it is loaded
    /// anew, as after a crash.
    // [SPEC 12.39]
    pub(super) fn give_up(&mut self, failure: &Failure, anew: Anew) {
        self.client = None;
        self.anew = anew;
        self.inputs.clear();
        self.unstored.clear();
        self.links.hang_up_all();
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            (waiting.answerer)(Err(failure.clone()));
        }
        if anew == Anew::Not {
            self.broken = Some(failure.clone());
        }
        self.tell(&Event::StorageFailed {
            why: failure.error.clone(),
        });
    }

    pub(super) fn tell(&mut self, event: &Event) {
        self.watchers.retain_mut(|watcher| watcher(event));
        // Of what is connected they are told when nothing waits any more.
        if !matches!(event, Event::Connection { up: true, .. }) {
            self.newcomers.retain_mut(|watcher| watcher(event));
        }
    }

    pub(super) fn outside_info(&self) -> OutsideInfo {
        OutsideInfo {
            deadman: self.watch.info(&clock::here()),
            killcode: self.switch.info(),
        }
    }
}

fn change(mut change: emptyroom_core::api::Change) -> Change {
    Change {
        key: std::mem::take(&mut change.key),
        value: change.value.take(),
    }
}

#[cfg(test)]
mod tests;
