//! Clients and a real relay in one thread, through real sealed streams, in virtual time.

mod device;
mod people;
mod relay;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use emptyroom_core::Client;
use emptyroom_core::api::{Input, LinkId};
use emptyroom_relay::store::StoreReply;
use emptyroom_relay::{ConnId, Relay};
use emptyroom_wire::log::LogId;
use emptyroom_wire::relay_key::KeyRecord;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::{Mono, Now, Wall};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::memory_store::{self, Disk, MemoryStore};
pub(crate) use device::Party;
pub(crate) use people::name;
pub(crate) use relay::Lie;

pub(crate) const SECOND: u64 = 1_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;

/// Everything there is.
pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) relay: Option<Relay>,
    pub(crate) store: MemoryStore,
    pub(crate) key_records: Vec<KeyRecord>,
    identity: Secret32,
    pub(crate) code: Option<&'static str>,
    /// The relay is one of several nodes.
    pub(crate) is_node: bool,
    pub(crate) parties: Vec<Party>,
    conns: BTreeMap<ConnId, (usize, LinkId)>,
    next_conn: u64,
    seed: u64,
    starts: u64,
    /// Who dialled another host than the relay's.
    pub(crate) elsewhere: Vec<usize>,
    /// Nobody can reach the relay.
    pub(crate) cut: bool,
    to_client: VecDeque<(ConnId, Vec<u8>)>,
    /// Logs that the relay does not know any more.
    pub(crate) lost: BTreeSet<LogId>,
    /// Frames for connections that no client made.
    pub(crate) raw_frames: BTreeMap<ConnId, VecDeque<Vec<u8>>>,
    /// Changes what the store answers: a relay that lies.
    pub(crate) lie: Option<Lie>,
    /// What appends are answered with; they are not stored.
    pub(crate) no_appends: Option<Box<dyn FnMut() -> StoreReply>>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut world = Self {
            now: Now {
                wall: Wall(1_800_000_000_000),
                mono: Mono(1_000),
            },
            relay: None,
            store: memory_store::open(Disk::new(), rng(seed, 1)),
            key_records: Vec::new(),
            identity: Secret32::new([7; 32]),
            code: None,
            is_node: false,
            parties: Vec::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            seed,
            starts: 0,
            elsewhere: Vec::new(),
            cut: false,
            to_client: VecDeque::new(),
            lost: BTreeSet::new(),
            raw_frames: BTreeMap::new(),
            lie: None,
            no_appends: None,
        };
        world.start_relay();
        for _ in 0..2 {
            world.add_party();
        }
        world
    }

    /// Runs so many steps at most.
    pub(crate) fn steps(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
    }

    fn step(&mut self) -> bool {
        let mut moved = self.run_relay();
        for party in 0..self.parties.len() {
            moved |= self.run_party(party);
        }
        if let Some((conn, frame)) = self.to_client.pop_front() {
            moved = true;
            if let Some(frames) = self.raw_frames.get_mut(&conn) {
                frames.push_back(frame);
            } else if let Some((party, link)) = self.conns.get(&conn).copied() {
                self.input(party, Input::Frame(link, frame));
            }
        }
        moved
    }

    /// Runs until nothing is left to be done now.
    pub(crate) fn run(&mut self) {
        for _ in 0..1_000_000 {
            if !self.step() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// Lets time pass, stopping wherever somebody wants to wake.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now.mono.plus_ms(ms);
        self.run();
        loop {
            let relay = self.relay.as_ref().and_then(Relay::wake_at);
            let clients = self
                .parties
                .iter()
                .filter_map(|party| party.client.as_ref()?.wake_at());
            let next = clients
                .chain(relay)
                .min()
                .unwrap_or(end)
                .clamp(self.now.mono.plus_ms(1), end);
            let step = next.ms_since(self.now.mono);
            self.now = Now {
                wall: self.now.wall.plus_ms(step),
                mono: next,
            };
            if relay.is_some_and(|at| at <= next) {
                let now = self.now;
                self.relay
                    .as_mut()
                    .unwrap()
                    .handle(now, emptyroom_relay::Input::Tick);
            }
            for party in 0..self.parties.len() {
                let due = self.parties[party]
                    .client
                    .as_ref()
                    .and_then(Client::wake_at);
                if due.is_some_and(|at| at <= next) {
                    self.input(party, Input::Tick);
                }
            }
            self.run();
            if next >= end {
                return;
            }
        }
    }
}

fn rng(seed: u64, use_: u64) -> Box<ChaCha20Rng> {
    Box::new(ChaCha20Rng::seed_from_u64(
        seed.wrapping_mul(1_000_003).wrapping_add(use_),
    ))
}
