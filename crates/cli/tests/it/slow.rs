//! A reader whose output nobody takes: its memory does not grow, and it says what it skipped.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::world::{DEADLINE, Person, program};

/// Far more than any pipe, socket and queue between the two holds.
const EVENTS: usize = 100_000;

/// What a reader may take, in KiB, while 100 MB wait.
const MEMORY_KIB_MAX: u64 = 64 * 1024;

/// A daemon that is this test: it answers what a reader asks, and tells him more than he can take. Says when it has.
fn flooding_daemon(home: &Path) -> Receiver<()> {
    std::fs::create_dir_all(home).unwrap();
    let listener = UnixListener::bind(home.join("daemon.sock")).unwrap();
    let (told, all_told) = channel();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // Whole lines: what is answered must not come amidst what is told.
        let writer = Arc::new(Mutex::new(stream.try_clone().unwrap()));
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let request: Value = serde_json::from_str(&line).unwrap();
            let result = match request["method"].as_str().unwrap() {
                "unread" | "status" => json!({ "v": 1, "result": "unread", "lines": [] }),
                "contacts" => json!({ "v": 1, "result": "contacts", "contacts": [{
                    "name": "ben", "state": "active", "verified": false, "blocked": false, "timer_s": null,
                    "receipts_delivered": true, "receipts_read": true, "unread": 0, "waiting": 0, "relay": "r:1" }] }),
                "subscribe" => json!({ "v": 1, "result": "done" }),
                _ => continue,
            };
            let subscribed = result["result"] == "done";
            let response = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
            writeln!(writer.lock().unwrap(), "{response}").unwrap();
            if subscribed {
                let (writer, told) = (writer.clone(), told.clone());
                std::thread::spawn(move || flood(&writer, &told));
            }
        }
    });
    all_told
}

fn flood(writer: &Mutex<UnixStream>, told: &Sender<()>) {
    let relay = "r".repeat(1_000);
    let event = json!({ "v": 1, "event": "connection", "relay": relay, "up": true });
    let line = json!({ "jsonrpc": "2.0", "method": "event", "params": event });
    let line = format!("{line}\n");
    let tell = || writer.lock().unwrap().write_all(line.as_bytes());
    if (0..EVENTS).all(|_| tell().is_ok()) {
        told.send(()).unwrap();
    }
}

fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// [SPEC 12.12]
#[test]
fn a_reader_that_is_not_read_does_not_grow() {
    for arguments in [&["receive", "--follow"][..], &["chat", "ben"]] {
        let ada = Person::new();
        let flood = flooding_daemon(&ada.home);
        let mut command = program();
        command
            .arg("--home")
            .arg(&ada.home)
            .arg("--json")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut reader = command.spawn().unwrap();
        // It takes everything from the daemon, though nobody takes anything from it.
        flood.recv_timeout(DEADLINE).unwrap();
        let memory = memory_kib(reader.id());
        let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
        let missed = lines.any(|line| line.unwrap() == "{\"v\":1,\"event\":\"missed\"}");
        reader.kill().unwrap();
        reader.wait().unwrap();
        assert!(missed && memory < MEMORY_KIB_MAX, "{memory} KiB");
    }
}
