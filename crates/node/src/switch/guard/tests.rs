//! What a guard does where `outside` cannot be read, on a real disk.

use std::cell::RefCell;

use emptyroom_wire::address::Host;
use emptyroom_wire::kill::KillCode;
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::wipe::OrderHash;

use super::*;
use crate::api::SecretText;
use crate::home::{Kdf, create_vault, holds_vault};

fn watched(code: u8) -> Watched {
    let hosts = vec![Host::parse("relay.example:443").unwrap()];
    KillCode::new([code; 16]).watched(hosts, IdentityHash([3; 32]))
}

/// A home with a vault and a switch.
fn home(name: &str) -> PathBuf {
    let home = std::env::temp_dir().join(format!(
        "emptyroom-node-{}-guard-{name}",
        std::process::id()
    ));
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
        tell,
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
    let ordered = Ordered {
        watched: watched(1),
        order: OrderHash([4; 32]),
    };
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
