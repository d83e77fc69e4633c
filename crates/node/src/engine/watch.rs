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
use crate::deadman::{DAYS_MAX, Deadline, Key, Look, SUSPENDED_DAYS_MAX};
use crate::outside::Outside;
use crate::{clock, policy, seed};

/// The record of what lies outside, as it should be: the key that marks it, when it was found otherwise, and the deadline.
const RECORD: &[u8] = b"no";

/// How often time that has passed is written down.
const STORED_EVERY_MS: u64 = HOUR_MS;

/// What the open vault knows of its dead-man time.
pub(super) struct Watch {
    deadline: Option<Deadline>,
    key: Key,
    /// When what lies outside was found changed (unix milliseconds), or 0.
    changed_at: u64,
    /// Both outside and in the vault it is as it should be, but for the time that passes.
    is_kept: bool,
    /// When it was written outside last.
    stored_at: Option<Mono>,
    /// Warnings that were given.
    warned: usize,
}

/// What a look at the time asks for.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    /// A warning: so many milliseconds are left.
    Warning(u64),
    /// The end of the vault.
    End,
}

impl Watch {
    /// The vault was opened: the time begins anew, if there is one.
    pub(super) fn begin(vault: &mut Vault, here: &Here) -> Result<Self, Failure> {
        let mut watch = Self {
            deadline: None,
            key: Key::default(),
            changed_at: 0,
            is_kept: true,
            stored_at: None,
            warned: 0,
        };
        let Some(record) = vault.get(RECORD).map_err(read_failure)? else {
            // Nothing that somebody puts there makes a vault destroy itself. Tried again by ticks.
            watch.is_kept = watch.store(vault, here).is_ok();
            return Ok(watch);
        };
        let known = watch.decode(&record).ok_or_else(|| {
            Failure::new(
                Exit::Vault,
                "vault_corrupt",
                "the vault's records are damaged",
            )
        })?;
        // [SPEC 11.61]
        let found = Outside::read(vault.directory()).ok().flatten();
        let found = found.and_then(|outside| outside.deadline);
        let own = found.filter(|found| found.is_own(&known, &watch.key));
        if own.is_none() {
            watch.changed_at = here.now.wall.0.max(1);
        }
        // It began anew, whether or not that can be written.
        watch.deadline = Some(own.unwrap_or(known).again(here, &watch.key));
        match watch.keep(vault, here) {
            // A full disk locks nobody out; it is written by a tick.
            Ok(()) | Err(WriteError::Full) => Ok(watch),
            Err(error) => Err(write_failure(error)),
        }
    }

    /// Writes down what only the open vault changes: first outside, so that the vault's record is never ahead of it.
    fn keep(&mut self, vault: &mut Vault, here: &Here) -> Result<(), WriteError> {
        self.is_kept = false;
        self.store(vault, here)?;
        let value = self.deadline.as_ref().map(|deadline| self.encode(deadline));
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
        Outside::change(vault.directory(), |outside| outside.deadline = deadline).map_err(|e| {
            match e.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => WriteError::Full,
                kind => WriteError::Io(kind),
            }
        })?;
        self.stored_at = Some(here.now.mono);
        Ok(())
    }

    /// Another time, or none, from now on. Where that cannot be kept, it stays as it was.
    fn change(
        &mut self,
        vault: &mut Vault,
        deadline: Option<Deadline>,
        here: &Here,
    ) -> Result<(), WriteError> {
        let before = (self.deadline, self.changed_at);
        (self.deadline, self.changed_at) = (deadline, 0);
        self.keep(vault, here).inspect_err(|_| {
            (self.deadline, self.changed_at) = before;
            // What this does not put back, a tick does.
            let _ = self.store(vault, here);
        })
    }

    /// Looks at the time, and writes down what has passed of it.
    fn look(&mut self, vault: &mut Vault, here: &Here) -> Option<Due> {
        let look = self.deadline.as_mut().map(|deadline| deadline.look(here));
        let since = |at: Mono| here.now.mono.0.saturating_sub(at.0);
        // What fails is tried again with the next look.
        if !self.is_kept {
            let _ = self.keep(vault, here);
        } else if self.deadline.is_some()
            && self.stored_at.is_none_or(|at| since(at) >= STORED_EVERY_MS)
        {
            let _ = self.store(vault, here);
        }
        let left_ms = match look? {
            Look::Left(left_ms) => left_ms,
            // The wall clock alone ends nothing.
            Look::Doubt(_) => return None,
            // [SPEC 11.80]
            Look::Over => return Some(Due::End),
        };
        let due = self.deadline?.warnings(Look::Left(left_ms));
        let is_new = due > self.warned;
        self.warned = due;
        // [SPEC 11.83]
        is_new.then_some(Due::Warning(left_ms))
    }

    /// The warning that was given last, for who did not hear it.
    pub(super) fn warning(&self, here: &Here) -> Option<Event> {
        let deadline = self.deadline.filter(|_| self.warned > 0)?;
        Some(Event::Deadman {
            left_s: deadline.info(here).left_s,
        })
    }

    /// What `status` says.
    pub(super) fn info(&self, here: &Here) -> Option<DeadmanInfo> {
        let changed_at = (self.changed_at > 0).then_some(self.changed_at);
        self.deadline.map(|deadline| DeadmanInfo {
            changed_at,
            ..deadline.info(here)
        })
    }

    fn encode(&self, deadline: &Deadline) -> Vec<u8> {
        let mut record = self.key.to_vec();
        record.extend_from_slice(&self.changed_at.to_be_bytes());
        record.extend_from_slice(&deadline.encode());
        record
    }

    /// Takes key and `changed_at` from the record, and gives the deadline.
    fn decode(&mut self, record: &[u8]) -> Option<Deadline> {
        let (key, rest) = record.split_first_chunk::<32>()?;
        let (changed_at, deadline) = rest.split_first_chunk()?;
        self.key.copy_from_slice(key);
        self.changed_at = u64::from_be_bytes(*changed_at);
        Deadline::decode(deadline)
    }
}

impl Engine {
    /// Looks at the time. Where it is over the vault is destroyed.
    pub(super) fn watch_time(&mut self, here: &Here) {
        match self.watch.look(&mut self.vault, here) {
            None => {}
            Some(Due::Warning(left_ms)) => self.tell(&Event::Deadman {
                left_s: left_ms / 1_000,
            }),
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
        if self.watch.deadline.is_none() {
            seed::generator()?.fill_bytes(self.watch.key.as_mut_slice());
        }
        let count = self.watch.deadline.map_or(0, |deadline| deadline.count());
        let deadline = Deadline::new(days, count.saturating_add(1), &here, &self.watch.key);
        let deadline = deadline.ok_or_else(wrong_clock)?;
        self.watch.warned = 0;
        self.change_watch(Some(deadline), &here)
    }

    // [SPEC 11.82, 12.40]
    pub(super) fn suspend_deadman(
        &mut self,
        secret: &SecretText,
        days: u32,
    ) -> Result<Answer, Failure> {
        if !(1..=SUSPENDED_DAYS_MAX).contains(&days) {
            return Err(span("a journey has 1 to 90 days"));
        }
        self.expect_present(secret)?;
        let here = clock::here();
        let Some(mut deadline) = self.watch.deadline else {
            return Err(
                Failure::new(Exit::Refused, "deadman_off", "no dead-man time is set")
                    .hint("set one with `emptyroom deadman 14d`"),
            );
        };
        deadline.suspend(days, &here, &self.watch.key);
        self.change_watch(Some(deadline), &here)
    }

    fn expect_present(&self, secret: &SecretText) -> Result<(), Failure> {
        let present = self.vault.expect_present(&passphrase(secret));
        present.map_err(|error| secret_failure(error, &self.vault))
    }

    fn change_watch(&mut self, deadline: Option<Deadline>, here: &Here) -> Result<Answer, Failure> {
        let changed = self.watch.change(&mut self.vault, deadline, here);
        changed.map(|()| Answer::Done {}).map_err(write_failure)
    }
}

fn wrong_clock() -> Failure {
    Failure::new(
        Exit::Refused,
        "clock_wrong",
        "this machine's clock shows a time before this program was made, or the machine does not say when it was started",
    )
    .hint("set the clock right, then run the command again")
}

fn span(text: &str) -> Failure {
    Failure::new(Exit::Usage, "usage", text).hint("give whole days, like 14d")
}

#[cfg(test)]
mod tests;
