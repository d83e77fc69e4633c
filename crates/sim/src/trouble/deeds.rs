//! How each kind of trouble is made, for random runs and for scenarios.

use emptyroom_core::api::Command;
use emptyroom_wire::time::Wall;

use crate::insider::{self, Insider, Rubbish, Wanted};
use crate::memory_store::MemoryStore;
use crate::records::Vault;
use crate::scene::Scene;
use crate::world::{Host, Image};

/// The relays' disks and the vaults, as they were once.
pub(crate) struct Copies {
    at_ms: u64,
    hosts: Vec<Image>,
    vaults: Vec<Vault>,
}

impl Scene {
    /// Remembers everything as it is now, for a later restore.
    pub fn copy_everything(&mut self) {
        self.digest();
        self.copies = Some(Copies {
            at_ms: self.world.now_ms(),
            hosts: self.world.hosts.iter_mut().map(Host::image).collect(),
            vaults: self
                .world
                .parties
                .iter()
                .map(|party| party.disk.vault.clone())
                .collect(),
        });
    }

    /// Puts the last copy of its disk into a relay, its keys with it or not.
    pub fn restore_relay(&mut self, host: usize, keys: bool) {
        let image = self
            .copies
            .as_ref()
            .and_then(|copies| copies.hosts.get(host).cloned());
        if let Some(image) = image {
            self.world.restore_host(host, image, keys);
        }
    }

    /// Puts the last copy of its vault on a device.
    pub fn restore_vault(&mut self, party: usize) {
        let copy = self
            .copies
            .as_ref()
            .map(|copies| (copies.vaults[party].clone(), copies.at_ms));
        if let Some((vault, at_ms)) = copy {
            self.put_vault(party, vault, at_ms);
        }
    }

    /// Puts a copy of its vault, made at that time, on a device.
    pub fn put_vault(&mut self, party: usize, vault: Vault, made_at_ms: u64) {
        self.digest();
        self.world.restore_party(party, vault);
        *self.restores.entry(party).or_default() += 1;
        for message in &mut self.messages {
            let sender = self.talks[message.talk].members[message.side];
            // What was written shortly before may not have been durable then.
            let kept = message.confirmed_at_ms.is_some_and(|at| at <= made_at_ms);
            if sender == party && !kept {
                message.forgotten = true;
                message.line = None;
            }
        }
    }

    /// A copy of what is durable on a device now.
    #[must_use]
    pub fn vault(&self, party: usize) -> Vault {
        self.world.parties[party].disk.vault.clone()
    }

    /// A device loses the MLS state of all its conversations.
    pub fn lose_groups(&mut self, party: usize) {
        self.world.switch_off(party);
        self.world.parties[party].disk.vault.lose_groups();
        self.world.start_party(party);
    }

    /// A device is off for so long.
    pub fn go_away(&mut self, party: usize, ms: u64) {
        self.world.switch_off(party);
        self.pass(ms);
        self.world.start_party(party);
    }

    /// A client's wall clock jumps.
    pub fn shift_clock(&mut self, party: usize, by_ms: u64, forward: bool) {
        let by = i64::try_from(by_ms).unwrap_or(0);
        if forward {
            *self.clock_forward_ms.entry(party).or_default() += by_ms;
        }
        let party = &mut self.world.parties[party];
        let by = if forward { by } else { -by };
        party.clock_off_by_ms = party.clock_off_by_ms.saturating_add(by);
    }

    /// Blocks, or not any more.
    pub fn block(&mut self, talk: usize, side: usize, on: bool) {
        self.tell(talk, side, |name| Command::Block { name, on });
    }

    /// The relay loses a log of a conversation. False: it did not have it.
    pub fn lose_log(&mut self, talk: usize, side: usize, wanted: Wanted) -> bool {
        let lost = self.as_insider(talk, side, wanted, |insider, store, _| insider.lose(store));
        self.world
            .note(format_args!("{wanted:?} log lost: {lost:?}"));
        if wanted == Wanted::Recovery {
            self.talks[talk].may_end = true;
        }
        lost == Some(true)
    }

    /// A member destroys a conversation's log.
    pub fn destroy_log(&mut self, talk: usize, side: usize) -> bool {
        let destroyed = self.as_insider(talk, side, Wanted::Conversation, |insider, store, now| {
            insider.destroy(store, now)
        });
        self.world
            .note(format_args!("log destroyed: {destroyed:?}"));
        destroyed == Some(true)
    }

    /// A relay shows one party another face than all others, with the same past, until `meanwhile` is over.
    pub fn two_faces(
        &mut self,
        host: usize,
        party: usize,
        meanwhile: impl FnOnce(&mut Scene),
    ) -> usize {
        let image = self.world.hosts[host].image();
        let name = self.world.hosts[host].name.clone();
        let twin = self.world.add_host(&name, None);
        self.world.restore_host(twin, image, true);
        self.world.net.routes.insert((party, host), twin);
        self.world.lose(party);
        meanwhile(self);
        self.world.net.routes.remove(&(party, host));
        self.world.switch_host_off(twin);
        twin
    }

    /// A member writes what he should not. False: the relay does not take it.
    pub fn write_rubbish(
        &mut self,
        talk: usize,
        side: usize,
        wanted: Wanted,
        rubbish: &Rubbish<'_>,
    ) -> bool {
        let seed = self.world.seed;
        let taken = self.as_insider(talk, side, wanted, |insider, store, now| {
            insider.append(rubbish, store, now, seed)
        });
        self.world.note(format_args!("rubbish: {taken:?}"));
        taken == Some(true)
    }

    /// A member's keys are used without his client for a commit that all must accept.
    pub fn commit_behind_his_back(&mut self, talk: usize, side: usize, close: bool) -> bool {
        let vault = self.vault(self.talks[talk].members[side]);
        let number = self.number_at(talk, side);
        let Some(commit) = insider::commit_from(&vault, number, close, self.world.seed) else {
            return false;
        };
        let entry = Rubbish {
            commit: true,
            close,
            kind: insider::MLS,
            content: &commit,
        };
        self.write_rubbish(talk, side, Wanted::Conversation, &entry)
    }

    /// Does something with a log of a conversation, with the keys of one side, while its relay is off for a moment.
    pub fn as_insider(
        &mut self,
        talk: usize,
        side: usize,
        wanted: Wanted,
        act: impl FnOnce(&Insider, &mut MemoryStore, Wall) -> bool,
    ) -> Option<bool> {
        let (party, host) = (self.talks[talk].members[side], self.talks[talk].host);
        let vault = self.vault(party);
        let name = self.talks[talk].name.clone();
        self.world.switch_host_off(host);
        let now = self.world.wall();
        let store = self.world.hosts[host].store();
        let insider = Insider::find(&vault, &name, wanted, store, now);
        let done = insider.map(|insider| act(&insider, store, now));
        self.world.start_host(host);
        done
    }

    /// Which conversation of a device it is, in the order in which they were made (failed ones included).
    fn number_at(&self, talk: usize, side: usize) -> usize {
        let party = self.talks[talk].members[side];
        let before = self.talks.iter().take(talk);
        before.filter(|talk| talk.members.contains(&party)).count()
    }
}
