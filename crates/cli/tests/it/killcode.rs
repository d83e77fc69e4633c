//! The kill code: made on one machine, entered on another, obeyed by a device that is open or locked. The relay is the real one.

mod hostile;

use std::path::Path;

use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::outside;
use serde_json::{Value, json};

use crate::world::{Done, Person, Relay, Running, finish, program, write_private};

const PIN: &str = "a quiet room of green glass\n";

fn create(person: &Person, relay: &Relay) -> Value {
    let done = person.run_with(&["--json", "killcode", "create", "-"], &relay.address);
    let done = done.ok();
    // [SPEC 12.41]
    assert!(done.err.contains("legal_hold"), "{done:?}");
    done.json().remove(0)
}

/// By somebody without a home.
fn anywhere(arguments: &[&str], code: &str) -> Done {
    let mut command = program();
    for variable in ["HOME", "XDG_DATA_HOME", "EMPTYROOM_HOME"] {
        command.env_remove(variable);
    }
    command.arg("--json");
    command.args(arguments);
    finish(command, code)
}

/// What an order came to.
#[track_caller]
fn ordered(code: &Value, wait: &str) -> Value {
    let done = anywhere(&["wipe", "-", "--wait", wait], &text(code, "code"));
    let value = done.ok().json().remove(0);
    assert_eq!(value["result"], "wiped");
    value
}

#[track_caller]
fn receipts(code: &Value) -> Value {
    let done = anywhere(&["killcode", "receipts", "-"], &text(code, "code"));
    done.ok().json().remove(0)
}

fn guard(person: &Person) -> Running {
    let mut guard = person.spawn(&["guard"]);
    guard.wait_for_line(|line| line.starts_with("watching"));
    guard
}

fn killcode(person: &Person) -> Value {
    person.json(&["status"]).remove(0)["vault"]["killcode"].clone()
}

fn names(home: &Path) -> Vec<std::ffi::OsString> {
    let entries = std::fs::read_dir(home).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

fn text(code: &Value, field: &str) -> String {
    code[field].as_str().unwrap().to_owned()
}

// [SPEC 11.62, 11.66, 11.67, 11.68, 12.43]
#[test]
fn a_daemon_carries_an_order_out_and_says_so() {
    let relay = Relay::start();
    let ada = Person::with_vault(Some(&relay));
    let code = create(&ada, &relay);
    assert_eq!(text(&code, "words").split(' ').count(), 12);
    let daemon = ada.daemon(&[]);
    let known = killcode(&ada);
    assert!(text(&code, "at").starts_with(known["relay"].as_str().unwrap()));
    assert!(!text(&code, "at").contains('?'), "no access code");
    let before = receipts(&code);
    assert_eq!(
        (&before["orders"], &before["device_at"]),
        (&json!(0), &Value::Null)
    );
    let wiped = ordered(&code, "30s");
    assert!(wiped["device_at"].is_u64(), "{wiped}");
    assert_eq!(wiped["relay_checked"], json!(true));
    // [SPEC 11.116]
    assert_eq!(
        (&before["left"], &wiped["left"]),
        (&Value::Null, &json!([]))
    );
    let ended = daemon.finish().ends(5);
    assert!(ended.err.contains("an order to wipe came"), "{ended:?}");
    assert_eq!(names(&ada.home), ["lock"]);
    // Again and from anywhere: the first receipt counts.
    let again = ordered(&code, "30s");
    assert_eq!(again["device_at"], wiped["device_at"]);
    assert_eq!(receipts(&code)["device_at"], wiped["device_at"]);
    // As an argument it is seen by others, and without one it is asked for.
    let known = text(&code, "code");
    let shown = anywhere(&["killcode", "receipts", &known], "").ok();
    assert!(shown.err.contains("code_in_arguments"), "{shown:?}");
    let (words, at) = (text(&code, "words"), text(&code, "at"));
    let mut apart = vec!["killcode", "receipts", "--at", &at];
    apart.extend(words.split(' '));
    assert_eq!(
        anywhere(&apart, "").ok().json()[0]["device_at"],
        wiped["device_at"]
    );
    let asked = anywhere(&["killcode", "receipts"], &known).ok();
    assert!(!asked.err.contains("code_in_arguments"), "{asked:?}");
}

// [SPEC 11.90]
#[test]
fn a_guard_that_is_told_to_end_ends() {
    let ada = Person::with_vault(None);
    let guard = guard(&ada);
    guard.signal("TERM");
    guard.finish().ok();
    assert!(ada.home.join("header").exists());
}

/// By words, to a vault that was not opened since the machine was started. Nobody is asked for a PIN.
// [SPEC 11.64, 11.66, 11.67, 11.90]
#[test]
fn a_guard_watches_while_the_vault_is_locked() {
    let relay = Relay::start();
    let ada = Person::with_vault(None);
    let code = create(&ada, &relay);
    std::fs::remove_file(&ada.pin_file).unwrap();
    let guard = guard(&ada);
    // Words that were copied badly, words without an address, and those of somebody else.
    let (words, at) = (text(&code, "words"), text(&code, "at"));
    let mut slipped: Vec<&str> = words.split(' ').collect();
    slipped.swap(3, 4);
    for (given, at) in [(slipped.join(" "), Some(&at)), (words.clone(), None)] {
        let mut arguments = vec!["wipe", "-"];
        arguments.extend(at.iter().flat_map(|at| ["--at", at.as_str()]));
        let refused = anywhere(&arguments, &given).ends(2).failure();
        assert_eq!(refused["error"], "bad_killcode");
    }
    let stranger =
        "abacus alarm preview boil reactor niece popper error twentieth dispersal radish dreary";
    let refused = anywhere(&["wipe", "-", "--at", &at], stranger)
        .ends(4)
        .failure();
    assert_eq!(refused["error"], "switch_gone");
    assert!(ada.home.join("header").exists());
    // A host alone is believed, and that is told.
    let (host, _) = at.split_once('/').unwrap();
    let unchecked = anywhere(&["killcode", "receipts", "-", "--at", host], &words).ok();
    assert!(unchecked.err.contains("relay_unchecked"), "{unchecked:?}");
    let wiped = anywhere(&["wipe", "-", "--at", &at], &words).ok();
    assert!(!wiped.err.contains("relay_unchecked"), "{wiped:?}");
    assert!(wiped.json()[0]["device_at"].is_u64(), "{wiped:?}");
    guard.finish().ends(5);
    assert_eq!(names(&ada.home), ["lock"]);
    let over = ada.run(&["--json", "guard"]).ends(5).failure();
    assert_eq!(over["error"], "vault_missing");
}

/// Somebody who knows the address and nothing of the relay's key answers in its place.
// [SPEC 11.64, 12.43]
#[test]
fn another_relay_is_not_believed_where_the_address_is_known() {
    let (relay, other) = (Relay::start(), Relay::start());
    let ada = Person::with_vault(None);
    let code = create(&ada, &relay);
    let (_, identity) = text(&code, "at")
        .split_once('/')
        .map(|(h, i)| (h.to_owned(), i.to_owned()))
        .unwrap();
    let (elsewhere, _) = other.address.split_once('/').unwrap();
    let words = text(&code, "words");
    let at = format!("{elsewhere}/{identity}");
    let away = anywhere(&["wipe", "-", "--at", &at], &words)
        .ends(1)
        .failure();
    assert_eq!(away["error"], "relay_unreachable");
    let gone = anywhere(&["wipe", "-", "--at", elsewhere], &words)
        .ends(4)
        .failure();
    assert!(
        !gone["text"].as_str().unwrap().contains("revoked"),
        "{gone}"
    );
}

/// An order that stands at the relay, given before or after, is nothing to a vault whose code was revoked without the relay.
// [SPEC 11.69, 12.40, 12.43]
#[test]
fn a_revoked_code_orders_nothing_and_a_new_one_knows_no_old_orders() {
    let mut relay = Relay::start();
    let ada = Person::with_vault(None);
    let old = create(&ada, &relay);
    let again = ada.run_with(&["--json", "killcode", "create", "-"], &relay.address);
    assert_eq!(again.ends(4).failure()["error"], "killcode_exists");
    // Ordered while the device is off, and revoked before it reads that.
    assert_eq!(ordered(&old, "0s")["device_at"], Value::Null);
    relay.stop();
    write_private(&ada.pin_file, "another\n");
    let refused = ada.run(&["--json", "killcode", "revoke"]).ends(5).failure();
    assert_eq!(refused["error"], "vault_wrong_secret");
    write_private(&ada.pin_file, PIN);
    let revoked = ada.run(&["killcode", "revoke"]).ok();
    assert!(revoked.err.contains("could not be told"), "{revoked:?}");
    let none = ada.run(&["--json", "killcode", "revoke"]).ends(4).failure();
    assert_eq!(none["error"], "killcode_none");
    assert!(!ada.home.join("outside").exists());
    relay.resume();
    let new = create(&ada, &relay);
    let guard = guard(&ada);
    let daemon = ada.daemon(&[]);
    assert_eq!(ordered(&old, "1s")["device_at"], Value::Null);
    ada.run(&["lock"]).ok();
    daemon.finish().ok();
    assert_eq!(ordered(&old, "1s")["device_at"], Value::Null);
    assert!(ada.home.join("header").exists());
    assert!(ordered(&new, "30s")["device_at"].is_u64());
    guard.finish().ends(5);
}

// [SPEC 11.69, 12.43]
#[test]
fn the_relay_forgets_a_switch_that_was_revoked() {
    let relay = Relay::start();
    let ada = Person::with_vault(None);
    let old = create(&ada, &relay);
    let revoked = ada.run(&["killcode", "revoke"]).ok();
    assert!(!revoked.err.contains("could not be told"), "{revoked:?}");
    let gone = anywhere(&["wipe", "-"], &text(&old, "code")).ends(4);
    assert_eq!(gone.failure()["error"], "switch_gone");
    let new = create(&ada, &relay);
    assert_ne!(new["code"], old["code"]);
    let gone = anywhere(&["killcode", "receipts", "-"], &text(&old, "code")).ends(4);
    assert_eq!(gone.failure()["error"], "switch_gone");
    assert!(ada.home.join("header").exists());
}

// [SPEC 12.40, 12.43]
#[test]
fn what_cannot_be_made_is_told_and_nothing_is_kept() {
    let mut relay = Relay::start();
    let ada = Person::with_vault(None);
    let daemon = ada.daemon(&[]);
    write_private(&ada.pin_file, "another\n");
    let refused = ada.run_with(&["--json", "killcode", "create", "-"], &relay.address);
    assert_eq!(refused.ends(5).failure()["error"], "vault_wrong_secret");
    write_private(&ada.pin_file, PIN);
    assert_eq!(killcode(&ada), Value::Null);
    ada.run(&["lock"]).ok();
    daemon.finish().ok();
    let code = create(&ada, &relay);
    relay.stop();
    let away = anywhere(&["wipe", "-"], &text(&code, "code"))
        .ends(1)
        .failure();
    assert_eq!(away["error"], "relay_unreachable");
    assert!(
        away["hint"].as_str().unwrap().contains("given twice"),
        "{away}"
    );
    let other = Person::with_vault(None);
    let refused = other.run_with(&["--json", "killcode", "create", "-"], &relay.address);
    assert_eq!(refused.ends(1).failure()["error"], "relay_unreachable");
    assert_eq!(killcode(&other), Value::Null);
    assert!(!other.home.join("outside").exists());
}

/// Where it lies outside it is nobody's to change; and beside it the dead-man time stays.
// [SPEC 11.60, 11.61]
#[test]
fn a_switch_that_was_changed_outside_is_put_back_and_told() {
    let relay = Relay::start();
    let ada = Person::with_vault(None);
    create(&ada, &relay);
    ada.run(&["deadman", "14d"]).ok();
    let deadman = || ada.json(&["deadman"]).remove(0)["days"].clone();
    assert_eq!(killcode(&ada)["changed_at"], Value::Null);
    std::fs::remove_file(ada.home.join("outside")).unwrap();
    assert!(killcode(&ada)["changed_at"].is_u64());
    assert_eq!(deadman(), json!(14));
    // A directory in its place keeps nobody out.
    std::fs::remove_file(ada.home.join("outside")).unwrap();
    std::fs::create_dir(ada.home.join("outside")).unwrap();
    assert!(killcode(&ada)["changed_at"].is_u64());
    std::fs::remove_dir(ada.home.join("outside")).unwrap();
    ada.run(&["deadman", "off"]).ok();
    let left = outside::read(&OsDirectory::at(&ada.home)).unwrap().unwrap();
    assert_eq!(left[0], 2, "the switch");
}
