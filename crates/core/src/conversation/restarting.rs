//! Making a restart, entering one, and the hint that tells the other side.

use emptyroom_wire::entry::Ttl;
use emptyroom_wire::log_keys;
use emptyroom_wire::op::{Answer, NewLog};
use emptyroom_wire::rng;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::DAY_MS;

use super::claims::Claim;
use super::lines::{LineContent, RestartedLine};
use super::live::Unsaved;
use super::recovery::NOT_TAKEN_MS;
use super::stage::{RestartStage, Slot, Staged, What};
use super::state::{LogKey, MainLog, Phase, new_recovery};
use super::track::Acknowledged;
use super::{Conversation, Ctx, is_gone};
use crate::api::{RelayTrouble, RestartReason};
use crate::genesis::{Binding, Genesis};
use crate::kind;
use crate::link::{Role, below};
use crate::mls::Group;
use crate::position::Position;
use crate::restart::{Fit, Restart, SignedRestart, hash, reason_code};
use crate::store::value::{Flag, StoredSecret};

/// A stale hint is tried again so often.
// [SPEC 10.11]
const HINTS_MAX: u8 = 3;

impl Conversation {
    /// In trouble, with the recovery log read to its end and nothing new in it.
    // [SPEC 10.2]
    pub(super) fn make_restart(&mut self, ctx: &mut Ctx<'_>) {
        let Some(reason) = self.state.phase.reason() else {
            return;
        };
        if !self.live.recovery.may_try(ctx.clock.mono()) {
            return;
        }
        // A slot was filled since it was made: it is void.
        let slots = (self.state.recovery.as_ref()).map(|recovery| recovery.track.slots());
        let staged = self.restart_stage.as_ref();
        if staged.is_some_and(|staged| Some(staged.expect_slots) != slots) {
            self.drop_restart_stage(ctx);
        }
        if self.restart_stage.is_none() {
            if self.restart_waits(ctx, reason) {
                return;
            }
            self.stage_restart(ctx, reason);
        }
        if let (Some(staged), Some(access)) = (&self.restart_stage, &self.live.recovery_access) {
            self.live.recovery.append(&mut ctx.port, access, staged);
        }
    }

    /// A fresh group with one member, its log 0, and the blob that says so.
    fn stage_restart(&mut self, ctx: &mut Ctx<'_>, reason: RestartReason) -> Option<()> {
        let peer = self.peer()?;
        self.own(ctx)?;
        let own = self.live.own.as_ref()?;
        let recovery = self.state.recovery.as_ref()?;
        let access = self.live.recovery_access.as_ref()?;
        let group = Group::create(own, ctx.rng).ok()?;
        let genesis = Genesis {
            group_info: group.group_info(own).ok()?,
        };
        let secret: Secret32 = rng::secret(ctx.rng);
        let (header, log_0) = log_keys::restart(&secret);
        let genesis = genesis.encode();
        let first = (kind::GENESIS, genesis.as_slice());
        let first = Staged::first(&log_0.outer, log_0.log_id, Ttl::Day30, first, ctx.rng)?;
        // [SPEC 10.7]
        let counter = recovery.highest.max(recovery.accepted).checked_add(1)?;
        let restart = Restart {
            counter,
            previous: recovery.accepted_hash,
            reason,
            shown: self.shown_to(),
            binding: Binding::of(own.identity(), group.id()),
        };
        let blob = restart.seal(own, &access.log_id, &[peer], &secret, ctx.rng);
        let what = What::Restart(RestartStage {
            secret: StoredSecret(secret),
            counter,
            hash: hash(&blob),
            reason: reason_code(reason),
        });
        let slot = Slot {
            expect_slots: recovery.track.slots(),
            commit: true,
            close: false,
            ttl: Ttl::Life,
        };
        let next = vec![NewLog {
            header,
            first: Some(first),
        }];
        let staged = Staged::seal(access, what, slot, (kind::RESTART, &blob), next, ctx.rng)?;
        ctx.store.put(self.id.candidate(), group.snapshot());
        ctx.store.put(self.id.restart_stage(), staged.record());
        self.restart_stage = Some(staged);
        Some(())
    }

    /// How far this device has shown the conversation, as the other side needs to know it: up to the first entry that is
    /// missing and that it was not told of.
    // [SPEC 10.12]
    pub(super) fn shown_to(&self) -> Position {
        let receipts = &self.state.receipts;
        let missing = receipts.first_untold_gap();
        missing.map_or(receipts.got, |from| from.min(receipts.got))
    }

    pub(super) fn recovery_appended(&mut self, ctx: &mut Ctx<'_>, answer: &Answer) {
        self.live.recovery.appended(answer);
        let (Some(staged), Some(recovery)) = (&self.restart_stage, &mut self.state.recovery) else {
            return;
        };
        match answer {
            // Anything else proves nothing: the same bytes are appended again, or read back.
            // [SPEC 10.2]
            Answer::Appended(appended) => {
                let aad = staged.aad();
                let trouble = match recovery.track.acknowledged(&staged.own(&aad), appended) {
                    Ok(Acknowledged::Ahead) => return self.restart_made(ctx),
                    Ok(Acknowledged::Passed) => RelayTrouble::WrongSequence,
                    Err(trouble) => trouble,
                };
                self.answer_cannot_be(ctx, Role::Recovery, trouble);
            }
            Answer::Stale(view) if !recovery.track.may_be_stale(staged.expect_slots, view) => {
                self.answer_cannot_be(ctx, Role::Recovery, RelayTrouble::WrongAnswer);
            }
            // Another one was first: it is read now, and decided anew.
            Answer::Stale(view) => self.recovery_left(ctx, Some(Claim::Filled(*view))),
            Answer::Refused(refusal) => match Claim::of(refusal.code) {
                None => self.refusal_waits(ctx, Role::Recovery, *refusal),
                claim => self.recovery_left(ctx, claim),
            },
            _ => {}
        }
    }

    /// What became of the recovery log shows when it is opened again.
    fn recovery_left(&mut self, ctx: &mut Ctx<'_>, claim: Option<Claim>) {
        self.live.recovery.claimed(claim);
        self.live.recovery.leave(&mut ctx.port);
        self.live.recovery.wait(ctx.clock.mono(), 0);
    }

    pub(super) fn drop_restart_stage(&mut self, ctx: &mut Ctx<'_>) {
        if self.restart_stage.take().is_some() {
            ctx.store.delete(&self.id.restart_stage());
            ctx.store.delete(&self.id.candidate());
        }
    }

    /// The restart is in the recovery log: this device lives in its group from now on.
    pub(super) fn restart_made(&mut self, ctx: &mut Ctx<'_>) {
        let now_ms = ctx.clock.now().0;
        let Some(staged) = self.restart_stage.take() else {
            return;
        };
        self.keep_orders(ctx);
        ctx.store.delete(&self.id.restart_stage());
        let candidate = ctx.store.get(&self.id.candidate());
        ctx.store.delete(&self.id.candidate());
        let (What::Restart(made), Some(recovery)) = (&staged.what, &mut self.state.recovery) else {
            return;
        };
        recovery.accepted = made.counter;
        recovery.accepted_hash = made.hash;
        recovery.highest = recovery.highest.max(made.counter);
        recovery.know(made.hash);
        recovery.pending = None;
        recovery.cannot_enter = Flag(false);
        recovery.alone_since_ms = now_ms;
        recovery.count(now_ms);
        let Some(group) = candidate.and_then(|record| Group::load(&record).ok()) else {
            return;
        };
        // The other side learns of it at once where the log that is left still works.
        let former = match &self.state.main {
            Some(MainLog {
                key: key @ LogKey::Generation(_),
                ..
            }) => Some(key.duplicate()),
            _ => recovery.former.take(),
        };
        let (counter, reason) = (made.counter, made.reason);
        let key = LogKey::Restart(StoredSecret(made.secret.0.duplicate()));
        ctx.store.delete(&self.id.message_keys());
        self.adopt_group(group);
        self.set_main(ctx, MainLog::new(key, counter, 0, now_ms));
        self.state.phase = Phase::Alone;
        self.hint_into(ctx, former);
        let line = self.notice(
            ctx,
            LineContent::Restarted(RestartedLine {
                by_me: Flag(true),
                reason,
                unlinked: Flag(false),
            }),
        );
        self.event_line(ctx, line);
    }

    /// The last valid restart is new: its group is entered, whatever this device was doing.
    // [SPEC 10.8]
    pub(super) fn enter(&mut self, ctx: &mut Ctx<'_>) {
        let now_ms = ctx.clock.now().0;
        let reason = self
            .state
            .phase
            .reason()
            .unwrap_or(RestartReason::StateLost);
        if self.restart_waits(ctx, reason) {
            return;
        }
        let Some(log) = self
            .live
            .recovery_access
            .as_ref()
            .map(|access| access.log_id)
        else {
            return;
        };
        let pending = self
            .state
            .recovery
            .as_mut()
            .and_then(|recovery| recovery.pending.take());
        let Some(signed) =
            pending.and_then(|bytes| SignedRestart::read(&log, bytes.as_slice()).ok())
        else {
            return;
        };
        let secret = self.own(ctx).and_then(|own| signed.open(own).ok());
        self.keep_orders(ctx);
        self.drop_stage(ctx);
        self.drop_restart_stage(ctx);
        ctx.store.delete(&self.id.candidate());
        let Some(recovery) = &mut self.state.recovery else {
            return;
        };
        let fit = signed.fit(recovery.accepted, &recovery.accepted_hash);
        recovery.accepted = signed.restart().counter;
        recovery.accepted_hash = signed.hash();
        recovery.entering_reason = reason_code(signed.restart().reason);
        recovery.entering_unlinked = Flag(fit == Fit::OtherPredecessor);
        recovery.entering_binding = signed.restart().binding.0;
        recovery.peer_shown = signed.restart().shown;
        recovery.count(now_ms);
        self.live.group = None;
        self.live.unsaved = Unsaved::Nothing;
        ctx.store.delete(&self.id.group());
        ctx.store.delete(&self.id.message_keys());
        let Some(secret) = secret else {
            self.state.phase = Phase::Member;
            return self.trouble(ctx, RestartReason::RestartFailed);
        };
        let key = LogKey::Restart(StoredSecret(secret));
        self.set_main(ctx, MainLog::new(key, signed.restart().counter, 0, now_ms));
        self.state.phase = Phase::Entering;
    }

    /// The group of a restart was entered: one line says who made it and why.
    pub(super) fn tell_entered(&mut self, ctx: &mut Ctx<'_>) {
        let now_ms = ctx.clock.now().0;
        let Some(recovery) = &mut self.state.recovery else {
            return;
        };
        recovery.next_look_ms = now_ms.saturating_add(DAY_MS / 2 + below(ctx.rng, DAY_MS));
        let content = LineContent::Restarted(RestartedLine {
            by_me: Flag(false),
            reason: recovery.entering_reason,
            unlinked: recovery.entering_unlinked,
        });
        let line = self.notice(ctx, content);
        self.event_line(ctx, line);
    }

    /// Waits in its own restart's log 0.
    pub(super) fn drive_alone(&mut self, ctx: &mut Ctx<'_>) {
        let now_ms = ctx.clock.now().0;
        let since = self
            .state
            .recovery
            .as_ref()
            .map_or(now_ms, |recovery| recovery.alone_since_ms);
        if now_ms.saturating_sub(since) >= NOT_TAKEN_MS {
            return self.trouble(ctx, RestartReason::NotTaken);
        }
        if let (Some(main), Some(access)) = (&self.state.main, &self.live.access) {
            self.live.main.open(
                &mut ctx.port,
                access,
                main.track.next_seq(),
                ctx.clock.mono(),
            );
        }
    }

    /// One hint in the log that was left: "look into the recovery log", and that log itself if the relay lost it.
    // [SPEC 10.11]
    pub(super) fn drive_former(&mut self, ctx: &mut Ctx<'_>) {
        let Some(former) = self
            .state
            .recovery
            .as_ref()
            .and_then(|recovery| recovery.former.as_ref())
        else {
            return self.live.former.leave(&mut ctx.port);
        };
        if self.live.former.open_state().is_none() {
            self.live
                .former
                .open(&mut ctx.port, &former.access(), u64::MAX, ctx.clock.mono());
        }
    }

    pub(super) fn former_opened(&mut self, ctx: &mut Ctx<'_>, answer: &Answer) {
        match self.live.former.opened(answer) {
            Ok(view) if !view.closed => self.hint(ctx, view.slots),
            Ok(_) => self.hint_into(ctx, None),
            Err(refusal) if is_gone(refusal.code) => self.hint_into(ctx, None),
            Err(refusal) => self.refusal_waits(ctx, Role::Former, refusal),
        }
    }

    fn hint(&mut self, ctx: &mut Ctx<'_>, slots: u64) {
        let Some(recovery) = &self.state.recovery else {
            return;
        };
        let Some(access) = recovery.former.as_ref().map(LogKey::access) else {
            return;
        };
        let lost = recovery.lost_since_ms != 0;
        let next = lost
            .then(|| new_recovery(&recovery.secret.0))
            .into_iter()
            .collect();
        let slot = Slot {
            expect_slots: slots,
            commit: false,
            close: false,
            ttl: Ttl::Day30,
        };
        if let Some(staged) =
            Staged::seal(&access, What::Look, slot, (kind::LOOK, &[]), next, ctx.rng)
        {
            self.live.former.append(&mut ctx.port, &access, &staged);
        }
    }

    pub(super) fn former_appended(&mut self, ctx: &mut Ctx<'_>, answer: &Answer) {
        self.live.former.appended(answer);
        match answer {
            Answer::Stale(view) if self.live.hints < HINTS_MAX && !view.closed => {
                self.live.hints += 1;
                self.hint(ctx, view.slots);
            }
            Answer::Appended(_) => {
                let lost = self
                    .state
                    .recovery
                    .as_ref()
                    .is_some_and(|recovery| recovery.lost_since_ms != 0);
                if lost {
                    self.live.recovery_made = true;
                    self.live.recovery.succeeded();
                }
                self.hint_into(ctx, None);
            }
            _ => self.hint_into(ctx, None),
        }
    }

    /// A hint is to be written there, or nowhere any more. What is said of one before it is not about this one.
    // [SPEC 10.27]
    pub(super) fn hint_into(&mut self, ctx: &mut Ctx<'_>, former: Option<LogKey>) {
        self.live.former.leave(&mut ctx.port);
        self.live.hints = 0;
        if let Some(recovery) = &mut self.state.recovery {
            recovery.former = former;
        }
    }
}
