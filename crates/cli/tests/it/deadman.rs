//! The dead-man time, as whoever has the device sees it. What the clocks may do is tested beside the arithmetic; here it is
//! what lies outside of the vault that is turned.

use std::path::Path;

use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::outside;
use serde_json::{Value, json};

use crate::world::{Person, write_private};

const DAY_MS: u64 = 86_400_000;

/// Where the parts of a deadline lie, behind the head of its part.
const DAYS: usize = 3;
const COUNTED: usize = 3 + 48;
const DUE: usize = 3 + 64;

/// Changes a number that lies outside.
fn change(home: &Path, at: usize, number: u64) {
    let directory = OsDirectory::at(home);
    let mut content = outside::read(&directory).unwrap().unwrap();
    content[at..at + 8].copy_from_slice(&number.to_be_bytes());
    outside::write(&directory, &content).unwrap();
}

/// As if clocks had told that so much of the time has passed.
fn has_passed(home: &Path, ms: u64) {
    change(home, COUNTED, ms);
}

fn shown(person: &Person) -> Value {
    person.json(&["deadman"]).remove(0)
}

fn status(person: &Person) -> Value {
    person.json(&["status"]).remove(0)["vault"]["deadman"].clone()
}

fn days_left(shown: &Value) -> u64 {
    shown["left_s"].as_u64().unwrap().div_ceil(86_400)
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
    assert!(set.out.starts_with("14d, 1"), "{set:?}");
    assert!(set.err.contains("may be an offence"), "{set:?}");
    has_passed(&ada.home, 3 * DAY_MS);
    // Shown without a PIN, and nothing begins anew.
    std::fs::write(&ada.pin_file, "").unwrap();
    assert_eq!(days_left(&shown(&ada)), 11);
    let synchronised = shown(&ada)["synchronised"].as_bool().unwrap();
    let told = ada.run(&["deadman"]).ok().out;
    assert_eq!(told.contains("does not count"), !synchronised, "{told}");
    std::fs::write(&ada.pin_file, "a quiet room of green glass\n").unwrap();
    assert_eq!(days_left(&status(&ada)), 14);

    let suspended = ada.json(&["deadman", "suspend", "60d"]).remove(0);
    assert_eq!(suspended["suspended"], json!(true));
    assert_eq!(days_left(&suspended), 60);
    assert_eq!(suspended["days"], json!(14));
    // The next opening ends it, and says so.
    let ended = ada.run(&["contacts"]).ok();
    assert!(ended.err.contains("ends the longer"), "{ended:?}");
    assert_eq!(shown(&ada)["suspended"], json!(false));
    let quiet = ada.run(&["contacts"]).ok();
    assert!(!quiet.err.contains("ends the longer"), "{quiet:?}");
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
    has_passed(&ada.home, 4 * DAY_MS);
    let quiet = ada.run(&["lock"]).ok();
    assert!(!quiet.err.contains("dead-man"), "{quiet:?}");
    has_passed(&ada.home, 6 * DAY_MS + 60_000);
    // Opens nothing, and begins nothing anew.
    for _ in 0..2 {
        let warned = ada.run(&["lock"]).ok();
        assert!(
            warned
                .err
                .contains("warning: the dead-man time passes in 3d"),
            "{warned:?}"
        );
    }
    change(&ada.home, COUNTED, 900 * DAY_MS);
    change(&ada.home, DUE, DAY_MS);
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

/// Whatever clocks say, the PIN opens, the panic PIN destroys, and everything works, for a day of running.
// [SPEC 11.80, 11.83]
#[test]
fn while_it_is_due_everything_works_and_says_so() {
    let ada = Person::with_vault(None);
    let panic = ada.file("panic");
    write_private(&panic, "four walls and no door\n");
    let panic = panic.to_str().unwrap();
    ada.run(&["panic", "set", "--panic-pin-file", panic]).ok();
    ada.run(&["deadman", "10d"]).ok();
    let is_due = || {
        change(&ada.home, COUNTED, 26_000 * DAY_MS);
        change(&ada.home, DUE, DAY_MS - 600_000);
    };
    for command in [
        &["lock"][..],
        &["contacts"],
        &["deadman", "suspend", "3d"],
        &["deadman", "10d"],
    ] {
        is_due();
        let told = ada.run(&["deadman"]).ok().out;
        assert!(told.contains("passed: 26000d 0h were counted"), "{told}");
        let warned = ada.run(command).ok();
        assert!(
            warned.err.contains("warning: the dead-man time has passed"),
            "{warned:?}"
        );
        assert!(!warned.err.contains("could not"), "{warned:?}");
        assert!(!warned.err.contains("destroyed:"), "{warned:?}");
        let is_set_back = command != ["lock"];
        assert_eq!(shown(&ada)["left_s"] != json!(0), is_set_back);
    }
    is_due();
    write_private(&ada.pin_file, "wrong\n");
    ada.run(&["contacts"]).ends(5);
    assert_eq!(shown(&ada)["left_s"], json!(0));
    write_private(&ada.pin_file, "four walls and no door\n");
    assert_eq!(status(&ada), Value::Null);
    assert!(!ada.home.join("outside").exists());
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
    let quiet = ada.run(&["contacts"]).ok();
    assert!(!quiet.err.contains("dead-man"), "{quiet:?}");
    ada.run(&["lock"]).ok();
    daemon.finish().ok();
}

/// Whoever opens is let in, and is told, as is whoever uses the daemon that did.
// [SPEC 11.61, 11.83]
#[test]
fn an_opening_that_cannot_be_written_down_is_told() {
    let ada = Person::with_vault(None);
    ada.run(&["deadman", "14d"]).ok();
    std::fs::remove_file(ada.home.join("outside")).unwrap();
    std::fs::create_dir(ada.home.join("outside")).unwrap();
    let unwritten = "could not be written down";
    let opened = ada.run(&["contacts"]).ok();
    assert!(opened.err.contains(unwritten), "{opened:?}");
    let daemon = ada.daemon(&[]);
    let through = ada.run(&["contacts"]).ok();
    assert!(through.err.contains(unwritten), "{through:?}");
    assert!(status(&ada)["changed_at"].is_u64());
    ada.run(&["lock"]).ok();
    let ended = daemon.finish().ok();
    assert!(ended.err.contains(unwritten), "{ended:?}");
    std::fs::remove_dir(ada.home.join("outside")).unwrap();
    let opened = ada.run(&["contacts"]).ok();
    assert!(!opened.err.contains(unwritten), "{opened:?}");
}

// [SPEC 12.46]
#[test]
fn nothing_is_made_in_a_directory_that_holds_no_vault() {
    let ada = Person::new();
    // As where a disk is not mounted: neither the home nor what is in it is there.
    for is_there in [false, true] {
        if is_there {
            std::fs::create_dir(&ada.home).unwrap();
        }
        for command in [
            &["lock"][..],
            &["deadman"],
            &["status"],
            &["panic", "--yes"],
            &["wipe", "--drill"],
        ] {
            let missing = ada.run(&[&["--json"], command].concat()).ends(5);
            assert_eq!(missing.failure()["error"], "vault_missing");
            let left = std::fs::read_dir(&ada.home).ok().map(Iterator::count);
            assert_eq!(left, is_there.then_some(0), "{command:?}");
        }
    }
}

/// A backup of the whole home, taken back when its time has passed long ago.
// [SPEC 11.81]
#[test]
fn a_restored_copy_opens_with_its_pin() {
    let ada = Person::with_vault(None);
    ada.run(&["deadman", "14d"]).ok();
    has_passed(&ada.home, 400 * DAY_MS);
    let found = status(&ada);
    assert_eq!(
        (days_left(&found), &found["changed_at"]),
        (14, &Value::Null)
    );
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
        |home: &Path| change(home, DAYS, 365 << 32),
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
        assert_eq!(days_left(&shown(&ada)), 14);
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
