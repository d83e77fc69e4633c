//! Everything that can go wrong, one kind each; how it is done is in [`deeds`].

pub mod deeds;
mod meeting;

use emptyroom_core::api::ContactState;

use crate::dice::Dice;
use crate::insider::{Rubbish, Wanted};
use crate::lies::LIES;
use crate::memory_store::Power;
use crate::scene::{SIDES, Scene};
use crate::world::{DAY, HOUR, MINUTE};

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
    /// A relay's wall clock is behind for a while.
    RelayClockBack,
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
    /// A member destroys the log of a conversation.
    DestroyLog,
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
    /// The relay is two for a while, with one name and one past.
    TwoFaces,
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
    Trouble::RelayClockBack,
    Trouble::Away,
    Trouble::Block,
];

/// Trouble that only a restart ends.
pub const GRAVE: &[Trouble] = &[
    Trouble::RestoreRelay,
    Trouble::RestoreVault,
    Trouble::LoseGroups,
    Trouble::LoseLog,
    Trouble::DestroyLog,
    Trouble::LoseRecoveryLog,
    Trouble::RubbishCommit,
    Trouble::CloseLog,
    Trouble::DeadEnd,
    Trouble::StolenCommit,
    Trouble::AwayYear,
    Trouble::Lie,
    Trouble::TwoFaces,
];

/// Kinds that are not in random runs, because something in the product is still missing. None.
pub const LEFT_OUT: &[Trouble] = &[];

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
            Trouble::RelayClockBack => self.relay_clock_back(host, dice),
            Trouble::Away => self.go_away(party, dice.between(HOUR, 10 * DAY)),
            Trouble::AwayYear => self.years_pass(party, dice),
            Trouble::Block => self.block_for_a_while(dice),
            Trouble::RestoreRelay => self.restore_relay(host, dice.percent(70)),
            Trouble::RestoreVault => self.restore_vault(party),
            Trouble::LoseGroups => self.lose_groups(party),
            Trouble::LoseLog => {
                if let Some((talk, side)) = self.anybody(dice) {
                    self.lose_log(talk, side, Wanted::Conversation);
                }
            }
            Trouble::DestroyLog => {
                if let Some((talk, side)) = self.anybody(dice) {
                    self.destroy_log(talk, side);
                }
            }
            Trouble::LoseRecoveryLog => {
                if let Some((talk, side)) = self.anybody(dice) {
                    self.lose_log(talk, side, Wanted::Recovery);
                }
            }
            Trouble::RubbishCommit => self.rubbish_somewhere(dice, false),
            Trouble::CloseLog => self.rubbish_somewhere(dice, true),
            Trouble::DeadEnd | Trouble::StolenCommit => {
                if let Some((talk, side)) = self.anybody(dice) {
                    self.commit_behind_his_back(talk, side, kind == Trouble::DeadEnd);
                }
            }
            Trouble::Lie => self.lie_for_a_while(host, dice),
            Trouble::TwoFaces => {
                let time = dice.time_ms(6 * HOUR);
                self.two_faces(host, party, |scene| scene.talk_apart(time, dice));
            }
        }
    }

    fn relay_clock_back(&mut self, host: usize, dice: &mut Dice) {
        let back = i64::try_from(dice.time_ms(2 * DAY)).unwrap_or(0);
        self.world.hosts[host].clock_off_by_ms = -back;
        self.pass(dice.time_ms(DAY));
        self.world.hosts[host].clock_off_by_ms = 0;
    }

    fn cut_power(&mut self, host: usize, dice: &mut Dice) {
        let power = match dice.below(3) {
            0 => Power::GoesAmongEntries(dice.number()),
            1 => Power::GoesBeforeLasting,
            _ => Power::GoesAfterLasting,
        };
        self.world.hosts[host].cut_power(power);
    }

    fn block_for_a_while(&mut self, dice: &mut Dice) {
        if let Some((talk, side)) = self.anybody(dice) {
            self.block(talk, side, true);
            self.pass(dice.time_ms(3 * DAY));
            self.block(talk, side, false);
        }
    }

    fn lie_for_a_while(&mut self, host: usize, dice: &mut Dice) {
        let lie = dice.pick(LIES);
        self.world.note(format_args!("r{host} lies: {lie:?}"));
        self.world.hosts[host].lie = Some(lie);
        self.world.lose_all();
        self.pass(dice.time_ms(HOUR));
        self.world.hosts[host].lie = None;
    }

    /// People go on talking meanwhile, if they know each other yet.
    fn talk_apart(&mut self, ms: u64, dice: &mut Dice) {
        for _ in 0..dice.below(4) {
            if let Some((talk, side)) = self.anybody(dice)
                && let Some(contact) = self.contact(talk, side)
                && contact.state == ContactState::Active
            {
                self.send_plain(talk, side);
            }
            self.pass(ms / 4);
        }
    }

    /// One is away for most of a year. The others look in for a day of every ten, or are away as well. Somebody who stays on
    /// pings 130,000 times in a year and a relay makes 8,760 keys, which is what years cost; so relays are off where nobody
    /// needs them, but in some years.
    fn years_pass(&mut self, party: usize, dice: &mut Dice) {
        let time = dice.between(200 * DAY, 390 * DAY);
        let (look_in, relays_on) = (dice.percent(50), dice.percent(25));
        let end = self.world.now_ms() + time;
        while self.world.now_ms() < end {
            for other in 0..self.world.parties.len() {
                self.world.switch_off(other);
            }
            for host in (0..self.world.hosts.len()).filter(|_| !relays_on) {
                self.world.switch_host_off(host);
            }
            self.pass(9 * DAY);
            if look_in {
                self.start_all_but(Some(party));
            }
            self.pass(DAY);
        }
        self.start_all_but(None);
        // A second year right after would be more than a recovery log lives without being renewed.
        self.pass(3 * DAY);
    }

    fn start_all_but(&mut self, away: Option<usize>) {
        for host in 0..self.world.hosts.len() {
            self.world.start_host(host);
        }
        for party in (0..self.world.parties.len()).filter(|party| Some(*party) != away) {
            self.world.start_party(party);
        }
    }

    /// A side of a conversation that came about.
    fn anybody(&self, dice: &mut Dice) -> Option<(usize, usize)> {
        let alive = self.alive();
        (!alive.is_empty()).then(|| (dice.pick(&alive), dice.pick(&SIDES)))
    }

    fn rubbish_somewhere(&mut self, dice: &mut Dice, close: bool) {
        let len = usize::try_from(dice.below(200)).unwrap_or(0);
        let content = vec![7; len];
        let kind = u8::try_from(dice.below(6)).unwrap_or(0);
        let rubbish = Rubbish {
            commit: true,
            close,
            kind,
            content: &content,
        };
        if let Some((talk, side)) = self.anybody(dice) {
            self.write_rubbish(talk, side, Wanted::Conversation, &rubbish);
        }
    }
}
