//! Whether appends over several nodes are as if they came one after the other, whatever is killed meanwhile.
//!
//! Everybody writes down what he asks for and what he is told, and a checker looks for an order of all of it that explains it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use emptyroom_wire::entry::Ttl;
use emptyroom_wire::op::{Answer, Append, EntryPush, Handle, OpenedLog, RefusalCode, Request};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use super::{Cluster, NODES, SWEEP};
use crate::client::{Client, Log, name};
use crate::database;
use crate::nats::Nats;
use crate::process::repeats;

/// How many ask at the same time, and how often each at least: they go on until all trouble is over.
const ASKERS: usize = 5;
const ASKED: u64 = 24;
/// Between two questions, so that the checker has no more to do than it must.
const PAUSE: Duration = Duration::from_millis(10);
/// Every so often something is killed, so many times.
const QUIET: Duration = Duration::from_millis(150);
const KILLS: usize = 5;

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
    fn work(&mut self, over: &AtomicBool) {
        let mut asked = 0;
        // Once more after all is over, so that somebody finds what is left.
        while asked < ASKED || !over.load(Ordering::Relaxed) {
            asked += 1;
            thread::sleep(PAUSE);
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

/// Everybody asks while there is trouble, and what they were told is judged. How many appends were acknowledged.
fn judged(cluster: &Cluster, seed: u64, trouble: impl FnOnce()) -> usize {
    let log = Log::new();
    cluster.client(0).unwrap().create(&log, None);
    let table = Table {
        cluster,
        log: &log,
        actions: Mutex::default(),
        ids: AtomicU32::new(1),
    };
    let asker = |number: usize| Asker {
        table: &table,
        number,
        rng: ChaCha20Rng::seed_from_u64(seed * 100 + number as u64),
        at: None,
        slots: 0,
    };
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..ASKERS {
            let (asker, over) = (&asker, &over);
            scope.spawn(move || asker(number).work(over));
        }
        // Also if it fails, else the others would go on for ever.
        let outcome = catch_unwind(AssertUnwindSafe(trouble));
        over.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|why| resume_unwind(why));
    });
    asker(ASKERS).read();
    whole_and_in_order(cluster, &log);
    let actions = table.actions.into_inner().unwrap();
    let done = actions.iter().filter(|(_, action)| {
        let Action::Response(Op::Append { came, .. }) = action else {
            return false;
        };
        matches!(came, Some(Came::At(_)))
    });
    let done = done.count();
    let history = History::from_actions(actions);
    assert!(WGLChecker::<OneLog>::is_linearizable(history));
    done
}

/// Nodes are killed one after the other, and once the database with all that was under way in it.
fn kill(cluster: &Cluster, server: &mut database::Server) {
    for round in 0..KILLS {
        thread::sleep(QUIET);
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
        judged(&cluster, round, || kill(&cluster, &mut server));
    }
}

/// A database is lost with its machine, and its replica takes over: it has whatever was acknowledged.
// [SPEC 6.202] [SPEC 6.207]
#[test]
fn appends_over_a_failover_are_as_if_one_came_after_the_other() {
    let nats = Nats::start();
    let mut server = database::Server::start();
    let standby = server.standby();
    let database = database::name_of(&server.fresh()).to_owned();
    let cluster = Cluster::start(&[server.address_of_both(&standby, &database)], &nats);
    let rows = |server: &database::Server| server.number(&database, "SELECT count(*) FROM lasting");
    let done = judged(&cluster, 7, || {
        thread::sleep(QUIET);
        server.kill();
        // The replica is in recovery: nodes leave it alone, and refuse what they cannot store.
        let all_say = |what: &str| {
            let until = Instant::now() + SWEEP;
            while !(0..NODES).all(|node| cluster.said(node).contains(what)) {
                assert!(Instant::now() < until, "{}", cluster.said(0));
                thread::sleep(PAUSE);
            }
        };
        all_say("is refused until it is back");
        assert!(rows(&standby) > 0, "it followed");
        standby.execute("postgres", "SELECT pg_promote()");
        all_say("the store is back");
    });
    assert!(done > ASKERS, "{done} were acknowledged");
}

/// What all nodes serve in the end is one log without holes.
fn whole_and_in_order(cluster: &Cluster, log: &Log) {
    let mut hashes = Vec::new();
    for node in 0..NODES {
        let (opened, entries) = read_at_last(cluster, node, log);
        assert!(log.hash_over(&entries) == opened.view.running_hash);
        let seqs: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
        assert_eq!(seqs, (0..opened.view.next_seq).collect::<Vec<_>>());
        hashes.push(opened.view.running_hash);
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
}

/// A node that was not asked since the database was away may find out only now, and refuses until it has connected anew.
fn read_at_last(cluster: &Cluster, node: usize, log: &Log) -> (OpenedLog, Vec<EntryPush>) {
    let until = Instant::now() + SWEEP;
    loop {
        let mut client = cluster.client(node).unwrap();
        match client.open(log, 0) {
            Ok(read) => return read,
            // That it does not know the log would be another thing.
            Err(code) => {
                let waits = code == RefusalCode::StoreFailed;
                assert!(waits && Instant::now() < until, "{code:?}");
            }
        }
        thread::sleep(QUIET);
    }
}
