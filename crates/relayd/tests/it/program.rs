//! The program as its operator meets it.

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::op::{Answer, Request};

use crate::client::{Client, Log};
use crate::process::{Process, binary, serve};
use crate::scratch::Scratch;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

// [SPEC 6.60]
#[test]
fn a_second_instance_is_refused() {
    let dir = Scratch::new("second");
    let data = dir.path().join("data");
    let relay = Process::start(&data);
    let second = serve(&data).output().unwrap();
    assert_eq!(code(&second), 3);
    assert!(second.stdout.is_empty());
    assert!(text(&second.stderr).contains("another relay is running on this data directory"));
    // The first is none the worse for it.
    let log = Log::new();
    assert!(matches!(
        Client::connect(&relay.address).create(&log, None),
        Answer::Created
    ));
}

// [SPEC 6.78]
#[test]
fn a_stop_answers_what_came_before_and_exits_with_0() {
    for signal in ["TERM", "INT"] {
        let dir = Scratch::new("stop");
        let data = dir.path().join("data");
        let mut relay = Process::start(&data);
        let log = Log::new();
        let mut client = Client::connect(&relay.address);
        client.create(&log, None);
        let (opened, _) = client.open(&log, 0).unwrap();
        let mut asked = Vec::new();
        for number in 0..20_u8 {
            let append = client.append_request(opened.handle, &log, &[number], Ttl::Day7);
            asked.push(client.send(Request::Append(append)).unwrap());
        }
        let mut acknowledged = 0;
        for id in asked {
            if id == 10 {
                relay.send(signal);
            }
            // Refusals may come before answers that wait for the disk.
            match client.any_answer() {
                Ok((_, Answer::Appended(appended))) => {
                    assert_eq!(appended.seq, acknowledged);
                    acknowledged += 1;
                }
                Ok((refused, _)) => assert!(refused >= 10, "{refused}"),
                Err(_) => break,
            }
        }
        assert!(acknowledged > 0);
        let (status, stdout, stderr) = relay.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert_eq!(stdout, "");
        assert_eq!(
            stderr,
            "emptyroom-relay: serving\nemptyroom-relay: stopping\n"
        );
        let relay = Process::start(&data);
        let (opened, _) = Client::connect(&relay.address).open(&log, 0).unwrap();
        assert!(opened.view.next_seq >= acknowledged);
        // Everything was left tidy: no write-ahead log, no leftover of a write.
        drop(relay);
    }
}

// [SPEC 6.79]
#[test]
fn the_address_line_is_all_of_standard_output_and_holds_no_code() {
    let dir = Scratch::new("line");
    let data = dir.path().join("data");
    let mut command = serve(&data);
    command.args(["--public", "relay.example.org"]);
    let relay = Process::spawn(command, &data);
    let shown = relay.address.clone();
    assert!(shown.code.is_none());
    assert_eq!(shown.host.name(), "relay.example.org");
    let line = text(
        &binary()
            .arg("address")
            .arg("--data")
            .arg(&data)
            .output()
            .unwrap()
            .stdout,
    );
    let whole = RelayAddress::parse(&line).unwrap();
    assert!(whole.host == shown.host && whole.identity == shown.identity);
    assert_eq!(
        text(whole.code.unwrap().expose()),
        fs::read_to_string(data.join("access-code")).unwrap().trim()
    );
    let json = binary()
        .arg("address")
        .arg("--json")
        .arg("--data")
        .arg(&data)
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["v"], 1);
    assert_eq!(json["address"], line.trim());
    let (_, rest, stderr) = relay.signal("TERM");
    assert_eq!(rest, "");
    assert_eq!(
        stderr,
        "emptyroom-relay: serving\nemptyroom-relay: stopping\n"
    );
}

#[test]
fn wrong_use_says_what_and_what_to_do() {
    let dir = Scratch::new("wrong");
    let data = dir.path().join("data");
    let run = |arguments: &[&str]| binary().args(arguments).output().unwrap();
    let at = data.to_str().unwrap();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["serve"], 2, "--data <DIR>"),
        (
            &["serve", "--data", at, "--listen", "nowhere"],
            2,
            "--listen",
        ),
        (
            &["serve", "--data", at, "--public", "http://x"],
            2,
            "--public",
        ),
        (
            &["serve", "--data", at, "--open", "--access-code-file", "x"],
            2,
            "cannot be used with",
        ),
        (
            &["serve", "--data", at, "--listen", "0.0.0.0:0"],
            2,
            "hint: say what clients dial",
        ),
        (
            &["serve", "--data", at, "--listen", "192.0.2.1:1"],
            5,
            "hint: is the port taken?",
        ),
        (
            &[
                "serve",
                "--data",
                at,
                "--listen",
                "127.0.0.1:0",
                "--access-code-file",
                "/nonexistent",
            ],
            4,
            "hint:",
        ),
    ];
    for (arguments, exit, says) in cases {
        let output = run(arguments);
        assert_eq!(
            code(&output),
            exit,
            "{arguments:?} {}",
            text(&output.stderr)
        );
        assert!(
            text(&output.stderr).contains(says),
            "{arguments:?} {}",
            text(&output.stderr)
        );
        assert!(output.stdout.is_empty());
    }
    let output = run(&[
        "address",
        "--data",
        dir.path().join("other").to_str().unwrap(),
    ]);
    assert_eq!(code(&output), 4);
    assert!(text(&output.stderr).contains("hint: run `emptyroom-relay serve` once"));
}

// [SPEC 6.61]
#[test]
fn a_damaged_identity_is_not_replaced() {
    let dir = Scratch::new("identity");
    let data = dir.path().join("data");
    Process::start(&data).signal("TERM");
    fs::File::create(data.join("identity.key"))
        .unwrap()
        .write_all(b"ERRLYID1")
        .unwrap();
    let output = serve(&data).output().unwrap();
    assert_eq!(code(&output), 4);
    assert!(text(&output.stderr).contains("identity.key is damaged"));
    assert_eq!(fs::read(data.join("identity.key")).unwrap(), b"ERRLYID1");
}

#[test]
fn completions_and_man_page_come_from_the_same_definitions() {
    let run = |arguments: &[&str]| {
        let output = binary()
            .args(arguments)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert_eq!(code(&output), 0);
        text(&output.stdout)
    };
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).contains("access-code-file"));
    }
    assert!(run(&["man"]).contains("emptyroom\\-relay"));
    let dir = Scratch::new("man");
    run(&["man", "--dir", dir.path().to_str().unwrap()]);
    assert!(
        fs::read_to_string(dir.path().join("emptyroom-relay-serve.1"))
            .unwrap()
            .contains("SIGHUP")
    );
}
