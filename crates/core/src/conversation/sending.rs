//! Sending: intent, append, ok or stale, redo.
//!
//! What is to be sent is stored before anything is done. An append is stored together with the group's state before it
//! leaves, and is repeated byte for byte until its fate is known: so no key encrypts twice, whatever crashes. Only an
//! entry that the log refused as stale is made anew, from the intent.

use emptyroom_wire::entry::Ttl;
use emptyroom_wire::op::{Answer, Appended, NewLog, Refusal, RefusalCode, View};
use emptyroom_wire::time::DAY_MS;
use zeroize::Zeroizing;

use super::claims::Claim;
use super::stage::{Slot, Staged, What};
use super::state::{Phase, new_generation};
use super::track::Acknowledged;
use super::{Conversation, Ctx, hashes, is_gone};
use crate::account::OwnKeys;
use crate::api::{LineId, RelayTrouble, RestartReason};
use crate::certificate::Certificate;
use crate::content::{Body, Content};
use crate::kind;
use crate::link::Role;
use crate::mls::CommitNote;
use crate::position::{History, KeyHead};
use crate::store::value::{Flag, StoredSecret};

/// A generation is left after that much time of use.
// [SPEC 8.43]
const GENERATION_MS: u64 = 7 * DAY_MS;
/// And after that many entries.
const GENERATION_ENTRIES: u64 = 1_000;
/// A leaf gets new keys after that many own messages.
// [SPEC 8.46]
const UPDATE_MESSAGES: u64 = 100;
/// And after that much time of use.
const UPDATE_MS: u64 = 7 * DAY_MS;
/// A log is renewed in passing after that much time.
pub(super) const RENEW_MS: u64 = 7 * DAY_MS;
/// A certificate is renewed in passing so long before its end.
const RENEW_CERTIFICATE_DAYS: u32 = 200;
/// Lines that may wait in one conversation.
pub(super) const QUEUE_MAX: u64 = 1_000;

impl Conversation {
    pub(super) fn drive_member(&mut self, ctx: &mut Ctx<'_>) {
        if self.state.lines.is_full() {
            return self.live.main.leave(&mut ctx.port);
        }
        let (Some(main), Some(access)) = (&mut self.state.main, &self.live.access) else {
            return;
        };
        self.live.main.open(
            &mut ctx.port,
            access,
            main.track.next_seq(),
            ctx.clock.mono(),
        );
        if !self.live.main.is_caught_up() || main.track.next_seq() < self.live.read_first {
            return;
        }
        let end = main.track.end();
        if ctx.clock.now().0.saturating_sub(main.renewed_ms) >= RENEW_MS {
            main.renewed_ms = ctx.clock.now().0;
            self.live.main.renew(&mut ctx.port, access);
        }
        self.drive_trim(ctx);
        if self.is_as_claimed(ctx, Role::Main, &end) {
            self.drive_stage(ctx);
        }
    }

    /// One append at a time: the one under way, or the next one.
    fn drive_stage(&mut self, ctx: &mut Ctx<'_>) {
        if self.live.main.is_appending() || !self.live.main.may_try(ctx.clock.mono()) {
            return;
        }
        if self.says_too_much() {
            self.withdraw_stage(ctx);
        }
        if self.slot_is_filled() {
            self.drop_stage(ctx);
        }
        if self.stage.is_none() {
            self.stage_next(ctx);
        }
        if let (Some(staged), Some(access)) = (&self.stage, &self.live.access)
            && !staged.acknowledged.0
            && self.state.phase == Phase::Member
        {
            self.live.main.append(&mut ctx.port, access, staged);
        }
    }

    /// What waits to be appended expects fewer slots than were read: it is void, and made anew.
    // [SPEC 8.48]
    pub(super) fn slot_is_filled(&self) -> bool {
        let (Some(staged), Some(main)) = (&self.stage, &self.state.main) else {
            return false;
        };
        !staged.acknowledged.0 && staged.expect_slots != main.track.slots()
    }

    fn stage_next(&mut self, ctx: &mut Ctx<'_>) {
        let Some(main) = &self.state.main else {
            return;
        };
        if main.track.too_far_ahead() {
            return;
        }
        let receipt = self.receipt_due(ctx);
        let seen = self.state.sending.seen_due.0;
        if !seen && receipt.is_none() && self.state.sending.queued == 0 {
            return;
        }
        let close = self.generation_is_used_up(ctx);
        if close || self.update_is_due(ctx) {
            return self.stage_commit(ctx, close);
        }
        // Only commits had room left; after the delay that the relay set it is asked again.
        self.live.full = false;
        if seen {
            self.stage_message(ctx, What::Seen, Body::Seen, Ttl::Day30);
        } else if self.state.sending.queued > 0 {
            self.stage_line(ctx);
        } else if let Some(receipt) = receipt {
            self.stage_message(
                ctx,
                What::Receipt(receipt.clone()),
                Body::Receipt(receipt),
                Ttl::Day30,
            );
        }
    }

    // [SPEC 8.43]
    fn generation_is_used_up(&self, ctx: &Ctx<'_>) -> bool {
        self.state.main.as_ref().is_some_and(|main| {
            let old = ctx.clock.now().0.saturating_sub(main.started_ms) >= GENERATION_MS;
            let long = main.track.next_seq() >= GENERATION_ENTRIES;
            (old || long || self.live.full) && main.peer_seen.0 && main.track.nothing_ahead()
        })
    }

    // [SPEC 8.46]
    fn update_is_due(&self, ctx: &Ctx<'_>) -> bool {
        let sending = &self.state.sending;
        let nothing_ahead = self
            .state
            .main
            .as_ref()
            .is_some_and(|main| main.track.nothing_ahead());
        let due = sending.must_update.0
            || sending.since_update >= UPDATE_MESSAGES
            || ctx.clock.now().0.saturating_sub(sending.updated_ms) >= UPDATE_MS;
        due && nothing_ahead
    }

    pub(super) fn stage_message(&mut self, ctx: &mut Ctx<'_>, what: What, body: Body, ttl: Ttl) {
        let Some(history) = self.history(ctx) else {
            return;
        };
        let Ok(content) = Content { history, body }.encode() else {
            return self.cannot_send(ctx, &what);
        };
        let content = Zeroizing::new(content);
        let encrypted = self.own_and_group(ctx).map(|_| ()).and_then(|()| {
            let own = self.live.own.as_ref()?;
            self.live
                .group
                .as_mut()?
                .encrypt(own, &content, ctx.rng)
                .ok()
        });
        let Some(message) = encrypted else {
            return self.trouble(ctx, RestartReason::StateLost);
        };
        self.keys_changed();
        self.stage_entry(ctx, (what, Vec::new()), (false, false), ttl, &message);
    }

    /// New keys for the own leaf, and with `close` the next generation.
    fn stage_commit(&mut self, ctx: &mut Ctx<'_>, close: bool) {
        let Some(generation) = self.state.main.as_ref().map(|main| main.generation + 1) else {
            return;
        };
        let note = if close {
            CommitNote::closing()
        } else {
            CommitNote::update()
        };
        let made = self
            .own_and_group(ctx)
            .is_some()
            .then_some(())
            .and_then(|()| {
                let own = self.live.own.as_ref()?;
                let group = self.live.group.as_mut()?;
                let renewed = certificate_due(ctx, own);
                let commit = group
                    .self_update(own, renewed.as_ref(), &note, ctx.rng)
                    .ok()?;
                let secret = group.pending_generation_secret(generation).ok()?;
                Some((commit, secret))
            });
        let Some((commit, secret)) = made else {
            return self.trouble(ctx, RestartReason::StateLost);
        };
        self.group_changed();
        let (what, next) = if close {
            let next = vec![new_generation(&secret)];
            (What::NextGeneration(StoredSecret(secret)), next)
        } else {
            (What::Update, Vec::new())
        };
        self.stage_entry(ctx, (what, next), (true, close), Ttl::Day30, &commit);
    }

    fn stage_entry(
        &mut self,
        ctx: &mut Ctx<'_>,
        (what, next): (What, Vec<NewLog>),
        (commit, close): (bool, bool),
        ttl: Ttl,
        message: &[u8],
    ) {
        let (Some(main), Some(access)) = (&self.state.main, &self.live.access) else {
            return;
        };
        let slot = Slot {
            expect_slots: main.track.slots(),
            commit,
            close,
            ttl,
        };
        if let Some(staged) = Staged::seal(access, what, slot, (kind::MLS, message), next, ctx.rng)
        {
            self.put_stage(ctx, staged);
        }
    }

    /// What this device has seen, for its next message.
    fn history(&self, ctx: &Ctx<'_>) -> Option<History> {
        let main = self.state.main.as_ref()?;
        Some(History {
            here: main.point(),
            before: main.before,
            relay_key: ctx.port.key_head.map(|head| KeyHead {
                number: head.number,
                hash: head.hash.0,
            }),
        })
    }

    /// The append was answered.
    pub(super) fn main_appended(&mut self, ctx: &mut Ctx<'_>, answer: &Answer) {
        self.live.main.appended(answer);
        if self.stage.is_none() {
            // It was read back, or became void, before the answer came.
            return;
        }
        match answer {
            Answer::Appended(appended) => self.main_acknowledged(ctx, appended),
            Answer::Stale(view) => self.main_stale(ctx, view),
            Answer::Refused(refusal) => self.append_refused(ctx, *refusal),
            _ => {}
        }
    }

    // [SPEC 8.48]
    fn main_acknowledged(&mut self, ctx: &mut Ctx<'_>, appended: &Appended) {
        let (Some(staged), Some(main)) = (&mut self.stage, &mut self.state.main) else {
            return;
        };
        if matches!(staged.what, What::Join(_)) {
            return self.join_acknowledged(ctx, appended);
        }
        let aad = staged.aad();
        match main.track.acknowledged(&staged.own(&aad), appended) {
            Err(RelayTrouble::WrongSequence) => {
                return self.answer_cannot_be(ctx, Role::Main, RelayTrouble::WrongSequence);
            }
            Err(trouble) => return self.main_trouble(ctx, trouble),
            Ok(Acknowledged::Passed) => return self.acknowledged_passed(ctx, appended.seq),
            Ok(Acknowledged::Ahead) => self.live.main.succeeded(),
        }
        if staged.is_commit() {
            // Merged when it is read back in its place, not now.
            staged.acknowledged = Flag(true);
            ctx.store.put(self.id.stage(), staged.record());
            self.wait_for(ctx, appended.seq.saturating_add(1));
        } else if let Some(staged) = self.take_stage(ctx) {
            self.message_sent(ctx, staged, appended.seq);
        }
    }

    /// The relay says that an append stands where this device has read on without meeting it. Where entries were missing it may
    /// have been among them; no commit was, or there were trouble.
    // [SPEC 8.61]
    fn acknowledged_passed(&mut self, ctx: &mut Ctx<'_>, seq: u64) {
        let Some(staged) = &self.stage else {
            return;
        };
        let known = |seq| hashes::get(&ctx.store, self.id, seq);
        let another_was_read = match (known(seq), known(seq.saturating_add(1))) {
            (Some(before), Some(after)) => {
                before.next(seq, &staged.aad(), staged.body.as_slice()) != after
            }
            _ => false,
        };
        if staged.is_commit() || another_was_read {
            return self.answer_cannot_be(ctx, Role::Main, RelayTrouble::WrongSequence);
        }
        self.withdraw_stage(ctx);
        self.live.main.wait(ctx.clock.mono(), 0);
    }

    /// What waits to be appended is a receipt for what its user has switched off since.
    // [SPEC 8.62]
    fn says_too_much(&self) -> bool {
        let profile = &self.state.profile;
        self.stage.as_ref().is_some_and(|staged| {
            matches!(&staged.what, What::Receipt(receipt)
                if receipt.delivered.is_some() && !profile.receipts_delivered.0
                    || receipt.read.is_some() && !profile.receipts_read.0)
        })
    }

    /// Drops an append that may have left: should it stand in the log, it is known again.
    pub(super) fn withdraw_stage(&mut self, ctx: &mut Ctx<'_>) {
        if let (Some(staged), Some(main)) = (&self.stage, &mut self.state.main) {
            main.track.withdraw(&staged.own(&staged.aad()));
        }
        self.drop_stage(ctx);
    }

    // [SPEC 8.48]
    fn main_stale(&mut self, ctx: &mut Ctx<'_>, view: &View) {
        let (Some(staged), Some(main)) = (&self.stage, &self.state.main) else {
            return;
        };
        if matches!(staged.what, What::Join(_)) {
            return self.join_stale(ctx, view);
        }
        let expected = staged.expect_slots;
        let rolled_back = main.track.check_view(view) == Err(RelayTrouble::RolledBack);
        if rolled_back && view.slots != expected {
            return self.main_trouble(ctx, RelayTrouble::RolledBack);
        }
        if !main.track.may_be_stale(expected, view) {
            return self.answer_cannot_be(ctx, Role::Main, RelayTrouble::WrongAnswer);
        }
        self.live.main.claimed(Some(Claim::Filled(*view)));
        self.wait_for(ctx, view.next_seq);
    }

    /// Appends nothing before the log was read up to here.
    pub(super) fn wait_for(&mut self, ctx: &Ctx<'_>, next_seq: u64) {
        self.live.read_first = self.live.read_first.max(next_seq);
        self.live.read_first_by = Some(ctx.clock.mono().plus_ms(60_000));
    }

    fn append_refused(&mut self, ctx: &mut Ctx<'_>, refusal: Refusal) {
        if self
            .stage
            .as_ref()
            .is_some_and(|staged| matches!(staged.what, What::Join(_)))
        {
            return self.join_refused(ctx, refusal);
        }
        match refusal.code {
            code if is_gone(code) || code == RefusalCode::Closed => {
                // What became of the log shows when it is opened again.
                self.live.main.claimed(Claim::of(code));
                self.live.main.leave(&mut ctx.port);
                self.live.main.wait(ctx.clock.mono(), 0);
            }
            // Not even a commit has room.
            // [SPEC 10.1]
            RefusalCode::Full if self.stage.as_ref().is_some_and(Staged::is_commit) => {
                self.trouble(ctx, RestartReason::LogFull);
            }
            RefusalCode::Full => {
                self.live.full = true;
                self.drop_stage(ctx);
                self.live.main.wait(ctx.clock.mono(), refusal.retry_after_s);
            }
            // [SPEC 8.60]
            RefusalCode::TooLarge if self.stage.as_ref().is_some_and(Staged::is_line) => {
                if let Some(staged) = self.take_stage(ctx) {
                    self.cannot_send(ctx, &staged.what);
                }
            }
            RefusalCode::TooLarge
            | RefusalCode::NonceReused
            | RefusalCode::Exists
            | RefusalCode::Malformed => {
                self.drop_stage(ctx);
                self.live.main.wait(ctx.clock.mono(), refusal.retry_after_s);
            }
            _ => self.refusal_waits(ctx, Role::Main, refusal),
        }
    }

    /// A message is durable at the relay.
    pub(super) fn message_sent(&mut self, ctx: &mut Ctx<'_>, staged: Staged, seq: u64) {
        let Some(place) = self.state.main.as_ref().map(|main| main.at(seq)) else {
            return;
        };
        self.state.sending.since_update += 1;
        match &staged.what {
            What::Line(line) => self.line_sent(ctx, LineId(*line), place, staged.ttl),
            What::Seen => self.state.sending.seen_due = Flag(false),
            What::Receipt(receipt) => self.receipt_sent(receipt),
            _ => {}
        }
    }

    /// The own leaf has new keys.
    pub(super) fn leaf_updated(&mut self, ctx: &mut Ctx<'_>) {
        self.certificate_renewed(ctx);
        self.state.sending.since_update = 0;
        self.state.sending.updated_ms = ctx.clock.now().0;
        self.state.sending.must_update = Flag(false);
    }
}

/// A later certificate, if the present one comes to its end.
// [SPEC 8.6]
fn certificate_due(ctx: &Ctx<'_>, own: &OwnKeys) -> Option<Certificate> {
    let today = ctx.clock.now().day();
    let due = own.certificate().expires() <= today.plus(RENEW_CERTIFICATE_DAYS);
    due.then(|| own.renewed(ctx.root, today))
}
