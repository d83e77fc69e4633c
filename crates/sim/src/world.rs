//! Clients, relays, their disks and the network between them, in one thread and in virtual time.
//!
//! Whatever is on its way (a frame, a sync, a dial) is a `Happening` at a time; the world takes the earliest one, or wakes
//! whoever wants to be woken, until the wanted time is reached. Nothing here knows what messages mean.

mod host;
mod net;
mod party;

use std::collections::BTreeMap;

use emptyroom_core::api::{CommandId, Event, LinkId, Refused, Reply};
use emptyroom_relay::store::StoreOp;
use emptyroom_relay::{ConnId, Ticket};
use emptyroom_wire::relay_key::KeyRecord;
use emptyroom_wire::time::{Mono, Now, Wall};

use crate::dice::Dice;
use crate::trace::Trace;

pub use host::{Host, Image};
pub use net::Net;
pub use party::Party;

/// One second.
pub const SECOND: u64 = 1_000;
/// One minute.
pub const MINUTE: u64 = 60 * SECOND;
/// One hour.
pub const HOUR: u64 = 60 * MINUTE;
/// One day.
pub const DAY: u64 = 24 * HOUR;

/// When virtual time begins: 15 January 2027, so that days and hours are whole.
const BEGIN: Wall = Wall(1_799_971_200_000);
/// Inputs and outputs of one client or relay in one virtual hour; more is a storm.
pub const STEPS_PER_HOUR_MAX: u64 = 8_000;
/// What no relay may ever see: every text and name of the simulator holds it.
pub const PLAINTEXT: &str = "only for friends";

/// Something on its way.
enum Happening {
    FrameToHost(ConnId, Vec<u8>),
    FrameToParty(ConnId, Vec<u8>),
    Dialled(usize, u64, LinkId, usize),
    HostLoses(ConnId),
    PartyLoses(ConnId),
    Persisted(usize, u64),
    PersistFails(usize, u64),
    PartyStarts(usize, u64),
    Stored(usize, u64, Ticket, Vec<StoreOp>),
    KeyStored(usize, u64, Ticket, KeyRecord),
    Expired(usize, u64, Ticket),
    HostStarts(usize, u64),
}

/// Everything there is.
pub struct World {
    now_ms: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    happenings: u64,
    /// The people's devices.
    pub parties: Vec<Party>,
    /// The relays.
    pub hosts: Vec<Host>,
    /// The network.
    pub net: Net,
    /// The run's seed.
    pub seed: u64,
    dice: Dice,
    /// What happened.
    pub trace: Trace,
    /// What happened and must not.
    pub faults: Vec<String>,
    /// Events of clients that nobody looked at yet.
    pub events: Vec<(usize, Event)>,
    /// Answers to commands that nobody looked at yet.
    pub replies: Vec<(usize, CommandId, Result<Reply, Refused>)>,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64, print: bool) -> World {
        World {
            now_ms: 0,
            queue: BTreeMap::new(),
            happenings: 0,
            parties: Vec::new(),
            hosts: Vec::new(),
            net: Net::default(),
            seed,
            dice: Dice::new(seed, 1),
            trace: Trace::new(print),
            faults: Vec::new(),
            events: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// Milliseconds since the beginning.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The right time.
    #[must_use]
    pub fn wall(&self) -> Wall {
        self.clock(0).wall
    }

    /// The time on a clock that is off by so much.
    fn clock(&self, off_by_ms: i64) -> Now {
        Now {
            wall: Wall(
                BEGIN
                    .0
                    .saturating_add(self.now_ms)
                    .saturating_add_signed(off_by_ms),
            ),
            mono: Mono(self.now_ms),
        }
    }

    fn after(&mut self, ms: u64, happening: Happening) {
        self.happenings += 1;
        let key = (self.now_ms.saturating_add(ms), self.happenings);
        self.queue.insert(key, happening);
    }

    /// A fault of the product, or of the simulator.
    pub fn fault(&mut self, what: String) {
        self.note(format_args!("FAULT {what}"));
        if !self.faults.contains(&what) {
            self.faults.push(what);
        }
    }

    /// A line of the trace.
    pub fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.note(self.now_ms, what);
    }

    /// Lets time pass.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now_ms.saturating_add(ms);
        while self.step(end) {}
        self.now_ms = end;
    }

    /// The next thing that happens until `end`. False: nothing.
    fn step(&mut self, end: u64) -> bool {
        let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
        let parties =
            (0..self.parties.len()).filter_map(|party| Some((self.party_wakes(party)?, party)));
        let party = parties.min();
        let hosts = (0..self.hosts.len()).filter_map(|host| Some((self.host_wakes(host)?, host)));
        let host = hosts.min();
        let next = [queued, party.map(|(at, _)| at), host.map(|(at, _)| at)];
        let Some(next) = next.into_iter().flatten().min().filter(|next| *next <= end) else {
            return false;
        };
        self.now_ms = self.now_ms.max(next);
        if queued == Some(next) {
            if let Some((_, happening)) = self.queue.pop_first() {
                self.happen(happening);
            }
        } else if let Some((_, party)) = party.filter(|(at, _)| *at == next) {
            self.tick_party(party);
        } else if let Some((_, host)) = host {
            self.tick_host(host);
        }
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::FrameToHost(conn, frame) => self.frame_to_host(conn, frame),
            Happening::FrameToParty(conn, frame) => self.frame_to_party(conn, frame),
            Happening::Dialled(party, life, link, host) => self.dialled(party, life, link, host),
            Happening::HostLoses(conn) => self.host_loses(conn),
            Happening::PartyLoses(conn) => self.party_loses(conn),
            Happening::Persisted(party, life) => self.persisted(party, life),
            Happening::PersistFails(party, life) => self.persist_fails(party, life),
            Happening::PartyStarts(party, life) => {
                if self.parties[party].is_off(life) {
                    self.start_party(party);
                }
            }
            Happening::Stored(host, life, ticket, ops) => self.stored(host, life, ticket, ops),
            Happening::KeyStored(host, life, ticket, record) => {
                self.key_stored(host, life, ticket, record);
            }
            Happening::Expired(host, life, ticket) => self.expired(host, life, ticket),
            Happening::HostStarts(host, life) => {
                if self.hosts[host].is_off(life) {
                    self.start_host(host);
                }
            }
        }
    }
}

/// Counts steps by the hour.
#[derive(Default)]
struct Meter {
    hour: u64,
    steps: u64,
    most: u64,
}

impl Meter {
    /// One step. True: the first one too many in this hour.
    fn count(&mut self, now_ms: u64) -> bool {
        let hour = now_ms / HOUR;
        if hour != self.hour {
            self.hour = hour;
            self.steps = 0;
        }
        self.steps += 1;
        self.most = self.most.max(self.steps);
        self.steps == STEPS_PER_HOUR_MAX
    }
}
