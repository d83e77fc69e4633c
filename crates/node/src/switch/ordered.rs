//! An order that is to be carried out: noted, the vault destroyed, and whoever gave it told.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{Directory, OutsideFile, is_there, outside};
use emptyroom_wire::address::Host;
use emptyroom_wire::kill::{KillCode, Left, Said, Watched};
use emptyroom_wire::op::{Refusal, RefusalCode};
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::rng;
use emptyroom_wire::secret::Private;
use emptyroom_wire::time::Wall;
use emptyroom_wire::wipe::{ACTION_WIPE, OrderBody, OrderHash, WipeOrder, judge};

use super::log::{append, open};
use crate::api::{Failure, left_kinds, left_words, reason};
use crate::carrier::Carrier;
use crate::deadman::start;
use crate::errand::{Errand, Whom};
use crate::outside::Outside;
use crate::session::{direct, runtime};
use crate::{clock, home, seed};

/// How long it is tried to give a receipt.
pub(super) const RECEIPT_TIME_MAX: Duration = Duration::from_secs(10);

/// How often what fails for a moment is tried, and how long it is waited for in between.
const TRIES: usize = 50;
const TRY_EVERY: Duration = Duration::from_millis(20);

/// An order that is to be carried out.
pub(crate) struct Ordered {
    pub(crate) watched: Watched,
    pub(crate) order: WipeOrder,
}

/// One that was carried out, and is to be told.
pub(crate) struct Untold {
    watched: Watched,
    pub(super) order: OrderHash,
    pub(super) left: Option<Left>,
    /// The relay has that.
    has_left: AtomicBool,
}

impl Ordered {
    /// One that was begun and lies outside. It is judged again by the switch that lies there, but for its time, as begun is begun.
    /// Whoever can write there puts his own switch and order there: he can destroy the vault by himself anyway.
    // [SPEC 11.66]
    pub(crate) fn left(outside: &Outside) -> Option<Self> {
        let (watched, order) = (outside.switch.clone()?, outside.ordered.clone()?);
        judge(&order, &watched.policy, Wall(0)).ok()?;
        Some(Self { watched, order })
    }

    /// One for a vault that is made to be destroyed.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub(crate) fn of_a_drill() -> Result<Self, Failure> {
        let mut random = seed::generator()?;
        let code = KillCode::generate(&mut random);
        let body = OrderBody {
            switch_id: code.switch().id,
            order_id: Private(rng::bytes(&mut random)),
            action: ACTION_WIPE,
            issued_ms: 0,
            not_after_ms: u64::MAX,
        };
        let nowhere = Host::parse("relay.invalid:443").into_iter().collect();
        Ok(Self {
            watched: code.watched(nowhere, IdentityHash([0; 32])),
            order: WipeOrder {
                signatures: vec![body.sign(0, &code.kill_key())],
                body,
            },
        })
    }

    /// Whether it was carried out, as what lies outside says.
    pub(crate) fn is_done(&self, outside: &Outside) -> bool {
        outside.untold == Some(self.order.body.hash())
    }

    /// Whether somebody has begun it, and not said that it is done.
    pub(super) fn is_begun(&self, outside: &Outside) -> bool {
        outside.ordered.as_ref() == Some(&self.order)
    }

    /// The vault is destroyed, but for what is left, as far as whoever calls this knows it: from now on the note leads to nothing but to
    /// tell, whatever vault is put there later.
    // [SPEC 11.67]
    pub(crate) fn done(&self, home: &Path, left: Option<Left>) {
        let directory = OsDirectory::at(home);
        // What cannot be written now is when it is told again.
        let Ok(_lock) = patiently(|| directory.lock()) else {
            return;
        };
        let _ = Outside::change(&directory, |outside| {
            // What could not be noted was destroyed all the same.
            let is_unnoted = outside.ordered.is_none()
                && outside.switch.as_ref() == Some(&self.watched)
                && !is_there(&directory);
            if self.is_begun(outside) || is_unnoted {
                outside.untold = Some(self.order.body.hash());
                outside.deadline = None;
                // What an earlier try noted is left all the same.
                // [SPEC 11.116]
                outside.left = both(outside.left, left);
            }
            outside.ordered = None;
        });
    }

    /// Notes it, so that a wipe that is cut off is gone on with. Whoever calls this has the directory's lock.
    // [SPEC 11.66]
    pub(crate) fn note(&self, directory: &dyn Directory) -> io::Result<()> {
        Outside::change(directory, |outside| {
            match (self.is_begun(outside), self.is_done(outside)) {
                (true, _) => {}
                // It was carried out, and comes again for a backup that was put there: what it left then is left all the same.
                // [SPEC 11.116]
                (false, true) => {
                    let before = outside.left.unwrap_or(Left::UNKNOWN);
                    outside.left = Some(before.and(Left::UNSEEN));
                }
                (false, false) => outside.left = None,
            }
            outside.switch = Some(self.watched.clone());
            outside.ordered = Some(self.order.clone());
        })
    }

    /// The same where it could not be noted before, as on a full disk, and the wipe failed, too: there may be room now.
    // [SPEC 11.112]
    pub(crate) fn note_late(&self, home: &Path, left: Option<Left>) {
        let directory = OsDirectory::at(home);
        if let Ok(_lock) = patiently(|| directory.lock()) {
            let _ = self.note(&directory);
            if let Some(left) = left {
                note_left(home, left);
            }
        }
    }

    /// Destroys a locked vault whose lock is held; gives what is left of it elsewhere, in words, with what an earlier try noted. What
    /// lies outside stays until whoever gave the order is told.
    ///
    /// # Errors
    /// What stood in the way, and the same of what was left then.
    pub(crate) fn wipe(
        &self,
        home: &Path,
        lock: Box<dyn Send + Sync>,
    ) -> Result<Vec<String>, (Failure, Vec<String>)> {
        // What cannot be noted is destroyed all the same.
        let noted = self.note(&OsDirectory::at(home));
        let mut looked = None;
        let wiped = home::wipe_held(home, lock, OutsideFile::Stays, &mut |left| {
            let left = left_kinds(left).and(Left::UNSEEN);
            looked = Some(left);
            note_left(home, left);
        });
        let mut left = wiped.map_err(|(failure, left)| {
            if noted.is_err() {
                self.note_late(home, looked);
            }
            let failure = Failure::wipe_failed(true, &failure.text, &left);
            (failure, left)
        })?;
        self.done(home, looked);
        let noted = noted_left(home).unwrap_or_default();
        left.extend(left_words(noted.without(left_kinds(&left))));
        Ok(left)
    }

    /// Carries out one that came when the vault was just locked, if its switch still lies outside.
    // [SPEC 11.66, 11.69, 11.112]
    pub(crate) fn come_late(&self, home: &Path) -> Option<Failure> {
        let directory = OsDirectory::at(home);
        let failed = |why: &str| Some(Failure::wipe_failed(true, why, &[]));
        let lock = match patiently(|| directory.lock()) {
            Ok(lock) => lock,
            // Whoever has the vault open watches himself.
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::NotFound) => {
                return None;
            }
            Err(e) => return failed(&reason(e.kind())),
        };
        match patiently(|| Outside::read(&directory)) {
            Ok(Some(outside)) if outside.switch.as_ref() == Some(&self.watched) => {
                Some(self.finish(home, lock))
            }
            Ok(_) => None,
            Err(e) => failed(&start::unreadable(&e).text),
        }
    }

    /// Goes on with one that was cut off, and tells. Gives how it ended.
    pub(crate) fn finish(&self, home: &Path, lock: Box<dyn Send + Sync>) -> Failure {
        let left = match self.wipe(home, lock) {
            Ok(left) => left,
            Err((failure, _)) => return failure,
        };
        // Nothing on the disk names what is left any more: that is said before a relay takes its time. A guard gives the receipt then.
        // [SPEC 11.111]
        if left.is_empty() {
            self.tell_now(home);
        }
        Failure::wiped(true, &left)
    }

    /// On a thread of its own: whoever calls this may be in a runtime. What it does not come to, a guard does.
    fn tell_now(&self, home: &Path) {
        let tell = || {
            let (Ok(carrier), Ok(runtime)) = (direct(), runtime()) else {
                return;
            };
            runtime.block_on(self.tell(home, &carrier));
            runtime.shutdown_background();
        };
        std::thread::scope(|scope| {
            let _ = std::thread::Builder::new().spawn_scoped(scope, tell);
        });
    }

    /// Tells whoever gave the order that it is done ([`Untold::tell`]).
    pub(crate) async fn tell(&self, home: &Path, carrier: &dyn Carrier) -> bool {
        let untold = Untold {
            watched: self.watched.clone(),
            order: self.order.body.hash(),
            left: noted_left(home),
            has_left: AtomicBool::new(false),
        };
        untold.tell(home, carrier).await
    }
}

impl Untold {
    /// What lies outside.
    pub(crate) fn left(outside: &Outside) -> Option<Self> {
        Some(Self {
            order: outside.untold?,
            watched: outside.switch.clone()?,
            left: outside.left,
            has_left: AtomicBool::new(false),
        })
    }

    /// Tells whoever gave the order that it is done, and says whether the relay has that. Then nothing is left to be told, and the
    /// switch goes, too.
    // [SPEC 11.67]
    pub(crate) async fn tell(&self, home: &Path, carrier: &dyn Carrier) -> bool {
        let told = tokio::time::timeout(RECEIPT_TIME_MAX, self.give_receipt(carrier)).await;
        let told = told.ok().flatten().is_some();
        told && self.forget(home)
    }

    /// Nothing where it may be given later.
    async fn give_receipt(&self, carrier: &dyn Carrier) -> Option<()> {
        let mut rng = seed::generator().ok()?;
        let whom = Whom::Known(self.watched.relay);
        let hosts = &self.watched.hosts;
        let mut errand = Errand::dial(carrier, hosts, &whom, &mut rng).await.ok()?;
        let switch = self.watched.switch();
        let handle = match open(&mut errand, &switch).await.ok()? {
            Ok(handle) => handle,
            Err(refusal) => return is_for_good(refusal),
        };
        // [SPEC 11.116] The receipt last: whoever has it has all.
        let left = self.left.filter(|_| !self.has_left.load(Relaxed));
        if let Some(left) = left {
            let remains = Said::Remains(switch.remains(self.order, left));
            let appended = append(&mut errand, &switch, handle, &remains, &mut rng).await;
            // One that is refused keeps no receipt from being given. One that was taken is not said again with each try.
            self.has_left.store(appended.ok()?.is_ok(), Relaxed);
        }
        let receipt = switch.receipt(self.order, clock::now().wall.0);
        let receipt = Said::Receipt(receipt);
        let appended = append(&mut errand, &switch, handle, &receipt, &mut rng).await;
        appended.ok()?.map_or_else(is_for_good, |_| Some(()))
    }

    /// Removes what lies outside of a vault that is gone, and says whether it is. What cannot be removed now is by whoever tells
    /// next.
    fn forget(&self, home: &Path) -> bool {
        let directory = OsDirectory::at(home);
        let Ok(_lock) = patiently(|| directory.lock()) else {
            return false;
        };
        match Outside::read(&directory) {
            Ok(Some(outside)) if outside.switch.as_ref() == Some(&self.watched) => {}
            Ok(_) => return true,
            // Whether it is gone nobody can say: it is told again.
            Err(_) => return false,
        }
        if is_there(&directory) {
            // Another one, whose switch this is as well.
            Outside::change(&directory, |outside| {
                (outside.untold, outside.left) = (None, None)
            })
            .is_ok()
        } else {
            outside::remove(&directory).is_ok()
        }
    }
}

/// Notes what could not be destroyed of a vault that an order destroys: what names it is removed next. Whoever calls this has the
/// directory's lock.
// [SPEC 11.116]
pub(crate) fn note_left(home: &Path, left: Left) {
    let directory = OsDirectory::at(home);
    let is_ordered = |outside: &Outside| outside.ordered.is_some();
    let found = patiently(|| Outside::read(&directory));
    if found.is_ok_and(|found| found.as_ref().is_some_and(is_ordered)) {
        // What cannot be noted is known to this process alone.
        let _ = Outside::change(&directory, |outside| {
            outside.left = both(outside.left, Some(left));
        });
    }
}

/// What is known after two tries: what either left. Whether both meant one vault nobody can say, so what one has not seen stays so.
// [SPEC 11.116]
fn both(noted: Option<Left>, left: Option<Left>) -> Option<Left> {
    match (noted, left) {
        (Some(noted), Some(left)) => Some(noted.and(left)),
        (noted, left) => noted.or(left),
    }
}

/// What is left, as it was noted.
fn noted_left(home: &Path) -> Option<Left> {
    Outside::read(&OsDirectory::at(home)).ok().flatten()?.left
}

/// A switch that takes no receipt any more: there is nobody to be told by it.
fn is_for_good(refusal: Refusal) -> Option<()> {
    let for_good = [
        RefusalCode::Unknown,
        RefusalCode::Destroyed,
        RefusalCode::Full,
    ];
    for_good.contains(&refusal.code).then_some(())
}

/// Tries for a second: whoever looks has the lock for a moment, and some faults of a disk, or of descriptors, are over as soon.
pub(crate) fn patiently<T>(step: impl Fn() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..TRIES {
        match step() {
            Err(e) if !is_lasting(e.kind()) => std::thread::sleep(TRY_EVERY),
            outcome => return outcome,
        }
    }
    step()
}

fn is_lasting(kind: ErrorKind) -> bool {
    let lasting = [
        ErrorKind::NotFound,
        ErrorKind::InvalidData,
        ErrorKind::PermissionDenied,
    ];
    lasting.contains(&kind)
}
