//! Entering a group by its log 0: the one of a link, or the one of a restart.
//!
//! The join is built beside the conversation's own group, stored, appended, and adopted once the log has it. It closes log 0
//! and makes generation 1 (and for a link the recovery log) in the same append, so one can write at once.

use emptyroom_wire::entry::{self, RunningHash, Ttl};
use emptyroom_wire::link::InviteLink;
use emptyroom_wire::log_keys::{self, Owned};
use emptyroom_wire::op::{Appended, EntryPush, Refusal, RefusalCode, View};
use emptyroom_wire::time::DAY_MS;
use tls_codec::VLBytes;

use super::claims::Claim;
use super::origin::{Link, Origin};
use super::stage::{Slot, Staged, What};
use super::state::{LogKey, MainLog, Phase, SecretPair, State, new_generation, new_recovery};
use super::track::Acknowledged;
use super::{Conversation, Ctx};
use crate::account::OwnKeys;
use crate::api::{Event, JoinFault, Name, RelayTrouble, RestartReason};
use crate::genesis::{Binding, Genesis};
use crate::kind;
use crate::link::Role;
use crate::mls::{CommitNote, Group};
use crate::position::{LogPoint, Position};
use crate::store::key::ConversationId;
use crate::store::value::{Flag, StoredSecret};

/// An inviter who was not seen in this time: the link is shown as failed.
// [SPEC 8.54]
pub(super) const NOT_SEEN_MS: u64 = 7 * DAY_MS;
/// The join is kept as long as log 0 may live.
// [SPEC 8.53]
const KEEP_JOIN_MS: u64 = 30 * DAY_MS;

/// What a join is made from.
pub(crate) struct NewJoin<'a> {
    pub(crate) name: &'a Name,
    pub(crate) link: &'a InviteLink,
}

impl Conversation {
    /// A conversation that takes a link.
    pub(crate) fn take_link(ctx: &mut Ctx<'_>, id: ConversationId, new: &NewJoin<'_>) -> Self {
        let now = ctx.clock.now();
        let key = LogKey::Link(SecretPair {
            secret: StoredSecret(new.link.secret.duplicate()),
            other: StoredSecret(emptyroom_wire::secret::Secret32::new(
                *new.link.capability.expose(),
            )),
        });
        let own = OwnKeys::generate(ctx.root, now.day(), ctx.rng);
        ctx.store.put(id.own_keys(), own.record());
        let main = MainLog::new(key.duplicate(), 0, 0, now.0);
        let state = State::fresh(new.name, new.link.relay, Phase::Taking, main, now.0);
        let mut conversation = Self::assemble(id, state);
        conversation.derive_access();
        conversation.live.own = Some(own);
        conversation.set_origin(
            ctx,
            Origin::Link(Link {
                key,
                binding: new.link.binding.0,
                taken_ms: now.0,
                join: None,
                joined: Flag(false),
                inviter_seen: Flag(false),
                told_not_seen: Flag(false),
            }),
        );
        conversation
    }

    pub(super) fn drive_joining(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.clock.mono();
        if self.live.probing {
            let Some(What::Join(secret)) = self.stage.as_ref().map(|staged| &staged.what) else {
                self.live.probing = false;
                return;
            };
            let (_, access) = log_keys::conversation(&secret.0, Owned::ByMembers);
            return self.live.main.open(&mut ctx.port, &access, u64::MAX, now);
        }
        let (Some(main), Some(access)) = (&mut self.state.main, &self.live.access) else {
            return;
        };
        if self.live.main.open_state().is_none() {
            // Log 0 is read from its beginning each time: its first entry is not stored here.
            main.track = super::track::Track::default();
            self.live.genesis = None;
            return self.live.main.open(&mut ctx.port, access, 0, now);
        }
        if self.live.main.is_appending() || !self.live.main.may_try(now) {
            return;
        }
        if !self.live.main.is_caught_up() || main.track.next_seq() < self.live.read_first {
            return;
        }
        let end = main.track.end();
        if !self.is_as_claimed(ctx, Role::Main, &end) {
            return;
        }
        // A join that ran out closed its log all the same.
        if !end.closed && self.slot_is_filled() {
            self.discard_candidate(ctx);
        }
        if self.stage.is_none() {
            self.stage_join(ctx);
        }
        if let (Some(staged), Some(access)) = (&self.stage, &self.live.access) {
            self.live.main.append(&mut ctx.port, access, staged);
        }
    }

    /// Log 0, or while probing generation 1, was opened.
    pub(super) fn joining_opened(&mut self, ctx: &mut Ctx<'_>, view: &View) {
        if self.live.probing {
            // It exists: the join was taken, and log 0 has gone since.
            // [SPEC 8.52]
            self.live.probing = false;
            return self.joined(ctx, None);
        }
        // [SPEC 8.51]
        if view.closed && self.stage.is_none() {
            return self.fail_join(ctx, JoinFault::AlreadyUsed);
        }
        self.is_as_claimed(ctx, Role::Main, view);
    }

    /// The log is not there.
    pub(super) fn joining_gone(&mut self, ctx: &mut Ctx<'_>, code: RefusalCode) {
        if self.live.probing || self.stage.is_none() {
            self.live.probing = false;
            let why = if code == RefusalCode::Destroyed {
                JoinFault::Gone
            } else {
                JoinFault::Unknown
            };
            return self.fail_join(ctx, why);
        }
        self.live.main.lost();
        self.live.probing = true;
    }

    pub(super) fn read_as_joiner(&mut self, ctx: &mut Ctx<'_>, entry: &EntryPush) {
        if self.stage.as_ref().is_some_and(|staged| staged.is(entry)) {
            let appended = self.state.main.as_ref().map(|main| Appended {
                seq: entry.seq,
                running_hash: main.track.hash(),
            });
            return self.joined(ctx, appended);
        }
        if entry.close {
            return self.fail_join(ctx, JoinFault::AlreadyUsed);
        }
        let Some(access) = &self.live.access else {
            return;
        };
        if entry.seq == 0
            && let Ok((kind::GENESIS, content)) =
                entry::open(&access.outer, &entry.aad(access.log_id), &entry.body)
        {
            self.live.genesis = Some(content);
        } else if entry.seq == 0 {
            self.fail_join(ctx, JoinFault::NotAsNamed);
        }
    }

    /// Builds the join in scratch; nothing of this device changes before the log has it.
    // [SPEC 8.50]
    fn stage_join(&mut self, ctx: &mut Ctx<'_>) {
        let Some(genesis) = self.live.genesis.as_deref() else {
            // The first entry ran out before anybody took the link.
            // [SPEC 8.51]
            return self.fail_join(ctx, JoinFault::Gone);
        };
        let Ok(genesis) = Genesis::decode(genesis) else {
            return self.fail_join(ctx, JoinFault::NotAsNamed);
        };
        let entering = self.state.phase == Phase::Entering;
        if !entering && self.state.recovery.is_some() {
            // Only the very join that made the conversation is repeated: another one would be of a group that nobody is in.
            // [SPEC 8.53]
            return self.fail_join(ctx, JoinFault::AlreadyUsed);
        }
        let binding = match (&self.live.origin, &self.state.recovery) {
            (_, Some(recovery)) if entering => Binding(recovery.entering_binding),
            (Some(Origin::Link(link)), _) => Binding(link.binding),
            _ => return self.fail_join(ctx, JoinFault::NotAsNamed),
        };
        let note = CommitNote::join(entering.then(|| self.shown_to()));
        let peer = self.peer().map(|peer| peer.identity());
        if self.own(ctx).is_none() {
            return self.fail_join(ctx, JoinFault::Refused);
        }
        let joined =
            self.live.own.as_ref().and_then(|own| {
                Group::join(&genesis.group_info, &binding, own, &note, ctx.rng).ok()
            });
        let Some(joined) = joined else {
            return self.fail_join(ctx, JoinFault::NotAsNamed);
        };
        if peer.is_some_and(|peer| peer != joined.maker.certificate.identity()) {
            return self.fail_join(ctx, JoinFault::NotAsNamed);
        }
        let Ok(secret) = joined.group.generation_secret(1) else {
            return self.fail_join(ctx, JoinFault::NotAsNamed);
        };
        let mut next = vec![new_generation(&secret)];
        if !entering {
            next.push(new_recovery(&secret));
        }
        let (Some(main), Some(access)) = (&self.state.main, &self.live.access) else {
            return;
        };
        let slot = Slot {
            expect_slots: main.track.slots(),
            commit: true,
            close: true,
            ttl: Ttl::Day30,
        };
        let what = What::Join(StoredSecret(secret));
        let content = (kind::MLS, joined.commit.as_slice());
        if let Some(staged) = Staged::seal(access, what, slot, content, next, ctx.rng) {
            ctx.store.put(self.id.candidate(), joined.group.snapshot());
            self.put_stage(ctx, staged);
        }
    }

    /// Another entry came first. If it was a join the link is used up; else the join is built again.
    pub(super) fn join_stale(&mut self, ctx: &mut Ctx<'_>, view: &View) {
        if view.closed {
            return self.fail_join(ctx, JoinFault::AlreadyUsed);
        }
        let may_be = match (&self.stage, &self.state.main) {
            (Some(staged), Some(main)) => main.track.may_be_stale(staged.expect_slots, view),
            _ => true,
        };
        if !may_be {
            return self.answer_cannot_be(ctx, Role::Main, RelayTrouble::WrongAnswer);
        }
        self.live.main.claimed(Some(Claim::Filled(*view)));
        self.wait_for(ctx, view.next_seq);
    }

    pub(super) fn join_refused(&mut self, ctx: &mut Ctx<'_>, refusal: Refusal) {
        match refusal.code {
            RefusalCode::Closed => self.fail_join(ctx, JoinFault::AlreadyUsed),
            RefusalCode::Unknown | RefusalCode::Destroyed => {
                self.live.main.leave(&mut ctx.port);
                self.joining_gone(ctx, refusal.code);
            }
            RefusalCode::NotAllowed | RefusalCode::BadProof => {
                self.fail_join(ctx, JoinFault::NotAsNamed)
            }
            // A log 0 without room for its join was filled by somebody else who holds the link.
            RefusalCode::TooLarge
            | RefusalCode::Malformed
            | RefusalCode::UpdateNeeded
            | RefusalCode::Full => self.fail_join(ctx, JoinFault::Refused),
            RefusalCode::NonceReused | RefusalCode::Exists => {
                self.discard_candidate(ctx);
                self.refusal_waits(ctx, Role::Main, refusal);
            }
            _ => self.refusal_waits(ctx, Role::Main, refusal),
        }
    }

    /// The relay says that it has the join.
    // [SPEC 10.22]
    pub(super) fn join_acknowledged(&mut self, ctx: &mut Ctx<'_>, appended: &Appended) {
        let (Some(staged), Some(main)) = (&self.stage, &mut self.state.main) else {
            return;
        };
        let next_seq = main.track.next_seq();
        let aad = staged.aad();
        match main.track.acknowledged(&staged.own(&aad), appended) {
            // What others wrote in between is not known, and so is the log's end.
            Ok(Acknowledged::Ahead) => {
                self.joined(ctx, (appended.seq == next_seq).then_some(*appended))
            }
            // A join closes its log. One that ran out before it could be read back is where the log ends.
            // [SPEC 8.61]
            Ok(Acknowledged::Passed)
                if main.track.closed()
                    && appended.seq.checked_add(1) == Some(next_seq)
                    && appended.running_hash == main.track.hash() =>
            {
                self.joined(ctx, Some(*appended));
            }
            Ok(Acknowledged::Passed) => {
                self.answer_cannot_be(ctx, Role::Main, RelayTrouble::WrongSequence)
            }
            Err(trouble) => self.answer_cannot_be(ctx, Role::Main, trouble),
        }
    }

    /// The log has the join: the group is this device's from now on.
    pub(super) fn joined(&mut self, ctx: &mut Ctx<'_>, appended: Option<Appended>) {
        let Some(staged) = self.take_stage(ctx) else {
            return;
        };
        let What::Join(secret) = &staged.what else {
            return;
        };
        let candidate = ctx.store.get(&self.id.candidate());
        let Some(group) = candidate.and_then(|record| Group::load(&record).ok()) else {
            return self.joined_again(ctx);
        };
        let maker = group
            .members()
            .into_iter()
            .find(|member| member.leaf != group.own_leaf());
        self.state.peer = maker.map(|maker| maker.certificate.bytes().to_vec().into());
        ctx.store.delete(&self.id.candidate());
        self.adopt_group(group);
        let before = appended.map(|appended| self.end_of_log_0(&staged, &appended));
        let entering = self.state.phase == Phase::Entering;
        let peer_shown = self
            .state
            .recovery
            .as_ref()
            .map(|recovery| recovery.peer_shown);
        self.begin_generation_one(ctx, &secret.0, before);
        if entering {
            self.tell_entered(ctx);
            self.send_again(ctx, peer_shown.unwrap_or_default());
        } else {
            if let Some(Origin::Link(link)) = &mut self.live.origin {
                link.join = Some(VLBytes::from(staged.record().to_vec()));
                link.joined = Flag(true);
                self.save_origin(ctx);
            }
            self.conversation_stands(ctx);
        }
    }

    fn end_of_log_0(&self, staged: &Staged, appended: &Appended) -> LogPoint {
        let restart = self.state.main.as_ref().map_or(0, |main| main.restart);
        LogPoint {
            position: Position {
                restart,
                generation: 0,
                next_seq: appended.seq.saturating_add(1),
            },
            slots: staged.expect_slots.saturating_add(1),
            running_hash: RunningHash(appended.running_hash.0).0,
        }
    }

    /// The relay had forgotten the join and has it again, with an empty generation 1 and recovery log. What was said since is
    /// brought back by a restart.
    // [SPEC 8.53]
    fn joined_again(&mut self, ctx: &mut Ctx<'_>) {
        self.live.main.leave(&mut ctx.port);
        if let Some(recovery) = &mut self.state.recovery {
            recovery.track = super::track::Track::default();
        }
        self.state.phase = Phase::Member;
        self.trouble(ctx, RestartReason::RelayRolledBack);
    }

    /// The relay forgot join, generation and recovery log: the join's bytes are appended again.
    // [SPEC 8.53]
    pub(super) fn repeat_join(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let now_ms = ctx.clock.now().0;
        let Some(Origin::Link(link)) = &self.live.origin else {
            return false;
        };
        let staged = link
            .join
            .as_ref()
            .and_then(|join| Staged::read(join.as_slice()).ok());
        let Some(staged) = staged else {
            return false;
        };
        let main = MainLog::new(link.key.duplicate(), 0, 0, now_ms);
        self.set_main(ctx, main);
        self.put_stage(ctx, staged);
        self.state.phase = Phase::Taking;
        true
    }

    fn discard_candidate(&mut self, ctx: &mut Ctx<'_>) {
        self.take_stage(ctx);
        ctx.store.delete(&self.id.candidate());
    }

    fn fail_join(&mut self, ctx: &mut Ctx<'_>, why: JoinFault) {
        self.discard_candidate(ctx);
        self.live.main.leave(&mut ctx.port);
        if self.state.recovery.is_some() {
            // A restart that cannot be joined is trouble; so is a join that cannot be repeated.
            // [SPEC 10.9]
            self.state.phase = Phase::Member;
            return self.trouble(ctx, RestartReason::RestartFailed);
        }
        if why == JoinFault::NotAsNamed {
            self.tell_trouble(ctx, RelayTrouble::ForeignEntry);
        }
        self.state.phase = Phase::join_failed(why);
        self.state.main = None;
        self.live.access = None;
        self.live.own = None;
        ctx.store.delete(&self.id.own_keys());
        self.clear_origin(ctx);
        let conversation = self.name();
        ctx.events.push(Event::JoinFailed { conversation, why });
    }

    /// The inviter wrote something: the link worked.
    pub(super) fn inviter_is_here(&mut self, ctx: &mut Ctx<'_>) {
        if let Some(Origin::Link(link)) = &mut self.live.origin
            && !link.inviter_seen.0
        {
            link.inviter_seen = Flag(true);
            self.save_origin(ctx);
        }
    }

    /// Watches over the beginning while it matters.
    // [SPEC 8.54]
    pub(super) fn drive_origin(&mut self, ctx: &mut Ctx<'_>) {
        let now_ms = ctx.clock.now().0;
        let Some(Origin::Link(link)) = &mut self.live.origin else {
            return;
        };
        if now_ms.saturating_sub(link.taken_ms) >= KEEP_JOIN_MS
            && link.joined.0
            && link.inviter_seen.0
        {
            return self.clear_origin(ctx);
        }
        let late = now_ms.saturating_sub(link.taken_ms) >= NOT_SEEN_MS;
        if late && link.joined.0 && !link.inviter_seen.0 && !link.told_not_seen.0 {
            link.told_not_seen = Flag(true);
            self.save_origin(ctx);
            let conversation = self.name();
            ctx.events.push(Event::JoinFailed {
                conversation,
                why: JoinFault::InviterNotSeen,
            });
        }
    }

    /// The inviter was not seen in time.
    pub(crate) fn inviter_missing(&self) -> bool {
        matches!(&self.live.origin, Some(Origin::Link(link)) if link.told_not_seen.0 && !link.inviter_seen.0)
    }

    pub(super) fn set_origin(&mut self, ctx: &mut Ctx<'_>, origin: Origin) {
        self.live.origin = Some(origin);
        self.save_origin(ctx);
    }

    pub(super) fn save_origin(&mut self, ctx: &mut Ctx<'_>) {
        if let Some(origin) = &self.live.origin {
            origin.save(&mut ctx.store, self.id);
        }
    }

    pub(super) fn clear_origin(&mut self, ctx: &mut Ctx<'_>) {
        self.live.origin = None;
        ctx.store.delete(&self.id.origin());
    }
}
