//! Rows in PostgreSQL: the suite that every store must pass, and what is different where several nodes share one.

use std::path::Path;
use std::sync::Arc;

use emptyroom_relay::conformance::{CHECKS, Subject};
use emptyroom_relay::store::{
    Append, Ledger, NewEntry, NewPlace, Place, Store, StoreFailure, StoreOp, StoreReply,
};
use emptyroom_relayd::postgres::{Address, PostgresRows, Seat};
use emptyroom_wire::entry::{Aad, Ttl};
use emptyroom_wire::log::{Flags, Header};
use emptyroom_wire::op::RefusalCode;
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::secret::Private;
use emptyroom_wire::time::{DAY_MS, Day, Wall};

use crate::client::generator;
use crate::database;
use crate::scratch::Scratch;

mod failing;
mod forensic;
mod refused;
mod secured;
mod together;

const SEAT: Seat = Seat {
    identity: IdentityHash([7; 32]),
    shard: 0,
    shards: 1,
};

type Node = Ledger<PostgresRows>;

fn open(address: &str, keys: &Path) -> Node {
    let address = Address::parse(address).unwrap();
    let rows = PostgresRows::open(&address, SEAT, keys, Day(0)).unwrap();
    Ledger::new(rows, Box::new(generator()))
}

struct Subjected {
    address: String,
    keys: Scratch,
    node: Node,
}

impl Subjected {
    fn new() -> Self {
        let address = database::shared().fresh();
        let keys = Scratch::in_memory("postgres-keys");
        let node = open(&address, keys.path());
        Self {
            address,
            keys,
            node,
        }
    }
}

impl Subject for Subjected {
    fn store(&mut self) -> &mut dyn Store {
        &mut self.node
    }

    /// The node is gone, and another one takes its place.
    fn crash(&mut self) {
        self.node = open(&self.address, self.keys.path());
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

/// So that days before it exist.
const NOW: Wall = Wall(20_000 * DAY_MS);

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
