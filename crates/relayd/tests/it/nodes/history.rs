//! Whether appends over several nodes are as if they came one after the other, whatever is killed meanwhile.
//!
//! Everybody writes down what he asks for and what he is told, and a checker looks for an order of all of it that explains it.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use emptyroom_wire::entry::Ttl;
use emptyroom_wire::op::{Answer, Append, Handle, RefusalCode, Request};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use super::{Cluster, NODES};
use crate::client::{Client, Log, name};
use crate::database;
use crate::nats::Nats;
use crate::process::repeats;

/// How many ask at the same time, and how often each.
const ASKERS: usize = 5;
const ASKED: u64 = 24;

/// What is asked, and with the answer to it.
#[derive(Clone, Debug)]
enum Op {
    Append {
        id: u32,
        commit: bool,
        expect_slots: u64,
        came: Option<Came>,
    },
    /// All entries that are stored.
    Read(Option<Vec<u32>>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Came {
    At(u64),
    Stale { next: u64, slots: u64 },
}

/// A log as the specification has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entries {
    ids: Vec<u32>,
    slots: u64,
}

struct OneLog;

impl Specification for OneLog {
    type State = Entries;
    type Operation = Op;

    fn init() -> Entries {
        Entries {
            ids: Vec::new(),
            slots: 0,
        }
    }

    fn apply(op: &Op, state: &Entries) -> (bool, Entries) {
        let mut after = state.clone();
        let next = u64::try_from(state.ids.len()).unwrap();
        let is_so = match op {
            Op::Read(ids) => ids.as_ref() == Some(&state.ids),
            Op::Append {
                id,
                commit,
                expect_slots,
                came,
            } => {
                let is_done = *expect_slots == state.slots;
                if is_done {
                    after.ids.push(*id);
                    after.slots += u64::from(*commit);
                }
                match came {
                    Some(Came::At(seq)) => is_done && *seq == next,
                    Some(stale) => {
                        let slots = state.slots;
                        !is_done && *stale == Came::Stale { next, slots }
                    }
                    // Nobody knows.
                    None => true,
                }
            }
        };
        (is_so, if is_so { after } else { state.clone() })
    }
}

/// A broken history is found to be one.
#[test]
fn the_checker_tells_right_from_wrong() {
    let append = |id, came| Op::Append {
        id,
        commit: false,
        expect_slots: 0,
        came,
    };
    let at = |seq| Some(Came::At(seq));
    let history = |second_at, read: &[u32]| {
        History::from_actions(vec![
            (0, Action::Call(append(1, None))),
            (0, Action::Response(append(1, at(0)))),
            (1, Action::Call(append(2, None))),
            (1, Action::Response(append(2, at(second_at)))),
            (0, Action::Call(Op::Read(None))),
            (0, Action::Response(Op::Read(Some(read.to_vec())))),
        ])
    };
    let is_right = |history| WGLChecker::<OneLog>::is_linearizable(history);
    assert!(is_right(history(1, &[1, 2])));
    assert!(!is_right(history(1, &[1])), "one was lost");
    assert!(!is_right(history(0, &[1, 2])), "two got one number");
    assert!(!is_right(history(1, &[2, 1])), "the order was another");
}

/// What everybody shares.
struct Table<'a> {
    cluster: &'a Cluster,
    log: &'a Log,
    actions: Mutex<Vec<(usize, Action<Op>)>>,
    ids: AtomicU32,
}

impl Table<'_> {
    fn note(&self, asker: usize, action: Action<Op>) {
        self.actions.lock().unwrap().push((asker, action));
    }
}

/// One who asks, wherever a node is there.
struct Asker<'a> {
    table: &'a Table<'a>,
    number: usize,
    rng: ChaCha20Rng,
    at: Option<(Client, Handle)>,
    slots: u64,
}

impl Asker<'_> {
    fn work(&mut self) {
        for _ in 0..ASKED {
            if self.rng.next_u32().is_multiple_of(8) {
                self.read();
            } else {
                self.append();
            }
        }
    }

    fn append(&mut self) {
        let id = self.table.ids.fetch_add(1, Ordering::Relaxed);
        let commit = self.rng.next_u32().is_multiple_of(4);
        let op = |expect_slots, came| Op::Append {
            id,
            commit,
            expect_slots,
            came,
        };
        let expect_slots = self.slots;
        self.table
            .note(self.number, Action::Call(op(expect_slots, None)));
        let mut nonce = [0; 16];
        nonce[..4].copy_from_slice(&id.to_be_bytes());
        let append = |handle| Append {
            handle,
            expect_slots,
            commit,
            close: false,
            ttl: Ttl::Day1,
            nonce,
            body: vec![0x5a; 4 << 10],
            next: Vec::new(),
            proof: None,
        };
        // The same again, here or there, until somebody says what became of it.
        let came = loop {
            match self.ask(|handle| Request::Append(append(handle))) {
                Ok(Answer::Appended(appended)) => break Came::At(appended.seq),
                Ok(Answer::Stale(view)) => {
                    self.slots = view.slots;
                    let (next, slots) = (view.next_seq, view.slots);
                    break Came::Stale { next, slots };
                }
                Ok(Answer::Refused(refusal)) => {
                    let passes = [RefusalCode::StoreFailed, RefusalCode::Busy];
                    assert!(passes.contains(&refusal.code), "{:?}", refusal.code);
                    thread::sleep(Duration::from_millis(50));
                }
                Ok(other) => panic!("{}", name(&other)),
                Err(_) => self.at = None,
            }
        };
        if commit && matches!(came, Came::At(_)) {
            self.slots = expect_slots + 1;
        }
        self.table
            .note(self.number, Action::Response(op(expect_slots, Some(came))));
    }

    fn ask(&mut self, request: impl Fn(Handle) -> Request) -> io::Result<Answer> {
        if self.at.is_none() {
            thread::sleep(Duration::from_millis(20));
            let node = self.rng.next_u32() as usize % NODES;
            let mut client = self.table.cluster.client(node)?;
            let opened = client.try_open(self.table.log, u64::MAX >> 1)?;
            let (opened, _) = opened.map_err(|_| io::Error::other("not opened"))?;
            self.at = Some((client, opened.handle));
        }
        let (client, handle) = self.at.as_mut().unwrap();
        client.try_call(request(*handle))
    }

    fn read(&mut self) {
        self.table.note(self.number, Action::Call(Op::Read(None)));
        let ids = loop {
            thread::sleep(Duration::from_millis(20));
            let node = self.rng.next_u32() as usize % NODES;
            let read = self.table.cluster.client(node);
            let read = read.and_then(|mut client| client.try_open(self.table.log, 0));
            if let Ok(Ok((_, entries))) = read {
                let id = |nonce: &[u8; 16]| u32::from_be_bytes(*nonce.first_chunk().unwrap());
                break entries.iter().map(|entry| id(&entry.nonce)).collect();
            }
        };
        self.table
            .note(self.number, Action::Response(Op::Read(Some(ids))));
    }
}

/// Nodes are killed one after the other, and once the database with all that was under way in it.
fn kill(cluster: &Cluster, server: &mut database::Server, done: &AtomicBool) {
    for round in 0.. {
        thread::sleep(Duration::from_millis(150));
        if done.load(Ordering::Relaxed) {
            return;
        }
        if round == 2 {
            server.kill();
            server.run();
        } else {
            cluster.kill(round % NODES);
            cluster.start_again(round % NODES);
        }
    }
}

// [SPEC 6.230] [SPEC 6.231]
#[test]
fn appends_over_nodes_that_are_killed_are_as_if_one_came_after_the_other() {
    // On one database, and on two.
    for round in 0..repeats("EMPTYROOM_NODE_ROUNDS", 2) {
        let nats = Nats::start();
        let mut server = database::Server::start();
        let databases: Vec<String> = (0..=round % 2).map(|_| server.fresh()).collect();
        let cluster = Cluster::start(&databases, &nats);
        let log = Log::new();
        cluster.client(0).unwrap().create(&log, None);
        let table = Table {
            cluster: &cluster,
            log: &log,
            actions: Mutex::default(),
            ids: AtomicU32::new(1),
        };
        let asker = |number: usize| Asker {
            table: &table,
            number,
            rng: ChaCha20Rng::seed_from_u64(round * 100 + number as u64),
            at: None,
            slots: 0,
        };
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let killer = scope.spawn(|| kill(&cluster, &mut server, &done));
            let askers: Vec<_> = (0..ASKERS)
                .map(|number| scope.spawn(move || asker(number).work()))
                .collect();
            for asker in askers {
                asker.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
            killer.join().unwrap();
        });
        asker(ASKERS).read();
        whole_and_in_order(&cluster, &log);
        let actions = table.actions.into_inner().unwrap();
        assert!(WGLChecker::<OneLog>::is_linearizable(
            History::from_actions(actions)
        ));
    }
}

/// What all nodes serve in the end is one log without holes.
fn whole_and_in_order(cluster: &Cluster, log: &Log) {
    let mut hashes = Vec::new();
    for node in 0..NODES {
        let mut client = cluster.client(node).unwrap();
        let (opened, entries) = client.open(log, 0).unwrap();
        assert!(log.hash_over(&entries) == opened.view.running_hash);
        let seqs: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
        assert_eq!(seqs, (0..opened.view.next_seq).collect::<Vec<_>>());
        hashes.push(opened.view.running_hash);
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
}
