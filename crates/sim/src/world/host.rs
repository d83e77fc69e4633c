//! The shell around one relay: its disk, its crashes, and the lies it tells.

use std::collections::BTreeSet;

use emptyroom_core::api::Text;
use emptyroom_relay::store::{Store as _, StoreFailure, StoreOp, StoreReply};
use emptyroom_relay::{Config, Input, Output, Relay, Ticket};
use emptyroom_wire::address::{Host as HostName, RelayAddress};
use emptyroom_wire::op::AccessCode;
use emptyroom_wire::relay_key::{KeyRecord, RelayIdentity};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::Now;

use super::{DAY, Happening, Meter, PLAINTEXT, SECOND, World};
use crate::dice::Dice;
use crate::memory_store::{self, Disk, MemoryStore, Power};
use crate::records::contains;

use crate::lies::{self, Kept, Lie};

/// What a relay keeps on its disks.
#[derive(Clone, Default)]
pub struct Image {
    disk: Disk,
    keys: Vec<KeyRecord>,
}

/// One relay.
pub struct Host {
    /// What addresses call it.
    pub name: String,
    identity: Secret32,
    pub(super) relay: Option<Relay>,
    store: MemoryStore,
    keys: Vec<KeyRecord>,
    life: u64,
    starts: u64,
    code: Option<AccessCode>,
    /// It stays off when it ends.
    pub stays_off: bool,
    /// Its wall clock against the world's.
    pub clock_off_by_ms: i64,
    /// What it does wrong.
    pub lie: Option<Lie>,
    /// What it did wrong so far.
    pub lies_told: BTreeSet<Lie>,
    pub(crate) kept: Kept,
    meter: Meter,
}

impl Host {
    pub(super) fn is_off(&self, life: u64) -> bool {
        self.relay.is_none() && self.life == life
    }

    pub(super) fn life(&self) -> u64 {
        self.life
    }

    /// It runs.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.relay.is_some()
    }

    /// Its address, as its operator gives it to people.
    #[must_use]
    pub fn address(&self) -> Option<Text> {
        let address = RelayAddress {
            host: HostName::parse(&format!("{}:443", self.name)).ok()?,
            others: Vec::new(),
            identity: RelayIdentity::from_seed(&self.identity).hash(),
            code: self.code.clone(),
        };
        Some(Text::new(address.with_code()))
    }

    /// A copy of its disk as it is now.
    pub fn image(&mut self) -> Image {
        Image {
            disk: self.store.rows().after_power_cut(),
            keys: self.keys.clone(),
        }
    }

    /// No space left on its disk, or space again.
    pub fn set_full(&mut self, full: bool) {
        self.store.rows().set_full(full);
    }

    /// The power goes in its next commit.
    pub fn cut_power(&mut self, power: Power) {
        self.store.rows().cut_power(power);
    }

    /// Its store, for whoever has the machine.
    pub fn store(&mut self) -> &mut MemoryStore {
        &mut self.store
    }

    /// The most steps it made in one virtual hour.
    #[must_use]
    pub fn most_steps(&self) -> u64 {
        self.meter.most
    }

    /// Whether its disk holds plaintext.
    pub fn leaks(&mut self) -> bool {
        let rows = self.store.rows();
        rows.rows().any(|row| contains(row, PLAINTEXT.as_bytes()))
    }
}

impl World {
    /// A new relay that runs. Another one under the same name is the same identity: its two faces.
    pub fn add_host(&mut self, name: &str, code: Option<&str>) -> usize {
        let mut seed = [7; 32];
        for (at, byte) in seed.iter_mut().zip(name.bytes()) {
            *at = byte;
        }
        let number = self.hosts.len();
        let rng = Dice::rng(self.seed, 500_000 + number as u64);
        self.hosts.push(Host {
            name: name.to_owned(),
            identity: Secret32::new(seed),
            relay: None,
            store: memory_store::open(Disk::new(), rng),
            keys: Vec::new(),
            life: 0,
            starts: 0,
            code: code.and_then(|code| AccessCode::new(code.as_bytes().to_vec())),
            stays_off: false,
            clock_off_by_ms: 0,
            lie: None,
            lies_told: BTreeSet::new(),
            kept: Kept::default(),
            meter: Meter::default(),
        });
        self.start_host(number);
        number
    }

    /// Starts a relay from its disk.
    pub fn start_host(&mut self, number: usize) {
        let now = self.host_clock(number);
        let host = &mut self.hosts[number];
        if host.relay.is_some() {
            return;
        }
        host.life += 1;
        host.starts += 1;
        host.stays_off = false;
        let config = Config {
            access_code: host.code.clone(),
            reconnect_spread_s: 5,
            ..Config::open()
        };
        let stream = 600_000 + 10_000 * (number as u64 + 1) + 2 * host.starts;
        let identity = RelayIdentity::from_seed(&host.identity);
        let disk = host.store.rows().after_power_cut();
        host.store = memory_store::open(disk, Dice::rng(self.seed, stream + 1));
        let rng = Dice::rng(self.seed, stream);
        host.relay = Some(Relay::new(now, identity, host.keys.clone(), config, rng));
        self.note(format_args!("r{number} starts"));
        self.pump_host(number);
    }

    /// Ends a relay: what was not durable is lost.
    pub fn end_host(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        if host.relay.take().is_none() {
            return;
        }
        host.life += 1;
        let (life, stays_off) = (host.life, host.stays_off);
        self.note(format_args!("r{number} dies"));
        self.host_is_gone(number);
        if !stays_off {
            let pause = self.dice.time_ms(300 * SECOND);
            self.after(pause, Happening::HostStarts(number, life));
        }
    }

    /// Ends a relay until it is started.
    pub fn switch_host_off(&mut self, number: usize) {
        self.hosts[number].stays_off = true;
        self.end_host(number);
    }

    /// Puts an older copy of its disk into a relay. Its keys may be as old, or were kept elsewhere.
    pub fn restore_host(&mut self, number: usize, image: Image, keys: bool) {
        self.switch_host_off(number);
        let stream = 700_000 + self.hosts[number].starts;
        let host = &mut self.hosts[number];
        host.store = memory_store::open(image.disk, Dice::rng(self.seed, stream));
        if keys {
            host.keys = image.keys;
        }
        self.note(format_args!("r{number} is restored, keys {keys}"));
        self.start_host(number);
    }

    fn host_clock(&self, number: usize) -> Now {
        self.clock(self.hosts[number].clock_off_by_ms)
    }

    pub(super) fn host_wakes(&self, number: usize) -> Option<u64> {
        let at = self.hosts[number].relay.as_ref()?.wake_at()?;
        Some(at.0.max(self.now_ms))
    }

    pub(super) fn tick_host(&mut self, number: usize) {
        self.host_input(number, Input::Tick);
        let wakes = self.hosts[number].relay.as_ref().and_then(Relay::wake_at);
        if wakes.is_some_and(|at| at.0 <= self.now_ms) {
            self.now_ms += 1;
            for _ in 0..100 {
                self.count_host(number);
            }
        }
    }

    pub(super) fn host_input(&mut self, number: usize, input: Input) {
        let now = self.host_clock(number);
        self.count_host(number);
        if let Some(relay) = &mut self.hosts[number].relay {
            relay.handle(now, input);
            self.pump_host(number);
        }
    }

    fn count_host(&mut self, number: usize) {
        if self.hosts[number].meter.count(self.now_ms) {
            self.fault(format!("r{number} makes a storm"));
        }
    }

    fn pump_host(&mut self, number: usize) {
        while let Some(output) = self.hosts[number].relay.as_mut().and_then(Relay::poll) {
            self.count_host(number);
            self.carry_out_host(number, output);
        }
    }

    fn carry_out_host(&mut self, number: usize, output: Output) {
        let life = self.hosts[number].life;
        match output {
            Output::Frame(conn, frame) => {
                let len = frame.len();
                self.frame_from_host(conn, frame);
                let now = self.host_clock(number);
                if let Some(relay) = &mut self.hosts[number].relay {
                    relay.handle(now, Input::Written(conn, len));
                }
            }
            Output::Hangup(conn, reason) => {
                self.note(format_args!("r{number} hangs up: {reason:?}"));
                self.host_hangs_up(conn);
            }
            Output::Store(ticket, ops) => {
                let sync = self.dice.between(0, 6);
                self.after(sync, Happening::Stored(number, life, ticket, ops));
            }
            Output::PersistKeyRecord(ticket, record) => {
                let sync = self.dice.between(0, 6);
                self.after(sync, Happening::KeyStored(number, life, ticket, record));
            }
            Output::Expire(ticket) => {
                let sync = self.dice.between(0, 6);
                self.after(sync, Happening::Expired(number, life, ticket));
            }
            // It has its store to itself.
            Output::ReadKeyRecords(..)
            | Output::News(..)
            | Output::Watch(_)
            | Output::Unwatch(_) => {}
            Output::Stopped(outcome) => {
                self.note(format_args!("r{number} stops: {outcome:?}"));
                self.end_host(number);
            }
        }
    }

    /// The relay's disk gets a batch: decided and durable, or the power goes.
    pub(super) fn stored(&mut self, number: usize, life: u64, ticket: Ticket, ops: Vec<StoreOp>) {
        let now = self.host_clock(number);
        let host = &mut self.hosts[number];
        if host.life != life {
            return;
        }
        let leak = ops.iter().any(leaks);
        let asked: Vec<_> = ops.iter().map(lies::asked).collect();
        let instead: Vec<_> = ops.iter().map(|op| lies::instead(host.lie, op)).collect();
        let stored = ops.into_iter().zip(&instead);
        let stored = stored.filter_map(|(op, instead)| instead.is_none().then_some(op));
        let twice = matches!(host.lie, Some(Lie::Twice | Lie::SecondOfTwo));
        let before = twice.then(|| host.store.rows().clone());
        if let (Some(lie @ Lie::RubbishFirst), [asked]) = (host.lie, asked.as_slice())
            && lies::store_rubbish(&mut host.store, now.wall, asked)
        {
            host.lies_told.insert(lie);
        }
        let answer = host.store.apply(now.wall, stored.collect());
        let answer = answer.map(|replies| {
            let mut replies = replies.into_iter();
            let mut replies: Vec<_> = instead
                .into_iter()
                .filter_map(|instead| match instead {
                    Some(reply) => {
                        host.lies_told.extend(host.lie);
                        Some(reply)
                    }
                    None => replies.next(),
                })
                .collect();
            if let Some(before) = &before {
                // Of several at once one would undo another.
                if let ([asked], [reply @ StoreReply::Appended(_)]) =
                    (asked.as_slice(), replies.as_mut_slice())
                    && let Some(second) =
                        lies::store_again(&mut host.store, now.wall, before, asked)
                {
                    host.lies_told.extend(host.lie);
                    if host.lie == Some(Lie::SecondOfTwo) {
                        *reply = StoreReply::Already(second);
                    }
                }
            } else if let Some(lie) = host.lie {
                if host.kept.twist(lie, &asked, &mut replies) {
                    host.lies_told.insert(lie);
                }
            } else {
                host.kept.remember(&asked, &replies);
            }
            replies
        });
        if leak {
            self.fault(format!("r{number} sees plaintext"));
        }
        match answer {
            Err(StoreFailure::Broken(_)) => self.end_host(number),
            answer => self.host_input(number, Input::Stored(ticket, answer)),
        }
    }

    pub(super) fn key_stored(
        &mut self,
        number: usize,
        life: u64,
        ticket: Ticket,
        record: KeyRecord,
    ) {
        let host = &mut self.hosts[number];
        if host.life == life {
            host.keys.push(record);
            if host.keys.len() > KEYS_KEPT {
                host.keys.remove(0);
            }
            self.host_input(number, Input::KeyRecordPersisted(ticket, Ok(())));
        }
    }

    pub(super) fn expired(&mut self, number: usize, life: u64, ticket: Ticket) {
        let now = self.host_clock(number);
        let host = &mut self.hosts[number];
        if host.life != life {
            return;
        }
        match host.store.expire(now.wall) {
            Err(StoreFailure::Broken(_)) => self.end_host(number),
            answer => self.host_input(number, Input::Expired(ticket, answer)),
        }
    }
}

/// Whether an operation carries plaintext: what the relay decoded from an opened stream.
fn leaks(op: &StoreOp) -> bool {
    let holds = |body: &[u8]| contains(body, PLAINTEXT.as_bytes());
    match op {
        StoreOp::Create(new) => new.first.as_ref().is_some_and(|first| holds(&first.body)),
        StoreOp::Append(append) => {
            let mut first = append.next.iter().filter_map(|new| new.first.as_ref());
            holds(&append.entry.body) || first.any(|first| holds(&first.body))
        }
        _ => false,
    }
}

/// Key records that a relay keeps: more than [`emptyroom_wire::limits::KEY_RECORD_LIFE_MS`] asks for is checked below.
const KEYS_KEPT: usize = 1_000;
const _: () = assert!(
    KEYS_KEPT as u64 * 3_600_000 >= emptyroom_wire::limits::KEY_RECORD_LIFE_MS,
    "a relay keeps its key records as long as it must"
);
const _: () = assert!(DAY == 86_400_000);
