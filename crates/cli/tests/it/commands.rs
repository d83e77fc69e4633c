//! Every command once, as text and as JSON.

use serde_json::{Value, json};

use crate::world::{Person, Relay, finish, pair, program};

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

// [SPEC 12.1, 12.2, 12.8]
#[test]
fn two_people_meet_talk_and_compare() {
    let relay = Relay::start();
    let ada = Person::with_vault(Some(&relay));
    let ben = Person::with_vault(None);

    let invited = ada
        .run(&["--json", "invite", "ben", "--expires", "1h"])
        .ok()
        .one();
    assert_eq!(
        keys(&invited),
        ["conversation", "expires_at", "link", "result", "state", "v"]
    );
    assert_eq!(
        (&invited["v"], &invited["result"], &invited["state"]),
        (&json!(1), &json!("invited"), &json!("open"))
    );
    let open = ada.json(&["invites"]);
    assert_eq!(
        (open.len(), &open[0]["name"], &open[0]["state"]),
        (1, &json!("ben"), &json!("open"))
    );
    assert_eq!(open[0]["link"], invited["link"]);
    assert_eq!(
        ada.run(&["invites", "--show", "ben"]).ok().out.trim(),
        invited["link"].as_str().unwrap()
    );

    let joined = ben
        .run_with(
            &["--json", "join", "--as", "ada"],
            invited["link"].as_str().unwrap(),
        )
        .ok()
        .one();
    assert_eq!(
        joined,
        json!({ "v": 1, "result": "joined", "conversation": "ada", "state": "active" })
    );
    let heard = ada.json(&["receive", "--wait", "20s"]);
    let joined = |e: &&Value| e["event"] == "joined" && e["conversation"] == "ben";
    assert_eq!(heard.iter().filter(joined).count(), 1, "{heard:?}");
    assert_eq!(ada.json(&["invites"]).len(), 0);

    let sent = ben
        .run(&["--json", "send", "ada", "good evening"])
        .ok()
        .one();
    assert_eq!(keys(&sent), ["conversation", "id", "result", "state", "v"]);
    let received = ada.json(&["receive", "--wait", "20s"]);
    let message = received
        .iter()
        .find(|e| e["event"] == "message_received")
        .unwrap();
    assert_eq!(
        keys(message),
        [
            "conversation",
            "event",
            "expires_at",
            "id",
            "received_at",
            "sent_at",
            "text",
            "timer_s",
            "v"
        ]
    );
    assert_eq!(
        (&message["conversation"], &message["text"]),
        (&json!("ben"), &json!("good evening"))
    );
    assert!(
        message["sent_at"].as_u64() > Some(1_600_000_000_000) && message["expires_at"].is_null()
    );
    // Shown once.
    assert!(
        ada.json(&["receive"])
            .iter()
            .all(|e| e["event"] != "message_received")
    );

    // As text: the result is a number and nothing else.
    let sent = ada
        .run_with(&["send", "ben"], "from standard input\nin two lines\n")
        .ok();
    assert!(
        sent.out.trim().parse::<u64>().is_ok() && sent.out.ends_with('\n'),
        "{sent:?}"
    );
    let received = ben.run(&["receive", "--wait", "20s"]).ok();
    assert_eq!(received.out, "ada: from standard input\n    in two lines\n");

    let number = |person: &Person, name| {
        person.json(&["verify", name])[0]["number"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(number(&ada, "ben"), number(&ben, "ada"));
    assert_eq!(number(&ada, "ben").len(), 60);
    ada.run(&["verify", "ben", "--confirm"]).ok();
    let contacts = ada.json(&["contacts"]);
    assert_eq!(
        (&contacts[0]["verified"], &contacts[0]["state"]),
        (&json!(true), &json!("active"))
    );
    let text = ada.run(&["contacts"]).ok().out;
    assert!(text.starts_with("ben  active, verified"), "{text}");
}

#[test]
fn timers_burn_on_both_sides() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    ada.run(&["timer", "ben", "1h"]).ok();
    assert_eq!(ada.run(&["timer", "ben"]).ok().out, "1h\n");
    let events = ben.json(&["receive", "--wait", "20s"]);
    let change = events
        .iter()
        .find(|e| e["event"] == "timer_changed")
        .unwrap();
    assert_eq!(
        (&change["timer_s"], &change["own"]),
        (&json!(3_600), &json!(false))
    );
    ada.run(&["timer", "ben", "off"]).ok();

    ada.run(&["send", "ben", "burn after reading", "--burn", "read"])
        .ok();
    let events = ben.json(&["receive", "--wait", "20s"]);
    let message = events
        .iter()
        .find(|e| e["event"] == "message_received")
        .unwrap();
    assert_eq!(message["timer_s"], 0);
    assert!(message["expires_at"].is_u64());
    assert!(
        !ben.run(&["history", "ada"])
            .ok()
            .out
            .contains("burn after reading")
    );

    // Five seconds from reading on: a follower is told when it is gone.
    ada.run(&["send", "ben", "five seconds", "--burn", "5s"])
        .ok();
    let mut follower = ben.spawn(&["--json", "receive", "--follow"]);
    let message = follower.wait_for_json(|e| e["text"] == "five seconds");
    let gone = follower.wait_for_json(|e| e["event"] == "message_gone" && e["id"] == message["id"]);
    assert_eq!(gone["why"], "expired");
    follower.kill();
    assert!(
        !ben.run(&["history", "ada"])
            .ok()
            .out
            .contains("five seconds")
    );
}

#[test]
fn history_lists_states_and_single_messages_go() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    let first = ada.run(&["send", "ben", "one"]).ok().out.trim().to_owned();
    ada.run(&["send", "ben", "two"]).ok();
    ben.run(&["receive", "--wait", "20s"]).ok();
    // His receipt for what he was shown.
    let mut follower = ada.spawn(&["--json", "receive", "--follow"]);
    follower.wait_for_json(|e| e["event"] == "message_state" && e["state"] == "read");
    follower.kill();
    let lines = ada.json(&["history", "ben"]);
    let own: Vec<&Value> = lines.iter().filter(|l| l["line"] == "sent").collect();
    assert_eq!(own.len(), 2);
    assert_eq!(
        (&own[0]["text"], &own[0]["conversation"], &own[0]["result"]),
        (&json!("one"), &json!("ben"), &json!("line"))
    );
    assert!(own.iter().all(|l| l["state"] == "read"), "{own:?}");
    assert_eq!(
        ada.json(&["history", "ben", "--last", "1"])[0]["text"],
        "two"
    );
    ada.run(&["delete", "ben", &first]).ok();
    let text = ada.run(&["history", "ben"]).ok().out;
    assert!(
        !text.contains("me: one") && text.contains("me: two [read]"),
        "{text}"
    );
    // A message of several lines cannot look like lines of the program.
    ben.run(&["send", "ada", "x\n9  2026-01-01 00:00  me: yes [read]"])
        .ok();
    ada.run(&["receive", "--wait", "20s"]).ok();
    let text = ada.run(&["history", "ben"]).ok().out;
    assert!(
        text.lines().all(|line| !line.starts_with("9  2026")),
        "{text}"
    );
}

#[test]
fn names_receipts_and_blocks() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    ada.run(&["rename", "ben", "Ben from the archive"]).ok();
    assert_eq!(ada.json(&["contacts"])[0]["name"], "Ben from the archive");
    ada.run(&["rename", "Ben from the archive", "ben"]).ok();

    assert_eq!(
        ada.run(&["receipts", "ben"]).ok().out,
        "delivered on, read on\n"
    );
    assert_eq!(
        ada.run(&["receipts", "ben", "off", "read"]).ok().out,
        "delivered on, read off\n"
    );
    let receipts = ada.json(&["receipts", "ben", "off"]);
    assert_eq!(
        receipts,
        [
            json!({ "v": 1, "result": "receipts", "conversation": "ben", "delivered": false, "read": false })
        ]
    );

    ada.run(&["block", "ben"]).ok();
    assert_eq!(ada.json(&["contacts"])[0]["blocked"], true);
    let refused = ada.run(&["--json", "send", "ben", "hi"]).ends(4).failure();
    assert_eq!(refused["error"], "blocked");
    ben.run(&["send", "ada", "are you there?"]).ok();
    assert_eq!(ada.run(&["receive"]).ok().out, "");
    ada.run(&["block", "ben", "--off"]).ok();
    let heard = ada.json(&["receive", "--wait", "20s"]);
    assert!(
        heard.iter().any(|e| e["text"] == "are you there?"),
        "{heard:?}"
    );

    ada.run(&["forget", "ben"]).ok();
    assert_eq!(ada.json(&["contacts"]).len(), 0);
}

// [SPEC 12.37]
#[test]
fn who_joined_is_answered_without_receiving_first() {
    let relay = Relay::start();
    let ada = Person::with_vault(Some(&relay));
    for (name, command) in [
        ("ben", &["send", "ben", "welcome"][..]),
        ("carl", &["verify", "carl"]),
        ("dora", &["timer", "dora", "1h"]),
    ] {
        let link = ada.run(&["invite", name]).ok().out;
        let early = ada.run(&[&["--json"], command].concat()).ends(4);
        assert_eq!(early.failure()["error"], "not_joined");
        let joiner = Person::with_vault(None);
        joiner.run_with(&["join", "--as", "ada"], &link).ok();
        ada.run(command).ok();
    }
}

#[test]
fn status_and_relay_say_how_things_are() {
    let relay = Relay::start();
    let ada = Person::with_vault(Some(&relay));
    let status = ada.json(&["status"]).remove(0);
    assert_eq!(
        (&status["result"], &status["daemon"], &status["waiting"]),
        (&json!("status"), &json!(false), &json!(0))
    );
    assert_eq!(
        (&status["vault"]["mode"], &status["vault"]["kdf_passes"]),
        (&json!("passphrase"), &json!(1))
    );
    // [SPEC 11.93]
    let scratch = std::process::Command::new("stat")
        .args(["-f", "-c", "%T"])
        .arg(&ada.home)
        .output()
        .unwrap();
    let expected = match String::from_utf8_lossy(&scratch.stdout).trim() {
        "tmpfs" => "memory",
        "ext2/ext3" | "xfs" => "in_place",
        "btrfs" | "zfs" => "copy_on_write",
        _ => status["vault"]["storage"].as_str().unwrap(),
    };
    assert_eq!(status["vault"]["storage"], expected);
    let text = ada.run(&["status"]).ok().out;
    assert!(
        text.contains("passphrase alone: whoever copies the disk may guess it"),
        "{text}"
    );
    assert!(text.contains("\nstorage: "), "{text}");
    let shown = ada.run(&["relay"]).ok().out;
    assert!(
        shown.starts_with("127.0.0.1:") && !shown.contains("code"),
        "{shown}"
    );

    let ben = Person::with_vault(None);
    assert_eq!(ben.json(&["relay"])[0]["relay"], Value::Null);
    ben.run_with(&["relay", "-"], &relay.address).ok();
    assert_eq!(ben.run(&["relay"]).ok().out, shown);
}

#[test]
fn the_pin_changes() {
    let ada = Person::with_vault(None);
    let new = ada.file("new");
    crate::world::write_private(&new, "seven green bottles on a wall\n");
    let new_text = new.to_str().unwrap();
    ada.run(&["pin", "change", "--new-pin-file", new_text]).ok();
    ada.run(&["contacts"]).ends(5);
    let mut command = program();
    command
        .arg("--home")
        .arg(&ada.home)
        .args(["--pin-file", new_text, "contacts"]);
    finish(command, "").ok();
}

/// Nobody who is cut off is left without words that open the vault: new ones are shown before they count.
// [SPEC 11.47]
#[test]
fn recovery_words_are_shown_before_they_count() {
    let ada = Person::with_vault(None);
    let old = ada.run(&["vault", "recovery", "new"]).ok().out;
    let daemon = ada.daemon(&[]);
    let wrong = ada.file("wrong");
    crate::world::write_private(&wrong, "another room\n");
    let mut command = program();
    command
        .arg("--home")
        .arg(&ada.home)
        .arg("--pin-file")
        .arg(&wrong);
    command.args(["--json", "vault", "recovery", "new"]);
    let refused = finish(command, "").ends(5);
    assert!(refused.out.contains("\"words\""), "{refused:?}");
    let failure = refused.failure();
    assert_eq!(failure["error"], "vault_wrong_secret");
    assert!(failure["text"].as_str().unwrap().contains("may not count"));
    daemon.signal("TERM");
    daemon.finish().ok();
    // The earlier ones do.
    let paper = ada.file("paper");
    crate::world::write_private(&paper, &old);
    let mut command = program();
    command
        .arg("--home")
        .arg(&ada.home)
        .arg("--pin-file")
        .arg(&paper);
    command.arg("contacts");
    finish(command, "").ok();
}

// [SPEC 11.47, 12.40]
#[test]
fn recovery_words_open_the_vault_and_set_a_new_pin() {
    let ada = Person::with_vault(None);
    let made = ada.run(&["--json", "vault", "recovery", "new"]).ok().one();
    assert_eq!(made["result"], "recovery");
    let words = made["words"].as_str().unwrap().to_owned();
    assert_eq!(words.split(' ').count(), 12);
    let paper = ada.file("paper");
    crate::world::write_private(&paper, &format!("{}\n", words.to_uppercase()));
    let paper = paper.to_str().unwrap();
    let by_paper = |arguments: &[&str]| {
        let mut command = program();
        command.arg("--home").arg(&ada.home);
        command
            .args(["--json", "--pin-file", paper])
            .args(arguments);
        finish(command, "")
    };
    let opened = by_paper(&["contacts"]).ok();
    assert!(opened.err.contains("opened_by_phrase"), "{opened:?}");
    assert!(!ada.run(&["--json", "contacts"]).ok().err.contains("phrase"));

    // One word copied wrongly.
    let spoilt = words.replacen(words.split(' ').nth(4).unwrap(), "blurb-no-word", 1);
    let file = ada.file("spoilt");
    crate::world::write_private(&file, &spoilt);
    let mut command = program();
    command.arg("--home").arg(&ada.home);
    command.args(["--json", "--pin-file", file.to_str().unwrap(), "contacts"]);
    let refused = finish(command, "").ends(5).failure();
    assert_eq!(refused["error"], "vault_wrong_secret");
    assert!(refused["hint"].as_str().unwrap().contains("look at word"));

    // They are no PIN, and they are the present one for a new PIN alone.
    let refused = ada.run(&["--json", "pin", "change", "--new-pin-file", paper]);
    assert_eq!(refused.ends(4).failure()["error"], "secret_is_phrase");
    let refused = by_paper(&["vault", "recovery", "remove"]).ends(5);
    assert!(refused.err.contains("opened_by_phrase"), "{refused:?}");
    assert_eq!(refused.failure()["error"], "vault_wrong_secret");
    let new = ada.file("new");
    crate::world::write_private(&new, "seven green bottles on a wall\n");
    by_paper(&["pin", "change", "--new-pin-file", new.to_str().unwrap()]).ok();
    ada.run(&["contacts"]).ends(5);
    std::fs::copy(&new, &ada.pin_file).unwrap();
    ada.run(&["vault", "recovery", "remove"]).ok();
    by_paper(&["contacts"]).ends(5);
    ada.run(&["contacts"]).ok();
}

/// The PIN is the first line of the descriptor, and what follows is the message.
// [SPEC 12.5]
#[test]
fn pins_come_from_descriptors_and_nothing_beyond_their_line_is_read() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    let mut command = program();
    command
        .arg("--home")
        .arg(&ada.home)
        .args(["--pin-fd", "0", "send", "ben"]);
    finish(command, "a quiet room of green glass\nthe message itself\n").ok();
    let heard = ben.json(&["receive", "--wait", "20s"]);
    assert!(
        heard.iter().any(|e| e["text"] == "the message itself"),
        "{heard:?}"
    );
    // And no command takes one as an argument.
    for help in
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden/help")).unwrap()
    {
        let help = std::fs::read_to_string(help.unwrap().path()).unwrap();
        for line in help
            .lines()
            .filter(|line| line.trim_start().starts_with("--"))
        {
            let takes_secret = line.contains("--pin")
                || line.contains("--new-pin")
                || line.contains("--panic-pin")
                || line.contains("--passphrase");
            assert!(
                !takes_secret || line.contains("-file <FILE>") || line.contains("-fd <N>"),
                "{line}"
            );
        }
    }
}

#[test]
fn completions_and_man_pages_are_written() {
    let ada = Person::new();
    for shell in ["bash", "zsh", "fish"] {
        let completions = ada.run(&["completions", shell]).ok().out;
        assert!(
            completions.contains("invite") && completions.contains("receipts"),
            "{shell}"
        );
    }
    let directory = ada.file("man");
    ada.run(&["man", directory.to_str().unwrap()]).ok();
    let names: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    for page in ["emptyroom.1", "emptyroom-send.1", "emptyroom-pin-change.1"] {
        assert!(names.iter().any(|name| name == page), "{names:?}");
    }
    // They are for everybody.
    let mode = |name: &str| {
        let metadata = std::fs::metadata(directory.join(name)).unwrap();
        std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777
    };
    assert_eq!((mode("."), mode("emptyroom.1")), (0o755, 0o644));
    let page = std::fs::read_to_string(directory.join("emptyroom-send.1")).unwrap();
    assert!(
        page.contains("Prints the message") && page.contains("Examples"),
        "{page}"
    );
}
