//! The guard: watches the switch and the dead-man time of a vault that is locked.
//!
//! It holds no secret of the vault. While somebody has the vault open, he watches himself, and the guard waits.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{Directory, is_there};
use emptyroom_wire::kill::Watched;
use tokio::sync::watch::Sender;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{Heard, Ordered, lying_outside, watch};
use crate::api::{DeadmanInfo, Failure, reason};
use crate::carrier::Carrier;
use crate::clock;
use crate::deadman::start;
use crate::home;
use crate::outside::Outside;
use crate::session::{direct, runtime};

/// How often it is looked whether another switch lies outside.
// [SPEC 11.90]
const OUTSIDE_EVERY: Duration = Duration::from_secs(60);

/// How often the dead-man time is looked at, which writes it down and takes the vault's lock for a moment.
// [SPEC 11.90]
const DEADMAN_EVERY: Duration = Duration::from_secs(3_600);

/// How often it is told that it passes.
const WARNED_EVERY: Duration = Duration::from_secs(6 * 3_600);

/// How long what failed is left alone.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// How often it is tried to take the vault of somebody who has it open.
const TAKE_EVERY: Duration = Duration::from_millis(200);

/// What a guard tells while it goes on.
pub enum GuardNews<'a> {
    /// The dead-man time passes.
    Deadman(&'a DeadmanInfo),
    /// This relay has no switch of the kill code any more.
    SwitchGone(String),
    /// An order could not be carried out, or what lies outside cannot be read. It is tried again.
    Failed(Failure),
}

/// What is there to be guarded when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// A kill code.
    pub killcode: bool,
    /// A dead-man time.
    pub deadman: bool,
}

/// Watches until the vault is destroyed. `ready` is called when it has begun.
///
/// # Errors
/// When there is no vault, or it was destroyed.
// [SPEC 11.90]
pub fn guard(
    home: &Path,
    ready: impl FnOnce(Guarded) -> Result<(), Failure>,
    tell: impl Fn(GuardNews<'_>),
) -> Result<(), Failure> {
    let outside = read(home);
    if is_over(home, &outside) {
        return Err(home::missing());
    }
    let carrier = direct()?;
    let runtime = runtime()?;
    let guard = Guard {
        home: home.to_owned(),
        heard: Heard::new(outside.heard_ms),
        switch: Sender::new(outside.switch.clone()),
        tell: &tell,
    };
    let outcome = runtime.block_on(async {
        ready(Guarded {
            killcode: outside.switch.is_some(),
            deadman: outside.deadline.is_some(),
        })?;
        tokio::select! {
            biased;
            failure = guard.obey(&carrier) => Err(failure),
            failure = guard.look() => Err(failure),
        }
    });
    runtime.shutdown_background();
    outcome
}

struct Guard<'a> {
    home: PathBuf,
    heard: Heard,
    switch: Sender<Option<Watched>>,
    tell: &'a dyn Fn(GuardNews<'_>),
}

/// What a guard saw when it looked last.
#[derive(Default)]
struct Seen {
    /// What tells whether it is the same file as before.
    stamp: Option<(SystemTime, u64)>,
    is_unreadable: bool,
    told_gone: bool,
}

/// What became of an order.
enum Carried {
    /// The vault is destroyed; what of it is left in the TPM, in words.
    Out(Vec<String>),
    /// The code was revoked while the order came, or whoever had the vault open has done it.
    No,
    /// Something stood in the way.
    Failed(Failure),
}

impl Guard<'_> {
    /// Carries orders out.
    async fn obey(&self, carrier: &dyn Carrier) -> Failure {
        let mut switch = self.switch.subscribe();
        // What is in the TPM of a vault whose destruction is still to be told to the relay.
        let mut left = Vec::new();
        loop {
            let outside = read(&self.home);
            // [SPEC 11.67]
            if let Some(untold) = Ordered::untold(&outside) {
                if untold.tell(&self.home, carrier).await {
                    return Failure::wiped(true, &left);
                }
                sleep(AGAIN_AFTER).await;
                continue;
            }
            let ordered = match Ordered::left(&outside) {
                Some(left) => left,
                None => watch(&mut switch, carrier, &self.heard).await,
            };
            match self.carry_out(&ordered).await {
                Carried::Out(remains) => {
                    left = remains;
                    if ordered.tell(&self.home, carrier).await {
                        return Failure::wiped(true, &left);
                    }
                    // Nobody knows when the relay is there again.
                    // [SPEC 12.46]
                    if !left.is_empty() {
                        (self.tell)(GuardNews::Failed(Failure::wiped(true, &left)));
                    }
                }
                Carried::No => match readable(&self.home).map(|found| self.refresh(&found)) {
                    Ok(Some(over)) => return over,
                    Ok(None) => continue,
                    Err(_) => {}
                },
                Carried::Failed(failure) => (self.tell)(GuardNews::Failed(failure)),
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    /// Destroys the vault, as soon as nobody has it open.
    async fn carry_out(&self, ordered: &Ordered) -> Carried {
        let failed = |why: &str| Carried::Failed(Failure::wipe_failed(true, why, &[]));
        let lock = loop {
            match OsDirectory::at(&self.home).lock() {
                Ok(lock) => break lock,
                Err(e) if e.kind() == ErrorKind::WouldBlock => sleep(TAKE_EVERY).await,
                Err(e) if e.kind() == ErrorKind::NotFound => return Carried::No,
                Err(e) => return failed(&reason(e.kind())),
            }
        };
        match readable(&self.home) {
            Ok(outside) if outside.switch.as_ref() == Some(&ordered.watched) => {}
            // [SPEC 11.69]
            Ok(_) => return Carried::No,
            // [SPEC 11.90] Whether it was revoked nobody can tell.
            Err(e) => return failed(&start::unreadable(&e).text),
        }
        match ordered.wipe(&self.home, lock) {
            Ok(left) => Carried::Out(left),
            Err(failure) => Carried::Failed(failure),
        }
    }

    /// Looks at what lies outside, until there is no vault.
    async fn look(&self) -> Failure {
        let every = |time| {
            let mut every = interval(time);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            every
        };
        let (mut outsides, mut deadmen) = (every(OUTSIDE_EVERY), every(DEADMAN_EVERY));
        let mut seen = Seen::default();
        let mut warned = None;
        loop {
            tokio::select! {
                _ = outsides.tick() => {
                    if let Some(over) = self.see(&mut seen) {
                        return over;
                    }
                }
                // [SPEC 11.80, 11.83]
                _ = deadmen.tick() => match start::look(&self.home, &clock::here()) {
                    // [SPEC 11.90] What fails is tried again.
                    Err(failure) if failure.error == "wipe_failed" => {
                        (self.tell)(GuardNews::Failed(failure));
                        deadmen.reset_after(AGAIN_AFTER);
                    }
                    Err(failure) => return failure,
                    Ok(Some(deadman)) if deadman.warned => {
                        if warned.is_none_or(|at: Instant| at.elapsed() >= WARNED_EVERY) {
                            (self.tell)(GuardNews::Deadman(&deadman));
                            warned = Some(Instant::now());
                        }
                    }
                    Ok(_) => warned = None,
                },
            }
        }
    }

    /// Looks whether something else lies outside. Gives why there is nothing more to be.
    // [SPEC 11.90]
    fn see(&self, seen: &mut Seen) -> Option<Failure> {
        let now = self.stamp();
        // Reading it syncs: not where it is the same file as before.
        if seen.stamp != now || now.is_none() {
            match readable(&self.home) {
                Ok(outside) => {
                    if let Some(over) = self.refresh(&outside) {
                        return Some(over);
                    }
                    (seen.stamp, seen.is_unreadable) = (now, false);
                }
                // What is known is watched on.
                Err(e) => {
                    if !seen.is_unreadable {
                        (self.tell)(GuardNews::Failed(start::unreadable(&e)));
                    }
                    (seen.stamp, seen.is_unreadable) = (None, true);
                }
            }
        }
        self.store();
        if self.heard.gone_ms().is_none() {
            seen.told_gone = false;
        } else if !seen.told_gone
            && let Some(relay) = self.relay()
        {
            (self.tell)(GuardNews::SwitchGone(relay));
            seen.told_gone = true;
        }
        None
    }

    /// From now on what lies outside is watched. Gives why there is nothing more to be.
    fn refresh(&self, outside: &Outside) -> Option<Failure> {
        if is_over(&self.home, outside) {
            return Some(home::missing());
        }
        self.switch.send_if_modified(|known| {
            let is_other = *known != outside.switch;
            if is_other {
                self.heard.forget();
                known.clone_from(&outside.switch);
            }
            is_other
        });
        None
    }

    /// Writes down that the relay was heard.
    fn store(&self) {
        if !self.heard.is_due() {
            return;
        }
        let directory = OsDirectory::at(&self.home);
        // Whoever has the vault open writes it down himself.
        if let Ok(_lock) = directory.lock()
            && lying_outside(&self.home) == *self.switch.borrow()
        {
            self.heard.store(&directory);
        }
    }

    /// What tells whether it is the same file as before.
    fn stamp(&self) -> Option<(SystemTime, u64)> {
        let found = std::fs::metadata(self.home.join("outside")).ok()?;
        Some((found.modified().ok()?, found.len()))
    }

    fn relay(&self) -> Option<String> {
        let switch = self.switch.borrow();
        Some(switch.as_ref()?.hosts.first()?.to_string())
    }
}

/// Whether there is neither a vault nor an order that is to be carried out.
fn is_over(home: &Path, outside: &Outside) -> bool {
    *outside == Outside::default() && !is_there(&OsDirectory::at(home))
}

/// What lies outside. What cannot be read is as if there was nothing.
fn read(home: &Path) -> Outside {
    readable(home).unwrap_or_default()
}

fn readable(home: &Path) -> io::Result<Outside> {
    let outside = Outside::read(&OsDirectory::at(home))?;
    Ok(outside.unwrap_or_default())
}

#[cfg(test)]
mod tests;
