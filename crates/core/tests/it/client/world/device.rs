//! Devices: their records, their starts and deaths, and what becomes of their outputs.

use std::collections::BTreeMap;

use emptyroom_core::api::{
    Change, CommandId, Event, Input, LinkId, Output, Refused, Reply, Settings,
};
use emptyroom_core::{Client, MemoryRecords, VALUE_LEN_MAX};
use emptyroom_relay::ConnId;
use emptyroom_wire::time::{Now, Wall};

use super::{World, rng};

/// One person with one device.
pub(crate) struct Party {
    pub(crate) client: Option<Client>,
    pub(crate) records: MemoryRecords,
    pub(crate) events: Vec<Event>,
    pub(crate) links: BTreeMap<LinkId, ConnId>,
    pub(super) replies: BTreeMap<CommandId, Result<Reply, Refused>>,
    pub(super) commands: u64,
    pub(super) loads: u64,
    pub(super) seed: u64,
    /// Dies after so many more outputs that are no persists, and comes back.
    pub(crate) dies_after: Option<usize>,
    /// Persists are lost (and the client dies) after so many more.
    pub(crate) persists_left: Option<usize>,
    pub(crate) deaths: usize,
    /// Its clock against the world's.
    pub(crate) clock_offset_ms: i64,
}

impl World {
    pub(crate) fn add_party(&mut self) -> usize {
        let number = self.parties.len();
        self.parties.push(Party {
            client: None,
            records: MemoryRecords::default(),
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

    /// A device loses the groups of all its conversations.
    pub(crate) fn lose_group(&mut self, party: usize) {
        self.switch_off(party);
        let group = |key: &[u8]| key[0] == b'c' && (key[5] == b'm' || key[5] == b'j');
        self.parties[party].records.0.retain(|key, _| !group(key));
        self.load(party);
    }

    /// A device is put back to an older state.
    pub(crate) fn restore_vault(&mut self, party: usize, backup: MemoryRecords) {
        self.switch_off(party);
        self.parties[party].records = backup;
        self.load(party);
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

    pub(super) fn hang_up(&mut self, conn: ConnId) {
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

    pub(super) fn run_party(&mut self, number: usize) -> bool {
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
            let len = |change: &Change| change.value.as_ref().map_or(0, Vec::len);
            assert!(changes.iter().all(|change| len(change) <= VALUE_LEN_MAX));
            party.records.apply(&changes);
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
                // Nothing ever comes from there.
                if endpoint.host == "silent.example" {
                    self.elsewhere.push(number);
                    return;
                }
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
}
