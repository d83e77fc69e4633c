//! The switch while the vault is open: kept in it and outside, watched, and carried out.

use std::io::ErrorKind;
use std::path::Path;

use emptyroom_vault::{Change, Vault, WriteError};
use emptyroom_wire::kill::Watched;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::sign::SignKey;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::end::End;
use super::own::{read_failure, write_failure};
use super::{Answerer, Engine, Message};
use crate::api::{Answer, Event, Exit, Failure, KillcodeInfo, SecretText};
use crate::clock::Here;
use crate::outside::{OF_SWITCH, Outside, Stamp, Trouble, stamp};
use crate::switch::holder::unhex;
use crate::switch::{self, Heard, Ordered, log};
use crate::{clock, policy};

/// The record of the switch: when it was found changed outside, what the key derives from that destroys its log, and what
/// lies outside.
const RECORD: &[u8] = b"ns";

/// What the open vault knows of its switch.
pub(super) struct Switch {
    /// Whoever reads the log hears of every change of it.
    watched: watch::Sender<Option<Watched>>,
    owner: Owner,
    /// When what lies outside was found changed (unix milliseconds), or 0.
    changed_at: u64,
    /// It lies outside and in the vault as it should.
    is_kept: bool,
    /// A later version wrote the record: it stays as it is until the owner changes it.
    is_newer: bool,
    /// The last look could not read what lies outside.
    is_unread: bool,
    /// Of what lies outside, when it was compared last.
    stamp: Option<Stamp>,
    heard: Heard,
    /// News that were told.
    told: Vec<Event>,
}

/// What the key derives from that destroys the log.
type Owner = Zeroizing<[u8; 32]>;

impl Switch {
    /// The vault was opened: what lies outside is as the vault says. Whatever lies there keeps nobody out. Gives an order that was
    /// begun, too.
    // [SPEC 11.61]
    pub(super) fn begin(
        vault: &mut Vault,
        here: &Here,
        home: &Path,
    ) -> Result<(Self, Option<Ordered>), Failure> {
        let record = vault.get(RECORD).map_err(read_failure)?;
        let stamp = stamp(home);
        let found = lying_outside(vault);
        // What cannot be read now is compared later.
        let is_read = found.is_some();
        let found = found.unwrap_or_default();
        let decoded = record.as_deref().map(|record| decode(record));
        let is_newer = matches!(decoded, Some(None));
        let (known, owner, changed_at) = match decoded.flatten() {
            Some((known, owner, changed_at)) => (Some(known), owner, changed_at),
            // What that version put there is watched, as nobody can say that it is wrong.
            None if is_newer => (found.switch.clone(), Owner::default(), 0),
            None => (None, Owner::default(), 0),
        };
        let is_changed = is_read && known.is_some() && (is_newer || found.switch != known);
        // [SPEC 11.66]
        let ordered = begun(&found, known.as_ref());
        let is_as_it_should = found.switch == known && is_clear(&found);
        let is_kept = !is_read || is_newer || ordered.is_some() || is_as_it_should;
        let mut switch = Self {
            heard: if found.switch == known {
                Heard::new(&found)
            } else {
                Heard::default()
            },
            watched: watch::Sender::new(known),
            owner,
            changed_at: if is_changed {
                here.now.wall.0.max(1)
            } else {
                changed_at
            },
            is_kept,
            is_newer,
            is_unread: !is_read,
            stamp: stamp.filter(|_| is_read),
            told: Vec::new(),
        };
        // What could not be read is looked at again by the next tick, not in the same moment.
        let ordered = if is_read {
            ordered.or_else(|| switch.look(vault, here, home))
        } else {
            None
        };
        Ok((switch, ordered))
    }

    /// With every tick: what could not be read or written is tried again, and what somebody took away is put back. Gives an order
    /// that was begun, too.
    // [SPEC 11.61]
    pub(super) fn look(&mut self, vault: &mut Vault, here: &Here, home: &Path) -> Option<Ordered> {
        let mut ordered = None;
        let now = stamp(home);
        // Reading it syncs: not where it is the same file as before.
        if self.is_kept && (now != self.stamp || now.is_none() && self.known().is_some()) {
            let found = lying_outside(vault);
            let was_unread = std::mem::replace(&mut self.is_unread, found.is_none());
            if let Some(found) = found {
                ordered = self.compare(found, here);
                self.stamp = now;
            } else if was_unread {
                // Not for a moment only.
                self.changed_at = here.now.wall.0.max(1);
            }
        }
        if !self.is_kept {
            self.is_kept = self.keep(vault).is_ok();
        }
        if self.is_kept && self.known().is_some() {
            self.heard.store(vault.directory());
        }
        ordered
    }

    /// Compares what lies outside with what should. Gives an order that was begun.
    fn compare(&mut self, found: Outside, here: &Here) -> Option<Ordered> {
        let known = self.known();
        let is_other = found.switch != known;
        if is_other {
            self.changed_at = here.now.wall.0.max(1);
            if self.is_newer && known.is_none() {
                // What that version put there could not be read before.
                self.heard.forget();
                self.watched.send_replace(found.switch.clone());
            } else {
                self.is_kept = false;
            }
        }
        // [SPEC 11.66]
        let ordered = begun(&found, self.known().as_ref());
        if !is_other && !self.is_newer && ordered.is_none() && !is_clear(&found) {
            self.is_kept = false;
        }
        ordered
    }

    /// The vault is about to be locked: what is to be watched then lies outside, whatever became of it meanwhile. Gives an order
    /// that was begun, too.
    #[must_use]
    pub(super) fn close(&mut self, vault: &mut Vault, here: &Here, home: &Path) -> Option<Ordered> {
        let was_kept = self.is_kept;
        self.stamp = None;
        let ordered = self.look(vault, here, home);
        if was_kept || ordered.is_some() {
            return ordered;
        }
        // It was written, and not read.
        self.stamp = None;
        self.look(vault, here, home)
    }

    /// First outside, so that nothing is acknowledged that is not watched while the vault is locked.
    fn keep(&self, vault: &mut Vault) -> Result<(), WriteError> {
        let known = self.known();
        lay_outside(vault, known.as_ref())?;
        if self.is_newer {
            return Ok(());
        }
        let value = known.and_then(|watched| {
            let mut record = self.changed_at.to_be_bytes().to_vec();
            record.extend_from_slice(self.owner.as_slice());
            record.extend_from_slice(&watched.encode().ok()?);
            Some(record)
        });
        vault.apply(vec![Change {
            key: RECORD.to_vec(),
            value,
        }])
    }

    /// Another one, or none. Where that cannot be kept, it stays as it was.
    fn change(
        &mut self,
        vault: &mut Vault,
        watched: Option<Watched>,
        owner: Owner,
    ) -> Result<(), Failure> {
        let before = (self.known(), self.owner.clone(), self.changed_at);
        let was_newer = std::mem::take(&mut self.is_newer);
        // Not heard by whoever watches before it is kept.
        let silently = |switch: &mut Self, watched| {
            switch.watched.send_if_modified(|known| {
                *known = watched;
                false
            });
        };
        silently(self, watched);
        (self.owner, self.changed_at) = (owner, 0);
        if let Err(error) = self.keep(vault) {
            silently(self, before.0);
            (self.owner, self.changed_at, self.is_newer) = (before.1, before.2, was_newer);
            // What this does not put back, a tick does.
            self.is_kept = self.keep(vault).is_ok();
            return Err(write_failure(error));
        }
        self.is_kept = true;
        self.told.clear();
        self.heard.forget();
        self.watched.send_modify(|_| {});
        Ok(())
    }

    fn known(&self) -> Option<Watched> {
        self.watched.borrow().clone()
    }

    /// What whoever hears events has to know.
    // [SPEC 11.69, 11.95]
    pub(super) fn news(&self) -> Vec<Event> {
        let Some(relay) = self.relay() else {
            return Vec::new();
        };
        let gone = self.heard.gone_ms().map(|_| Event::SwitchGone {
            relay: relay.clone(),
        });
        let filled = self.heard.filled_ms();
        let filled = filled.map(|_| Event::SwitchFilled { relay });
        gone.into_iter().chain(filled).collect()
    }

    fn relay(&self) -> Option<String> {
        Some(self.known()?.hosts.first()?.to_string())
    }

    /// What `status` says.
    pub(super) fn info(&self) -> Option<KillcodeInfo> {
        Some(KillcodeInfo {
            relay: self.relay()?,
            changed_at: (self.changed_at > 0).then_some(self.changed_at),
            heard_at: self.heard.at_ms(),
            gone_at: self.heard.gone_ms(),
            filled_at: self.heard.filled_ms(),
        })
    }
}

/// What lies outside; nothing where that cannot be said now.
fn lying_outside(vault: &Vault) -> Option<Outside> {
    match Outside::read(vault.directory()) {
        Err(e) if e.kind() != ErrorKind::InvalidData => None,
        found => Some(found.ok().flatten().unwrap_or_default()),
    }
}

/// An order that was begun, if it is one for the vault's switch.
fn begun(found: &Outside, known: Option<&Watched>) -> Option<Ordered> {
    Ordered::left(found).filter(|left| known == Some(&left.watched))
}

/// Whether there is neither an order nor what cannot be understood.
fn is_clear(found: &Outside) -> bool {
    found.ordered.is_none() && !found.is_odd(OF_SWITCH)
}

/// Nothing is left there of another switch.
fn lay_outside(vault: &Vault, watched: Option<&Watched>) -> Result<(), WriteError> {
    let change = |found: &mut Outside| {
        found.drop_odd(OF_SWITCH);
        // [SPEC 11.66] One that was begun is not taken back.
        if begun(found, watched).is_none() {
            found.ordered = None;
        }
        if found.switch.as_ref() != watched {
            (found.switch, found.heard_ms) = (watched.cloned(), None);
            (found.untold, found.left) = (None, None);
            found.trouble = Trouble::default();
        }
    };
    Outside::change(vault.directory(), change).map_err(super::watch::write_error)
}

fn decode(record: &[u8]) -> Option<(Watched, Owner, u64)> {
    let (changed_at, rest) = record.split_first_chunk()?;
    let (owner, watched) = rest.split_first_chunk::<32>()?;
    let watched = Watched::decode(watched)?;
    Some((
        watched,
        Zeroizing::new(*owner),
        u64::from_be_bytes(*changed_at),
    ))
}

impl Engine {
    /// Orders are heard for as long as the runtime lives.
    // [SPEC 11.66]
    pub(super) fn watch_switch(&self) {
        let (carrier, runtime) = self.links.ways();
        let (mut watched, heard) = (self.switch.watched.subscribe(), self.switch.heard.clone());
        let itself = self.itself.clone();
        runtime.spawn(async move {
            loop {
                let ordered = switch::watch(&mut watched, &*carrier, &heard).await;
                // It has ended where this fails; the order is still there for the next.
                if itself.send(Message::Ordered(ordered)).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Time has passed.
    pub(super) fn look_at_switch(&mut self) {
        let here = clock::here();
        if let Some(ordered) = self.switch.look(&mut self.vault, &here, &self.home) {
            self.ordered(ordered);
        }
        let news = self.switch.news();
        let told = std::mem::replace(&mut self.switch.told, news.clone());
        for news in news.iter().filter(|news| !told.contains(news)) {
            self.tell(news);
        }
    }

    // [SPEC 11.62, 12.40]
    pub(super) fn set_switch(
        &mut self,
        secret: &SecretText,
        switch: &SecretText,
        owner: &SecretText,
    ) -> Result<Answer, Failure> {
        policy::allows_killcode()?;
        let watched = unhex(switch.expose()).and_then(|bytes| Watched::decode(&bytes));
        let owner =
            unhex(owner.expose()).and_then(|bytes| Some(Zeroizing::new(*bytes.first_chunk()?)));
        let is_own = |watched: &Watched, owner: &Owner| key(owner).verify_key() == watched.owner;
        let (Some(watched), Some(owner)) = (watched, owner) else {
            return Err(no_switch());
        };
        if !is_own(&watched, &owner) {
            return Err(no_switch());
        }
        self.expect_present(secret)?;
        if self.switch.known().is_some() {
            let text = "there is a kill code already";
            return Err(Failure::new(Exit::Refused, "killcode_exists", text)
                .hint("revoke it first with `emptyroom killcode revoke`"));
        }
        self.switch.change(&mut self.vault, Some(watched), owner)?;
        Ok(Answer::Done {})
    }

    /// Answered when the relay has removed the log, too, or cannot be reached.
    // [SPEC 11.69, 12.40]
    pub(super) fn unset_switch(&mut self, secret: &SecretText, answerer: Answerer) {
        let taken = self.expect_present(secret).and_then(|()| {
            let Some(watched) = self.switch.known() else {
                let text = "there is no kill code";
                return Err(Failure::new(Exit::Refused, "killcode_none", text));
            };
            let owner = key(&self.switch.owner);
            let none = Owner::default();
            self.switch.change(&mut self.vault, None, none)?;
            Ok((watched, owner))
        });
        let (watched, owner) = match taken {
            Ok(taken) => taken,
            Err(failure) => return answerer(Err(failure)),
        };
        let (carrier, runtime) = self.links.ways();
        runtime.spawn(async move {
            let removed = log::destroy(&*carrier, &watched, &owner).await;
            answerer(Ok(Answer::Revoked { removed }));
        });
    }

    /// An order came for a switch; it counts if that is still this vault's.
    // [SPEC 11.66, 11.69]
    pub(super) fn ordered(&mut self, ordered: Ordered) {
        if self.switch.known().as_ref() == Some(&ordered.watched) {
            self.order = Some(ordered);
            self.ending = Some((End::Wipe, Box::new(drop)));
        }
    }
}

fn key(owner: &Owner) -> SignKey {
    SignKey::from_seed(&Secret32::new(**owner))
}

fn no_switch() -> Failure {
    Failure::new(Exit::Usage, "usage", "this is no switch")
}

#[cfg(test)]
pub(super) mod tests;
