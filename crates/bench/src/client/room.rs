//! Two clients and a relay in memory, in one thread, with a clock that is set: only `core` costs what is counted.

use emptyroom_core::api::{
    Burn, Change, Command, CommandId, Event, Input, LinkId, Name, Output, RelayLife, Reply,
    Settings, Text,
};
use emptyroom_core::{Client, MemoryRecords};
use emptyroom_load::{Trouble, cpu};
use emptyroom_relay::store::{Changes, LastingChange, Ledger, RowKey, Rows, Store, StoreFailure};
use emptyroom_relay::{Config, ConnId, Relay};
use emptyroom_wire::address::{Host, RelayAddress};
use emptyroom_wire::relay_key::RelayIdentity;
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::{Day, Mono, Now, Wall};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Some day in 2025.
const START: u64 = 1_750_000_000_000;

/// Who is there.
pub(super) struct Room {
    relay: Relay,
    store: Ledger<Memory>,
    parties: Vec<Party>,
    conns: BTreeMap<ConnId, (usize, LinkId)>,
    now: Now,
    last: u64,
}

/// One client with its records in memory.
pub(super) struct Party {
    client: Client,
    records: MemoryRecords,
    out: VecDeque<Output>,
    /// What the client cost so far.
    pub(super) spent: Duration,
    /// Every transaction it asked for.
    pub(super) stored: Vec<Vec<Change>>,
    pub(super) events: Vec<Event>,
    pub(super) replies: Vec<Reply>,
}

impl Room {
    /// Two who have a conversation: the first calls the other `there`, and so does the other.
    pub(super) fn new() -> Result<Room, Trouble> {
        let now = Now {
            wall: Wall(START),
            mono: Mono(0),
        };
        let identity = RelayIdentity::from_seed(&Secret32::new([9; 32]));
        let address = RelayAddress {
            host: Host::parse("relay.example:443")?,
            others: Vec::new(),
            identity: identity.hash(),
            code: None,
        };
        let mut room = Room {
            relay: Relay::new(now, identity, Vec::new(), Config::open(), rng(1)),
            store: Ledger::new(Memory::default(), rng(2)),
            parties: vec![Party::new(now, 3)?, Party::new(now, 4)?],
            conns: BTreeMap::new(),
            now,
            last: 0,
        };
        room.run();
        let address = Text::new(address.without_code());
        room.command(0, Command::SetRelay { address });
        let name = Name::parse("there").map_err(|why| format!("{why:?}"))?;
        let invite = Command::Invite {
            name: name.clone(),
            expires_in_ms: None,
        };
        room.command(0, invite);
        let link = room.parties.first().and_then(|party| {
            party.replies.iter().find_map(|reply| match reply {
                Reply::Invited { link, .. } => Some(link.clone()),
                _ => None,
            })
        });
        room.command(
            1,
            Command::Join {
                link: link.ok_or("no link")?,
                name,
            },
        );
        room.pass(Duration::from_secs(60));
        let joined = |party: &Party| {
            party
                .events
                .iter()
                .any(|event| matches!(event, Event::Joined { .. }))
        };
        if !room.parties.iter().all(joined) {
            return Err("the two did not meet".into());
        }
        Ok(room)
    }

    pub(super) fn party(&mut self, number: usize) -> Result<&mut Party, Trouble> {
        self.parties
            .get_mut(number)
            .ok_or_else(|| "no such party".into())
    }

    /// One says something to the other.
    pub(super) fn say(&mut self, from: usize, text: &str) -> Result<(), Trouble> {
        let send = Command::Send {
            to: Name::parse("there").map_err(|why| format!("{why:?}"))?,
            text: Text::new(text.to_owned()),
            burn: None::<Burn>,
            life: RelayLife::default(),
        };
        self.command(from, send);
        Ok(())
    }

    fn command(&mut self, number: usize, command: Command) {
        self.last += 1;
        let id = CommandId(self.last);
        self.input(number, Input::Command(id, command));
        self.run();
    }

    /// Time goes by, second by second.
    pub(super) fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_secs() {
            self.now = Now {
                wall: self.now.wall.plus_ms(1_000),
                mono: self.now.mono.plus_ms(1_000),
            };
            self.relay.handle(self.now, emptyroom_relay::Input::Tick);
            for number in 0..self.parties.len() {
                self.input(number, Input::Tick);
            }
            self.run();
        }
    }

    /// Carries everything out until nothing is left to do.
    fn run(&mut self) {
        loop {
            let mut idle = self.run_relay();
            for number in 0..self.parties.len() {
                let next = self
                    .parties
                    .get_mut(number)
                    .and_then(|party| party.out.pop_front());
                if let Some(output) = next {
                    self.output(number, output);
                    idle = false;
                }
            }
            if idle {
                return;
            }
        }
    }

    /// Gives a client an input and takes all that it wants; this is what is counted.
    fn input(&mut self, number: usize, input: Input) {
        let now = self.now;
        if let Some(party) = self.parties.get_mut(number) {
            let Party {
                client,
                records,
                out,
                ..
            } = party;
            let (spent, ()) = cpu::of(|| {
                client.handle(now, input, records);
                out.extend(std::iter::from_fn(|| client.poll()));
            });
            party.spent += spent;
        }
    }

    fn output(&mut self, number: usize, output: Output) {
        match output {
            Output::Persist(ticket, changes) => {
                if let Some(party) = self.parties.get_mut(number) {
                    party.records.apply(&changes);
                    party.stored.push(changes);
                }
                self.input(number, Input::Persisted(ticket));
            }
            Output::Dial(link, _) => {
                self.last += 1;
                let conn = ConnId(self.last);
                self.conns.insert(conn, (number, link));
                self.input(number, Input::LinkUp(link, None));
                self.relay
                    .handle(self.now, emptyroom_relay::Input::Connected(conn));
            }
            Output::Frame(link, frame) => {
                if let Some(conn) = self.conn(number, link) {
                    self.relay
                        .handle(self.now, emptyroom_relay::Input::Frame(conn, frame));
                }
            }
            Output::Hangup(link) => {
                if let Some(conn) = self.conn(number, link) {
                    self.conns.remove(&conn);
                    self.relay
                        .handle(self.now, emptyroom_relay::Input::Disconnected(conn));
                }
            }
            Output::Event(event) => {
                if let Some(party) = self.parties.get_mut(number) {
                    party.events.push(event);
                }
            }
            Output::Reply(_, reply) => {
                if let (Some(party), Ok(reply)) = (self.parties.get_mut(number), reply) {
                    party.replies.push(reply);
                }
            }
        }
    }

    fn conn(&self, number: usize, link: LinkId) -> Option<ConnId> {
        let found = self.conns.iter().find(|(_, end)| **end == (number, link));
        found.map(|(conn, _)| *conn)
    }

    /// Carries out what the relay wants; true when it wants nothing.
    fn run_relay(&mut self) -> bool {
        use emptyroom_relay::{Input as In, Output as Out};
        let mut idle = true;
        while let Some(output) = self.relay.poll() {
            idle = false;
            let answer = match output {
                Out::Frame(conn, frame) => {
                    let written = In::Written(conn, frame.len());
                    if let Some((number, link)) = self.conns.get(&conn).copied() {
                        self.input(number, Input::Frame(link, frame));
                    }
                    written
                }
                Out::Hangup(conn, _) => {
                    if let Some((number, link)) = self.conns.remove(&conn) {
                        self.input(number, Input::LinkDown(link));
                    }
                    In::Disconnected(conn)
                }
                Out::Store(ticket, operations) => {
                    In::Stored(ticket, self.store.apply(self.now.wall, operations))
                }
                Out::PersistKeyRecord(ticket, _) => In::KeyRecordPersisted(ticket, Ok(())),
                Out::Expire(ticket) => In::Expired(ticket, self.store.expire(self.now.wall)),
                // It has its store to itself.
                Out::ReadKeyRecords(..) | Out::News(..) | Out::Watch(_) | Out::Unwatch(_) => {
                    continue;
                }
                Out::Stopped(_) => return true,
            };
            self.relay.handle(self.now, answer);
        }
        idle
    }
}

impl Party {
    fn new(now: Now, seed: u64) -> Result<Party, Trouble> {
        let records = MemoryRecords::default();
        let client = Client::load(now, rng(seed), &records, Settings::default())
            .map_err(|why| format!("{why:?}"))?;
        let mut party = Party {
            client,
            records,
            out: VecDeque::new(),
            spent: Duration::ZERO,
            stored: Vec::new(),
            events: Vec::new(),
            replies: Vec::new(),
        };
        party.out.extend(std::iter::from_fn(|| party.client.poll()));
        Ok(party)
    }
}

fn rng(seed: u64) -> Box<dyn CryptoRng + Send> {
    Box::new(ChaCha20Rng::seed_from_u64(seed))
}

/// The relay's rows.
#[derive(Default)]
struct Memory {
    lasting: BTreeMap<RowKey, Vec<u8>>,
    entries: BTreeMap<(Day, RowKey), Vec<u8>>,
}

impl Rows for Memory {
    fn lasting(&mut self, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        Ok(self.lasting.get(key).cloned())
    }

    fn entry(&mut self, day: Day, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        Ok(self.entries.get(&(day, *key)).cloned())
    }

    fn commit(&mut self, changes: Changes) -> Result<(), StoreFailure> {
        for change in changes.entries {
            match change.row {
                Some(row) => self.entries.insert((change.day, change.key), row),
                None => self.entries.remove(&(change.day, change.key)),
            };
        }
        for change in changes.lasting {
            match change {
                LastingChange::Put { key, row, .. } => drop(self.lasting.insert(key, row)),
                LastingChange::Move { .. } => {}
                LastingChange::Remove { key } => drop(self.lasting.remove(&key)),
            }
        }
        Ok(())
    }

    fn expire(&mut self, _today: Day) -> Result<(), StoreFailure> {
        Ok(())
    }
}
