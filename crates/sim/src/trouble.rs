//! Everything that can go wrong, one kind each.

use emptyroom_core::api::Command;

use crate::dice::Dice;
use crate::memory_store::Power;
use crate::records::Vault;
use crate::scene::Scene;
use crate::world::{DAY, HOUR, MINUTE, SECOND};

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
}

/// What random runs are made of.
///
/// Not among them, because something in the product is still missing: nothing.
pub const MIX: &[Trouble] = &[
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
];

impl Scene {
    /// Makes trouble of this kind somewhere.
    pub fn make_trouble(&mut self, kind: Trouble, dice: &mut Dice) {
        let party = dice.index(self.world.parties.len());
        let host = dice.index(self.world.hosts.len());
        self.world
            .note(format_args!("trouble: {kind:?} p{party} r{host}"));
        match kind {
            Trouble::LoseConnections => {
                if dice.percent(30) {
                    self.world.lose_all();
                } else {
                    self.world.lose(party);
                }
            }
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
            Trouble::PowerCut => {
                let power = match dice.below(3) {
                    0 => Power::GoesAmongEntries(dice.number()),
                    1 => Power::GoesBeforeLasting,
                    _ => Power::GoesAfterLasting,
                };
                self.world.hosts[host].cut_power(power);
            }
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
            Trouble::ClockBack => {
                let jump = dice.time_ms(2 * DAY);
                self.shift_clock(party, -i64::try_from(jump).unwrap_or(0));
            }
            Trouble::ClockForward => {
                let jump = dice.time_ms(2 * DAY);
                *self.clock_forward_ms.entry(party).or_default() += jump;
                self.shift_clock(party, i64::try_from(jump).unwrap_or(0));
            }
            Trouble::Away => {
                self.world.switch_off(party);
                self.pass(dice.between(HOUR, 10 * DAY));
                self.world.start_party(party);
            }
        }
    }

    fn shift_clock(&mut self, party: usize, by_ms: i64) {
        let party = &mut self.world.parties[party];
        party.clock_off_by_ms = party.clock_off_by_ms.saturating_add(by_ms);
    }

    /// What went with a vault that is put back.
    pub fn note_restore(&mut self, party: usize, since_ms: u64) {
        *self.restores.entry(party).or_default() += 1;
        for message in &mut self.messages {
            let sender = self.talks[message.talk].members[message.side];
            if sender == party && message.at_ms >= since_ms {
                message.forgotten = true;
                message.line = None;
            }
        }
    }

    /// Puts an older copy of its vault on a device.
    pub fn restore_vault(&mut self, party: usize, vault: Vault, since_ms: u64) {
        self.digest();
        self.world.restore_party(party, vault);
        self.note_restore(party, since_ms);
    }

    /// Blocks, or not any more.
    pub fn block(&mut self, talk: usize, side: usize, on: bool) {
        self.tell(talk, side, |name| Command::Block { name, on });
    }
}

const _: () = assert!(SECOND == 1_000);
