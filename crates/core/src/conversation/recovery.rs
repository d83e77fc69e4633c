//! Trouble, and the recovery log: what is read there and what is decided.
//!
//! There is no repair of a group. Whatever is wrong, the recovery log is read to its end: the last valid restart in it is
//! entered if it is new, else this device in trouble makes one. Nobody else's clock takes part.

use emptyroom_wire::entry;
use emptyroom_wire::op::{Answer, EntryPush, Refusal};
use emptyroom_wire::time::{DAY_MS, HOUR_MS, MINUTE_MS};

use super::sending::RENEW_MS;
use super::state::{Hash32, LogKey, Phase, Recovery};
use super::track::Track;
use super::{Conversation, Ctx, is_gone};
use crate::api::{
    Event, FailedWhy, LineId, MessageState, PeerTrouble, RelayTrouble, RestartReason,
};
use crate::kind;
use crate::link::{Role, below};
use crate::restart::{Fit, SignedRestart};
use crate::store::key;
use crate::store::value::Flag;

/// A restart that nobody took is replaced by its maker after that.
// [SPEC 10.13]
pub(super) const NOT_TAKEN_MS: u64 = 25 * DAY_MS;
/// A recovery log that the relay does not know for so long counts as lost.
// [SPEC 10.15]
const LOST_MS: u64 = HOUR_MS;
/// Restarts made or taken in a day before the user is asked.
// [SPEC 10.14]
pub(super) const RESTARTS_PER_DAY: usize = 10;
/// Restarts that are remembered: as many as the log holds.
const KNOWN_MAX: usize = 64;

impl Conversation {
    /// The group cannot be used any more. Only the first reason counts until a restart.
    // [SPEC 10.1]
    pub(super) fn trouble(&mut self, ctx: &mut Ctx<'_>, reason: RestartReason) {
        if !self.state.phase.stands() || self.state.phase.reason().is_some() {
            return;
        }
        self.keep_orders(ctx);
        self.drop_stage(ctx);
        ctx.store.delete(&self.id.candidate());
        self.live.main.leave(&mut ctx.port);
        self.live.probing = false;
        self.state.phase = Phase::trouble(reason);
        self.live.moved = true;
        if let Some(recovery) = &mut self.state.recovery {
            recovery.looked_ms = 0;
            // From now on it is needed: what a look found before does not count for 10.15.
            recovery.lost_since_ms = 0;
        }
        self.live.recovery.succeeded();
    }

    /// The recovery log must be read: trouble, a restart under way, or the daily look.
    fn recovery_wanted(&self, ctx: &Ctx<'_>) -> bool {
        match self.state.phase {
            Phase::Trouble(_) | Phase::Alone | Phase::Entering => true,
            Phase::Member => {
                let recovery = self.state.recovery.as_ref();
                recovery.is_some_and(|recovery| recovery.next_look_ms <= ctx.clock.now().0)
            }
            _ => false,
        }
    }

    pub(super) fn drive_recovery(&mut self, ctx: &mut Ctx<'_>) {
        if !self.recovery_wanted(ctx) {
            return self.live.recovery.leave(&mut ctx.port);
        }
        let (Some(recovery), Some(access)) = (&self.state.recovery, &self.live.recovery_access)
        else {
            return;
        };
        let from = recovery.track.next_seq();
        self.live
            .recovery
            .open(&mut ctx.port, access, from, ctx.clock.mono());
        if self.live.recovery.is_caught_up() {
            self.decide(ctx);
        }
    }

    pub(super) fn recovery_opened(&mut self, ctx: &mut Ctx<'_>, answer: &Answer) {
        let view = match self.live.recovery.opened(answer) {
            Ok(view) => view,
            Err(refusal) => return self.recovery_refused(ctx, refusal),
        };
        let now_ms = ctx.clock.now().0;
        let (Some(recovery), Some(access)) = (&mut self.state.recovery, &self.live.recovery_access)
        else {
            return;
        };
        recovery.lost_since_ms = 0;
        recovery.told_over = Flag(false);
        if now_ms.saturating_sub(recovery.renewed_ms) >= RENEW_MS {
            recovery.renewed_ms = now_ms;
            self.live.recovery.renew(&mut ctx.port, access);
        }
        if let Err(trouble) = recovery.track.check_view(&view) {
            return self.recovery_differs(ctx, trouble);
        }
        self.is_as_claimed(ctx, Role::Recovery, &view);
    }

    /// The recovery log is not what it was: it is read from its beginning. Restarts that were read before are known.
    fn recovery_differs(&mut self, ctx: &mut Ctx<'_>, trouble: RelayTrouble) {
        self.tell_trouble(ctx, trouble);
        if let Some(recovery) = &mut self.state.recovery {
            recovery.track = Track::default();
        }
        self.drop_restart_stage(ctx);
        self.live.recovery.leave(&mut ctx.port);
        self.live.recovery.wait(ctx.clock.mono(), 0);
    }

    pub(super) fn recovery_caught_up(&mut self, ctx: &mut Ctx<'_>, next_seq: u64) {
        let (Some(open), Some(recovery)) =
            (self.live.recovery.open_state(), &mut self.state.recovery)
        else {
            return;
        };
        let view = open.view;
        match recovery.track.caught_up(next_seq, &view) {
            Ok(_) => self.live.recovery.caught_up(),
            Err(trouble) => self.recovery_differs(ctx, trouble),
        }
    }

    pub(super) fn recovery_entry(&mut self, ctx: &mut Ctx<'_>, pushed: &EntryPush) {
        let (Some(recovery), Some(access)) = (&mut self.state.recovery, &self.live.recovery_access)
        else {
            return;
        };
        if let Err(trouble) = recovery.track.accept(pushed, access.log_id) {
            return self.recovery_differs(ctx, trouble);
        }
        if self
            .restart_stage
            .as_ref()
            .is_some_and(|staged| staged.is(pushed))
        {
            return self.restart_made(ctx);
        }
        let aad = pushed.aad(access.log_id);
        match entry::open(&access.outer, &aad, &pushed.body) {
            Ok((kind::RESTART, content)) if pushed.commit => self.read_restart(ctx, &content),
            Ok(_) => self.peer_trouble(ctx, PeerTrouble::RubbishRestart),
            Err(_) => self.tell_trouble(ctx, RelayTrouble::ForeignEntry),
        }
    }

    /// A restart in the log. The last valid one decides.
    // [SPEC 10.5]
    fn read_restart(&mut self, ctx: &mut Ctx<'_>, content: &[u8]) {
        let Some(access) = &self.live.recovery_access else {
            return;
        };
        let log = access.log_id;
        let Ok(signed) = SignedRestart::read(&log, content) else {
            return self.peer_trouble(ctx, PeerTrouble::RubbishRestart);
        };
        let by = signed.by().identity();
        let mine = self.own(ctx).is_some_and(|own| own.identity() == by);
        let theirs = self.peer().is_some_and(|peer| peer.identity() == by);
        let Some(recovery) = &mut self.state.recovery else {
            return;
        };
        if recovery.known.contains(&Hash32(signed.hash())) {
            return;
        }
        let fit = signed.fit(
            recovery.highest.max(recovery.accepted),
            &recovery.accepted_hash,
        );
        // [SPEC 10.7]
        if !(mine || theirs) || fit == Fit::TooFar {
            return self.peer_trouble(ctx, PeerTrouble::RubbishRestart);
        }
        recovery.know(signed.hash());
        recovery.highest = recovery.highest.max(signed.restart().counter);
        let enter = theirs && fit != Fit::NotHigher;
        recovery.pending = enter.then(|| content.to_vec().into());
        recovery.cannot_enter = Flag(!enter);
    }

    /// The log was read to its end.
    fn decide(&mut self, ctx: &mut Ctx<'_>) {
        let now_ms = ctx.clock.now().0;
        let Some(recovery) = &mut self.state.recovery else {
            return;
        };
        if self.live.recovery.is_appending() {
            return;
        }
        if recovery.pending.is_some() {
            return self.enter(ctx);
        }
        if std::mem::replace(&mut recovery.cannot_enter, Flag(false)).0 {
            if let Phase::Alone | Phase::Entering | Phase::Member = self.state.phase {
                self.trouble(ctx, RestartReason::RestartFailed);
            }
            return self.make_restart(ctx);
        }
        match self.state.phase {
            Phase::Trouble(_) => self.make_restart(ctx),
            Phase::Member => {
                recovery.looked_ms = now_ms;
                recovery.next_look_ms = now_ms.saturating_add(DAY_MS / 2 + below(ctx.rng, DAY_MS));
                self.live.recovery.leave(&mut ctx.port);
            }
            _ => {}
        }
    }

    /// The relay does not give the recovery log.
    pub(super) fn recovery_refused(&mut self, ctx: &mut Ctx<'_>, refusal: Refusal) {
        self.refusal_waits(ctx, Role::Recovery, refusal);
        if !is_gone(refusal.code) {
            return;
        }
        let now_ms = ctx.clock.now().0;
        self.drop_restart_stage(ctx);
        let Some(recovery) = &mut self.state.recovery else {
            return;
        };
        recovery.track = Track::default();
        if recovery.lost_since_ms == 0 {
            recovery.lost_since_ms = now_ms;
        }
        match self.state.phase {
            Phase::Member => {
                recovery.next_look_ms = now_ms.saturating_add(DAY_MS / 2 + below(ctx.rng, DAY_MS));
                self.make_recovery_again(ctx);
            }
            Phase::Alone | Phase::Entering => self.trouble(ctx, RestartReason::LogLost),
            Phase::Trouble(_) => self.recovery_lost(ctx),
            _ => {}
        }
    }

    /// In trouble, and there is no recovery log: make it again where that is possible, else wait for it.
    fn recovery_lost(&mut self, ctx: &mut Ctx<'_>) {
        let now_ms = ctx.clock.now().0;
        let lost = matches!(
            self.state.phase.reason(),
            Some(
                RestartReason::LogLost
                    | RestartReason::RelayRolledBack
                    | RestartReason::RestartFailed
            )
        );
        if lost && !self.live.join_repeated && self.repeat_join(ctx) {
            self.live.join_repeated = true;
            return;
        }
        self.make_recovery_again(ctx);
        let Some(recovery) = &mut self.state.recovery else {
            return;
        };
        let over = now_ms.saturating_sub(recovery.lost_since_ms) >= LOST_MS;
        if over && !recovery.told_over.0 {
            recovery.told_over = Flag(true);
            self.all_is_lost(ctx);
        }
    }

    /// A hint in the log that still works makes the recovery log again. Once on a link: a relay that takes the hint and does
    /// not know the log all the same is not asked in a storm.
    // [SPEC 10.3]
    fn make_recovery_again(&mut self, ctx: &mut Ctx<'_>) {
        let (Some(recovery), Some(main)) = (&self.state.recovery, &self.state.main) else {
            return;
        };
        let works = matches!(main.key, LogKey::Generation(_));
        if works && recovery.former.is_none() && !self.live.recovery_made {
            let key = main.key.duplicate();
            self.hint_into(ctx, Some(key));
        }
    }

    /// What is left is a new link. Should the recovery log come back, so does the conversation.
    // [SPEC 10.15]
    fn all_is_lost(&mut self, ctx: &mut Ctx<'_>) {
        loop {
            let page = ctx.store.scan(&self.id.queue(), None, 64, false);
            if page.is_empty() {
                break;
            }
            for line in page.iter().filter_map(|(key, _)| key::last_number(key)) {
                self.unqueue(ctx, LineId(line));
                self.set_state(
                    ctx,
                    LineId(line),
                    MessageState::Failed(FailedWhy::ConversationOver),
                );
            }
        }
        self.state.sending.queued = 0;
        self.own_timer_given_up();
        let conversation = self.name();
        ctx.events.push(Event::ConversationOver { conversation });
    }

    /// Whether another restart needs the user's leave; asks him once.
    // [SPEC 10.14]
    pub(super) fn restart_waits(&mut self, ctx: &mut Ctx<'_>, reason: RestartReason) -> bool {
        let now_ms = ctx.clock.now().0;
        let Some(recovery) = &mut self.state.recovery else {
            return true;
        };
        recovery
            .times_ms
            .retain(|at| now_ms.saturating_sub(*at) < DAY_MS);
        if recovery.times_ms.len() < RESTARTS_PER_DAY || recovery.allowed.0 {
            recovery.waits = Flag(false);
            return false;
        }
        if !std::mem::replace(&mut recovery.waits, Flag(true)).0 {
            let conversation = self.name();
            ctx.events.push(Event::RestartWaits {
                conversation,
                reason,
            });
        }
        true
    }

    /// The user allows one more restart. False: none waits.
    pub(crate) fn allow_restart(&mut self) -> bool {
        let waits = self.restart_waits_for_user();
        if let Some(recovery) = &mut self.state.recovery
            && waits
        {
            recovery.allowed = Flag(true);
        }
        waits
    }

    /// A restart waits for the user.
    pub(crate) fn restart_waits_for_user(&self) -> bool {
        self.state
            .recovery
            .as_ref()
            .is_some_and(|recovery| recovery.waits.0)
    }

    /// The relay lost everything.
    pub(crate) fn is_over(&self) -> bool {
        let recovery = self.state.recovery.as_ref();
        self.state.phase.reason().is_some() && recovery.is_some_and(|recovery| recovery.told_over.0)
    }
}

impl Recovery {
    pub(super) fn know(&mut self, hash: [u8; 32]) {
        self.known.push(Hash32(hash));
        if self.known.len() > KNOWN_MAX {
            self.known.remove(0);
        }
    }

    /// A restart was made or taken.
    pub(super) fn count(&mut self, now_ms: u64) {
        self.times_ms.push(now_ms);
        if self.times_ms.len() > RESTARTS_PER_DAY {
            self.times_ms.remove(0);
        }
        self.allowed = Flag(false);
        self.waits = Flag(false);
    }
}

const _: () = assert!(
    MINUTE_MS < LOST_MS,
    "the relay is asked several times before all counts as lost"
);
