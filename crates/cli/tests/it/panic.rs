//! The panic PIN and the panic command, as whoever holds the device sees them.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::chat::pty::Terminal;
use crate::world::{Done, Person, Relay, Running, finish, pair, program, write_private};

const PANIC: &str = "four walls and no door";
const MARKER: &str = "MARKER-0815-MARKER";

/// Sets the panic PIN, and gives the file that it is in.
fn set_panic(person: &Person) -> String {
    let file = person.file("panic");
    write_private(&file, &format!("{PANIC}\n"));
    let file = file.to_str().unwrap().to_owned();
    person
        .run(&["panic", "set", "--panic-pin-file", &file])
        .ok();
    file
}

fn run_with_pin(home: &Path, pin_file: &str, arguments: &[&str]) -> Done {
    let mut command = program();
    command.arg("--home").arg(home);
    command.args(["--pin-file", pin_file]).args(arguments);
    finish(command, "")
}

/// Names and sizes of all files in a home.
fn listing(home: &Path) -> Vec<(String, u64)> {
    let mut files: Vec<(String, u64)> = std::fs::read_dir(home)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, entry.metadata().unwrap().len())
        })
        .collect();
    files.sort();
    files
}

/// What every command says that only reads, and with which code it ends.
fn everything(home: &Path, pin_file: &str) -> Vec<(Option<i32>, String, String)> {
    let commands: [&[&str]; 9] = [
        &["status"],
        &["contacts"],
        &["invites"],
        &["relay"],
        &["receive"],
        &["history", "ben"],
        &["verify", "ben"],
        &["send", "ben", "are you there?"],
        &["timer", "ben"],
    ];
    let mut said = Vec::new();
    for command in commands {
        for json in [&[][..], &["--json"]] {
            let done = run_with_pin(home, pin_file, &[json, command].concat());
            said.push((done.code, done.out, done.err));
        }
    }
    said
}

fn expect_wrong_pin(person: &Person) {
    let refused = person.run(&["--json", "status"]).ends(5).failure();
    assert_eq!(refused["error"], "vault_wrong_secret");
}

// [SPEC 12.42]
#[test]
fn the_panic_pin_shows_an_account_that_was_just_made() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    ben.run(&["send", "ada", MARKER]).ok();
    ada.run(&["receive", "--wait", "20s"]).ok();
    let panic_file = set_panic(&ada);
    // It changes nothing as long as it is not entered.
    assert!(ada.run(&["history", "ben"]).ok().out.contains(MARKER));

    let fresh = Person::new();
    run_with_pin(&fresh.home, &panic_file, &["init", "--kdf", "minimum"]).ok();
    assert_eq!(
        everything(&ada.home, &panic_file),
        everything(&fresh.home, &panic_file)
    );
    assert_eq!(listing(&ada.home), listing(&fresh.home));
    expect_wrong_pin(&ada);
    for entry in std::fs::read_dir(&ada.home).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let found = bytes.windows(MARKER.len()).any(|w| w == MARKER.as_bytes());
        assert!(!found);
    }
    // And it lives: a new conversation with the same person.
    ben.run_with(&["relay", "-"], &relay.address).ok();
    let link = ben.run(&["invite", "somebody"]).ok().out;
    let mut join = program();
    join.arg("--home").arg(&ada.home);
    join.args(["--pin-file", &panic_file, "join", "--as", "ben"]);
    finish(join, &link).ok();
}

// [SPEC 12.40]
// [SPEC 12.44]
#[test]
fn at_a_daemon_it_needs_the_pin_and_the_command_does_not() {
    let ada = Person::with_vault(None);
    let fresh = Person::with_vault(None);
    let daemon = ada.daemon(&[]);
    let panic_file = ada.file("panic");
    write_private(&panic_file, &format!("{PANIC}\n"));
    let panic_file = panic_file.to_str().unwrap().to_owned();
    let wrong = ada.file("wrong");
    write_private(&wrong, "a guess\n");
    let wrong = wrong.to_str().unwrap().to_owned();
    let set = ["--json", "panic", "set", "--panic-pin-file", &panic_file];
    let refused = run_with_pin(&ada.home, &wrong, &set).ends(5);
    assert_eq!(refused.failure()["error"], "vault_wrong_secret");
    let unset = ["--json", "panic", "unset"];
    let refused = run_with_pin(&ada.home, &wrong, &unset).ends(5);
    assert_eq!(refused.failure()["error"], "vault_wrong_secret");
    let done = ada.run(&set).ok();
    assert_eq!(done.one(), json!({ "v": 1, "result": "done" }));
    assert!(done.err.contains("\"warning\":\"legal_hold\""), "{done:?}");

    let without_pin = |arguments: &[&str]| {
        let mut command = program();
        command.arg("--home").arg(&ada.home).args(arguments);
        finish(command, "")
    };
    let refused = without_pin(&["--json", "panic"]).ends(2);
    assert_eq!(refused.failure()["error"], "usage");
    without_pin(&["contacts"]).ok();
    without_pin(&["panic", "--yes"]).ok();
    daemon.finish().ok();
    expect_wrong_pin(&ada);
    run_with_pin(&ada.home, &panic_file, &["status"]).ok();
    fresh.run(&["status"]).ok();
    assert_eq!(listing(&ada.home), listing(&fresh.home));
}

#[test]
fn it_can_be_taken_away() {
    let ada = Person::with_vault(None);
    let panic_file = set_panic(&ada);
    ada.run(&["panic", "unset"]).ok();
    ada.run(&["panic", "unset"]).ok();
    run_with_pin(&ada.home, &panic_file, &["status"]).ends(5);
    ada.run(&["status"]).ok();
}

// [SPEC 12.44]
#[test]
fn without_a_daemon_the_command_leaves_nothing() {
    let ada = Person::with_vault(None);
    set_panic(&ada);
    let refused = ada.run(&["--json", "panic"]).ends(2).failure();
    assert_eq!(refused["error"], "usage");
    ada.run(&["contacts"]).ok();
    ada.run(&["panic", "--yes"]).ok();
    let left: Vec<String> = listing(&ada.home).into_iter().map(|(n, _)| n).collect();
    assert_eq!(left, ["lock"]);
    let missing = ada.run(&["--json", "status"]).ends(5).failure();
    assert_eq!(missing["error"], "vault_missing");
    ada.run(&["init", "--kdf", "minimum"]).ok();
    ada.run(&["contacts"]).ok();
}

// [SPEC 12.44]
#[test]
fn a_vault_that_a_command_has_open_is_waited_for_and_not_for_ever() {
    let relay = Relay::start();
    let (ada, _ben) = pair(&relay);
    let mut follower = ada.spawn(&["--json", "receive", "--follow"]);
    follower.wait_for_json(|e| e["event"] == "connection");
    let refused = ada.run(&["--json", "panic", "--yes"]).ends(5).failure();
    assert_eq!(refused["error"], "vault_in_use");
    assert!(
        refused["text"]
            .as_str()
            .unwrap()
            .contains("nothing was destroyed"),
        "{refused}"
    );
    let panic = ada.spawn(&["panic", "--yes"]);
    follower.signal("TERM");
    panic.finish().ok();
    follower.finish();
    ada.run(&["contacts"]).ends(5);
}

// [SPEC 12.44]
#[test]
fn on_a_terminal_it_asks_once() {
    let ada = Person::with_vault(None);
    for (typed, code) in [("no\r", 2), ("destroy\r", 0)] {
        ada.run(&["contacts"]).ok();
        let mut terminal = Terminal::run(ada.command(&["panic"]));
        terminal.wait_until(|screen| screen.contains("to go on:"));
        terminal.type_in(typed);
        assert_eq!(terminal.finish(), Some(code));
    }
    ada.run(&["contacts"]).ends(5);
}

/// Killed at any moment of the opening with the panic PIN: what is left is everything or nothing, and the panic PIN opens
/// an empty vault in any case.
// [SPEC 11.58]
#[test]
fn a_kill_brings_nothing_back() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..12 {
        let ada = Person::with_vault(None);
        let panic_file = set_panic(&ada);
        let mut command = program();
        command.arg("--home").arg(&ada.home);
        command.args(["--pin-file", &panic_file, "contacts"]);
        let opening = Running::start(command);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let after = Duration::from_micros(random % 60_000);
        let since = Instant::now();
        while since.elapsed() < after {
            std::thread::yield_now();
        }
        opening.kill();
        let by_pin = ada.run(&["--json", "panic", "unset"]);
        if by_pin.code == Some(0) {
            run_with_pin(&ada.home, &panic_file, &["contacts"]).ends(5);
            continue;
        }
        assert_eq!(by_pin.failure()["error"], "vault_wrong_secret", "{round}");
        let empty = run_with_pin(&ada.home, &panic_file, &["contacts"]).ok();
        assert_eq!(empty.out, "");
        expect_wrong_pin(&ada);
    }
}
