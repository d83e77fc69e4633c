//! The real program on a disk that fails, by a small library loaded before the C library.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use emptyroom_wire::entry::Ttl;
use emptyroom_wire::op::{Answer, Handle, RefusalCode, Request};

use crate::client::{Client, Log, name};
use crate::machine;
use crate::process::{Process, serve};
use crate::scratch::Scratch;

/// A relay whose disk fails on order.
pub struct Failing {
    pub relay: Process,
    orders: PathBuf,
    pub data: PathBuf,
    _dir: Scratch,
}

impl Failing {
    /// A relay with this kind of store.
    pub fn start(store: &str) -> Self {
        Self::start_with(store, &[])
    }

    /// The same with more arguments.
    pub fn start_with(store: &str, arguments: &[&str]) -> Self {
        let dir = Scratch::new(store);
        let library = dir.path().join("failing_disk.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/failing_disk.c");
        let mut compiler = Command::new("cc");
        compiler
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl");
        machine::found(machine::succeeds(&mut compiler), "gcc and libc6-dev");
        let (data, orders) = (dir.path().join("data"), dir.path().join("orders"));
        let mut command = serve(&data);
        command
            .args(["--open", "--store", store])
            .args(arguments)
            .env("LD_PRELOAD", &library)
            .env("EMPTYROOM_TEST_DISK", &orders);
        Self {
            relay: Process::spawn(command, &data),
            orders,
            data,
            _dir: dir,
        }
    }

    pub fn order(&self, letter: &str) {
        fs::write(&self.orders, letter).unwrap();
    }

    /// The disk works again.
    pub fn heal(&self) {
        fs::remove_file(&self.orders).unwrap();
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

/// What was acknowledged is served, and nothing else is done.
fn serves_and_refuses(failing: &Failing, log: &Log, acknowledged: usize) {
    let mut client = Client::connect(&failing.relay.address);
    let (opened, entries) = client.open(log, 0).unwrap();
    assert_eq!(entries.len(), acknowledged);
    for _ in 0..3 {
        let Answer::Refused(refusal) = append(&mut client, opened.handle, log).unwrap() else {
            panic!("not refused")
        };
        assert_eq!(refusal.code, RefusalCode::StoreFailed);
        assert!(refusal.retry_after_s > 0);
    }
    let Answer::Refused(refusal) = client.create(&Log::new(), None) else {
        panic!("not refused")
    };
    assert_eq!(refusal.code, RefusalCode::StoreFailed);
}

/// A sync fails, and the file system becomes read-only.
// [SPEC 6.5] [SPEC 6.69]
#[test]
fn after_a_failed_write_what_is_stored_is_served_and_nothing_is_written() {
    for (store, order) in [
        ("sqlite", "s"),
        ("segments", "s"),
        ("sqlite", "r"),
        ("segments", "r"),
    ] {
        let mut failing = Failing::start(store);
        let log = Log::new();
        let mut client = Client::connect(&failing.relay.address);
        let mut idle = Client::connect(&failing.relay.address);
        let (theirs, handle) = {
            let handle = begun(&mut client, &log);
            (idle.open(&log, 0).unwrap(), handle)
        };
        assert_eq!(theirs.1.len(), 5);
        failing.order(order);
        // Whether it is on the disk nobody knows, and nobody says; where the store noticed before, it is refused.
        let appended = append(&mut client, handle, &log);
        let is_refused =
            |answer| matches!(answer, Answer::Refused(why) if why.code == RefusalCode::StoreFailed);
        assert!(appended.map_or(true, is_refused));
        serves_and_refuses(&failing, &log, 5);
        // The disk may seem well again: it is not believed before a restart.
        failing.heal();
        serves_and_refuses(&failing, &log, 5);
        assert!(matches!(idle.call(Request::Ping), Answer::Done));
        failing.relay.send("TERM");
        let (status, _, stderr) = failing.relay.wait();
        assert_eq!(status.code(), Some(6), "{stderr}");
        assert_eq!(
            stderr.matches("from now on nothing is written").count(),
            1,
            "{stderr}"
        );
        assert!(stderr.contains("hint: check the disk"), "{stderr}");
        // Everything acknowledged is there, and perhaps what nobody knew of.
        let relay = Process::start(&failing.data);
        let mut client = Client::connect(&relay.address);
        let (opened, entries) = client.open(&log, 0).unwrap();
        assert!((5..=6).contains(&entries.len()), "{}", entries.len());
        let again = append(&mut client, opened.handle, &log).unwrap();
        assert!(matches!(again, Answer::Appended(_)), "{}", name(&again));
    }
}

// [SPEC 6.69]
#[test]
fn a_disk_without_space_refuses_and_goes_on() {
    let failing = Failing::start("sqlite");
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
        failing.heal();
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
