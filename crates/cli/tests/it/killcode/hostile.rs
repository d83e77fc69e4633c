//! What may come between an order and its end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{create, guard, killcode, names, ordered, receipts, text};
use crate::world::{DEADLINE, Person, Relay, Road};

const ROUNDS: u64 = 8;

fn until(what: impl Fn() -> bool) {
    let since = Instant::now();
    while !what() {
        assert!(since.elapsed() < DEADLINE);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whoever has it open hears by what the vault says, and what is watched when it is locked is put back.
// [SPEC 11.61, 11.66]
#[test]
fn a_switch_that_is_taken_away_while_the_vault_is_open_is_obeyed_all_the_same() {
    let relay = Relay::start();
    for locks in [true, false] {
        let ada = Person::with_vault(None);
        let code = create(&ada, &relay);
        let daemon = ada.daemon(&[]);
        std::fs::remove_file(ada.home.join("outside")).unwrap();
        if locks {
            ada.run(&["lock"]).ok();
            daemon.finish().ok();
            let guard = guard(&ada);
            assert!(ordered(&code, "30s")["device_at"].is_u64());
            guard.finish().ends(5);
        } else {
            assert!(ordered(&code, "30s")["device_at"].is_u64());
            daemon.finish().ends(5);
        }
        assert_eq!(names(&ada.home), ["lock"]);
    }
}

/// Both hear it, one of them has the vault.
// [SPEC 11.66, 11.67, 11.90]
#[test]
fn a_guard_beside_a_daemon_ends_with_the_vault() {
    let relay = Relay::start();
    let ada = Person::with_vault(None);
    let code = create(&ada, &relay);
    let (guard, daemon) = (guard(&ada), ada.daemon(&[]));
    assert!(ordered(&code, "30s")["device_at"].is_u64());
    let (daemon, guard) = (daemon.finish().ends(5), guard.finish().ends(5));
    assert!(daemon.err.contains("an order to wipe came"), "{daemon:?}");
    assert!(!guard.err.contains("could not"), "{guard:?}");
    assert_eq!(names(&ada.home), ["lock"]);
}

/// Killed at any moment between the order and its receipt; whoever is started next comes to the end.
// [SPEC 11.66, 11.67]
#[test]
fn a_guard_that_is_killed_leaves_nothing_that_the_next_does_not_finish() {
    let relay = Relay::start();
    for round in 0..ROUNDS {
        let ada = Person::with_vault(None);
        let code = create(&ada, &relay);
        assert_eq!(ordered(&code, "0s")["device_at"], Value::Null);
        let killed = ada.spawn(&["guard"]);
        std::thread::sleep(Duration::from_millis(10 + round * 9));
        killed.kill();
        // With a receipt it was at its end.
        if names(&ada.home) != ["lock"] {
            ada.run(&["guard"]).ends(5);
        }
        assert_eq!(names(&ada.home), ["lock"], "{round}");
        assert!(receipts(&code)["device_at"].is_u64(), "{round}");
    }
}

/// A relay, or a road, that gives the device nothing: the holder sees an order without a receipt.
// [SPEC 11.68]
#[test]
fn an_order_that_does_not_reach_the_device_has_no_receipt() {
    let road = Road::open();
    let relay = Relay::start_at_the_end_of(road.clone());
    let ada = Person::with_vault(None);
    let code = create(&ada, &relay);
    let guard = guard(&ada);
    road.close();
    let (words, at) = (text(&code, "words"), relay.direct());
    let sent = super::anywhere(&["wipe", "-", "--at", &at, "--wait", "1s"], &words);
    assert_eq!(sent.ok().json()[0]["device_at"], Value::Null);
    let known = super::anywhere(&["killcode", "receipts", "-", "--at", &at], &words);
    let known = known.ok().json().remove(0);
    assert_eq!(
        (&known["orders"], &known["device_at"]),
        (&json!(1), &Value::Null)
    );
    assert!(ada.home.join("header").exists());
    guard.kill();
    // The device is back.
    road.reopen();
    super::guard(&ada).finish().ends(5);
    assert!(receipts(&code)["device_at"].is_u64());
}

/// A relay that was set back to before the order, or before the switch.
// [SPEC 11.68, 11.69]
#[test]
fn what_a_relay_has_lost_is_told_to_both() {
    let mut relay = Relay::start();
    let ada = Person::with_vault(None);
    let empty = relay.backup("empty");
    let code = create(&ada, &relay);
    let copy = relay.backup("with-switch");
    assert_eq!(ordered(&code, "0s")["device_at"], Value::Null);
    relay.go_back_to(&copy);
    assert_eq!(receipts(&code)["orders"], json!(0));
    let daemon = ada.daemon(&[]);
    until(|| killcode(&ada)["heard_at"].is_u64());
    assert_eq!(killcode(&ada)["gone_at"], Value::Null);
    ada.run(&["lock"]).ok();
    daemon.finish().ok();
    relay.go_back_to(&empty);
    let refused = super::anywhere(&["wipe", "-"], &text(&code, "code")).ends(4);
    assert_eq!(refused.failure()["error"], "switch_gone");
    let daemon = ada.daemon(&[]);
    until(|| killcode(&ada)["gone_at"].is_u64());
    assert!(
        killcode(&ada)["heard_at"].is_u64(),
        "as long as it was there"
    );
    let shown = ada.run(&["status"]).ok();
    assert!(
        shown
            .out
            .contains("has no switch of this vault's kill code"),
        "{shown:?}"
    );
    ada.run(&["lock"]).ok();
    daemon.finish().ok();
}
