//! People who meet while everything goes wrong.
//!
//! An invite may fail: what one side has before the other is there cannot be recovered. But it must either stand or have
//! failed, visibly, and not stand at one side only.

use emptyroom_core::api::{ContactState, JoinFault};

use crate::dice::Dice;
use crate::scene::{SIDES, Scene};
use crate::trouble::{MILD, Trouble};
use crate::world::{DAY, HOUR};

/// When it is told that the other side was not seen, and some more.
const SETTLED_MS: u64 = 12 * DAY;

impl Scene {
    /// One invites the other, who joins, with trouble before, between and after it. False: it failed, as it may, and that was shown.
    pub fn meet_in_trouble(
        &mut self,
        [inviter, taker]: [usize; 2],
        host: usize,
        dice: &mut Dice,
        mix: &[Trouble],
    ) -> bool {
        self.stumble(dice, mix);
        let Some(talk) = self.invite(inviter, taker, host) else {
            self.heal();
            return false;
        };
        self.stumble(dice, mix);
        if dice.percent(70) {
            self.wait_open(talk);
        }
        self.stumble(dice, mix);
        self.join(talk);
        for _ in 0..dice.between(1, 3) {
            self.stumble(dice, mix);
            for side in SIDES {
                let state = self.contact(talk, side).map(|contact| contact.state);
                if state == Some(ContactState::Active) {
                    self.send(talk, side);
                }
            }
        }
        self.heal();
        if self.come_together(talk, 40 * DAY) {
            return true;
        }
        self.pass(SETTLED_MS);
        self.check_failed(talk, mix);
        self.talks[talk].over = true;
        false
    }

    fn stumble(&mut self, dice: &mut Dice, mix: &[Trouble]) {
        if dice.percent(40) {
            self.copy_everything();
        }
        if dice.percent(50) {
            let kind = dice.pick(mix);
            self.make_trouble(kind, dice);
        }
        self.pass(dice.time_ms(HOUR));
    }

    /// It did not come about: both sides say so, but for one whose vault went back to where nothing of it was known.
    fn check_failed(&mut self, talk: usize, mix: &[Trouble]) {
        let states = SIDES.map(|side| self.contact(talk, side).map(|contact| contact.state));
        let members = self.talks[talk].members;
        let restored = members.iter().any(|who| self.restores.contains_key(who));
        let ended = |state: &Option<ContactState>| match state {
            Some(
                ContactState::InviteFailed(_) | ContactState::JoinFailed(_) | ContactState::Over,
            ) => true,
            // He knows nothing of a link that he did not take.
            None => true,
            Some(_) => restored,
        };
        // The taker was told that nobody came, and may still be right: then the inviter does not know of him. But where nothing
        // was lost that was there once, a link that was taken brings the two together.
        let not_seen = Some(ContactState::JoinFailed(JoinFault::InviterNotSeen));
        let mild = mix.iter().all(|kind| MILD.contains(kind));
        let one_sided =
            states.contains(&not_seen) && (mild || states.contains(&Some(ContactState::Active)));
        if !states.iter().all(ended) || one_sided && !restored {
            self.world
                .fault(format!("t{talk} neither stands nor has failed: {states:?}"));
        }
    }
}
