//! Rows in PostgreSQL: the suite that every store must pass, and what is different where several nodes share one.

use std::path::Path;
use std::sync::Arc;

use emptyroom_relay::conformance::{CHECKS, Subject, TRACES, trace};
use emptyroom_relay::store::{
    Append, NewEntry, NewPlace, Place, Store, StoreFailure, StoreOp, StoreReply,
};
use emptyroom_relayd::postgres::cluster::{Cluster, Purpose, Refused};
use emptyroom_relayd::postgres::{Address, PostgresRows};
use emptyroom_wire::entry::{Aad, Ttl};
use emptyroom_wire::log::{Flags, Header};
use emptyroom_wire::op::RefusalCode;
use emptyroom_wire::secret::{Private, Secret32};
use emptyroom_wire::time::{DAY_MS, Day, Wall};

use crate::client::generator;
use crate::database::{self, name_of};
use crate::scratch::Scratch;

mod apart;
mod failing;
mod forensic;
mod lost;
mod refused;
mod secured;
mod shares;
mod together;
mod troubled;
mod two;

pub use secured::certificate;

type Node = Cluster;

fn try_open(addresses: &[String], seed: u8, keys: &Path, today: Day) -> Result<Node, Refused> {
    let addresses: Vec<Address> = addresses
        .iter()
        .map(|address| Address::parse(address).unwrap())
        .collect();
    Cluster::open(&addresses, &Secret32::new([seed; 32]), keys, today)
}

/// The same after one of them was lost.
fn open_after_loss(addresses: &[String], keys: &Path) -> Node {
    let addresses: Vec<Address> = addresses
        .iter()
        .map(|address| Address::parse(address).unwrap())
        .collect();
    let at = (keys.to_owned(), BEFORE);
    let opened = Cluster::open_for(
        &addresses,
        &Secret32::new([7; 32]),
        at,
        Purpose::ServingAfterLoss,
    );
    opened.unwrap_or_else(|refused| panic!("{}", refused.why))
}

fn open(addresses: &[String], keys: &Path) -> Node {
    try_open(addresses, 7, keys, BEFORE).unwrap_or_else(|refused| panic!("{}", refused.why))
}

/// Does something with the rows of a relay's only database.
fn rows<T: Send + 'static>(
    node: &mut Node,
    work: impl Fn(&mut PostgresRows) -> Result<T, StoreFailure> + Clone + Send + 'static,
) -> T {
    node.each(work).unwrap().remove(0)
}

struct Subjected {
    addresses: Vec<String>,
    keys: Scratch,
    node: Node,
}

impl Subjected {
    fn new() -> Self {
        Self::on(1)
    }

    fn on(databases: usize) -> Self {
        let addresses: Vec<String> = (0..databases).map(|_| database::shared().fresh()).collect();
        let keys = Scratch::in_memory("postgres-keys");
        let node = open(&addresses, keys.path());
        Self {
            addresses,
            keys,
            node,
        }
    }

    fn another(&self) -> Node {
        open(&self.addresses, self.keys.path())
    }
}

impl Subject for Subjected {
    fn store(&mut self) -> &mut dyn Store {
        &mut self.node
    }

    /// The node is gone, and another one takes its place.
    fn crash(&mut self) {
        self.node = self.another();
    }
}

// [SPEC 6.201]
#[test]
fn postgres_passes_every_check() {
    for check in CHECKS {
        eprintln!("check: {}", check.name);
        (check.run)(&mut Subjected::new());
    }
}

// [SPEC 6.209] [SPEC 6.210]
#[test]
fn two_databases_pass_every_check() {
    // How much one batch reaches counts for each database (6.211). The traces' clock goes back by years between two of them, and what is over for the
    // databases is not for the trace then: so each has databases of its own.
    let others = ["the reach of a batch", "random operations"];
    for check in CHECKS.iter().filter(|check| !others.contains(&check.name)) {
        eprintln!("check on two: {}", check.name);
        (check.run)(&mut Subjected::on(2));
    }
    for seed in 0..TRACES {
        trace(&mut Subjected::on(2), seed);
    }
}

/// So that days before it exist.
const NOW: Wall = Wall(20_000 * DAY_MS);
/// When nodes begin. Much earlier would make many keys to be walked over.
const BEFORE: Day = Day(19_500);

fn header(number: u8) -> Header {
    Header {
        salt: Private([number; 32]),
        append_key: None,
        read_key: None,
        owner_key: None,
        flags: Flags::NONE,
    }
}

fn place(number: u8) -> Place {
    Place::of(&header(number).capability())
}

fn create(number: u8) -> StoreOp {
    StoreOp::Create(NewPlace::new(&header(number), None))
}

/// A message for a log, told from others by its number.
fn append(log: u8, number: u64, slots: u64) -> StoreOp {
    let place = place(log);
    let mut nonce = [log; 16];
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    let aad = Aad {
        log_id: place.log_id(),
        expect_slots: slots,
        commit: false,
        close: false,
        ttl: Ttl::Day7,
        nonce,
        next_hash: [0; 32],
    };
    StoreOp::Append(Append {
        place,
        entry: NewEntry {
            aad,
            body: Arc::from(vec![log; 4096]),
        },
        next: Vec::new(),
    })
}

/// A commit.
fn turn(log: u8, number: u64, slots: u64) -> StoreOp {
    let StoreOp::Append(mut append) = append(log, number, slots) else {
        unreachable!()
    };
    append.entry.aad.commit = true;
    StoreOp::Append(append)
}

fn one(node: &mut Node, op: StoreOp) -> Result<StoreReply, StoreFailure> {
    node.apply(NOW, vec![op])
        .map(|mut replies| replies.remove(0))
}

/// What is stored of a log.
fn seqs(node: &mut Node, log: u8) -> Vec<u64> {
    let read = StoreOp::Read {
        place: place(log),
        from: 0,
        bytes_max: usize::MAX,
    };
    match one(node, read) {
        Ok(StoreReply::Read(batch)) => batch.entries.iter().map(|entry| entry.seq).collect(),
        _ => panic!("not read"),
    }
}
