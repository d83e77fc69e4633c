//! The dead-man time, as whoever has the device sees it. What the clocks may do is tested beside the arithmetic; here it is
//! what lies outside of the vault that is turned.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::outside;
use serde_json::{Value, json};

use crate::world::{Person, write_private};

const DAY_MS: u64 = 86_400_000;

/// Where the parts of a deadline lie, behind the head of its part.
const OPENED: usize = 3 + 12;
const LIMIT: usize = 3 + 20;
const SEEN: usize = 3 + 60;
const RUN: usize = 3 + 68;
const WHOLE: usize = 3 + 108;

/// Changes a number that lies outside.
fn change(home: &Path, at: usize, change: impl Fn(u64) -> u64) {
    let directory = OsDirectory::at(home);
    let mut content = outside::read(&directory).unwrap().unwrap();
    let field: [u8; 8] = content[at..at + 8].try_into().unwrap();
    let changed = change(u64::from_be_bytes(field));
    content[at..at + 8].copy_from_slice(&changed.to_be_bytes());
    outside::write(&directory, &content).unwrap();
}

/// As if the machine had been off for so long since the vault was opened.
fn was_off(home: &Path, ms: u64) {
    // On a machine that keeps no time by itself, when it was opened would not be known.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let opened = u64::try_from(now.as_millis()).unwrap() - ms;
    change(home, OPENED, |_| opened);
    change(home, SEEN, |_| opened);
    let directory = OsDirectory::at(home);
    let mut content = outside::read(&directory).unwrap().unwrap();
    content[WHOLE] = 0;
    outside::write(&directory, &content).unwrap();
}

/// As if this machine had been running for so much of the time.
fn has_run(home: &Path, ms: u64) {
    change(home, RUN, |_| ms);
}

fn shown(person: &Person) -> Value {
    person.json(&["deadman"]).remove(0)
}

fn status(person: &Person) -> Value {
    person.json(&["status"]).remove(0)["vault"]["deadman"].clone()
}

// [SPEC 11.80, 11.82, 12.46]
#[test]
fn it_is_set_suspended_begun_anew_and_switched_off() {
    let ada = Person::with_vault(None);
    let unset = shown(&ada);
    assert_eq!(unset["days"], Value::Null);
    assert_eq!(unset["sure"], json!(false));
    assert_eq!(status(&ada), Value::Null);
    let set = ada.run(&["deadman", "14d"]).ok();
    // A moment later, or not even that.
    let left = ["14d, 13d 23h left", "14d, 14d 0h left"];
    assert!(left.iter().any(|left| set.out.starts_with(left)), "{set:?}");
    assert!(set.err.contains("may be an offence"), "{set:?}");
    has_run(&ada.home, 3 * DAY_MS);
    // Shown without a PIN, and nothing begins anew.
    std::fs::write(&ada.pin_file, "").unwrap();
    assert_eq!(shown(&ada)["left_s"].as_u64().unwrap() / 86_400, 10);
    std::fs::write(&ada.pin_file, "a quiet room of green glass\n").unwrap();
    assert_eq!(status(&ada)["left_s"].as_u64().unwrap() / 86_400, 13);

    let suspended = ada.json(&["deadman", "suspend", "60d"]).remove(0);
    assert_eq!(suspended["suspended"], json!(true));
    assert_eq!(suspended["left_s"].as_u64().unwrap() / 86_400, 59);
    assert_eq!(suspended["days"], json!(14));
    // The next opening ends it.
    ada.run(&["contacts"]).ok();
    assert_eq!(shown(&ada)["suspended"], json!(false));
    assert_eq!(status(&ada)["changed_at"], Value::Null);

    assert_eq!(ada.run(&["deadman", "off"]).ok().out, "off\n");
    assert!(!ada.home.join("outside").exists());
    let refused = ada.run(&["--json", "deadman", "suspend", "3d"]).ends(4);
    assert_eq!(refused.failure()["error"], "deadman_off");
    for wrong in [["deadman", "366d"], ["deadman", "36h"]] {
        ada.run(&wrong).ends(2);
    }
    ada.run(&["deadman", "suspend", "91d"]).ends(2);
}

// [SPEC 11.80, 11.83]
#[test]
fn a_start_warns_and_then_destroys_before_it_asks() {
    let ada = Person::with_vault(None);
    ada.run(&["deadman", "10d"]).ok();
    has_run(&ada.home, 4 * DAY_MS);
    let quiet = ada.run(&["lock"]).ok();
    assert!(!quiet.err.contains("destroys itself"), "{quiet:?}");
    has_run(&ada.home, 6 * DAY_MS);
    // Opens nothing, and begins nothing anew.
    for _ in 0..2 {
        let warned = ada.run(&["lock"]).ok();
        assert!(
            warned
                .err
                .contains("warning: the vault destroys itself in 3d"),
            "{warned:?}"
        );
    }
    has_run(&ada.home, 10 * DAY_MS);
    // Nobody is asked for a PIN.
    std::fs::remove_file(&ada.pin_file).unwrap();
    let destroyed = ada.run(&["--json", "status"]).ends(5);
    assert_eq!(destroyed.failure()["error"], "vault_destroyed");
    let left: Vec<_> = std::fs::read_dir(&ada.home)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["lock"]);
    let missing = ada.run(&["--json", "status"]).ends(5);
    assert_eq!(missing.failure()["error"], "vault_missing");
}

// [SPEC 11.81]
#[test]
fn a_clock_that_jumped_destroys_and_opens_nothing() {
    let ada = Person::with_vault(None);
    ada.run(&["deadman", "10d"]).ok();
    was_off(&ada.home, 30 * DAY_MS);
    let doubted = ada.run(&["--json", "status"]).ends(5);
    assert_eq!(doubted.failure()["error"], "deadman_doubt");
    assert!(ada.home.join("header").exists());
}

/// A daemon keeps the vault open, and the time goes on all the same.
// [SPEC 11.80, 11.83, 12.46]
#[test]
fn a_daemon_takes_the_present_pin_to_change_it() {
    let ada = Person::with_vault(None);
    let daemon = ada.daemon(&[]);
    std::fs::write(&ada.pin_file, "another\n").unwrap();
    for change in [
        &["deadman", "14d"][..],
        &["deadman", "off"],
        &["deadman", "suspend", "3d"],
    ] {
        let refused = ada.run(&[&["--json"], change].concat()).ends(5);
        assert_eq!(refused.failure()["error"], "vault_wrong_secret");
    }
    assert_eq!(shown(&ada)["days"], Value::Null);
    assert_eq!(shown(&ada)["sure"], json!(true), "the daemon knows");
    std::fs::write(&ada.pin_file, "a quiet room of green glass\n").unwrap();
    ada.run(&["deadman", "14d"]).ok();
    assert_eq!(status(&ada)["days"], json!(14));
    // Whoever uses the daemon is warned, too: scripts, and who only asks.
    let quiet = ada.run(&["contacts"]).ok();
    assert!(!quiet.err.contains("destroys itself"), "{quiet:?}");
    has_run(&ada.home, 8 * DAY_MS);
    for command in [&["contacts"][..], &["deadman", "suspend", "1d"]] {
        let warned = ada.run(command).ok();
        assert!(warned.err.contains("destroys itself in 5d"), "{warned:?}");
    }
    ada.run(&["lock"]).ok();
    daemon.finish().ok();
}

/// A backup of the whole home, taken back when its time would be over.
// [SPEC 11.61, 11.81]
#[test]
fn a_restored_copy_opens_when_what_lies_outside_is_removed() {
    let ada = Person::with_vault(None);
    ada.run(&["deadman", "14d"]).ok();
    was_off(&ada.home, 30 * DAY_MS);
    let doubted = ada.run(&["--json", "status"]).ends(5);
    assert_eq!(doubted.failure()["error"], "deadman_doubt");
    std::fs::remove_file(ada.home.join("outside")).unwrap();
    let found = status(&ada);
    assert_eq!(found["left_s"].as_u64().unwrap() / 86_400, 13);
    assert!(found["changed_at"].is_u64(), "{found}");
}

/// Whoever looks without the PIN is not told that it is off where that cannot be known.
// [SPEC 12.46]
#[test]
fn what_cannot_be_read_is_not_told_as_off() {
    let ada = Person::with_vault(None);
    ada.run(&["deadman", "14d"]).ok();
    std::fs::remove_file(ada.home.join("outside")).unwrap();
    let removed = shown(&ada);
    assert_eq!(
        (&removed["days"], &removed["sure"]),
        (&Value::Null, &json!(false))
    );
    let told = ada.run(&["deadman"]).ok();
    assert!(!told.out.contains("off"), "{told:?}");
    std::fs::write(ada.home.join("outside"), [7; 8_192]).unwrap();
    let damaged = ada.run(&["--json", "deadman"]).ends(5);
    assert_eq!(damaged.failure()["error"], "outside_unreadable");
}

/// What is left after the panic PIN is a vault as it was just made, without a time.
// [SPEC 11.56, 12.42]
#[test]
fn after_a_panic_no_time_is_left() {
    let ada = Person::with_vault(None);
    let panic = ada.file("panic");
    write_private(&panic, "four walls and no door\n");
    let panic = panic.to_str().unwrap();
    ada.run(&["panic", "set", "--panic-pin-file", panic]).ok();
    ada.run(&["deadman", "14d"]).ok();
    assert!(ada.home.join("outside").exists());
    write_private(&ada.pin_file, "four walls and no door\n");
    assert_eq!(status(&ada), Value::Null);
    assert!(!ada.home.join("outside").exists());
    assert_eq!(shown(&ada), shown(&Person::with_vault(None)));
}

/// What lies outside is nobody's to change: told, and put back.
// [SPEC 11.61]
#[test]
fn what_was_changed_outside_is_put_back_and_told() {
    for damage in [
        |home: &Path| std::fs::remove_file(home.join("outside")).unwrap(),
        |home: &Path| std::fs::write(home.join("outside"), [7; 8_192]).unwrap(),
        // A year more.
        |home: &Path| {
            change(home, LIMIT, |_| 365 * DAY_MS);
        },
    ] {
        let ada = Person::with_vault(None);
        ada.run(&["deadman", "14d"]).ok();
        ada.run(&["contacts"]).ok();
        assert_eq!(status(&ada)["changed_at"], Value::Null);
        damage(&ada.home);
        ada.run(&["contacts"]).ok();
        let found = status(&ada);
        assert_eq!(found["days"], json!(14));
        assert!(found["changed_at"].is_u64(), "{found}");
        assert_eq!(shown(&ada)["left_s"].as_u64().unwrap() / 86_400, 13);
        let told = ada.run(&["status"]).ok();
        assert!(told.out.contains("was not as it was left"), "{told:?}");
        // Told until it is set anew.
        ada.run(&["deadman", "14d"]).ok();
        assert_eq!(status(&ada)["changed_at"], Value::Null);
    }
}

/// Where none is set, what lies there is of no use and goes.
// [SPEC 11.61]
#[test]
fn what_nobody_set_is_removed() {
    let ada = Person::with_vault(None);
    let directory = OsDirectory::at(&ada.home);
    for content in [&[0; 144][..], &[1; 7], &[]] {
        outside::write(&directory, content).unwrap();
        ada.run(&["contacts"]).ok();
        assert!(!ada.home.join("outside").exists());
    }
}
