//! The real program on a disk that fails, by a small library loaded before the C library.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use emptyroom_wire::entry::Ttl;
use emptyroom_wire::op::{Answer, Handle, RefusalCode, Request};

use crate::client::{Client, Log, name};
use crate::process::{Process, serve};
use crate::scratch::Scratch;

/// A relay whose disk fails on order.
struct Failing {
    relay: Process,
    orders: PathBuf,
    data: PathBuf,
    _dir: Scratch,
}

impl Failing {
    /// `None` where the library cannot be built.
    fn start(test: &str) -> Option<Self> {
        let dir = Scratch::new(test);
        let library = dir.path().join("failing_disk.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/failing_disk.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl")
            .status();
        if !built.is_ok_and(|status| status.success()) {
            eprintln!("skipped: no C compiler (store::tests makes the failures inside instead)");
            return None;
        }
        let (data, orders) = (dir.path().join("data"), dir.path().join("orders"));
        let mut command = serve(&data);
        command
            .arg("--open")
            .env("LD_PRELOAD", &library)
            .env("EMPTYROOM_TEST_DISK", &orders);
        Some(Self {
            relay: Process::spawn(command, &data),
            orders,
            data,
            _dir: dir,
        })
    }

    fn order(&self, letter: &str) {
        fs::write(&self.orders, letter).unwrap();
    }
}

fn append(client: &mut Client, handle: Handle, log: &Log) -> std::io::Result<Answer> {
    let append = client.append_request(handle, log, b"entry", Ttl::Day7);
    client.try_call(Request::Append(append))
}

fn begun(client: &mut Client, log: &Log) -> Handle {
    assert!(matches!(client.create(log, None), Answer::Created));
    let (opened, _) = client.open(log, 0).unwrap();
    for _ in 0..5 {
        assert!(matches!(
            append(client, opened.handle, log).unwrap(),
            Answer::Appended(_)
        ));
    }
    opened.handle
}

// [SPEC 6.69]
#[test]
fn a_failed_sync_stops_the_relay_and_nothing_more_is_acknowledged() {
    let Some(mut failing) = Failing::start("sync") else {
        return;
    };
    let log = Log::new();
    let mut client = Client::connect(&failing.relay.address);
    let handle = begun(&mut client, &log);
    failing.order("s");
    match append(&mut client, handle, &log) {
        Err(_) => {}
        Ok(Answer::Refused(refusal)) => assert_eq!(refusal.code, RefusalCode::StoreFailed),
        Ok(answer) => panic!("{}", name(&answer)),
    }
    let (status, _, stderr) = failing.relay.wait();
    assert_eq!(status.code(), Some(6), "{stderr}");
    assert!(stderr.contains("hint: check the disk"), "{stderr}");
    // With the disk well again everything acknowledged is there.
    let relay = Process::start(&failing.data);
    let (opened, entries) = Client::connect(&relay.address).open(&log, 0).unwrap();
    assert!(opened.view.next_seq >= 5 && entries.len() >= 5);
}

// [SPEC 6.69]
#[test]
fn a_disk_without_space_refuses_and_goes_on() {
    let Some(failing) = Failing::start("space") else {
        return;
    };
    let log = Log::new();
    let mut client = Client::connect(&failing.relay.address);
    let handle = begun(&mut client, &log);
    for round in 1..=3 {
        failing.order("w");
        for _ in 0..3 {
            match append(&mut client, handle, &log).unwrap() {
                Answer::Refused(refusal) => assert_eq!(refusal.code, RefusalCode::StorageFull),
                answer => panic!("{}", name(&answer)),
            }
        }
        fs::remove_file(&failing.orders).unwrap();
        let Answer::Appended(appended) = append(&mut client, handle, &log).unwrap() else {
            panic!()
        };
        assert_eq!(appended.seq, 4 + round);
    }
    failing.relay.kill();
    let relay = Process::start(&failing.data);
    let (_, entries) = Client::connect(&relay.address).open(&log, 0).unwrap();
    assert_eq!(entries.len(), 8);
}
