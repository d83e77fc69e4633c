//! The dead-man time while the vault is open: begun by opening, looked at with every tick, told, carried out.

use std::io::ErrorKind;

use emptyroom_vault::{Change, Vault, WriteError};
use emptyroom_wire::time::{HOUR_MS, Mono};
use rand_core::Rng;

use super::Engine;
use super::end::End;
use super::own::{passphrase, read_failure, secret_failure, write_failure};
use crate::api::{Answer, DeadmanInfo, Event, Exit, Failure, SecretText};
use crate::clock::Here;
use crate::deadman::{DAYS_MAX, Deadline, Fixed, JOURNEY_DAYS_MAX, Key, Look};
use crate::outside::{OF_DEADLINE, Outside};
use crate::{clock, policy, seed};

/// The record of what lies outside, as it should be: the key that marks it, when it was found otherwise, and what was set.
const RECORD: &[u8] = b"no";

/// How often time that has passed is written down.
// [SPEC 11.81]
const STORED_EVERY_MS: u64 = HOUR_MS;

/// What the open vault knows of its dead-man time.
pub(super) struct Watch {
    deadline: Option<Deadline>,
    key: Key,
    /// When what lies outside was found changed (unix milliseconds), or 0.
    changed_at: u64,
    /// What was set lies outside and in the vault as it should.
    is_kept: bool,
    /// That the vault was opened, or the time set, lies outside.
    is_begun: bool,
    /// When it was written outside last.
    stored_at: Option<Mono>,
    /// Warnings that were given.
    warned: u64,
}

/// What a look at the time asks for.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    /// A warning.
    Warning,
    /// The end of the vault.
    End,
}

/// After how many days the vault is to be destroyed, where a time is set.
pub(crate) fn deadman_days(vault: &Vault) -> Option<u32> {
    let record = vault.get(RECORD).ok()??;
    let fixed = record.last_chunk()?;
    Fixed::decode(fixed).map(Fixed::limit_days)
}

impl Watch {
    /// The vault was opened: the time begins anew, if there is one. Whatever lies outside keeps nobody out.
    pub(super) fn begin(vault: &mut Vault, here: &Here) -> Result<Self, Failure> {
        let mut watch = Self {
            deadline: None,
            key: Key::default(),
            changed_at: 0,
            is_kept: true,
            is_begun: false,
            stored_at: None,
            warned: 0,
        };
        let Some(record) = vault.get(RECORD).map_err(read_failure)? else {
            // Nothing that somebody puts there makes a vault destroy itself. Tried again by ticks.
            watch.is_kept = watch.store(vault, here).is_ok();
            return Ok(watch);
        };
        // What was sealed here is whole: another version wrote it.
        // [SPEC 11.114]
        let known = watch.decode(&record).ok_or_else(newer)?;
        // [SPEC 11.61]
        let found = Outside::read(vault.directory()).ok().flatten();
        let found = found.and_then(|outside| outside.deadline);
        let own = found.and_then(|found| found.own(known, &watch.key));
        if own.is_none() {
            watch.changed_at = here.now.wall.0.max(1);
        }
        let fixed = own.unwrap_or(known).opened();
        // It began anew, whether or not that can be written. What fails is tried again by ticks.
        watch.deadline = Some(Deadline::begun(fixed, here, &watch.key));
        let written = if own == Some(known) && fixed == known {
            watch.store(vault, here)
        } else {
            watch.keep(vault, here)
        };
        watch.is_kept = written.is_ok();
        Ok(watch)
    }

    /// Writes down what only the open vault changes: first outside, so that the vault's record is never ahead of it.
    fn keep(&mut self, vault: &mut Vault, here: &Here) -> Result<(), WriteError> {
        self.is_kept = false;
        self.store(vault, here)?;
        let value = self.deadline.map(|deadline| self.encode(deadline.fixed()));
        vault.apply(vec![Change {
            key: RECORD.to_vec(),
            value,
        }])?;
        self.is_kept = true;
        Ok(())
    }

    /// Writes what has passed outside.
    fn store(&mut self, vault: &Vault, here: &Here) -> Result<(), WriteError> {
        self.stored_at = None;
        let deadline = self.deadline;
        let change = |outside: &mut Outside| {
            outside.drop_odd(OF_DEADLINE);
            outside.deadline = deadline;
        };
        Outside::change(vault.directory(), change).map_err(write_error)?;
        self.stored_at = Some(here.now.mono);
        self.is_begun = true;
        Ok(())
    }

    /// Another time, or none, from now on. Where that cannot be kept, it stays as it was.
    fn change(
        &mut self,
        vault: &mut Vault,
        fixed: Option<Fixed>,
        here: &Here,
    ) -> Result<(), WriteError> {
        let before = (self.deadline, self.changed_at);
        let deadline = fixed.map(|fixed| Deadline::begun(fixed, here, &self.key));
        (self.deadline, self.changed_at) = (deadline, 0);
        self.keep(vault, here).inspect_err(|_| {
            (self.deadline, self.changed_at) = before;
            // What this does not put back, a tick does.
            let _ = self.store(vault, here);
        })?;
        self.warned = 0;
        Ok(())
    }

    /// Looks at the time, and writes down what has passed of it.
    fn look(&mut self, vault: &mut Vault, here: &Here) -> Option<Due> {
        let look = self.deadline.as_mut().map(|deadline| deadline.look(here));
        let since = |at: Mono| here.now.mono.0.saturating_sub(at.0);
        // What fails is tried again with the next look.
        if !self.is_kept {
            let _ = self.keep(vault, here);
        } else if self.deadline.is_some()
            // [SPEC 11.113]
            && (look == Some(Look::Over)
                || self.stored_at.is_none_or(|at| since(at) >= STORED_EVERY_MS))
        {
            let _ = self.store(vault, here);
        }
        if look? == Look::Over {
            // [SPEC 11.80]
            return Some(Due::End);
        }
        let warnings = self.deadline?.warnings();
        let is_new = warnings > self.warned;
        self.warned = warnings;
        // [SPEC 11.83]
        is_new.then_some(Due::Warning)
    }

    /// The vault is about to be locked: what has passed is written down.
    // [SPEC 11.81]
    pub(super) fn close(&mut self, vault: &Vault, here: &Here) {
        if let Some(deadline) = &mut self.deadline {
            deadline.look(here);
            let _ = self.store(vault, here);
        }
    }

    /// The opening lies nowhere but in memory: for whoever looks next, it was none.
    // [SPEC 11.83]
    pub(super) fn is_unwritten(&self) -> bool {
        self.deadline.is_some() && !self.is_begun
    }

    /// What whoever begins to hear events has to know.
    // [SPEC 11.83]
    pub(super) fn news(&self, here: &Here) -> Vec<Event> {
        let unwritten = self.is_unwritten().then_some(Event::DeadmanUnwritten {});
        let warning = self.info(here).filter(|info| info.warned);
        unwritten
            .into_iter()
            .chain(warning.as_ref().map(event))
            .collect()
    }

    /// What `status` says.
    pub(super) fn info(&self, here: &Here) -> Option<DeadmanInfo> {
        let changed_at = (self.changed_at > 0).then_some(self.changed_at);
        self.deadline.map(|deadline| DeadmanInfo {
            unwritten: self.is_unwritten(),
            changed_at,
            ..deadline.info(here)
        })
    }

    fn encode(&self, fixed: Fixed) -> Vec<u8> {
        let mut record = self.key.to_vec();
        record.extend_from_slice(&self.changed_at.to_be_bytes());
        record.extend_from_slice(&fixed.encode());
        record
    }

    /// Takes key and `changed_at` from the record, and gives what was set.
    fn decode(&mut self, record: &[u8]) -> Option<Fixed> {
        let (key, rest) = record.split_first_chunk::<32>()?;
        let (changed_at, fixed) = rest.split_first_chunk()?;
        self.key.copy_from_slice(key);
        self.changed_at = u64::from_be_bytes(*changed_at);
        Fixed::decode(fixed.try_into().ok()?)
    }
}

/// The record of the dead-man time is one of a later version.
fn newer() -> Failure {
    let text = "the vault's dead-man time was set by a newer version";
    Failure::new(Exit::Vault, "vault_newer", text).hint("update this program")
}

/// A warning.
fn event(info: &DeadmanInfo) -> Event {
    Event::Deadman {
        counted_s: info.counted_s,
        left_s: info.left_s,
        destroyed_after_s: info.destroyed_after_s,
    }
}

/// Writing outside failed.
pub(super) fn write_error(error: std::io::Error) -> WriteError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => WriteError::Full,
        kind => WriteError::Io(kind),
    }
}

impl Engine {
    /// Looks at the time. Where it is over the vault is destroyed.
    pub(super) fn watch_time(&mut self, here: &Here) {
        match self.watch.look(&mut self.vault, here) {
            None => {}
            Some(Due::Warning) => {
                if let Some(info) = self.watch.info(here) {
                    self.tell(&event(&info));
                }
            }
            Some(Due::End) => self.ending = Some((End::Wipe, Box::new(drop))),
        }
    }

    // [SPEC 11.80, 12.40]
    pub(super) fn set_deadman(
        &mut self,
        secret: &SecretText,
        days: Option<u32>,
    ) -> Result<Answer, Failure> {
        if days.is_some() {
            policy::allows_deadman()?;
        }
        if days.is_some_and(|days| !(1..=DAYS_MAX).contains(&days)) {
            return Err(span("a dead-man time has 1 to 365 days"));
        }
        self.expect_present(secret)?;
        let here = clock::here();
        let Some(days) = days else {
            return self.change_watch(None, &here);
        };
        // What is never seen to run would never be destroyed.
        if here.boot.is_none() {
            return Err(boot_unknown());
        }
        if self.watch.deadline.is_none() {
            seed::generator()?.fill_bytes(self.watch.key.as_mut_slice());
        }
        let before = self.watch.deadline.map(|deadline| deadline.fixed());
        self.change_watch(Some(Fixed::new(days, 0, before)), &here)
    }

    // [SPEC 11.82, 12.40]
    pub(super) fn suspend_deadman(
        &mut self,
        secret: &SecretText,
        days: u32,
    ) -> Result<Answer, Failure> {
        if !(1..=JOURNEY_DAYS_MAX).contains(&days) {
            return Err(span("a journey has 1 to 90 days"));
        }
        self.expect_present(secret)?;
        let Some(deadline) = self.watch.deadline else {
            return Err(
                Failure::new(Exit::Refused, "deadman_off", "no dead-man time is set")
                    .hint("set one with `emptyroom deadman 14d`"),
            );
        };
        let before = deadline.fixed();
        let fixed = Fixed::new(before.days(), days, Some(before));
        self.change_watch(Some(fixed), &clock::here())
    }

    pub(super) fn expect_present(&self, secret: &SecretText) -> Result<(), Failure> {
        let present = self.vault.expect_present(&passphrase(secret));
        present.map_err(|error| secret_failure(error, &self.vault))
    }

    fn change_watch(&mut self, fixed: Option<Fixed>, here: &Here) -> Result<Answer, Failure> {
        let changed = self.watch.change(&mut self.vault, fixed, here);
        changed.map(|()| Answer::Done {}).map_err(write_failure)
    }
}

fn boot_unknown() -> Failure {
    Failure::new(
        Exit::Refused,
        "boot_unknown",
        "this machine does not say when it was started, so no time can be seen to pass on it",
    )
    .hint("mount /proc, then run the command again")
}

fn span(text: &str) -> Failure {
    Failure::new(Exit::Usage, "usage", text).hint("give whole days, like 14d")
}

#[cfg(test)]
mod tests;
