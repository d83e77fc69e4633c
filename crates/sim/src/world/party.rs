//! The shell around one client: carries out what it wants, dies at any moment, comes back with what was durable.

use std::collections::BTreeMap;

use emptyroom_core::Client;
use emptyroom_core::api::{Command, CommandId, Event, Input, LinkId, Output, Settings};
use emptyroom_relay::ConnId;

use super::{Happening, Meter, SECOND, World};
use crate::dice::Dice;
use crate::records::{Disk, Vault};

/// One person's device.
#[derive(Default)]
pub struct Party {
    pub(super) client: Option<Client>,
    /// Its disk.
    pub disk: Disk,
    pub(super) links: BTreeMap<LinkId, ConnId>,
    /// Counts starts and ends: what belonged to another life is void.
    life: u64,
    loads: u64,
    commands: u64,
    /// It dies after so many more outputs.
    pub dies_after: Option<u64>,
    /// Its disk is full after so many more transactions.
    pub full_after: Option<u64>,
    /// It stays off when it ends.
    pub stays_off: bool,
    /// Its wall clock against the world's.
    pub clock_off_by_ms: i64,
    meter: Meter,
}

impl Party {
    pub(super) fn is_off(&self, life: u64) -> bool {
        self.client.is_none() && self.life == life
    }

    pub(super) fn life(&self) -> u64 {
        self.life
    }

    /// It runs.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.client.is_some()
    }

    /// The most steps it made in one virtual hour.
    #[must_use]
    pub fn most_steps(&self) -> u64 {
        self.meter.most
    }
}

impl World {
    /// A new person with an empty device that runs.
    pub fn add_party(&mut self) -> usize {
        self.parties.push(Party::default());
        let party = self.parties.len() - 1;
        self.start_party(party);
        party
    }

    /// Starts a device from what is durable on it.
    pub fn start_party(&mut self, number: usize) {
        let now = self.clock(self.parties[number].clock_off_by_ms);
        let party = &mut self.parties[number];
        if party.client.is_some() {
            return;
        }
        party.life += 1;
        party.loads += 1;
        party.stays_off = false;
        let rng = Dice::rng(self.seed, 1_000 * (number as u64 + 1) + party.loads);
        match Client::load(now, rng, party.disk.vault.records(), Settings::default()) {
            Ok(client) => party.client = Some(client),
            Err(fault) => {
                party.stays_off = true;
                return self.fault(format!("p{number} does not load: {fault}"));
            }
        }
        self.note(format_args!("p{number} starts"));
        self.pump_party(number);
    }

    /// Ends a device: some of what was not durable yet is on its disk, in order.
    pub fn end_party(&mut self, number: usize) {
        let party = &mut self.parties[number];
        if party.client.take().is_none() {
            return;
        }
        party.life += 1;
        party.dies_after = None;
        let pending = party.disk.pending();
        let made_it = self.dice.index(pending + 1);
        party.disk.crash(made_it);
        let (life, stays_off) = (party.life, party.stays_off);
        let links = std::mem::take(&mut party.links);
        self.note(format_args!(
            "p{number} dies, {made_it} of {pending} made it"
        ));
        for conn in links.into_values() {
            self.party_is_gone(conn);
        }
        if !stays_off {
            let pause = self.dice.time_ms(60 * SECOND);
            self.after(pause, Happening::PartyStarts(number, life));
        }
    }

    /// Ends a device until it is started.
    pub fn switch_off(&mut self, number: usize) {
        self.parties[number].stays_off = true;
        self.end_party(number);
    }

    /// Puts an older copy of its vault on a device.
    pub fn restore_party(&mut self, number: usize, vault: Vault) {
        self.switch_off(number);
        self.note(format_args!("p{number}'s vault is an older one"));
        self.parties[number].disk.vault = vault;
        self.start_party(number);
    }

    /// Gives a client a command; its reply comes as one of the world's `replies`. Nothing if it is off.
    pub fn command(&mut self, number: usize, command: Command) -> Option<CommandId> {
        self.parties[number].client.as_ref()?;
        self.parties[number].commands += 1;
        let id = CommandId(self.parties[number].commands);
        self.input(number, Input::Command(id, command));
        Some(id)
    }

    pub(super) fn party_wakes(&self, number: usize) -> Option<u64> {
        let at = self.parties[number].client.as_ref()?.wake_at()?;
        Some(at.0.max(self.now_ms))
    }

    pub(super) fn tick_party(&mut self, number: usize) {
        self.input(number, Input::Tick);
        let wakes = self.parties[number]
            .client
            .as_ref()
            .and_then(Client::wake_at);
        if wakes.is_some_and(|at| at.0 <= self.now_ms) {
            // It wants to be woken at once for ever: that is counted as what it is, and time goes on.
            self.now_ms += 1;
            for _ in 0..100 {
                self.count_party(number);
            }
        }
    }

    /// Hands an input to a client and carries out what it wants.
    pub(super) fn input(&mut self, number: usize, input: Input) {
        let now = self.clock(self.parties[number].clock_off_by_ms);
        self.count_party(number);
        let party = &mut self.parties[number];
        if let Some(client) = &mut party.client {
            client.handle(now, input, party.disk.vault.records());
            self.pump_party(number);
        }
    }

    fn count_party(&mut self, number: usize) {
        if self.parties[number].meter.count(self.now_ms) {
            self.fault(format!("p{number} makes a storm"));
        }
    }

    fn pump_party(&mut self, number: usize) {
        while let Some(output) = self.parties[number].client.as_mut().and_then(Client::poll) {
            self.count_party(number);
            match &mut self.parties[number].dies_after {
                Some(0) => return self.end_party(number),
                Some(left) => *left -= 1,
                None => {}
            }
            self.carry_out(number, output);
        }
    }

    fn carry_out(&mut self, number: usize, output: Output) {
        match output {
            Output::Persist(ticket, changes) => {
                for change in &changes {
                    // Values: no, because OpenMLS notes the machine's time in those of groups.
                    self.trace.bytes(&change.key);
                }
                let party = &mut self.parties[number];
                party.disk.write(ticket, changes);
                let life = party.life;
                let full = match &mut party.full_after {
                    Some(0) => true,
                    Some(left) => {
                        *left -= 1;
                        false
                    }
                    None => false,
                };
                let sync = self.dice.between(0, 8);
                let outcome = if full {
                    Happening::PersistFails(number, life)
                } else {
                    Happening::Persisted(number, life)
                };
                // Transactions are stored in order, one after the other: a constant delay would do, and so does this one, as
                // each `Persisted` takes the oldest.
                self.after(sync, outcome);
            }
            Output::Dial(link, endpoint) => self.dial(number, link, &endpoint.host),
            Output::Frame(link, frame) => self.frame_from_party(number, link, frame),
            Output::Hangup(link) => {
                if let Some(conn) = self.parties[number].links.remove(&link) {
                    self.party_is_gone(conn);
                }
            }
            Output::Event(event) => {
                self.note(format_args!("p{number} {}", brief(&event)));
                self.events.push((number, event));
            }
            Output::Reply(id, reply) => self.replies.push((number, id, reply)),
        }
    }

    pub(super) fn persisted(&mut self, number: usize, life: u64) {
        let party = &mut self.parties[number];
        if party.life == life
            && let Some(ticket) = party.disk.sync()
        {
            self.input(number, Input::Persisted(ticket));
        }
    }

    pub(super) fn persist_fails(&mut self, number: usize, life: u64) {
        let party = &mut self.parties[number];
        if party.life != life {
            return;
        }
        if let Some(ticket) = party.disk.fail() {
            self.note(format_args!("p{number}'s disk is full"));
            self.input(number, Input::PersistFailed(ticket));
            // A shell that cannot store ends, and is started again by its user.
            self.end_party(number);
        }
    }
}

/// An event in short, without names and texts.
fn brief(event: &Event) -> String {
    match event {
        Event::MessageReceived { line, .. } => format!("{} #{}", event.name(), line.id.0),
        Event::MessageState { id, state, .. } => format!("{} #{} {state:?}", event.name(), id.0),
        Event::MessageGone { id, why, .. } => format!("{} #{} {why:?}", event.name(), id.0),
        Event::Noticed { line, .. } => format!("{} {:?}", event.name(), line.body),
        Event::RelayTrouble { kind, .. } => format!("{} {kind:?}", event.name()),
        Event::PeerTrouble { kind, .. } => format!("{} {kind:?}", event.name()),
        Event::JoinFailed { why, .. } => format!("{} {why:?}", event.name()),
        Event::InviteFailed { why, .. } => format!("{} {why:?}", event.name()),
        Event::Connection { up, .. } => format!("{} {up}", event.name()),
        other => other.name().to_owned(),
    }
}
