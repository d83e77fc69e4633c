//! kill -9 at random moments, with the real program on a real disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::op::{Answer, EntryPush, Handle, RefusalCode, Request};
use rand_core::Rng;

use crate::client::{Client, Log, generator, name};
use crate::database::{PASSWORD, Server};
use crate::process::{Process, repeats, serve};
use crate::scratch::Scratch;

const ROUNDS: u64 = 40;
/// Logs that are written to at the same time, so that commits hold several operations.
const WRITERS: usize = 3;

// [SPEC 6.63] [SPEC 6.64]
#[test]
fn what_was_acknowledged_survives_kills() {
    acknowledged_survives_kills("sqlite");
}

// [SPEC 6.91]
#[test]
fn what_was_acknowledged_survives_kills_in_segments() {
    acknowledged_survives_kills("segments");
}

// [SPEC 6.200] [SPEC 6.201] [SPEC 6.208]
#[test]
fn what_was_acknowledged_survives_kills_of_a_node_and_of_its_database() {
    let mut server = Server::start();
    let dir = Scratch::new("kill-database");
    let place = dir.path().join("database");
    std::fs::write(&place, server.fresh()).unwrap();
    let store = format!("file:{}", place.display());
    let data = dir.path().join("data");
    let mut writers: Vec<Writer> = (0..WRITERS).map(|_| Writer::new()).collect();
    let rounds = repeats("EMPTYROOM_KILLS", 6);
    for round in 0..rounds {
        let relay = Process::start_with(&data, &["--store", &store]);
        let address = relay.address.clone();
        thread::scope(|scope| {
            let (working, begun) = mpsc::channel();
            for (number, writer) in writers.iter_mut().enumerate() {
                let (address, working) = (&address, working.clone());
                let tell = move || {
                    let _ = working.send(number);
                };
                scope.spawn(move || writer.work_until_killed(address, &tell));
            }
            wait_for_all(&begun);
            let life_us = u64::from(generator().next_u32() % 60_000);
            thread::sleep(Duration::from_micros(life_us));
            if round % 2 == 0 {
                server.kill();
                server.run();
                // The node finds it back by itself.
                let log = Log::new();
                let until = Instant::now() + Duration::from_secs(60);
                while !matches!(
                    Client::connect(&address).try_create(&log),
                    Ok(Answer::Created)
                ) {
                    assert!(Instant::now() < until, "the store does not come back");
                }
            }
            relay.kill();
        });
    }
    let relay = Process::start_with(&data, &["--store", &store]);
    for writer in &mut writers {
        writer.check(&mut Client::connect(&relay.address));
        assert!(writer.next >= rounds);
    }
    let said = std::fs::read_to_string(data.with_extension("stderr")).unwrap();
    assert!(said.contains("the store is back"), "{said}");
    assert!(
        !said.contains(PASSWORD) && !said.contains("emptyroom:"),
        "{said}"
    );
}

fn acknowledged_survives_kills(store: &str) {
    let dir = Scratch::new("kill");
    let arguments = ["--store", store];
    let data = dir.path().join("data");
    let mut writers: Vec<Writer> = (0..WRITERS).map(|_| Writer::new()).collect();
    let rounds = repeats("EMPTYROOM_KILLS", ROUNDS);
    for round in 0..rounds {
        start_and_kill(&data, &arguments);
        let relay = Process::start_with(&data, &arguments);
        let address = relay.address.clone();
        let life = Duration::from_micros(u64::from(generator().next_u32() % 60_000));
        thread::scope(|scope| {
            let (working, begun) = mpsc::channel();
            for (number, writer) in writers.iter_mut().enumerate() {
                let (address, working) = (&address, working.clone());
                let tell = move || {
                    let _ = working.send(number);
                };
                scope.spawn(move || writer.work_until_killed(address, &tell));
            }
            // Half of the kills come while connections open, half while entries are written.
            if round % 2 == 0 {
                wait_for_all(&begun);
            }
            thread::sleep(life);
            relay.kill();
        });
    }
    let relay = Process::start_with(&data, &arguments);
    for writer in &mut writers {
        let mut client = Client::connect(&relay.address);
        writer.check(&mut client);
        assert!(writer.next >= rounds / 2);
    }
}

/// Waits until something of each writer was acknowledged.
fn wait_for_all(begun: &Receiver<usize>) {
    let until = Instant::now() + Duration::from_secs(60);
    let mut missing: BTreeSet<usize> = (0..WRITERS).collect();
    // The others say more and more meanwhile.
    while !missing.is_empty() && Instant::now() < until {
        if let Ok(number) = begun.recv_timeout(Duration::from_secs(1)) {
            missing.remove(&number);
        }
    }
    assert!(missing.is_empty(), "nothing comes of {missing:?}");
}

/// The first start of all, and each that finds what a kill left, are killed as well.
fn start_and_kill(data: &Path, arguments: &[&str]) {
    let mut command = serve(data);
    command
        .arg("--open")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut starting = command.spawn().unwrap();
    thread::sleep(Duration::from_micros(u64::from(
        generator().next_u32() % 30_000,
    )));
    starting.kill().unwrap();
    starting.wait().unwrap();
}

/// A log with what its writer was told of it.
struct Writer {
    log: Log,
    created: bool,
    /// The first number that was not acknowledged.
    next: u64,
    /// The first number that an acknowledged trim left.
    first: u64,
    seen: BTreeMap<u64, EntryPush>,
}

impl Writer {
    fn new() -> Self {
        Self {
            log: Log::new(),
            created: false,
            next: 0,
            first: 0,
            seen: BTreeMap::new(),
        }
    }

    /// Begins anew whenever the store is away, for as long as anybody listens.
    fn work_until_killed(&mut self, address: &RelayAddress, tell: &impl Fn()) {
        let until = Instant::now() + Duration::from_secs(60);
        while Client::try_connect(address).is_ok() && Instant::now() < until {
            self.work(address, tell);
        }
    }

    /// `None` from anything means that the relay is dead, or its store away.
    fn work(&mut self, address: &RelayAddress, tell: &impl Fn()) -> Option<()> {
        let mut client = Client::try_connect(address).ok()?;
        if !self.created {
            match client.try_create(&self.log).ok()? {
                Answer::Created => self.created = true,
                answer if is_away(&answer) => return None,
                answer => panic!("not created: {}", name(&answer)),
            }
        }
        let (opened, entries) = match client.try_open(&self.log, 0).ok()? {
            Err(RefusalCode::StoreFailed) => return None,
            opened => opened.unwrap(),
        };
        self.compare((opened.view.first_seq, opened.view.next_seq), &entries);
        loop {
            if self.next % 16 == 15 {
                self.trim(&mut client, opened.handle)?;
            }
            self.append(&mut client, opened.handle)?;
            tell();
        }
    }

    fn check(&mut self, client: &mut Client) {
        let (opened, entries) = client.open(&self.log, 0).unwrap();
        self.compare((opened.view.first_seq, opened.view.next_seq), &entries);
        assert!(!entries.is_empty());
    }

    /// What was acknowledged is there, what was trimmed is not; what was under way may be either.
    fn compare(&mut self, (first, next): (u64, u64), entries: &[EntryPush]) {
        assert!(
            next >= self.next,
            "an acknowledged entry is lost: {next} of {}",
            self.next
        );
        assert!(
            first >= self.first,
            "a trimmed entry is back: {first} of {}",
            self.first
        );
        let numbers: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
        assert_eq!(numbers, (first..next).collect::<Vec<_>>());
        for entry in entries {
            self.log.read(entry);
            let seen = self.seen.entry(entry.seq).or_insert_with(|| entry.clone());
            assert!(seen == entry, "entry {} became another", entry.seq);
        }
        for pair in entries.windows(2) {
            let aad = pair[0].aad(self.log.capability().log_id());
            assert!(pair[1].before == pair[0].before.next(pair[0].seq, &aad, &pair[0].body));
        }
        self.next = next;
        self.first = first;
    }

    fn append(&mut self, client: &mut Client, handle: Handle) -> Option<()> {
        let ttl = [Ttl::Day1, Ttl::Day7, Ttl::Day30][usize::try_from(self.next % 3).unwrap()];
        let append = client.append_request(handle, &self.log, b"entry", ttl);
        match client.try_call(Request::Append(append)).ok()? {
            Answer::Appended(appended) => self.next = appended.seq + 1,
            answer if is_away(&answer) => return None,
            answer => panic!("not appended: {}", name(&answer)),
        }
        Some(())
    }

    fn trim(&mut self, client: &mut Client, handle: Handle) -> Option<()> {
        let up_to = self.next - 8;
        match client.try_trim(handle, &self.log, up_to).ok()? {
            Answer::Done => self.first = up_to,
            answer if is_away(&answer) => return None,
            answer => panic!("not trimmed: {}", name(&answer)),
        }
        Some(())
    }
}

/// The store is on another machine, and that is dead.
fn is_away(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused(refusal) if refusal.code == RefusalCode::StoreFailed)
}
