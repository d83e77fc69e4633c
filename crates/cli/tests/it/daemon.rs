//! The daemon: commands through it, its socket, its protocol, its end.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::world::{DEADLINE, Done, Person, Relay, finish, pair, program};

/// A program of its own at the socket.
struct Caller {
    reader: BufReader<UnixStream>,
}

impl Caller {
    fn at(home: &Path) -> Self {
        let stream = UnixStream::connect(home.join("daemon.sock")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self {
            reader: BufReader::new(stream),
        }
    }

    fn write(&mut self, text: &str) {
        self.reader.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(e) => panic!("{e}"),
        }
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": method, "method": method, "params": params });
        self.write(&format!("{request}\n"));
        loop {
            let line = self.line().unwrap();
            if line["id"] == *method {
                return line;
            }
        }
    }
}

fn without_pin(person: &Person, arguments: &[&str]) -> Done {
    let mut command = program();
    command.arg("--home").arg(&person.home).args(arguments);
    finish(command, "")
}

// [SPEC 12.25, 12.32]
#[test]
fn commands_go_through_it_and_need_no_pin() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    let daemon = ada.daemon(&[]);
    let socket = ada.home.join("daemon.sock");
    assert_eq!(
        std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let status = without_pin(&ada, &["--json", "status"]).ok().one();
    assert_eq!(status["daemon"], true);
    without_pin(&ada, &["send", "ben", "from the daemon"]).ok();
    assert_eq!(
        ben.run(&["receive", "--wait", "20s"]).ok().out,
        "ada: from the daemon\n"
    );
    ben.run(&["send", "ada", "to the daemon"]).ok();
    let heard = without_pin(&ada, &["--json", "receive", "--wait", "20s"])
        .ok()
        .json();
    assert!(
        heard.iter().any(|e| e["text"] == "to the daemon"),
        "{heard:?}"
    );
    for arguments in [
        vec!["contacts"],
        vec!["history", "ben"],
        vec!["timer", "ben", "1h"],
        vec!["receipts", "ben", "off"],
        vec!["verify", "ben"],
        vec!["rename", "ben", "carol"],
        vec!["invites"],
        vec!["relay"],
    ] {
        without_pin(&ada, &arguments).ok();
    }
    // What was refused is refused in the same words as without a daemon.
    let refused = without_pin(&ada, &["--json", "send", "nobody", "hi"])
        .ends(2)
        .failure();
    assert_eq!(refused["error"], "unknown_name");
    assert_eq!(
        without_pin(&ada, &["--json", "daemon"]).ends(5).failure()["error"],
        "vault_in_use"
    );

    without_pin(&ada, &["lock"]).ok();
    daemon.finish().ok();
    assert!(!socket.exists());
    assert_eq!(
        without_pin(&ada, &["--json", "contacts"]).ends(5).failure()["error"],
        "vault_locked"
    );
    without_pin(&ada, &["lock"]).ok();
    ada.run(&["contacts"]).ok();
}

// [SPEC 12.27, 12.31, 12.36]
#[test]
fn events_are_notified_and_locked_is_the_last() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    let daemon = ada.daemon(&["--idle", "off"]);
    let mut silent = Caller::at(&ada.home);
    let mut caller = Caller::at(&ada.home);
    assert_eq!(
        caller.call("subscribe", json!({}))["result"],
        json!({ "v": 1, "result": "done" })
    );
    let mut follower = ada.spawn(&["--json", "receive", "--follow"]);
    ben.run(&["send", "ada", "hello"]).ok();
    let event = loop {
        let line = caller.line().unwrap();
        assert_eq!(
            (&line["jsonrpc"], &line["method"], &line["params"]["v"]),
            (&json!("2.0"), &json!("event"), &json!(1))
        );
        if line["params"]["event"] == "message_received" {
            break line["params"].clone();
        }
    };
    assert_eq!(event["conversation"], "ben");
    assert!(event["text"].is_null(), "{event}");
    let history = caller.call("history", json!({ "name": "ben", "limit": 1 }));
    assert_eq!(history["result"]["lines"][0]["text"], "hello");
    follower.wait_for_json(|e| e["text"] == "hello");

    // Who listens later is told what is connected.
    let mut late = Caller::at(&ada.home);
    late.write("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"subscribe\"}\n");
    loop {
        let line = late.line().unwrap();
        if line["params"]["event"] == "connection" {
            assert_eq!(line["params"]["up"], true);
            break;
        }
    }
    late.write("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"status\"}\n");
    loop {
        let line = late.line().unwrap();
        assert_ne!(line["params"]["event"], "connection", "once");
        if line["id"] == 2 {
            break;
        }
    }

    // Who did not subscribe hears nothing but answers.
    assert_eq!(silent.call("status", json!({}))["result"]["v"], 1);
    caller.write("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"lock\"}\n");
    let mut last_event = Value::Null;
    let mut answered = false;
    while let Some(line) = caller.line() {
        if line["id"] == 1 {
            answered = line["result"]["result"] == "done";
        } else {
            last_event = line["params"]["event"].clone();
        }
    }
    assert!(answered);
    assert_eq!(last_event, "locked");
    assert!(silent.line().is_none());
    let followed = follower.finish().ends(5);
    assert_eq!(followed.failure()["error"], "vault_locked");
    daemon.finish().ok();
}

/// A daemon that is this test: everything was marked by another reader, whose events still wait; `history` knows what is left.
// [SPEC 12.16]
#[test]
fn a_reader_shows_no_line_that_is_gone_when_it_is_its_turn() {
    let ada = Person::new();
    std::fs::create_dir_all(&ada.home).unwrap();
    let listener = UnixListener::bind(ada.home.join("daemon.sock")).unwrap();
    let mut reader = ada.spawn(&["--json", "receive", "--follow"]);
    let (stream, _) = listener.accept().unwrap();
    let mut writer = stream.try_clone().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let request: Value = serde_json::from_str(&line).unwrap();
            let result = match request["method"].as_str().unwrap() {
                "unread" | "status" => json!({ "v": 1, "result": "unread", "lines": [] }),
                "history" if request["params"]["before"] == 4 => {
                    json!({ "v": 1, "result": "history", "lines": [received(2, 7), received(3, 9_000)] })
                }
                "history" => json!({ "v": 1, "result": "history", "lines": [received(1, 7)] }),
                "subscribe" => json!({ "v": 1, "result": "done" }),
                _ => continue,
            };
            let subscribed = result["result"] == "done";
            let response = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
            writeln!(writer, "{response}").unwrap();
            for id in if subscribed { 2..4 } else { 0..0 } {
                let event = json!({ "v": 1, "event": "message_received", "conversation": "ben", "id": id,
                    "sent_at": 1, "received_at": 1, "timer_s": 30, "expires_at": null });
                let line = json!({ "jsonrpc": "2.0", "method": "event", "params": event });
                writeln!(writer, "{line}").unwrap();
            }
        }
    });
    // Number 2 is gone, number 3 runs.
    let shown = reader.wait_for_json(|_| true);
    assert_eq!(
        (&shown["text"], &shown["expires_at"]),
        (&json!("number 3"), &json!(9_000))
    );
}

fn received(id: u64, expires_at: u64) -> Value {
    json!({ "id": id, "at": 1, "line": "received", "text": format!("number {id}"), "sent_at": 1, "read": true,
        "timer_s": 30, "expires_at": expires_at })
}

/// Whoever is quicker takes nothing away from the others.
// [SPEC 12.16]
#[test]
fn two_readers_both_show_everything_once() {
    let relay = Relay::start();
    let (ada, ben) = pair(&relay);
    let _daemon = ada.daemon(&[]);
    let mut followers: Vec<_> = (0..3)
        .map(|_| ada.spawn(&["--json", "receive", "--follow"]))
        .collect();
    let mut chat = ada.spawn(&["--json", "chat", "ben"]);
    // Something goes on happening until all of them have heard of it, and so listen.
    let all_listen = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let until = Instant::now() + DEADLINE;
            while !all_listen.load(Ordering::Relaxed) && Instant::now() < until {
                ada.run(&["send", "ben", "are all there?"]).ok();
            }
        });
        for reader in followers.iter_mut().chain([&mut chat]) {
            reader.wait_for_json(|e| e["event"] == "message_state");
        }
        all_listen.store(true, Ordering::Relaxed);
    });
    let (mut sent, mut burnt) = (Vec::new(), Vec::new());
    for n in 0..10 {
        let text = format!("number {n}");
        let burn: &[&str] = if n % 3 == 0 { &["--burn", "read"] } else { &[] };
        ben.run(&[&["send", "ada", &text], burn].concat()).ok();
        if !burn.is_empty() {
            burnt.push(text.clone());
        }
        sent.push(text);
    }
    ben.run(&["send", "ada", "the end"]).ok();
    sent.push("the end".to_owned());
    let mut unread = burnt.clone();
    for mut reader in followers.into_iter().chain([chat]) {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|text| text != "the end") {
            let event = reader.wait_for_json(|e| e["event"] == "message_received");
            heard.push(event["text"].as_str().unwrap().to_owned());
        }
        // What burns when it is read is for the quickest.
        let expected = |text: &&String| !burnt.contains(text) || heard.contains(text);
        assert!(sent.iter().filter(expected).eq(&heard), "{heard:?}");
        unread.retain(|text| !heard.contains(text));
    }
    assert!(unread.is_empty(), "{unread:?}");
}

// [SPEC 12.21, 12.22, 12.23]
#[test]
fn what_is_no_request_is_answered_and_what_has_no_end_is_cut_off() {
    let ada = Person::with_vault(None);
    let _daemon = ada.daemon(&[]);
    let mut caller = Caller::at(&ada.home);
    for (line, code) in [
        ("rubbish", -32_700),
        ("[]", -32_600),
        ("{\"jsonrpc\":\"2.0\",\"method\":\"status\"}", -32_600),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"steal\"}",
            -32_601,
        ),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"send\",\"params\":{}}",
            -32_602,
        ),
    ] {
        caller.write(&format!("{line}\n"));
        assert_eq!(caller.line().unwrap()["error"]["code"], code, "{line}");
    }
    let failed = caller.call("history", json!({ "name": "nobody", "limit": 1 }));
    assert_eq!(
        (&failed["error"]["code"], &failed["error"]["data"]["error"]),
        (&json!(-32_002), &json!("unknown_name"))
    );
    // Responses keep the order of what the engine answers at once.
    caller.write("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"status\"}\n{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"contacts\"}\n");
    assert_eq!(
        (
            caller.line().unwrap()["id"].clone(),
            caller.line().unwrap()["id"].clone()
        ),
        (json!(7), json!(8))
    );

    // A text of 16 KiB fits even if every byte is escaped.
    let text = "\u{1}".repeat(16 * 1024);
    assert_eq!(
        caller.call("send", json!({ "to": "nobody", "text": text }))["error"]["data"]["error"],
        "unknown_name"
    );

    let mut endless = Caller::at(&ada.home);
    let piece = vec![b'x'; 1024];
    let mut written = 0;
    while endless.reader.get_mut().write_all(&piece).is_ok() {
        written += piece.len();
        assert!(written < 8 * 1024 * 1024, "nobody cuts it off");
    }
    assert!(caller.call("status", json!({}))["result"].is_object());
}

// [SPEC 12.24]
#[test]
fn a_seventeenth_program_is_turned_away() {
    let ada = Person::with_vault(None);
    let _daemon = ada.daemon(&[]);
    let mut callers: Vec<Caller> = (0..16).map(|_| Caller::at(&ada.home)).collect();
    for caller in &mut callers {
        assert!(caller.call("status", json!({}))["result"].is_object());
    }
    let mut one_more = Caller::at(&ada.home);
    let told = one_more.line().unwrap();
    assert_eq!(
        (&told["id"], &told["error"]["data"]["error"]),
        (&Value::Null, &json!("daemon_busy"))
    );
    assert!(one_more.line().is_none());
    let busy = without_pin(&ada, &["--json", "status"]).ends(5).failure();
    assert_eq!(busy["error"], "daemon_busy");
    assert!(busy["hint"].as_str().unwrap().contains("end one of them"));
    drop(callers.pop());
    // A place is free as soon as the daemon has seen that; until then it turns callers away.
    let found = (0..1_000).any(|_| {
        let mut caller = Caller::at(&ada.home);
        let request = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n";
        let answered =
            caller.reader.get_mut().write_all(request).is_ok() && caller.line().is_some();
        std::thread::yield_now();
        answered
    });
    assert!(found);
}

// [SPEC 12.25]
#[test]
fn a_killed_daemon_leaves_nothing_in_the_way() {
    let relay = Relay::start();
    let (ada, _ben) = pair(&relay);
    ada.daemon(&[]).kill();
    assert!(ada.home.join("daemon.sock").exists());
    // Commands find nobody there and open the vault themselves; the next daemon replaces the socket.
    ada.run(&["send", "ben", "still here"]).ok();
    let daemon = ada.daemon(&[]);
    without_pin(&ada, &["contacts"]).ok();
    // A second daemon that loses the race for the vault leaves the first one's socket alone.
    daemon.signal("TERM");
    daemon.finish().ok();
    assert!(!ada.home.join("daemon.sock").exists());
}

// [SPEC 12.31]
#[test]
fn it_locks_when_idle_and_on_signals() {
    let ada = Person::with_vault(None);
    let mut daemon = ada.spawn(&["daemon", "--idle", "1s"]);
    daemon.wait_for_line(|line| line.ends_with("daemon.sock"));
    daemon.finish().ok();
    for signal in ["TERM", "INT", "HUP"] {
        let daemon = ada.daemon(&["--idle", "off"]);
        daemon.signal(signal);
        daemon.finish().ok();
        ada.run(&["contacts"]).ok();
    }
}

// [SPEC 12.31]
#[test]
fn calls_that_wait_hear_that_it_was_locked() {
    let mut relay = Relay::start();
    let (ada, _ben) = pair(&relay);
    relay.stop();
    let daemon = ada.daemon(&[]);
    let waiting = ada.spawn(&["--json", "receive", "--wait", "1h"]);
    // Whoever comes too late finds no daemon, and opens the vault himself.
    let until = Instant::now() + DEADLINE;
    while !has_caller(&ada.home) {
        assert!(Instant::now() < until, "it does not come");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    daemon.signal("TERM");
    daemon.finish().ok();
    let ended = waiting.finish();
    assert_eq!(ended.code, Some(5), "{ended:?}");
    let error = ended.failure()["error"].clone();
    assert!(error == "vault_locked", "{error}");
}

/// Whether somebody is connected to the daemon of a home, as the kernel tells.
fn has_caller(home: &Path) -> bool {
    const CONNECTED: &str = "03";
    let socket = home.join("daemon.sock");
    let table = std::fs::read_to_string("/proc/net/unix").unwrap();
    table.lines().any(|line| {
        line.split_whitespace().nth(5) == Some(CONNECTED)
            && line.ends_with(socket.to_str().unwrap())
    })
}

// [SPEC 12.33]
#[test]
fn an_open_daemon_does_not_give_the_pin_away() {
    let ada = Person::with_vault(None);
    let _daemon = ada.daemon(&[]);
    let mut caller = Caller::at(&ada.home);
    let refused = caller.call(
        "change_secret",
        json!({ "old": "guess", "new": "mine now" }),
    );
    assert_eq!(refused["error"]["data"]["error"], "vault_wrong_secret");
    let changed = caller.call(
        "change_secret",
        json!({ "old": "a quiet room of green glass", "new": "another" }),
    );
    assert_eq!(changed["result"]["result"], "done");
    let old = ada.run(&[
        "pin",
        "change",
        "--new-pin-file",
        ada.pin_file.to_str().unwrap(),
    ]);
    assert_eq!(old.code, Some(5), "{old:?}");
}

/// The daemon outlives its relay, and goes on by itself.
#[test]
fn it_reconnects_by_itself() {
    let mut relay = Relay::start();
    let (ada, ben) = pair(&relay);
    let _daemon = ada.daemon(&[]);
    let mut caller = Caller::at(&ada.home);
    caller.call("subscribe", json!({}));
    relay.stop();
    without_pin(&ada, &["send", "ben", "while away", "--wait", "1s"]).ends(3);
    relay.resume();
    loop {
        let line = caller.line().unwrap();
        if line["params"]["event"] == "message_state" && line["params"]["state"] == "sent" {
            break;
        }
    }
    assert_eq!(
        ben.run(&["receive", "--wait", "20s"]).ok().out,
        "ada: while away\n"
    );
}
