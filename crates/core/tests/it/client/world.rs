//! Clients and a real relay in one thread, through real sealed streams, in virtual time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use emptyroom_core::api::{
    Burn, Command, CommandId, Contact, ContactState, Event, Input, Line, LineBody, LineId, LinkId,
    MessageState, Name, Output, Refused, RelayLife, Reply, Settings, Text,
};
use emptyroom_core::{Client, Records, Value};
use emptyroom_relay::store::{Store, StoreOp, StoreReply};
use emptyroom_relay::{Config, ConnId, Relay};
use emptyroom_wire::address::{Host, RelayAddress};
use emptyroom_wire::log::LogId;
use emptyroom_wire::log_keys::LogAccess;
use emptyroom_wire::op::{AccessCode, Refusal, RefusalCode};
use emptyroom_wire::relay_key::{KeyRecord, RelayIdentity};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::{Mono, Now, Wall};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::memory_store::{self, Disk, MemoryStore};

pub(crate) const SECOND: u64 = 1_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;

/// The records of one client.
#[derive(Clone, Default)]
pub(crate) struct Map(pub(crate) BTreeMap<Vec<u8>, Value>);

impl Records for Map {
    fn get(&self, key: &[u8]) -> Option<Value> {
        self.0.get(key).cloned()
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Vec<(Vec<u8>, Value)> {
        let fits = |key: &[u8]| {
            key.starts_with(prefix)
                && after.is_none_or(|after| if reverse { key < after } else { key > after })
        };
        let found = self.0.iter().filter(|(key, _)| fits(key));
        let own = |(key, value): (&Vec<u8>, &Value)| (key.clone(), value.clone());
        if reverse {
            found.rev().take(limit).map(own).collect()
        } else {
            found.take(limit).map(own).collect()
        }
    }
}

/// One person with one device.
pub(crate) struct Party {
    pub(crate) client: Option<Client>,
    pub(crate) records: Map,
    pub(crate) events: Vec<Event>,
    pub(crate) links: BTreeMap<LinkId, ConnId>,
    replies: BTreeMap<CommandId, Result<Reply, Refused>>,
    commands: u64,
    loads: u64,
    seed: u64,
    /// Dies after so many more outputs that are no persists, and comes back.
    pub(crate) dies_after: Option<usize>,
    /// Persists are lost (and the client dies) after so many more.
    pub(crate) persists_left: Option<usize>,
    pub(crate) deaths: usize,
    /// Its clock against the world's.
    pub(crate) clock_offset_ms: i64,
}

/// Changes what a store answers.
pub(crate) type Lie = Box<dyn FnMut(&mut StoreReply)>;

/// Everything there is.
pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) relay: Option<Relay>,
    pub(crate) store: MemoryStore,
    pub(crate) key_records: Vec<KeyRecord>,
    identity: Secret32,
    pub(crate) code: Option<&'static str>,
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
        };
        world.start_relay();
        for _ in 0..2 {
            world.add_party();
        }
        world
    }

    pub(crate) fn add_party(&mut self) -> usize {
        let number = self.parties.len();
        self.parties.push(Party {
            client: None,
            records: Map::default(),
            events: Vec::new(),
            links: BTreeMap::new(),
            replies: BTreeMap::new(),
            commands: 0,
            loads: 0,
            seed: self.seed * 100 + 10 + number as u64,
            dies_after: None,
            persists_left: None,
            deaths: 0,
            clock_offset_ms: 0,
        });
        self.load(number);
        self.run();
        number
    }

    pub(crate) fn start_relay(&mut self) {
        self.starts += 1;
        let identity = RelayIdentity::from_seed(&self.identity);
        let config = Config {
            access_code: self
                .code
                .and_then(|code| AccessCode::new(code.as_bytes().to_vec())),
            reconnect_spread_s: 1,
            ..Config::open()
        };
        let records = self.key_records.clone();
        self.relay = Some(Relay::new(
            self.now,
            identity,
            records,
            config,
            rng(self.seed, 1_000 + self.starts),
        ));
    }

    /// The relay stops: connections end.
    pub(crate) fn stop_relay(&mut self) {
        self.relay = None;
        self.to_client.clear();
        for (_, (party, link)) in std::mem::take(&mut self.conns) {
            self.parties[party].links.remove(&link);
            self.input(party, Input::LinkDown(link));
        }
    }

    /// The relay's disk as it is now.
    pub(crate) fn image(&mut self) -> Disk {
        self.store.rows().clone()
    }

    /// The relay starts again from this disk.
    pub(crate) fn restore_relay(&mut self, disk: Disk) {
        self.stop_relay();
        self.store = memory_store::open(disk, rng(self.seed, 5_000 + self.starts));
        self.start_relay();
    }

    /// Another relay stands where this one stood.
    pub(crate) fn become_another_relay(&mut self) {
        self.identity = Secret32::new([8; 32]);
        self.key_records.clear();
        self.start_relay();
    }

    /// The relay loses one log, until somebody makes it again.
    pub(crate) fn lose_log(&mut self, access: &LogAccess) {
        self.lost.insert(access.log_id);
    }

    /// A device loses the groups of all its conversations.
    pub(crate) fn lose_group(&mut self, party: usize) {
        self.switch_off(party);
        let group = |key: &[u8]| key[0] == b'c' && (key[5] == b'm' || key[5] == b'j');
        self.parties[party].records.0.retain(|key, _| !group(key));
        self.load(party);
    }

    /// A device is put back to an older state.
    pub(crate) fn restore_vault(&mut self, party: usize, backup: Map) {
        self.switch_off(party);
        self.parties[party].records = backup;
        self.load(party);
    }

    pub(crate) fn address(&self) -> String {
        let identity = RelayIdentity::from_seed(&self.identity);
        RelayAddress {
            host: Host::parse("relay.example:443").unwrap(),
            identity: identity.hash(),
            code: self
                .code
                .and_then(|code| AccessCode::new(code.as_bytes().to_vec())),
        }
        .with_code()
    }

    /// Starts a client from its records.
    pub(crate) fn load(&mut self, party: usize) {
        let now = self.party_now(party);
        let party = &mut self.parties[party];
        party.loads += 1;
        let rng = rng(party.seed, party.loads);
        party.client = Some(Client::load(now, rng, &party.records, Settings::default()).unwrap());
    }

    /// The client dies and starts again from what was stored.
    pub(crate) fn kill(&mut self, party: usize) {
        self.parties[party].client = None;
        self.parties[party].deaths += 1;
        for (_, conn) in std::mem::take(&mut self.parties[party].links) {
            self.hang_up(conn);
        }
        self.load(party);
    }

    /// The client is gone until it is loaded.
    pub(crate) fn switch_off(&mut self, party: usize) {
        self.parties[party].client = None;
        for (_, conn) in std::mem::take(&mut self.parties[party].links) {
            self.hang_up(conn);
        }
    }

    fn hang_up(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
        let now = self.now;
        if let Some(relay) = &mut self.relay {
            relay.handle(now, emptyroom_relay::Input::Disconnected(conn));
        }
    }

    fn party_now(&self, party: usize) -> Now {
        Now {
            wall: Wall(
                self.now
                    .wall
                    .0
                    .saturating_add_signed(self.parties[party].clock_offset_ms),
            ),
            mono: self.now.mono,
        }
    }

    pub(crate) fn input(&mut self, party: usize, input: Input) {
        let now = self.party_now(party);
        let party = &mut self.parties[party];
        if let Some(client) = &mut party.client {
            client.handle(now, input, &party.records);
        }
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

    /// One command; nothing if the client died before it answered.
    pub(crate) fn command_or_died(
        &mut self,
        party: usize,
        command: Command,
    ) -> Option<Result<Reply, Refused>> {
        let id = self.start(party, command);
        self.run();
        self.reply(party, id)
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

    fn run_party(&mut self, number: usize) -> bool {
        let Some(output) = self.parties[number].client.as_mut().and_then(Client::poll) else {
            return false;
        };
        let party = &mut self.parties[number];
        if let Output::Persist(ticket, changes) = output {
            if let Some(left) = &mut party.persists_left {
                if *left == 0 {
                    party.persists_left = None;
                    self.kill(number);
                    return true;
                }
                *left -= 1;
            }
            for change in &changes {
                match &change.value {
                    Some(value) => party
                        .records
                        .0
                        .insert(change.key.clone(), Value::new(value.clone())),
                    None => party.records.0.remove(&change.key),
                };
            }
            self.input(number, Input::Persisted(ticket));
            return true;
        }
        if let Some(left) = &mut party.dies_after {
            if *left == 0 {
                party.dies_after = None;
                self.kill(number);
                return true;
            }
            *left -= 1;
        }
        self.carry_out(number, output);
        true
    }

    fn carry_out(&mut self, number: usize, output: Output) {
        match output {
            Output::Persist(..) => unreachable!(),
            Output::Dial(link, endpoint) => {
                if endpoint.host != "relay.example" {
                    self.elsewhere.push(number);
                    return self.input(number, Input::LinkDown(link));
                }
                if self.cut || self.relay.is_none() {
                    return self.input(number, Input::LinkDown(link));
                }
                self.next_conn += 1;
                let conn = ConnId(self.next_conn);
                self.conns.insert(conn, (number, link));
                self.parties[number].links.insert(link, conn);
                self.input(number, Input::LinkUp(link, None));
                let now = self.now;
                self.relay
                    .as_mut()
                    .unwrap()
                    .handle(now, emptyroom_relay::Input::Connected(conn));
            }
            Output::Frame(link, frame) => {
                if let (Some(conn), Some(relay)) =
                    (self.parties[number].links.get(&link), &mut self.relay)
                {
                    relay.handle(self.now, emptyroom_relay::Input::Frame(*conn, frame));
                }
            }
            Output::Hangup(link) => {
                if let Some(conn) = self.parties[number].links.remove(&link) {
                    self.hang_up(conn);
                }
            }
            Output::Event(event) => self.parties[number].events.push(event),
            Output::Reply(id, reply) => {
                self.parties[number].replies.insert(id, reply);
            }
        }
    }

    fn run_relay(&mut self) -> bool {
        let Some(output) = self.relay.as_mut().and_then(Relay::poll) else {
            return false;
        };
        use emptyroom_relay::{Input as In, Output as Out};
        let now = self.now;
        let relay = self.relay.as_mut().unwrap();
        match output {
            Out::Frame(conn, frame) => {
                relay.handle(now, In::Written(conn, frame.len()));
                self.to_client.push_back((conn, frame));
            }
            Out::Hangup(conn, _) => {
                if let Some((party, link)) = self.conns.remove(&conn) {
                    self.parties[party].links.remove(&link);
                    self.input(party, Input::LinkDown(link));
                }
            }
            Out::Store(ticket, ops) => {
                let hidden = self.hidden(&ops);
                let mut answer = self.store.apply(now.wall, ops);
                if let Ok(replies) = &mut answer {
                    for (reply, _) in replies.iter_mut().zip(hidden).filter(|(_, hidden)| *hidden) {
                        *reply = StoreReply::Refused(Refusal::now(RefusalCode::Unknown));
                    }
                }
                if let (Ok(replies), Some(lie)) = (&mut answer, &mut self.lie) {
                    replies.iter_mut().for_each(lie);
                }
                self.relay
                    .as_mut()
                    .unwrap()
                    .handle(now, In::Stored(ticket, answer));
            }
            Out::PersistKeyRecord(ticket, record) => {
                self.key_records.push(record);
                relay.handle(now, In::KeyRecordPersisted(ticket, Ok(())));
            }
            Out::Expire(ticket) => {
                let answer = self.store.expire(now.wall);
                relay.handle(now, In::Expired(ticket, answer));
            }
            Out::Stopped(_) => {}
        }
        true
    }

    /// Which operations are about a log that is lost; one that makes it finds it again.
    fn hidden(&mut self, ops: &[StoreOp]) -> Vec<bool> {
        let mut hidden = Vec::new();
        for op in ops {
            let place = match op {
                StoreOp::Append(append) => {
                    for next in &append.next {
                        self.lost.remove(&next.place.log_id());
                    }
                    &append.place
                }
                StoreOp::Create(new) => &new.place,
                StoreOp::Look { place }
                | StoreOp::Read { place, .. }
                | StoreOp::Renew { place }
                | StoreOp::Trim { place, .. }
                | StoreOp::Destroy { place } => place,
            };
            hidden.push(self.lost.contains(&place.log_id()));
        }
        hidden
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

    /// One command, run until nothing moves; its reply.
    pub(crate) fn command(&mut self, party: usize, command: Command) -> Result<Reply, Refused> {
        let id = self.start(party, command);
        self.run();
        self.reply(party, id).expect("the command was answered")
    }

    pub(crate) fn start(&mut self, party: usize, command: Command) -> CommandId {
        self.parties[party].commands += 1;
        let id = CommandId(self.parties[party].commands);
        self.input(party, Input::Command(id, command));
        id
    }

    pub(crate) fn reply(&mut self, party: usize, id: CommandId) -> Option<Result<Reply, Refused>> {
        self.parties[party].replies.remove(&id)
    }

    pub(crate) fn set_relay(&mut self, party: usize) {
        let address = Text::new(self.address());
        assert_eq!(
            self.command(party, Command::SetRelay { address }),
            Ok(Reply::Done)
        );
    }

    pub(crate) fn invite(&mut self, party: usize, name: &str) -> Text {
        let invite = Command::Invite {
            name: self::name(name),
            expires_in_ms: None,
        };
        match self.command(party, invite) {
            Ok(Reply::Invited { link, .. }) => link,
            other => panic!("no invite: {other:?}"),
        }
    }

    pub(crate) fn join(&mut self, party: usize, link: &Text, name: &str) {
        let join = Command::Join {
            link: link.clone(),
            name: self::name(name),
        };
        assert_eq!(self.command(party, join), Ok(Reply::Joining));
    }

    /// Alice (0) invites Bob (1), who joins.
    pub(crate) fn talk(seed: u64) -> Self {
        let mut world = Self::new(seed);
        world.set_relay(0);
        let link = world.invite(0, "bob");
        world.join(1, &link, "alice");
        world.pass(10 * SECOND);
        assert_eq!(world.contact(0).state, ContactState::Active);
        assert_eq!(world.contact(1).state, ContactState::Active);
        world
    }

    pub(crate) fn peer_name(party: usize) -> Name {
        name(if party == 0 { "bob" } else { "alice" })
    }

    pub(crate) fn send(&mut self, party: usize, text: &str) -> LineId {
        self.send_with(party, text, None)
    }

    pub(crate) fn send_with(&mut self, party: usize, text: &str, burn: Option<Burn>) -> LineId {
        let id = self.start_send(party, text, burn);
        self.run();
        match self.reply(party, id) {
            Some(Ok(Reply::Queued { id })) => id,
            other => panic!("not queued: {other:?}"),
        }
    }

    pub(crate) fn start_send(&mut self, party: usize, text: &str, burn: Option<Burn>) -> CommandId {
        let send = Command::Send {
            to: Self::peer_name(party),
            text: text.into(),
            burn,
            life: RelayLife::default(),
        };
        self.start(party, send)
    }

    pub(crate) fn contact(&mut self, party: usize) -> Contact {
        let wanted = Self::peer_name(party);
        match self.command(party, Command::Contacts) {
            Ok(Reply::Contacts(contacts)) => contacts
                .into_iter()
                .find(|contact| contact.name == wanted)
                .unwrap(),
            other => panic!("no contacts: {other:?}"),
        }
    }

    pub(crate) fn history(&mut self, party: usize) -> Vec<Line> {
        let mut all: Vec<Line> = Vec::new();
        loop {
            let history = Command::History {
                name: Self::peer_name(party),
                before: all.first().map(|line| line.id),
                limit: 1_000,
            };
            match self.command(party, history) {
                Ok(Reply::History(lines)) if lines.is_empty() => return all,
                Ok(Reply::History(mut lines)) => {
                    lines.append(&mut all);
                    all = lines;
                }
                other => panic!("no history: {other:?}"),
            }
        }
    }

    /// The texts that a party received, in order.
    pub(crate) fn received(&mut self, party: usize) -> Vec<String> {
        let text = |line: Line| match line.body {
            LineBody::Received { text, .. } => Some(text.expose().to_owned()),
            _ => None,
        };
        self.history(party).into_iter().filter_map(text).collect()
    }

    /// The states of the texts that a party sent, in order.
    pub(crate) fn states(&mut self, party: usize) -> Vec<MessageState> {
        let state = |line: Line| match line.body {
            LineBody::Sent { state, .. } => Some(state),
            _ => None,
        };
        self.history(party).into_iter().filter_map(state).collect()
    }

    /// Marks everything as read.
    pub(crate) fn read_all(&mut self, party: usize) {
        let read = Command::Read {
            name: Self::peer_name(party),
            up_to: LineId(u64::MAX),
        };
        assert_eq!(self.command(party, read), Ok(Reply::Done));
    }

    pub(crate) fn events(&mut self, party: usize) -> Vec<Event> {
        std::mem::take(&mut self.parties[party].events)
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn rng(seed: u64, use_: u64) -> Box<ChaCha20Rng> {
    Box::new(ChaCha20Rng::seed_from_u64(
        seed.wrapping_mul(1_000_003).wrapping_add(use_),
    ))
}
