//! What an operator can see of a running relay, and what not.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::client::{Client, Log};
use crate::failing::Failing;
use crate::process::{Process, binary, serve};
use crate::scratch::Scratch;

/// A relay with a status port, and where that is.
pub fn start(data: &Path, arguments: &[&str]) -> (Process, String) {
    let port = ["--status", "127.0.0.1:0"];
    let relay = Process::start_with(data, &[&port, arguments].concat());
    (relay, status_port(data))
}

/// Where the log says that it is.
pub fn status_port(data: &Path) -> String {
    let log = fs::read_to_string(data.with_extension("stderr")).unwrap();
    let at = log.split_once("http://").unwrap().1;
    at.split_once('/').unwrap().0.to_owned()
}

/// A whole answer, head and body.
pub fn ask<S: Read + Write>(mut stream: S, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn request(address: &str, method: &str, path: &str, host: &str) -> String {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    ask(TcpStream::connect(address).unwrap(), &head)
}

pub fn get(address: &str, path: &str) -> String {
    request(address, "GET", path, address)
}

pub fn metric(metrics: &str, name: &str) -> u64 {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(&format!("emptyroom_relay_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}"))
        .parse()
        .unwrap()
}

pub fn status(arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = binary().arg("status").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

// [SPEC 6.126]
#[test]
fn the_port_answers_four_questions_to_this_machine() {
    let dir = Scratch::new("port");
    let (_relay, at) = start(&dir.path().join("data"), &[]);
    let page = get(&at, "/");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(page.contains("content-security-policy: default-src 'none'"));
    assert!(page.contains("<strong>healthy</strong>") && !page.contains("<script"));
    let health = get(&at, "/health");
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    assert!(health.contains("\"health\":\"ok\""), "{health}");
    assert!(get(&at, "/status.json").contains("\"entries_appended\":0"));
    let head = request(&at, "HEAD", "/", &at);
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"));
    for (method, path, host, code) in [
        ("GET", "/data", at.as_str(), "404"),
        ("POST", "/", &at, "405"),
        ("DELETE", "/health", &at, "405"),
        // Only the control socket lets the store stand still.
        ("POST", "/hold", &at, "405"),
        // A name that somebody else made lead here.
        ("GET", "/metrics", "evil.example", "421"),
    ] {
        let answer = request(&at, method, path, host);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {code} ")),
            "{path} {answer}"
        );
    }
    // Whoever says nothing holds a place for some seconds and no more.
    let mut silent: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(&at).unwrap()).collect();
    let patience = Instant::now();
    for stream in &mut silent {
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    }
    assert!(patience.elapsed() < Duration::from_secs(60));
    assert!(get(&at, "/health").starts_with("HTTP/1.1 200 "));
}

// [SPEC 6.126]
#[test]
fn an_address_that_others_reach_must_be_asked_for() {
    let dir = Scratch::new("anywhere");
    let data = dir.path().join("data");
    let refused = serve(&data)
        .args(["--status", "0.0.0.0:0"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--status-anywhere"));
    let arguments = ["--status", "0.0.0.0:0", "--status-anywhere"];
    let relay = Process::start_with(&data, &arguments);
    drop(relay);
    // Said for a loopback address it changes nothing: a browser here may be led by a name from elsewhere.
    let (_relay, at) = start(&dir.path().join("local"), &["--status-anywhere"]);
    let answer = request(&at, "GET", "/health", "evil.example");
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
}

// [SPEC 6.127]
#[test]
fn status_says_how_it_goes_by_words_and_exit_code() {
    let dir = Scratch::new("status");
    let data = dir.path().join("data");
    let (relay, at) = start(&data, &[]);
    let socket = data.join("control");
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let answer = ask(
        UnixStream::connect(&socket).unwrap(),
        "GET /health HTTP/1.1\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let in_data = data.to_str().unwrap();
    for place in [["--data", in_data], ["--status", &at]] {
        let (code, words, _) = status(&place);
        assert_eq!(code, 0);
        assert!(words.starts_with("relay      healthy, version "), "{words}");
        let (code, json, _) = status(&[place[0], place[1], "--json"]);
        assert_eq!(code, 0);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["v"], &json["health"]), (&1.into(), &"ok".into()));
    }
    // A killed relay leaves its socket; nobody answers there, and the next one takes its place.
    relay.kill();
    assert!(socket.exists());
    let (code, words, error) = status(&["--data", in_data]);
    assert_eq!((code, words.as_str()), (8, ""));
    assert!(error.contains("no relay answers there"), "{error}");
    let (relay, _) = start(&data, &[]);
    assert_eq!(status(&["--data", in_data]).0, 0);
    relay.signal("TERM");
    assert!(!socket.exists());
    assert_eq!(status(&["--data", in_data]).0, 8);
}

// [SPEC 6.127]
#[test]
fn a_full_disk_is_unhealthy() {
    let relay = Failing::start("sqlite");
    let in_data = relay.data.to_str().unwrap();
    let log = Log::new();
    let mut client = Client::connect(&relay.relay.address);
    client.create(&log, None);
    assert_eq!(status(&["--data", in_data]).0, 0);
    relay.order("w");
    client.create(&Log::new(), None);
    let (code, words, error) = status(&["--data", in_data]);
    assert_eq!(code, 7, "{words} {error}");
    assert!(words.contains("the disk is full"), "{words}");
    let socket = UnixStream::connect(relay.data.join("control")).unwrap();
    let answer = ask(socket, "GET /health HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\"health\":\"disk-full\""), "{answer}");
}

/// A sync fails: the relay serves what it has, and says to whoever asks that it writes no more, and why.
// [SPEC 6.126] [SPEC 6.127]
#[test]
fn a_failed_store_is_unhealthy_for_good() {
    for kind in ["sqlite", "segments"] {
        let relay = Failing::start_with(kind, &["--status", "127.0.0.1:0"]);
        let at = status_port(&relay.data);
        let in_data = relay.data.to_str().unwrap();
        let mut client = Client::connect(&relay.relay.address);
        client.create(&Log::new(), None);
        let before = get(&at, "/metrics");
        assert_eq!(metric(&before, "health{is=\"ok\"}"), 1);
        relay.order("s");
        // Not acknowledged; whether it is refused or nothing is said is not this test's affair.
        let _ = client.try_create(&Log::new());
        // The disk seems well again, and is not believed.
        relay.heal();
        for _ in 0..2 {
            let health = get(&at, "/health");
            assert!(health.starts_with("HTTP/1.1 503 "), "{health}");
            assert!(
                health.contains("\"health\":\"store-failed\"")
                    && health.contains("\"failure\":\"store failed: "),
                "{health}"
            );
            let metrics = get(&at, "/metrics");
            for (name, value) in [
                ("healthy", 0),
                ("health{is=\"ok\"}", 0),
                ("health{is=\"store-failed\"}", 1),
            ] {
                assert_eq!(metric(&metrics, name), value, "{name}");
            }
            let (code, words, error) = status(&["--data", in_data]);
            assert_eq!(code, 7, "{words} {error}");
            assert!(
                words.contains("the store failed: new entries are refused"),
                "{words}"
            );
            assert!(error.contains("(store failed: "), "{error}");
            assert!(get(&at, "/").contains("class=\"health bad\""));
        }
    }
}

// [SPEC 6.128] [SPEC 6.79]
#[test]
fn the_log_is_of_the_relay_alone() {
    let dir = Scratch::new("log");
    let data = dir.path().join("data");
    let (relay, _) = start(&data, &["--log", "json"]);
    let log = Log::new();
    let mut client = Client::connect(&relay.address);
    client.create(&log, None);
    client.open(&log, 0).unwrap();
    // Everything that clients do wrong.
    assert!(client.open(&Log::new(), 0).is_err());
    let _ = client.send_message(b"nonsense");
    let _ = TcpStream::connect((relay.address.host.name(), relay.address.host.port()))
        .and_then(|mut stream| stream.write_all(b"GET / HTTP/1.1\r\n\r\n"));
    relay.send("HUP");
    let (_, _, lines) = relay.signal("TERM");
    let mut events = Vec::new();
    for line in lines.lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(json["v"], 1);
        events.push(json["event"].as_str().unwrap().to_owned());
    }
    // The two signals may be seen in any order.
    events.retain(|event| event != "nothing-to-reload");
    assert_eq!(events, ["status", "serving", "stopping"], "{lines}");
    assert!(!lines.contains(&hex(log.capability().expose())));
    let failed = binary()
        .args([
            "serve",
            "--log",
            "json",
            "--listen",
            "192.0.2.1:1",
            "--data",
        ])
        .arg(&data)
        .output()
        .unwrap();
    let line = String::from_utf8(failed.stderr).unwrap();
    let json: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
    assert_eq!(
        (&json["event"], &json["exit"]),
        (&"failed".into(), &5.into())
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

// [SPEC 6.131]
#[test]
fn a_data_directory_has_a_version() {
    let dir = Scratch::new("version");
    let data = dir.path().join("data");
    let file = data.join("version");
    let identity = {
        let relay = Process::start(&data);
        let identity = relay.address.identity;
        let (_, _, log) = relay.signal("TERM");
        assert!(!log.contains("version"), "{log}");
        identity
    };
    assert_eq!(fs::read_to_string(&file).unwrap(), "1\n");
    // As this program wrote them before there was a number.
    fs::remove_file(&file).unwrap();
    let relay = Process::start(&data);
    assert!(relay.address.identity == identity);
    let (_, _, log) = relay.signal("TERM");
    assert!(
        log.contains("data directory brought from version 0 to 1"),
        "{log}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "1\n");
    // By a program that is not written yet.
    fs::write(&file, "2\n").unwrap();
    let before = fs::read(data.join("key-chain")).unwrap();
    let refused = serve(&data).output().unwrap();
    assert_eq!(refused.status.code(), Some(4));
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(
        error.contains("is of version 2; this program knows up to 1"),
        "{error}"
    );
    assert!(fs::read(data.join("key-chain")).unwrap() == before);
    for damaged in ["", "0\n", "x\n", "-1"] {
        fs::write(&file, damaged).unwrap();
        assert_eq!(
            serve(&data).output().unwrap().status.code(),
            Some(4),
            "{damaged}"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), damaged);
    }
}
