//! The guard: watches the switch and the dead-man time of a vault that is locked.
//!
//! It holds no secret of the vault. While somebody has the vault open, he watches himself, and the guard waits.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{Directory, is_there};
use emptyroom_wire::kill::Watched;
use emptyroom_wire::wipe::OrderHash;
use tokio::signal::unix::SignalKind;
use tokio::sync::Notify;
use tokio::sync::watch::{Receiver, Sender};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::ordered::RECEIPT_TIME_MAX;
use super::{Heard, Ordered, Untold, lying_outside, watch};
use crate::api::{DeadmanInfo, Failure, reason};
use crate::carrier::Carrier;
use crate::deadman::start;
use crate::outside::{Outside, Stamp, stamp};
use crate::session::{direct, runtime};
use crate::{clock, daemon, home};
use found::{is_noted, is_over, read, readable, tpm_away};

mod found;
mod left;

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

/// How long whoever has carried an order out may take to write that down.
const DONE_TIME_MAX: Duration = Duration::from_secs(1);

/// What a guard tells while it goes on.
pub enum GuardNews<'a> {
    /// The dead-man time passes.
    Deadman(&'a DeadmanInfo),
    /// This relay has no switch of the kill code any more.
    SwitchGone(String),
    /// Somebody fills the switch of the kill code at this relay.
    SwitchFilled(String),
    /// An order could not be carried out, or what lies outside cannot be read. It is tried again.
    Failed(Failure),
}

/// What is there to be guarded when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// A kill code.
    pub killcode: bool,
    /// A dead-man time.
    pub deadman: bool,
    /// The vault has a key in the TPM, and why that could not be destroyed now.
    pub tpm_away: Option<String>,
}

/// Watches until the vault is destroyed, or SIGTERM comes. `ready` is called when it has begun.
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
    // [SPEC 11.90] Whoever cannot look there now watches nothing, and nobody would notice.
    home::can_look(home)?;
    let carrier = direct()?;
    let runtime = runtime()?;
    let guard = Guard {
        home: home.to_owned(),
        heard: Heard::new(&outside),
        switch: Sender::new(outside.switch.clone()),
        noted: Notify::new(),
        was_ordered: Cell::new(false),
        left: RefCell::new(None),
        left_before: RefCell::default(),
        again_after: AGAIN_AFTER,
        tell: &tell,
    };
    let outcome = runtime.block_on(async {
        // Whoever reads that it is ready may signal at once.
        let mut terminated = daemon::on(SignalKind::terminate())?;
        ready(Guarded {
            killcode: outside.switch.is_some(),
            deadman: outside.deadline.is_some(),
            tpm_away: tpm_away(home),
        })?;
        tokio::select! {
            biased;
            failure = guard.obey(&carrier) => Err(failure),
            failure = guard.look() => Err(failure),
            // Nothing is cut off by it: what destroys does not wait.
            _ = terminated.recv() => guard.terminated(),
        }
    });
    runtime.shutdown_background();
    outcome
}

struct Guard<'a> {
    home: PathBuf,
    heard: Heard,
    switch: Sender<Option<Watched>>,
    /// An order lies outside that is being carried out, or to be told.
    noted: Notify,
    /// One came.
    was_ordered: Cell<bool>,
    /// The order that has destroyed a vault, and what is left of that elsewhere, in words.
    left: RefCell<Option<(OrderHash, Vec<String>)>>,
    /// The same of one that it could not destroy whole yet.
    left_before: RefCell<Vec<String>>,
    again_after: Duration,
    tell: &'a dyn Fn(GuardNews<'_>),
}

/// What a guard saw when it looked last.
#[derive(Default)]
struct Seen {
    /// What tells whether it is the same file as before.
    stamp: Option<Stamp>,
    is_unreadable: bool,
    told_gone: bool,
    told_filled: bool,
}

/// What became of an order.
enum Carried {
    /// The vault is destroyed; what of it is left in the TPM, in words.
    Out(Vec<String>),
    /// The code was revoked while the order came.
    No,
    /// Whoever had the vault open has done it, and tells.
    ByAnother,
    /// Something stood in the way.
    Failed(Failure),
}

impl Guard<'_> {
    /// Carries orders out.
    async fn obey(&self, carrier: &dyn Carrier) -> Failure {
        let mut switch = self.switch.subscribe();
        // One that came and could not be carried out yet: the relay may not give it again.
        // [SPEC 11.90]
        let mut pending: Option<Ordered> = None;
        loop {
            let outside = read(&self.home);
            // [SPEC 11.67]
            if pending.is_none()
                // [SPEC 11.66] One that was begun comes before anything else.
                && Ordered::left(&outside).is_none()
                && let Some(untold) = Untold::left(&outside)
            {
                match self.tell_left(&untold, &mut switch, carrier).await {
                    Ok(ordered) => pending = ordered,
                    Err(over) => return over,
                }
                continue;
            }
            let ordered = match pending.take().or_else(|| Ordered::left(&outside)) {
                Some(ordered) => ordered,
                None => tokio::select! {
                    ordered = watch(&mut switch, carrier, &self.heard) => ordered,
                    // [SPEC 11.66] Somebody else has begun one.
                    () = self.noted.notified() => continue,
                },
            };
            self.was_ordered.set(true);
            match self.carry_out(&ordered).await {
                Carried::Out(left) => {
                    let left = self.with_left_before(left);
                    // Before the relay is asked, which takes its time: nothing on the disk names it any more.
                    // [SPEC 12.46]
                    if !left.is_empty() {
                        (self.tell)(GuardNews::Failed(Failure::wiped(true, &left)));
                    }
                    *self.left.borrow_mut() = Some((ordered.order.body.hash(), left));
                    if ordered.tell(&self.home, carrier).await {
                        return self.wiped();
                    }
                }
                Carried::ByAnother => {
                    self.let_another_tell(&ordered).await;
                    match self.over(&read(&self.home)) {
                        Some(over) => return over,
                        None => continue,
                    }
                }
                Carried::No => match readable(&self.home).map(|found| self.refresh(&found)) {
                    Ok(Some(over)) => return over,
                    Ok(None) => {
                        self.was_ordered.set(false);
                        continue;
                    }
                    Err(_) => pending = Some(ordered),
                },
                Carried::Failed(failure) => {
                    (self.tell)(GuardNews::Failed(failure));
                    pending = Some(ordered);
                }
            }
            sleep(self.again_after).await;
        }
    }

    /// Tells what was carried out. Gives an order that came while it could not, or why there is nothing more to be done.
    async fn tell_left(
        &self,
        untold: &Untold,
        switch: &mut Receiver<Option<Watched>>,
        carrier: &dyn Carrier,
    ) -> Result<Option<Ordered>, Failure> {
        self.say_left(untold);
        let there = || is_there(&OsDirectory::at(&self.home));
        let was_there = there();
        let tells = async {
            while !untold.tell(&self.home, carrier).await {
                sleep(self.again_after).await;
                if there() != was_there {
                    return false;
                }
            }
            true
        };
        // [SPEC 11.115] A vault that was put there since is watched, by one look at its log and not by a new one each time.
        tokio::select! {
            is_told = tells => match is_told && !there() {
                true => Err(self.wiped()),
                false => Ok(None),
            },
            ordered = watch(switch, carrier, &self.heard), if was_there => Ok(Some(ordered)),
            () = self.begun() => Ok(None),
        }
    }

    /// Somebody else has begun an order. Each look also wakes for what is to be told, which is under way.
    // [SPEC 11.66]
    async fn begun(&self) {
        loop {
            self.noted.notified().await;
            if Ordered::left(&read(&self.home)).is_some() {
                return;
            }
        }
    }

    /// Destroys the vault, as soon as nobody has it open.
    async fn carry_out(&self, ordered: &Ordered) -> Carried {
        let failed = |why: &str| Carried::Failed(Failure::wipe_failed(true, why, &[]));
        // The disk is not mounted: no lock is made, which would look as if a vault had been there.
        if !home::had_vault(&self.home)
            && readable(&self.home).is_ok_and(|outside| is_over(&self.home, &outside))
        {
            return Carried::No;
        }
        let lock = loop {
            match OsDirectory::at(&self.home).lock() {
                Ok(lock) => break lock,
                Err(e) if e.kind() == ErrorKind::WouldBlock => sleep(TAKE_EVERY).await,
                Err(e) if e.kind() == ErrorKind::NotFound => return Carried::No,
                Err(e) => return failed(&reason(e.kind())),
            }
        };
        let is_gone = !is_there(&OsDirectory::at(&self.home));
        match readable(&self.home) {
            Ok(outside)
                if is_gone
                    && (ordered.is_begun(&outside)
                        || ordered.is_done(&outside)
                        || outside == Outside::default()) =>
            {
                return Carried::ByAnother;
            }
            Ok(outside) if outside.switch.as_ref() == Some(&ordered.watched) => {}
            // [SPEC 11.69]
            Ok(_) => return Carried::No,
            // [SPEC 11.90] Whether it was revoked nobody can tell.
            Err(e) => return failed(&start::unreadable(&e).text),
        }
        match ordered.wipe(&self.home, lock) {
            Ok(left) => Carried::Out(left),
            Err((failure, left)) => {
                let mut before = self.left_before.borrow_mut();
                for left in left {
                    if !before.contains(&left) {
                        before.push(left);
                    }
                }
                drop(before);
                Carried::Failed(failure)
            }
        }
    }

    /// Whoever has carried an order out writes that down, and gives the receipt, for as long as he tries. Where he was killed it is as
    /// if it was done here.
    // [SPEC 11.67]
    async fn let_another_tell(&self, ordered: &Ordered) {
        let since = Instant::now();
        loop {
            let outside = read(&self.home);
            let is_begun = ordered.is_begun(&outside);
            let time_max = match (is_begun, &outside.untold) {
                (true, _) => DONE_TIME_MAX,
                (false, Some(_)) => RECEIPT_TIME_MAX,
                (false, None) => return,
            };
            if since.elapsed() < time_max {
                sleep(TAKE_EVERY).await;
                continue;
            }
            if is_begun {
                // What the other one knew of is what he noted.
                ordered.done(&self.home, None);
            }
            return;
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
                _ = deadmen.tick() => match start::look_at_time(&self.home, &clock::here()) {
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
        let now = stamp(&self.home);
        // Reading it syncs: not where it is the same file as before.
        if seen.stamp != now || now.is_none() {
            match readable(&self.home) {
                Ok(outside) => {
                    if let Some(over) = self.refresh(&outside) {
                        return Some(over);
                    }
                    // What is to be done is noted with every look: whoever does it may not have been able to read it.
                    seen.stamp = now.filter(|_| !is_noted(&outside));
                    seen.is_unreadable = false;
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
        let (gone, filled) = (self.heard.gone_ms(), self.heard.filled_ms());
        self.tell_once(gone.is_some(), &mut seen.told_gone, GuardNews::SwitchGone);
        self.tell_once(
            filled.is_some(),
            &mut seen.told_filled,
            GuardNews::SwitchFilled,
        );
        None
    }

    /// Tells trouble with the switch, until there is none.
    fn tell_once(&self, is_so: bool, told: &mut bool, news: impl Fn(String) -> GuardNews<'static>) {
        if is_so
            && !*told
            && let Some(relay) = self.relay()
        {
            (self.tell)(news(relay));
        }
        *told = is_so;
    }

    /// From now on what lies outside is watched. Gives why there is nothing more to be.
    fn refresh(&self, outside: &Outside) -> Option<Failure> {
        if let Some(over) = self.over(outside) {
            return Some(over);
        }
        if is_noted(outside) {
            self.noted.notify_one();
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

    /// Why there is nothing more to be watched, if so.
    // [SPEC 11.90, 12.46]
    fn over(&self, outside: &Outside) -> Option<Failure> {
        // Where not even the lock is, which a wipe leaves, nothing was destroyed: the disk is not mounted.
        let over = || match self.was_ordered.get() && home::had_vault(&self.home) {
            true => self.wiped(),
            false => home::missing(),
        };
        is_over(&self.home, outside).then(over)
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

    fn relay(&self) -> Option<String> {
        let switch = self.switch.borrow();
        Some(switch.as_ref()?.hosts.first()?.to_string())
    }
}

#[cfg(test)]
mod tests;
