//! What a guard does where `outside` cannot be read, on a real disk.

mod left;

use std::sync::atomic::{AtomicBool, Ordering};

use emptyroom_vault::OutsideFile;
use emptyroom_wire::address::Host;
use emptyroom_wire::kill::{KillCode, Left, Said};
use emptyroom_wire::relay_key::IdentityHash;
use tokio::time::timeout;

use super::*;
use crate::api::{SecretText, left_kinds};
use crate::carrier::{DialFault, Dialled, Direct, Target};
use crate::factors::tests::{software, tied};
use crate::home::{Kdf, create_vault, holds_vault};
use crate::switch::holder::receipts;
use crate::switch::note_left;
use crate::switch::tests::{LONG, Stage, give_back, order, take_away};

fn watched(code: u8) -> Watched {
    // Nobody answers there.
    let hosts = vec![Host::parse("127.0.0.1:1").unwrap()];
    KillCode::new([code; 16]).watched(hosts, IdentityHash([3; 32]))
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!(
        "emptyroom-node-{}-guard-{name}",
        std::process::id()
    ))
}

/// A home with a vault and a switch.
fn home(name: &str) -> PathBuf {
    let home = path(name);
    let pin = SecretText::new("a pin of this test".to_owned());
    drop(create_vault(&home, &pin, Kdf::Minimum).unwrap());
    put(&home, &watched(1));
    home
}

fn put(home: &Path, watched: &Watched) {
    let switch = Some(watched.clone());
    Outside::change(&OsDirectory::at(home), |outside| outside.switch = switch).unwrap();
}

fn guard<'a>(home: &Path, tell: &'a dyn Fn(GuardNews<'_>)) -> Guard<'a> {
    Guard {
        home: home.to_owned(),
        heard: Heard::default(),
        switch: Sender::new(Some(watched(1))),
        noted: Notify::new(),
        was_ordered: Cell::new(false),
        left: RefCell::new(None),
        left_before: RefCell::default(),
        again_after: Duration::from_millis(20),
        tell,
    }
}

fn ordered() -> Ordered {
    Ordered {
        watched: watched(1),
        order: order(&KillCode::new([1; 16])),
    }
}

/// What is known is watched on, it is told once, and read as soon as it can be.
// [SPEC 11.90]
#[test]
fn what_cannot_be_read_for_a_moment_makes_no_guard_deaf() {
    let home = home("deaf");
    let told = RefCell::new(Vec::new());
    let tell = |news: GuardNews<'_>| match news {
        GuardNews::Failed(failure) => told.borrow_mut().push(failure.error),
        _ => panic!("nothing else is told"),
    };
    let (guard, mut seen) = (guard(&home, &tell), Seen::default());
    let knows = |code| *guard.switch.borrow() == Some(watched(code));
    assert!(guard.see(&mut seen).is_none() && knows(1));
    take_away(&home);
    for _ in 0..2 {
        assert!(guard.see(&mut seen).is_none() && knows(1));
    }
    assert_eq!(*told.borrow(), ["outside_unreadable"]);
    give_back(&home);
    put(&home, &watched(2));
    assert!(guard.see(&mut seen).is_none() && knows(2));
    // Neither copy is whole.
    std::fs::write(home.join("outside"), [1; 8_192]).unwrap();
    assert!(guard.see(&mut seen).is_none() && knows(2));
    assert_eq!(told.borrow().len(), 2);
    // What is not there any more can be read: nothing is watched.
    std::fs::remove_file(home.join("outside")).unwrap();
    assert!(guard.see(&mut seen).is_none() && guard.switch.borrow().is_none());
    std::fs::remove_dir_all(&home).unwrap();
}

/// Whether the code was revoked nobody can tell then: the order waits, and is not dropped.
// [SPEC 11.69, 11.90]
#[test]
fn an_order_waits_for_what_cannot_be_read() {
    let home = home("waits");
    let ordered = ordered();
    let tell = |_: GuardNews<'_>| {};
    let guard = guard(&home, &tell);
    let runtime = runtime().unwrap();
    let carry_out = || runtime.block_on(guard.carry_out(&ordered));
    take_away(&home);
    assert!(matches!(carry_out(), Carried::Failed(_)));
    assert!(holds_vault(&home));
    give_back(&home);
    put(&home, &watched(2));
    assert!(matches!(carry_out(), Carried::No));
    assert!(holds_vault(&home));
    put(&home, &watched(1));
    assert!(matches!(carry_out(), Carried::Out(_)));
    assert!(!holds_vault(&home));
    std::fs::remove_dir_all(&home).unwrap();
}

/// Reaches its relay once.
struct Once(Direct, AtomicBool);

impl Carrier for Once {
    fn dial(&self, target: Target) -> Dialled<'_> {
        if self.1.swap(true, Ordering::Relaxed) {
            return Box::pin(std::future::ready(Err(DialFault::Unreachable)));
        }
        self.0.dial(target)
    }
}

/// It came and cannot be carried out at once; whoever has the device, or the relay, sees to it that it does not come again.
// [SPEC 11.90]
#[test]
fn an_order_that_waits_is_not_asked_for_again() {
    let mut stage = Stage::new("once");
    let (home, watched) = (home("once"), stage.watched());
    put(&home, &watched);
    let order = order(&stage.code);
    stage.append(&watched, [Said::Order(order)]);
    let failed = Cell::new(false);
    let tell = |news: GuardNews<'_>| failed.set(matches!(news, GuardNews::Failed(_)));
    let guard = Guard {
        switch: Sender::new(Some(watched)),
        ..guard(&home, &tell)
    };
    let carrier = Once(direct().unwrap(), AtomicBool::new(false));
    take_away(&home);
    let carried_out = async {
        while !failed.get() {
            sleep(Duration::from_millis(5)).await;
        }
        assert!(holds_vault(&home));
        give_back(&home);
        while holds_vault(&home) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    stage.runtime.block_on(async {
        tokio::select! {
            _ = guard.obey(&carrier) => panic!("nobody was told"),
            in_time = timeout(LONG, carried_out) => in_time.unwrap(),
        }
    });
    std::fs::remove_dir_all(&home).unwrap();
}

/// The disk is not mounted when an order comes, or is not any more: nothing was destroyed.
// [SPEC 11.67]
#[test]
fn a_vault_whose_disk_is_not_mounted_was_not_destroyed() {
    let home = path("unmounted");
    let tell = |_: GuardNews<'_>| {};
    let guard = guard(&home, &tell);
    guard.was_ordered.set(true);
    let runtime = runtime().unwrap();
    let not_destroyed = || {
        let carried = runtime.block_on(guard.carry_out(&ordered()));
        assert!(matches!(carried, Carried::No));
        let over = guard.over(&Outside::default()).unwrap();
        assert_eq!(over.error, "vault_missing");
    };
    not_destroyed();
    std::fs::create_dir(&home).unwrap();
    not_destroyed();
    // Nothing was made in it.
    std::fs::remove_dir(&home).unwrap();
}

/// Another process began it and was killed: the guard goes on with it as soon as it looks, though no relay is there.
// [SPEC 11.66, 11.90]
#[test]
fn a_guard_goes_on_with_what_another_began() {
    let home = home("another-began");
    let tell = |_: GuardNews<'_>| {};
    let (guard, carrier) = (guard(&home, &tell), direct().unwrap());
    assert!(guard.terminated().is_ok());
    let begun = async {
        // It watches already.
        sleep(Duration::from_millis(50)).await;
        assert!(guard.see(&mut Seen::default()).is_none() && holds_vault(&home));
        ordered().note(&OsDirectory::at(&home)).unwrap();
        assert!(guard.see(&mut Seen::default()).is_none());
        while holds_vault(&home) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    runtime().unwrap().block_on(async {
        tokio::select! {
            _ = guard.obey(&carrier) => panic!("nobody was told"),
            () = begun => {}
        }
    });
    let left = readable(&home).unwrap();
    assert!(ordered().is_done(&left), "to be told");
    // By SIGTERM, too, it ends with what it did.
    let ended = guard.terminated().unwrap_err();
    assert_eq!(ended.error, "vault_destroyed");
    std::fs::remove_dir_all(&home).unwrap();
}

/// It heard of what another began, and could not read it then: it hears of it again.
// [SPEC 11.66, 11.90]
#[test]
fn a_guard_hears_again_of_what_it_could_not_read() {
    let home = home("hears-again");
    let tell = |_: GuardNews<'_>| {};
    let (guard, carrier) = (guard(&home, &tell), direct().unwrap());
    let mut seen = Seen::default();
    ordered().note(&OsDirectory::at(&home)).unwrap();
    assert!(guard.see(&mut seen).is_none());
    take_away(&home);
    let begun = async {
        // In vain.
        sleep(Duration::from_millis(50)).await;
        assert!(holds_vault(&home));
        give_back(&home);
        assert!(guard.see(&mut seen).is_none());
        while holds_vault(&home) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    runtime().unwrap().block_on(async {
        tokio::select! {
            _ = guard.obey(&carrier) => panic!("nobody was told"),
            in_time = timeout(LONG, begun) => in_time.unwrap(),
        }
    });
    std::fs::remove_dir_all(&home).unwrap();
}

/// Whoever had the vault open obeyed, and tells: there is nothing to be done twice.
// [SPEC 11.67, 12.46]
#[test]
fn a_guard_leaves_telling_to_whoever_obeyed() {
    let home = home("obeyed");
    let tell = |_: GuardNews<'_>| {};
    let (guard, ordered) = (guard(&home, &tell), ordered());
    let lock = OsDirectory::at(&home).lock().unwrap();
    assert!(ordered.wipe(&home, lock).is_ok());
    let runtime = runtime().unwrap();
    let carry_out = || runtime.block_on(guard.carry_out(&ordered));
    assert!(matches!(carry_out(), Carried::ByAnother));
    let untold = readable(&home).unwrap();
    assert!(guard.over(&untold).is_none());
    std::fs::remove_file(home.join("outside")).unwrap();
    assert!(matches!(carry_out(), Carried::ByAnother));
    guard.was_ordered.set(true);
    let over = guard.over(&Outside::default()).unwrap();
    assert_eq!(over.error, "vault_destroyed");
    std::fs::remove_dir_all(&home).unwrap();
}

/// He has not written it down yet, or was killed before he could: then it is done and told here.
// [SPEC 11.67]
#[test]
fn a_guard_leaves_a_moment_to_whoever_obeys() {
    let home = home("obeys");
    let tell = |_: GuardNews<'_>| {};
    let (guard, ordered) = (guard(&home, &tell), ordered());
    ordered.note(&OsDirectory::at(&home)).unwrap();
    let lock = OsDirectory::at(&home).lock().unwrap();
    assert!(crate::home::wipe_held(&home, lock, OutsideFile::Stays, &mut |_| {}).is_ok());
    let runtime = runtime().unwrap();
    let carried = runtime.block_on(guard.carry_out(&ordered));
    assert!(matches!(carried, Carried::ByAnother));
    assert!(!ordered.is_done(&readable(&home).unwrap()));
    runtime.block_on(guard.let_another_tell(&ordered));
    assert!(ordered.is_done(&readable(&home).unwrap()));
    std::fs::remove_dir_all(&home).unwrap();
}

/// He was killed when the header that names it was gone: it was noted before, and is told with the receipt.
// [SPEC 11.116]
#[test]
fn what_is_left_is_noted_before_the_files_go() {
    let home = home("noted-left");
    let tell = |_: GuardNews<'_>| {};
    let (guard, ordered) = (guard(&home, &tell), ordered());
    ordered.note(&OsDirectory::at(&home)).unwrap();
    std::fs::write(home.join("header"), [7; 8_192]).unwrap();
    let lock = OsDirectory::at(&home).lock().unwrap();
    let looked = &mut |left: &[String]| {
        assert!(home.join("records").exists(), "the files are there");
        note_left(&home, left_kinds(left));
    };
    assert!(crate::home::wipe_held(&home, lock, OutsideFile::Stays, looked).is_ok());
    assert_eq!(readable(&home).unwrap().left, Some(Left::UNKNOWN));
    runtime()
        .unwrap()
        .block_on(guard.let_another_tell(&ordered));
    let untold = readable(&home).unwrap();
    assert!(ordered.is_done(&untold));
    assert_eq!(untold.left, Some(Left::UNKNOWN));
    std::fs::remove_dir_all(&home).unwrap();
}

/// A backup is taken back beside what is still to be told: it is told, and the backup is watched, for which the order holds, too.
// [SPEC 11.115]
#[test]
fn a_guard_that_has_told_watches_the_vault_that_is_there() {
    let mut stage = Stage::new("told-beside");
    let (home, watched) = (home("told-beside"), stage.watched());
    let order = order(&stage.code);
    stage.append(&watched, [Said::Order(order.clone())]);
    let ordered = Ordered { watched, order };
    ordered.note(&OsDirectory::at(&home)).unwrap();
    ordered.done(&home, None);
    let tell = |_: GuardNews<'_>| {};
    let guard = Guard {
        switch: Sender::new(Some(ordered.watched.clone())),
        ..guard(&home, &tell)
    };
    let carrier = direct().unwrap();
    let obeyed = stage
        .runtime
        .block_on(async { timeout(LONG, guard.obey(&carrier)).await });
    assert_eq!(obeyed.unwrap().error, "vault_destroyed");
    assert!(!holds_vault(&home) && !home.join("outside").exists());
    std::fs::remove_dir_all(&home).unwrap();
}

/// Another order was begun beside what is still to be told, and no relay is there: what was begun needs none.
// [SPEC 11.66]
#[test]
fn an_order_that_was_begun_comes_before_what_is_to_be_told() {
    let home = home("before-telling");
    let first = ordered();
    first.note(&OsDirectory::at(&home)).unwrap();
    first.done(&home, None);
    let mut second = ordered();
    second.order.body.order_id.0 = [8; 16];
    let signature = second
        .order
        .body
        .sign(0, &KillCode::new([1; 16]).kill_key());
    second.order.signatures = vec![signature];
    second.note(&OsDirectory::at(&home)).unwrap();
    assert!(first.is_done(&readable(&home).unwrap()));
    let tell = |_: GuardNews<'_>| {};
    let (guard, carrier) = (guard(&home, &tell), direct().unwrap());
    let begun = async {
        while holds_vault(&home) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    runtime().unwrap().block_on(async {
        tokio::select! {
            _ = guard.obey(&carrier) => panic!("nobody was told"),
            in_time = timeout(LONG, begun) => in_time.unwrap(),
        }
    });
    assert!(second.is_done(&readable(&home).unwrap()));
    std::fs::remove_dir_all(&home).unwrap();
}

/// Nothing is there but what is to be told: `panic` takes that from nobody.
// [SPEC 11.67]
#[test]
fn panic_leaves_what_is_to_be_told() {
    let home = home("panic-untold");
    let lock = OsDirectory::at(&home).lock().unwrap();
    assert!(ordered().wipe(&home, lock).is_ok());
    let missing = crate::home::destroy_vault(&home).unwrap_err();
    assert_eq!(missing.error, "vault_missing");
    assert!(ordered().is_done(&readable(&home).unwrap()));
    std::fs::remove_dir_all(&home).unwrap();
}

/// As by another user than the vault's: it would watch nothing, and look as if it did.
// [SPEC 11.90]
#[test]
fn a_guard_that_cannot_look_at_the_home_does_not_begin() {
    let file = path("file");
    std::fs::write(&file, b"no directory").unwrap();
    let ended = super::guard(&file, |_| panic!("it watches nothing"), |_| {}).unwrap_err();
    assert_eq!(ended.error, "home_unreadable");
    std::fs::remove_file(&file).unwrap();
}
