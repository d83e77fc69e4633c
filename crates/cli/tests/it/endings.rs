//! How commands end when something stands in the way.

use serde_json::json;

use crate::world::{Person, Relay, Road, pair, write_private};

/// The relay is away: kept, told so, and sent by whatever command comes next.
// [SPEC 12.4, 12.8, 12.9]
#[test]
fn what_cannot_go_out_is_kept_and_goes_out_later() {
    let mut relay = Relay::start();
    let (ada, ben) = pair(&relay);
    relay.stop();
    let kept = ada.run(&["--json", "send", "ben", "later"]).ends(3);
    let sent = kept.one();
    assert_eq!(
        (&sent["state"], &sent["result"]),
        (&json!("queued"), &json!("sent"))
    );
    assert_eq!(
        (&kept.failure()["error"], &kept.failure()["exit"]),
        (&json!("kept"), &json!(3))
    );
    let kept = ada.run(&["send", "ben", "even later"]).ends(3);
    assert!(
        kept.err.contains("cannot be reached; the message is kept") && kept.err.contains("hint: "),
        "{kept:?}"
    );
    assert!(
        ada.run(&["history", "ben"])
            .ok()
            .out
            .contains("me: later [queued]")
    );
    ada.run(&["receive"]).ends(3);
    let invited = ada.run(&["--json", "invite", "carol"]).ends(3);
    assert_eq!(invited.one()["state"], "waiting");
    ben.run_with(
        &["join", "--as", "other"],
        invited.one()["link"].as_str().unwrap(),
    )
    .ends(3);

    relay.resume();
    // Any command sends what waits.
    ada.run(&["contacts"]).ok();
    assert!(
        ada.run(&["history", "ben"])
            .ok()
            .out
            .contains("me: later [sent]")
    );
    let heard = ben.json(&["receive", "--wait", "20s"]);
    let texts: Vec<_> = heard.iter().filter_map(|e| e["text"].as_str()).collect();
    assert_eq!(texts, ["later", "even later"]);
    assert_eq!(ada.json(&["invites"])[0]["state"], "open");
}

// [SPEC 12.3, 12.9]
#[test]
fn links_that_cannot_be_taken_are_refused_and_leave_nothing() {
    let relay = Relay::start();
    let ada = Person::with_vault(Some(&relay));
    let (ben, carol) = (Person::with_vault(None), Person::with_vault(None));
    let link = ada.run(&["invite", "ben"]).ok().out;
    ben.run_with(&["join", "--as", "ada"], &link).ok();
    // Nobody has compared what was not shown yet; what she is told to do helps.
    let early = ada.run(&["verify", "ben", "--confirm"]).ends(4);
    assert!(early.err.contains("`emptyroom receive`"), "{early:?}");
    ada.run(&["receive"]).ok();
    ada.run(&["verify", "ben"]).ok();
    let refused = carol
        .run_with(&["--json", "join", "--as", "ada"], &link)
        .ends(4);
    assert_eq!(refused.failure()["error"], "join_already_used");
    assert_eq!(refused.failure()["v"], 1);
    assert!(refused.failure()["hint"].is_string());
    assert_eq!(carol.json(&["contacts"]).len(), 0);

    let cancelled = ada.run(&["invite", "dora"]).ok().out;
    ada.run(&["invites", "--cancel", "dora"]).ok();
    assert_eq!(
        carol
            .run_with(&["join", "--as", "ada"], &cancelled)
            .ends(4)
            .out,
        ""
    );

    let good = ada.run(&["invite", "emil"]).ok().out;
    let good = good.trim();
    // Any one character changed is seen before anything is asked of a relay.
    for at in [good.len() / 2, good.len() - 1] {
        let mut bad = good.as_bytes().to_vec();
        bad[at] = if bad[at] == b'a' { b'b' } else { b'a' };
        let refused = carol.run_with(&["join", "--as", "ada"], std::str::from_utf8(&bad).unwrap());
        assert_eq!(refused.code, Some(2), "{refused:?}");
    }
    // Her own link is for somebody else.
    assert_eq!(
        ada.run_with(&["--json", "join", "--as", "me"], good)
            .ends(2)
            .failure()["error"],
        "own_link"
    );
}

#[test]
fn a_relay_that_wants_a_code_refuses_invites_without_it() {
    let relay = Relay::start();
    let with_code = Person::with_vault(Some(&relay));
    with_code.run(&["invite", "ben"]).ok();
    let without = Person::with_vault(None);
    let (address, _) = relay.address.split_once('?').unwrap();
    without.run_with(&["relay", "-"], address).ok();
    let refused = without.run(&["--json", "invite", "ben"]).ends(4);
    assert_eq!(refused.failure()["error"], "invite_bad_code");
    assert_eq!(without.json(&["contacts"]).len(), 0);
}

#[test]
fn vault_trouble_is_told_by_its_own_name() {
    let ada = Person::with_vault(None);
    let error =
        |done: crate::world::Done| done.ends(5).failure()["error"].as_str().unwrap().to_owned();
    let right = ada.file("pin");
    let text = std::fs::read_to_string(&right).unwrap();
    write_private(&right, "wrong\n");
    assert_eq!(
        error(ada.run(&["--json", "contacts"])),
        "vault_wrong_secret"
    );
    write_private(&right, &text);
    assert_eq!(error(ada.run(&["--json", "init"])), "vault_exists");
    assert_eq!(
        error(Person::new().run(&["--json", "contacts"])),
        "vault_missing"
    );

    // Both copies of the header spoilt.
    let header = ada.home.join("header");
    let mut bytes = std::fs::read(&header).unwrap();
    bytes.iter_mut().for_each(|b| *b ^= 0x55);
    std::fs::write(&header, bytes).unwrap();
    assert!(
        ["vault_corrupt", "vault_newer"]
            .contains(&error(ada.run(&["--json", "contacts"])).as_str())
    );
}

// [SPEC 12.30]
#[test]
fn a_vault_is_open_in_one_process_at_most() {
    let relay = Relay::start();
    let (ada, _ben) = pair(&relay);
    let mut follower = ada.spawn(&["--json", "receive", "--follow"]);
    follower.wait_for_json(|e| e["event"] == "connection");
    let refused = ada.run(&["--json", "contacts"]).ends(5);
    assert_eq!(refused.failure()["error"], "vault_in_use");
    assert!(
        refused.failure()["hint"]
            .as_str()
            .unwrap()
            .contains("daemon")
    );
    // And nobody is told that it is locked.
    let open = ada.run(&["--json", "lock"]).ends(5).failure();
    assert_eq!(open["error"], "vault_in_use");
    follower.kill();
    ada.run(&["lock"]).ok();
    let missing = Person::new().run(&["--json", "lock"]).ends(5).failure();
    assert_eq!(missing["error"], "vault_missing");
    ada.run(&["contacts"]).ok();
}

/// A relay that is away is told only by commands that wanted something of it.
// [SPEC 12.19]
#[test]
fn the_relays_of_others_do_not_matter() {
    let (relay, mut other) = (Relay::start(), Relay::start());
    let (ada, _ben) = pair(&relay);
    ada.run(&["invite", "dora"]).ok();
    ada.run_with(&["relay", "-"], &other.address).ok();
    let link = ada.run(&["invite", "carol"]).ok().out;
    let carol = Person::with_vault(None);
    carol.run_with(&["join", "--as", "ada"], &link).ok();
    ada.run(&["receive"]).ok();
    ada.run(&["invite", "emil"]).ok();
    ada.run(&["invite", "fritz"]).ok();
    other.stop();
    ada.run(&["timer", "ben", "1h"]).ok();
    ada.run(&["send", "ben", "hello"]).ok();
    ada.run(&["invites", "--cancel", "dora"]).ok();
    let (host, _) = other.address.split_once('/').unwrap();
    for arguments in [
        &["timer", "carol", "1h"][..],
        &["send", "carol", "hello"],
        &["invites", "--cancel", "emil"],
        &["forget", "fritz"],
        &["forget", "carol"],
    ] {
        let kept = ada.run(arguments).ends(3);
        assert!(
            kept.err.contains(&format!("{host} cannot be reached")),
            "{kept:?}"
        );
    }
    // The other way round: what is named is the relay that matters.
    relay_is_away(relay, &ada);
}

/// A relay that is connected and does not answer is not excused by another one that is away: the link can still be taken.
// [SPEC 12.4, 12.19]
#[test]
fn a_relay_that_is_slow_has_not_cancelled_an_invite() {
    let road = Road::open();
    let (slow, mut other) = (Relay::start_at_the_end_of(road.clone()), Relay::start());
    let ada = Person::with_vault(Some(&other));
    ada.run(&["invite", "carol"]).ok();
    ada.run_with(&["relay", "-"], &slow.address).ok();
    ada.run(&["invite", "ben"]).ok();
    let _daemon = ada.daemon(&[]);
    let connected = |relay: &Relay, up| {
        let (host, _) = relay.address.split_once('/').unwrap();
        let until = std::time::Instant::now() + crate::world::DEADLINE;
        while !ada.json(&["status"])[0]["relays"]
            .as_array()
            .unwrap()
            .iter()
            .any(|relay| relay["relay"] == host && relay["up"] == up)
        {
            assert!(std::time::Instant::now() < until);
        }
    };
    connected(&slow, true);
    other.stop();
    connected(&other, false);
    road.close();
    let kept = ada.run(&["invites", "--cancel", "ben"]).ends(3);
    assert!(
        kept.err
            .contains("has not answered yet; the change is kept"),
        "{kept:?}"
    );
}

fn relay_is_away(mut relay: Relay, ada: &Person) {
    relay.stop();
    let (host, _) = relay.address.split_once('/').unwrap();
    let kept = ada.run(&["send", "ben", "still here"]).ends(3);
    assert!(
        kept.err.contains(&format!("{host} cannot be reached")),
        "{kept:?}"
    );
}

// [SPEC 12.14]
#[test]
fn warnings_are_json_where_json_was_asked_for() {
    let ada = Person::new();
    write_private(&ada.pin_file, "1234\n");
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&ada.pin_file, readable).unwrap();
    let made = ada.run(&["--json", "init", "--kdf", "minimum"]).ok();
    let warnings: Vec<serde_json::Value> = made
        .err
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let names: Vec<_> = warnings.iter().map(|w| w["warning"].as_str()).collect();
    assert_eq!(
        names,
        [
            Some("pin_file_readable"),
            Some("short_pin"),
            Some("kdf_minimum")
        ]
    );
    assert!(
        warnings
            .iter()
            .all(|w| w["v"] == 1 && w["text"].is_string())
    );
    let shown = ada.run(&["contacts"]).ok();
    assert!(
        shown.err.starts_with("warning: the PIN file can be read"),
        "{shown:?}"
    );
}

#[test]
fn a_short_pin_is_allowed_and_told_its_worth() {
    let ada = Person::new();
    write_private(&ada.pin_file, "1234\n");
    let made = ada.run(&["init", "--kdf", "small"]).ok();
    assert!(
        made.err
            .contains("warning: this PIN is one of 10000: whoever copies this disk finds it in"),
        "{made:?}"
    );
    assert!(made.err.contains("until TPM or relays"), "{made:?}");
}

// [SPEC 12.7]
#[test]
fn what_was_not_written_is_not_marked_as_shown() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    ada.run(&["send", "ben", "do not lose me"]).ok();
    let mut command = ben.command(&["--json", "receive"]);
    // Nobody can read this output.
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::fs::File::create("/dev/full").unwrap());
    let output = command
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let heard = ben.json(&["receive", "--wait", "20s"]);
    assert!(
        heard.iter().any(|e| e["text"] == "do not lose me"),
        "{heard:?}"
    );
}
