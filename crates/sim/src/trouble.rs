//! Everything that can go wrong, one kind each.

use emptyroom_core::api::Command;

use emptyroom_wire::time::Wall;

use crate::dice::Dice;
use crate::insider::{self, Insider, Rubbish, Wanted};
use crate::lies::LIES;
use crate::memory_store::{MemoryStore, Power};
use crate::records::Vault;
use crate::scene::{SIDES, Scene};
use crate::world::{DAY, HOUR, Host, Image, MINUTE};

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A client's connections break.
    LoseConnections,
    /// Nobody reaches anybody for a while.
    Cut,
    /// A client dies now, or after a few outputs.
    KillClient,
    /// The relay dies.
    KillRelay,
    /// The relay's power goes in the middle of a commit.
    PowerCut,
    /// A client's disk is full.
    ClientDiskFull,
    /// The relay's disk is full for a while.
    RelayDiskFull,
    /// A client's wall clock jumps back.
    ClockBack,
    /// A client's wall clock jumps forward.
    ClockForward,
    /// A client is off for days.
    Away,
    /// A client is off for a year.
    AwayYear,
    /// A side blocks the other for a while.
    Block,
    /// The relay goes back to an older image of its disk.
    RestoreRelay,
    /// A client's vault goes back to an older copy.
    RestoreVault,
    /// A client loses its MLS state.
    LoseGroups,
    /// The relay loses the log of a conversation.
    LoseLog,
    /// The relay loses a recovery log.
    LoseRecoveryLog,
    /// A member writes rubbish into a commit slot.
    RubbishCommit,
    /// A member closes the log without a valid commit.
    CloseLog,
    /// A member makes a valid commit that nobody can follow.
    DeadEnd,
    /// A member's key is used behind his back for a valid commit.
    StolenCommit,
    /// The relay lies for a while.
    Lie,
}

/// Trouble that leaves groups and histories as they are.
pub const MILD: &[Trouble] = &[
    Trouble::LoseConnections,
    Trouble::LoseConnections,
    Trouble::Cut,
    Trouble::KillClient,
    Trouble::KillClient,
    Trouble::KillRelay,
    Trouble::PowerCut,
    Trouble::ClientDiskFull,
    Trouble::RelayDiskFull,
    Trouble::ClockBack,
    Trouble::ClockForward,
    Trouble::Away,
    Trouble::Block,
];

/// Trouble that only a restart ends.
pub const GRAVE: &[Trouble] = &[
    Trouble::RestoreRelay,
    Trouble::RestoreVault,
    Trouble::LoseGroups,
    Trouble::LoseLog,
    Trouble::LoseRecoveryLog,
    Trouble::RubbishCommit,
    Trouble::CloseLog,
    Trouble::DeadEnd,
    Trouble::StolenCommit,
    Trouble::AwayYear,
    Trouble::Lie,
];

/// Kinds that are not in random runs, because something in the product is still missing. None.
pub const LEFT_OUT: &[Trouble] = &[];

/// A relay's disk and the vaults, as they were once.
pub struct Copies {
    at_ms: u64,
    hosts: Vec<Image>,
    vaults: Vec<Vault>,
}

impl Scene {
    /// Makes trouble of this kind somewhere.
    pub fn make_trouble(&mut self, kind: Trouble, dice: &mut Dice) {
        let party = dice.index(self.world.parties.len());
        let host = dice.index(self.world.hosts.len());
        self.world
            .note(format_args!("trouble: {kind:?} p{party} r{host}"));
        match kind {
            Trouble::LoseConnections if dice.percent(30) => self.world.lose_all(),
            Trouble::LoseConnections => self.world.lose(party),
            Trouble::Cut => {
                self.world.net.cut = true;
                self.world.lose_all();
                self.pass(dice.time_ms(6 * HOUR));
                self.world.net.cut = false;
            }
            Trouble::KillClient if dice.percent(30) => self.world.end_party(party),
            Trouble::KillClient => {
                self.world.parties[party].dies_after = Some(dice.below(30));
            }
            Trouble::KillRelay => self.world.end_host(host),
            Trouble::PowerCut => self.cut_power(host, dice),
            Trouble::ClientDiskFull => {
                self.world.parties[party].full_after = Some(dice.below(10));
                self.pass(dice.time_ms(10 * MINUTE));
                self.world.parties[party].full_after = None;
            }
            Trouble::RelayDiskFull => {
                self.world.hosts[host].set_full(true);
                self.pass(dice.time_ms(HOUR));
                self.world.hosts[host].set_full(false);
            }
            Trouble::ClockBack => self.shift_clock(party, dice.time_ms(2 * DAY), false),
            Trouble::ClockForward => self.shift_clock(party, dice.time_ms(2 * DAY), true),
            Trouble::Away => self.go_away(party, dice.between(HOUR, 10 * DAY)),
            Trouble::AwayYear => self.go_away(party, dice.between(200 * DAY, 390 * DAY)),
            Trouble::Block => self.block_for_a_while(dice),
            Trouble::RestoreRelay => self.restore_relay(host, dice.percent(70)),
            Trouble::RestoreVault => self.restore_vault(party),
            Trouble::LoseGroups => self.lose_groups(party),
            Trouble::LoseLog => self.lose_log(dice, Wanted::Conversation),
            Trouble::LoseRecoveryLog => self.lose_log(dice, Wanted::Recovery),
            Trouble::RubbishCommit => self.write_rubbish(dice, false),
            Trouble::CloseLog => self.write_rubbish(dice, true),
            Trouble::DeadEnd => self.commit_behind_his_back(dice, true),
            Trouble::StolenCommit => self.commit_behind_his_back(dice, false),
            Trouble::Lie => {
                let lie = dice.pick(LIES);
                self.world.note(format_args!("r{host} lies: {lie:?}"));
                self.world.hosts[host].lie = Some(lie);
                self.world.lose_all();
                self.pass(dice.time_ms(HOUR));
                self.world.hosts[host].lie = None;
            }
        }
    }

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

    fn cut_power(&mut self, host: usize, dice: &mut Dice) {
        let power = match dice.below(3) {
            0 => Power::GoesAmongEntries(dice.number()),
            1 => Power::GoesBeforeLasting,
            _ => Power::GoesAfterLasting,
        };
        self.world.hosts[host].cut_power(power);
    }

    fn go_away(&mut self, party: usize, ms: u64) {
        self.world.switch_off(party);
        self.pass(ms);
        self.world.start_party(party);
    }

    fn block_for_a_while(&mut self, dice: &mut Dice) {
        let alive = self.alive();
        if alive.is_empty() {
            return;
        }
        let (talk, side) = (dice.pick(&alive), dice.pick(&SIDES));
        self.block(talk, side, true);
        self.pass(dice.time_ms(3 * DAY));
        self.block(talk, side, false);
    }

    /// Puts the last copy of its disk into a relay, its keys with it or not.
    pub fn restore_relay(&mut self, host: usize, keys: bool) {
        let Some(image) = self
            .copies
            .as_ref()
            .map(|copies| copies.hosts[host].clone())
        else {
            return;
        };
        self.world.restore_host(host, image, keys);
    }

    /// Puts the last copy of its vault on a device.
    pub fn restore_vault(&mut self, party: usize) {
        self.digest();
        let Some(copies) = &self.copies else {
            return;
        };
        let (vault, since_ms) = (copies.vaults[party].clone(), copies.at_ms);
        self.world.restore_party(party, vault);
        *self.restores.entry(party).or_default() += 1;
        for message in &mut self.messages {
            let sender = self.talks[message.talk].members[message.side];
            if sender == party && message.at_ms >= since_ms {
                message.forgotten = true;
                message.line = None;
            }
        }
    }

    /// A device loses the MLS state of all its conversations.
    pub fn lose_groups(&mut self, party: usize) {
        self.world.switch_off(party);
        self.world.parties[party].disk.vault.lose_groups();
        self.world.start_party(party);
    }

    fn lose_log(&mut self, dice: &mut Dice, wanted: Wanted) {
        let done = self.as_insider(dice, wanted, |insider, store, _, _| insider.lose(store));
        self.world
            .note(format_args!("{wanted:?} log lost: {done:?}"));
    }

    fn write_rubbish(&mut self, dice: &mut Dice, close: bool) {
        let seed = self.world.seed;
        let bytes: Vec<u8> = (0..dice.below(200))
            .map(|byte| byte.to_le_bytes()[0])
            .collect();
        let kind = u8::try_from(dice.below(6)).unwrap_or(0);
        let rubbish = Rubbish {
            commit: true,
            close,
            kind,
            content: &bytes,
        };
        let done = self.as_insider(dice, Wanted::Conversation, |insider, store, now, _| {
            insider.append(&rubbish, store, now, seed)
        });
        self.world.note(format_args!("rubbish: {done:?}"));
    }

    fn commit_behind_his_back(&mut self, dice: &mut Dice, close: bool) {
        let seed = self.world.seed;
        let done = self.as_insider(
            dice,
            Wanted::Conversation,
            |insider, store, now, (vault, conversation)| {
                let Some(commit) = insider::commit_from(vault, conversation, close, seed) else {
                    return false;
                };
                let entry = Rubbish {
                    commit: true,
                    close,
                    kind: insider::MLS,
                    content: &commit,
                };
                insider.append(&entry, store, now, seed)
            },
        );
        self.world
            .note(format_args!("commit behind his back: {done:?}"));
    }

    /// Does something with the log of a random conversation of a random party, while its relay is off for a moment.
    fn as_insider(
        &mut self,
        dice: &mut Dice,
        wanted: Wanted,
        act: impl Fn(&Insider, &mut MemoryStore, Wall, (&Vault, usize)) -> bool,
    ) -> Option<bool> {
        let alive = self.alive();
        if alive.is_empty() {
            return None;
        }
        let talk = dice.pick(&alive);
        let (party, host) = (
            self.talks[talk].members[dice.index(2)],
            self.talks[talk].host,
        );
        self.world.switch_host_off(host);
        let now = self.world.wall();
        let vault = self.world.parties[party].disk.vault.clone();
        let heads: Vec<&[u8]> = vault.parts(b'h').map(|(_, head)| head).collect();
        let store = self.world.hosts[host].store();
        let found = heads.iter().enumerate().find_map(|(number, head)| {
            Insider::find(head, wanted, store, now).map(|insider| (number, insider))
        });
        let done = found.map(|(number, insider)| act(&insider, store, now, (&vault, number)));
        self.world.start_host(host);
        done
    }

    fn shift_clock(&mut self, party: usize, by_ms: u64, forward: bool) {
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
}
