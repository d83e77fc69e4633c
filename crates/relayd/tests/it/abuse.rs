//! The real program under floods: others are served, and memory stays bounded.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::op::{Answer, Open, OpenLog, Request};

use crate::client::{Client, Log, TlsSettings, dial_tcp, dial_tls, read_frame};
use crate::machine;
use crate::process::{Process, serve, with_descriptors};
use crate::scratch::Scratch;

/// Several times what waits in this test; far below what is sent in it.
const MEMORY_KIB_MAX: u64 = 400 << 10;

/// The most memory that the process had.
fn peak_kib(relay: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", relay.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Ends the floods, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Appends the same large entries again and again, eight at a time.
fn flood_appends(address: &RelayAddress, log: &Log, over: &AtomicBool) {
    let mut client = Client::connect(address);
    client.create(log, None);
    let (opened, _) = client.open(log, 0).unwrap();
    let append = client.append_request(opened.handle, log, &[1; 200_000], Ttl::Day1);
    while !over.load(Ordering::Relaxed) {
        for number in 0..8 {
            let mut again = append.clone();
            again.nonce[0] = number;
            client.send(Request::Append(again)).unwrap();
        }
        for _ in 0..8 {
            client.any_answer().unwrap();
        }
    }
}

/// Small requests without end.
fn flood_requests(address: &RelayAddress, over: &AtomicBool) {
    let mut client = Client::connect(address);
    let many = || Open {
        logs: (0..64)
            .map(|_| OpenLog {
                capability: Log::new().capability(),
                from: 0,
                proof: None,
            })
            .collect(),
    };
    let logs = many();
    while !over.load(Ordering::Relaxed) {
        for _ in 0..16 {
            client.send(Request::Open(logs.clone())).unwrap();
            client.send(Request::Ping).unwrap();
        }
        for _ in 0..32 {
            client.any_answer().unwrap();
        }
    }
}

/// Bytes one by one, of openings that never end.
fn trickle(address: &RelayAddress, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let Ok(mut tls) = dial_tls(address, TlsSettings::default()) else {
            continue;
        };
        let _ = read_frame(&mut tls);
        let _ = tls.write_all(&1_200_u32.to_be_bytes());
        for _ in 0..1_000 {
            if tls.write_all(&[7]).and_then(|()| tls.flush()).is_err() {
                break;
            }
        }
    }
}

/// Takes nothing of what it asked for.
fn hoard(address: &RelayAddress, log: &Log) -> Client {
    let mut client = Client::connect(address);
    let logs = vec![OpenLog {
        capability: log.capability(),
        from: 0,
        proof: None,
    }];
    client.send(Request::Open(Open { logs })).unwrap();
    client
}

// [SPEC 6.51] [SPEC 6.52] [SPEC 6.145]
#[test]
fn floods_hold_up_nobody_and_fill_no_memory() {
    let dir = Scratch::new("floods");
    // All come from one address, whose limit is another test's affair.
    let many = ["--connections-per-address", "100000"];
    let relay = Process::start_with(&dir.path().join("data"), &many);
    let address = &relay.address;
    let over = AtomicBool::new(false);
    let bulk = Log::new();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| flood_appends(address, &Log::new(), &over));
        }
        scope.spawn(|| flood_appends(address, &bulk, &over));
        scope.spawn(|| flood_requests(address, &over));
        scope.spawn(|| trickle(address, &over));
        let _over = Over(&over);
        let mut hoarders = Vec::new();
        let log = Log::new();
        let (mut writer, mut reader) = (Client::connect(address), Client::connect(address));
        assert!(matches!(writer.create(&log, None), Answer::Created));
        let (mine, _) = writer.open(&log, 0).unwrap();
        reader.open(&log, 0).unwrap();
        for number in 0..30_u8 {
            // Never refused, and delivered.
            let appended = writer.append(mine.handle, &log, &[number], Ttl::Day7);
            assert_eq!(appended.seq, u64::from(number));
            let (_, push) = reader.push();
            assert!(
                matches!(push, emptyroom_wire::op::Push::Entry(entry) if entry.seq == appended.seq)
            );
            hoarders.push(hoard(address, &bulk));
        }
    });
    let peak = peak_kib(&relay);
    assert!(peak < MEMORY_KIB_MAX, "{peak} KiB");
}

/// What the process has computed, in ticks of a hundredth of a second.
fn ticks(relay: &Process) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", relay.id())).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Nobody asks for anything: nothing is done, in spite of a crowd at the door.
fn is_idle(relay: &Process) {
    let before = ticks(relay);
    thread::sleep(Duration::from_secs(2));
    let worked = ticks(relay) - before;
    assert!(worked < 100, "{worked} ticks in two idle seconds");
}

fn set_descriptors(relay: &Process, limit: &str) {
    let mut set = Command::new("prlimit");
    set.args(["--pid", &relay.id().to_string()])
        .arg(format!("--nofile={limit}"));
    machine::found(machine::succeeds(&mut set), "util-linux");
}

// [SPEC 6.53]
#[test]
fn without_any_descriptor_the_relay_waits_and_serves_those_who_are_there() {
    let dir = Scratch::new("no-descriptors");
    let data = dir.path().join("data");
    let command = with_descriptors(serve(&data).arg("--open"), 256);
    let relay = Process::spawn(command, &data);
    let mut client = Client::connect(&relay.address);
    let log = Log::new();
    client.create(&log, None);
    let (opened, _) = client.open(&log, 0).unwrap();
    client.append(opened.handle, &log, b"entry", Ttl::Day7);
    set_descriptors(&relay, "8:256");
    let crowd: Vec<TcpStream> = (0..20)
        .filter_map(|_| dial_tcp(&relay.address).ok())
        .collect();
    is_idle(&relay);
    client.append(opened.handle, &log, b"entry", Ttl::Day7);
    set_descriptors(&relay, "256:256");
    drop(crowd);
    let patience = Instant::now();
    while Client::try_connect(&relay.address).is_err() {
        assert!(patience.elapsed() < Duration::from_secs(30));
        thread::yield_now();
    }
    let (status, _, stderr) = relay.signal("TERM");
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert_eq!(
        stderr.matches("cannot accept connections").count(),
        1,
        "{stderr}"
    );
}

// [SPEC 6.53]
#[test]
fn with_few_descriptors_those_who_are_there_are_served_and_others_turned_away() {
    for store in ["sqlite", "segments"] {
        let dir = Scratch::new(store);
        let data = dir.path().join("data");
        let mut command = serve(&data);
        command.args(["--open", "--connections-per-address", "5000"]);
        command.args(["--store", store]);
        let relay = Process::spawn(with_descriptors(&command, 256), &data);
        let mut clients = Vec::new();
        while let Ok(client) = Client::try_connect(&relay.address) {
            clients.push(client);
        }
        assert!((100..=128).contains(&clients.len()), "{}", clients.len());
        // A crowd at the door, which does not go away.
        let crowd: Vec<TcpStream> = (0..400)
            .filter_map(|_| dial_tcp(&relay.address).ok())
            .collect();
        assert!(Client::try_connect(&relay.address).is_err());
        // The store finds descriptors for files that it has not opened yet.
        let log = Log::new();
        clients[0].create(&log, None);
        let (opened, _) = clients[0].open(&log, 0).unwrap();
        for ttl in [Ttl::Day1, Ttl::Day7, Ttl::Day30] {
            clients[0].append(opened.handle, &log, b"entry", ttl);
        }
        for client in &mut clients[1..] {
            let (_, entries) = client.open(&log, 0).unwrap();
            assert_eq!(entries.len(), 3);
        }
        is_idle(&relay);
        drop(crowd);
        let (status, _, stderr) = relay.signal("TERM");
        assert_eq!(status.code(), Some(0), "{stderr}");
    }
}
