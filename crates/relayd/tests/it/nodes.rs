//! Three nodes of one relay as an operator runs them: real programs, a real database, a real NATS.

use std::fs;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::op::{Answer, Destroy, Handle, Push, Request};
use emptyroom_wire::proof::sign_destroy;
use emptyroom_wire::relay_key::KeyRecord;

use crate::client::{Client, Log, name};
use crate::database;
use crate::nats::Nats;
use crate::postgres::certificate;
use crate::process::Process;
use crate::scratch::Scratch;

mod history;

const NODES: usize = 3;
/// By a sweep alone it takes up to this for each entry.
const SWEEP: Duration = Duration::from_secs(30);

/// The nodes, each with a data directory of its own.
pub struct Cluster {
    directory: Scratch,
    arguments: Vec<String>,
    nodes: Vec<Mutex<Option<Process>>>,
}

impl Cluster {
    pub fn start(databases: &[String], nats: &Nats) -> Self {
        Self::start_with(databases, &["--wake".to_owned(), nats.address()])
    }

    pub fn start_with(databases: &[String], more: &[String]) -> Self {
        let stores = databases.iter();
        let stores = stores.flat_map(|database| ["--store".to_owned(), database.clone()]);
        let arguments = stores.chain(more.iter().cloned()).collect();
        let mut cluster = Self {
            directory: Scratch::new("nodes"),
            arguments,
            nodes: Vec::new(),
        };
        for node in 0..NODES {
            let data = cluster.data(node);
            if node > 0 {
                fs::create_dir(&data).unwrap();
                for file in ["identity.key", "day-keys"] {
                    fs::copy(cluster.data(0).join(file), data.join(file)).unwrap();
                }
            }
            let process = cluster.process(node);
            cluster.nodes.push(Mutex::new(Some(process)));
        }
        cluster
    }

    fn data(&self, node: usize) -> std::path::PathBuf {
        self.directory.path().join(format!("node{node}"))
    }

    fn process(&self, node: usize) -> Process {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        Process::start_with(&self.data(node), &arguments)
    }

    /// Where a node is, if it runs.
    pub fn address(&self, node: usize) -> Option<RelayAddress> {
        let node = self.nodes[node % NODES].lock();
        let node = node.unwrap_or_else(PoisonError::into_inner);
        node.as_ref().map(|process| process.address.clone())
    }

    pub fn client(&self, node: usize) -> io::Result<Client> {
        let down = || io::Error::other("the node is down");
        Client::try_connect(&self.address(node).ok_or_else(down)?)
    }

    /// kill -9.
    pub fn kill(&self, node: usize) {
        let process = self.nodes[node].lock().unwrap().take();
        process.unwrap().kill();
    }

    pub fn start_again(&self, node: usize) {
        let process = self.process(node);
        *self.nodes[node].lock().unwrap() = Some(process);
    }

    pub fn said(&self, node: usize) -> String {
        fs::read_to_string(self.data(node).with_extension("stderr")).unwrap()
    }

    /// What a node said by when it has said that NATS went, and as often that it is back.
    fn said_that_nats_is_back(&self, node: usize) -> String {
        let since = Instant::now();
        loop {
            let said = self.said(node);
            let times = |what| said.matches(what).count();
            let (gone, back) = (times("NATS cannot be used"), times("NATS is back"));
            // A busy server may end a connection once more.
            if (1..=2).contains(&gone) && back == gone {
                return said;
            }
            assert!(since.elapsed() < SWEEP, "{said}");
            std::thread::yield_now();
        }
    }
}

/// Somebody who has a log open.
struct End {
    client: Client,
    handle: Handle,
}

impl End {
    fn open(cluster: &Cluster, node: usize, log: &Log) -> Self {
        let mut client = cluster.client(node).unwrap();
        let (opened, _) = client.open(log, 0).unwrap();
        Self {
            client,
            handle: opened.handle,
        }
    }

    fn write(&mut self, log: &Log, text: &str) -> u64 {
        let done = self
            .client
            .append(self.handle, log, text.as_bytes(), Ttl::Day1);
        done.seq
    }

    /// The next entry that comes.
    fn read(&mut self, log: &Log) -> (u64, String) {
        match self.client.push() {
            (_, Push::Entry(entry)) => {
                let text = String::from_utf8(log.read(&entry)).unwrap();
                (entry.seq, text.trim_end_matches('\0').to_owned())
            }
            (_, other) => panic!("{other:?}"),
        }
    }
}

// [SPEC 6.231] [SPEC 6.232] [SPEC 6.234] [SPEC 6.235]
#[test]
fn what_is_written_on_one_node_is_read_on_the_others() {
    let mut nats = Nats::start();
    let cluster = Cluster::start(&[database::shared().fresh()], &nats);
    let log = Log::new();
    let mut writer = cluster.client(0).unwrap();
    assert_eq!(name(&writer.create(&log, None)), "created");
    drop(writer);
    let mut ends: Vec<End> = (0..NODES)
        .map(|node| End::open(&cluster, node, &log))
        .collect();
    // Each in turn, so that a sweep for each would take minutes.
    let begun = Instant::now();
    for number in 0..6 {
        let text = format!("entry {number}");
        let seq = ends[number % NODES].write(&log, &text);
        for end in &mut ends {
            assert_eq!(end.read(&log), (seq, text.clone()));
        }
    }
    assert!(begun.elapsed() < SWEEP, "news came");
    // All serve one chain.
    let chains: Vec<Vec<KeyRecord>> = ends
        .iter_mut()
        .map(|end| match end.client.call(Request::KeyRecords(0)) {
            Answer::KeyRecords(records) => records.records,
            other => panic!("{}", name(&other)),
        })
        .collect();
    assert!(chains.iter().all(|chain| *chain == chains[0]) && chains[0].len() == NODES);
    // NATS goes, and comes back: nothing is lost, and both are said.
    nats.stop();
    assert_eq!(ends[1].write(&log, "without news"), 6);
    nats.run();
    for end in &mut ends {
        assert_eq!(end.read(&log), (6, "without news".to_owned()));
    }
    assert_eq!(ends[2].write(&log, "with news"), 7);
    for end in &mut ends {
        assert_eq!(end.read(&log), (7, "with news".to_owned()));
    }
    for node in 0..NODES {
        let said = cluster.said_that_nats_is_back(node);
        assert!(!said.contains(crate::nats::TOKEN) && !said.contains(database::PASSWORD));
    }
    let capability = log.capability();
    let identity = cluster.address(0).unwrap().identity;
    let signature = sign_destroy(&log.owner, &identity, capability.log_id());
    let destroy = Request::Destroy(Destroy {
        capability,
        signature,
    });
    assert_eq!(name(&ends[0].client.call(destroy)), "done");
    for end in &mut ends[1..] {
        assert!(matches!(end.client.push(), (_, Push::Gone(_))));
    }
}

// [SPEC 6.235]
#[test]
fn nodes_serve_without_nats() {
    let mut nats = Nats::start();
    nats.stop();
    let cluster = Cluster::start(&[database::shared().fresh()], &nats);
    let log = Log::new();
    let mut client = cluster.client(0).unwrap();
    client.create(&log, None);
    let mut writer = End::open(&cluster, 0, &log);
    writer.write(&log, "first");
    let mut reader = cluster.client(1).unwrap();
    let (opened, entries) = reader.open(&log, 0).unwrap();
    assert_eq!(entries.len(), 1);
    // The next one comes by a sweep.
    writer.write(&log, "second");
    let mut reader = End {
        client: reader,
        handle: opened.handle,
    };
    assert_eq!(reader.read(&log), (1, "second".to_owned()));
}

// [SPEC 6.235]
#[test]
fn nats_that_refuses_subscriptions_is_away_and_said_so_once() {
    let files = Scratch::in_memory("nats-few");
    let few = files.path().join("few");
    fs::write(&few, "max_subscriptions: 2").unwrap();
    let few = few.to_str().unwrap().to_owned();
    let nats = Nats::start_with(vec!["-c".to_owned(), few]);
    let cluster = Cluster::start(&[database::shared().fresh()], &nats);
    let mut client = cluster.client(0).unwrap();
    let logs: Vec<Log> = (0..8).map(|_| Log::new()).collect();
    for log in &logs {
        client.create(log, None);
        client.open(log, 0).unwrap();
    }
    let begun = Instant::now();
    let away = |node| cluster.said(node).matches("NATS cannot be used").count();
    while away(0) == 0 {
        assert!(begun.elapsed() < SWEEP, "it takes them");
        std::thread::yield_now();
    }
    // It connects a second later, and again.
    let since = Instant::now();
    let mut writer = End::open(&cluster, 0, &logs[0]);
    while since.elapsed() < Duration::from_secs(8) {
        writer.write(&logs[0], "it serves");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(away(0), 1);
    assert!(!cluster.said(0).contains("NATS is back"));
}

#[test]
fn news_go_under_tls_to_who_proves_to_be_the_server() {
    let files = Scratch::in_memory("nats-tls");
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let (ours, key) = certificate("localhost");
    let (others, _) = certificate("localhost");
    for (name, content) in [("ours", ours), ("key", key), ("others", others)] {
        fs::write(path(name), content).unwrap();
    }
    let tls = [
        "--tls",
        "--tlscert",
        &path("ours"),
        "--tlskey",
        &path("key"),
    ];
    let nats = Nats::start_with(tls.map(str::to_owned).to_vec());
    let wake = |authorities: &str| {
        let options = ["--wake", &nats.secured_address(), "--wake-authorities"];
        let mut options = options.map(str::to_owned).to_vec();
        options.push(path(authorities));
        options
    };
    let cluster = Cluster::start_with(&[database::shared().fresh()], &wake("ours"));
    let log = Log::new();
    cluster.client(0).unwrap().create(&log, None);
    let mut writer = End::open(&cluster, 0, &log);
    let mut reader = End::open(&cluster, 1, &log);
    let begun = Instant::now();
    for number in 0..4 {
        let text = format!("entry {number}");
        let seq = writer.write(&log, &text);
        assert_eq!(reader.read(&log), (seq, text));
    }
    assert!(begun.elapsed() < SWEEP, "news came");
    // A server that hears nothing for two seconds, as on a busy machine, ends a connection: then it is tried again.
    if cluster.said(0).contains("NATS cannot be used") {
        cluster.said_that_nats_is_back(0);
    }
    drop(cluster);
    // Another one's certificate is not taken.
    let alone = Scratch::new("nats-others");
    let mut arguments = vec!["--store".to_owned(), database::shared().fresh()];
    arguments.extend(wake("others"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let relay = Process::start_with(alone.path(), &arguments);
    let said = alone.path().with_extension("stderr");
    let patience = Instant::now();
    while !fs::read_to_string(&said)
        .unwrap()
        .contains("NATS cannot be used")
    {
        assert!(patience.elapsed() < SWEEP, "it was taken");
        std::thread::yield_now();
    }
    drop(relay);
    let _ = fs::remove_file(said);
}
