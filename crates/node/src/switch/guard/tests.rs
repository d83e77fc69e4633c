//! What a guard does where `outside` cannot be read, on a real disk.

use std::cell::RefCell;

use emptyroom_wire::address::Host;
use emptyroom_wire::kill::KillCode;
use emptyroom_wire::relay_key::IdentityHash;

use super::*;
use crate::api::SecretText;
use crate::factors::tests::{software, tied};
use crate::home::{Kdf, create_vault, holds_vault};
use crate::switch::tests::order;

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
        tell,
    }
}

fn ordered() -> Ordered {
    Ordered {
        watched: watched(1),
        order: order(&KillCode::new([1; 16])),
    }
}

/// `outside`, kept elsewhere while a directory is in its place: nobody can read it.
fn take_away(home: &Path) {
    std::fs::rename(home.join("outside"), home.join("kept")).unwrap();
    std::fs::create_dir(home.join("outside")).unwrap();
}

fn give_back(home: &Path) {
    std::fs::remove_dir(home.join("outside")).unwrap();
    std::fs::rename(home.join("kept"), home.join("outside")).unwrap();
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

/// Another process began it and was killed: the guard goes on with it as soon as it looks, though no relay is there.
// [SPEC 11.66, 11.90]
#[test]
fn a_guard_goes_on_with_what_another_began() {
    let home = home("another-began");
    let tell = |_: GuardNews<'_>| {};
    let (guard, carrier) = (guard(&home, &tell), direct().unwrap());
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

/// The TPM is away, and so is the relay: what is left is told at once, as the header that named it is gone.
// [SPEC 12.46]
#[test]
fn what_is_left_in_the_tpm_is_told_before_any_receipt() {
    let Some(swtpm) = software("what_is_left_in_the_tpm_is_told_before_any_receipt") else {
        return;
    };
    let home = path("left");
    // Another one than this machine's, which does not know of it.
    tied(&home, &swtpm);
    put(&home, &watched(1));
    ordered().note(&OsDirectory::at(&home)).unwrap();
    let told = RefCell::new(None);
    let tell = |news: GuardNews<'_>| match news {
        GuardNews::Failed(failure) => *told.borrow_mut() = Some(failure),
        _ => panic!("nothing else is told"),
    };
    let (guard, carrier) = (guard(&home, &tell), direct().unwrap());
    runtime().unwrap().block_on(async {
        let is_told = async {
            while told.borrow().is_none() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = guard.obey(&carrier) => panic!("nobody was told"),
            () = is_told => {}
        }
    });
    let told = told.into_inner().unwrap();
    assert_eq!(told.error, "vault_destroyed");
    assert!(told.text.contains("0x"), "{}", told.text);
    assert!(!holds_vault(&home));
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
