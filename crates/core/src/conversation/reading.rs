//! Reading the log the conversation lives in: open, judge each entry, move on.
//!
//! An entry passes three judges: the track (is it the relay's next one), the outer seal (is it of this log), the group (what
//! is it for all members). What the relay did wrong and what a peer did wrong are told apart by where it fails.

use emptyroom_wire::codec;
use emptyroom_wire::entry;
use emptyroom_wire::op::{Answer, EntryPush, Refusal};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::DAY_MS;
use zeroize::Zeroizing;

use super::copies::{self, Copies};
use super::inviting::destroy;
use super::lines::{GapLine, LineContent};
use super::orders::{Order, OrderedLog};
use super::stage::What;
use super::state::{LogKey, MainLog, Phase};
use super::track::Missing;
use super::{Conversation, Ctx, hashes, is_gone, lines};
use crate::api::{PeerTrouble, RelayTrouble, RestartReason};
use crate::content::Gap;
use crate::kind;
use crate::link::Role;
use crate::mls::{Admission, PeerFault, Processed, Slot, Staged as StagedCommit, Trouble};
use crate::position::LogPoint;
use crate::store::value::Flag;

/// What the relay said it has must come in this time.
// [SPEC 10.25]
const DELIVER_MS_MAX: u64 = 60_000;
/// A hint to look into the recovery log counts once in this time.
// [SPEC 10.11]
const LOOK_EVERY_MS: u64 = 60_000;

/// Whose copy of an entry that was read before.
enum Copied {
    /// The same entry: a nonce stands in a log once.
    ByRelay,
    /// The same content, sealed again: by whoever has the log's keys.
    ByWriter,
}

impl Conversation {
    pub(super) fn main_opened(&mut self, ctx: &mut Ctx<'_>, answer: &Answer) {
        let view = match self.live.main.opened(answer) {
            Ok(view) => view,
            Err(refusal) => return self.main_refused(ctx, refusal),
        };
        self.live.read_first = view.next_seq;
        self.live.read_first_by = Some(ctx.clock.mono().plus_ms(DELIVER_MS_MAX));
        match self.state.phase {
            Phase::Taking | Phase::Entering => self.joining_opened(ctx, &view),
            _ => {
                let judged = self
                    .state
                    .main
                    .as_ref()
                    .map(|main| main.track.check_view(&view));
                if let Some(Err(trouble)) = judged {
                    return self.main_trouble(ctx, trouble);
                }
                self.is_as_claimed(ctx, Role::Main, &view);
            }
        }
    }

    /// The log is refused, or went away.
    pub(super) fn main_refused(&mut self, ctx: &mut Ctx<'_>, refusal: Refusal) {
        if !is_gone(refusal.code) {
            return self.refusal_waits(ctx, Role::Main, refusal);
        }
        match self.state.phase {
            Phase::Invited => self.invite_gone(ctx, refusal.code),
            Phase::Taking | Phase::Entering => self.joining_gone(ctx, refusal.code),
            Phase::Member | Phase::Alone => {
                self.tell_gone(ctx, refusal.code);
                self.trouble(ctx, RestartReason::LogLost);
            }
            _ => {}
        }
    }

    pub(super) fn main_entry(&mut self, ctx: &mut Ctx<'_>, entry: &EntryPush) {
        let reads = !self.state.phase.failed() && self.state.phase.reason().is_none();
        let (Some(main), Some(access), true) = (&mut self.state.main, &self.live.access, reads)
        else {
            return;
        };
        if self.live.probing {
            return;
        }
        let accepted = match main.track.accept(entry, access.log_id) {
            Ok(accepted) => accepted,
            Err(trouble) => return self.main_trouble(ctx, trouble),
        };
        let (next_seq, hash) = (main.track.next_seq(), main.track.hash());
        // A slow network withholds nothing.
        if let Some(by) = &mut self.live.read_first_by {
            *by = ctx.clock.mono().plus_ms(DELIVER_MS_MAX);
        }
        if let Some(missing) = accepted.gap {
            self.gap(ctx, missing);
        }
        match self.state.phase {
            Phase::Invited | Phase::Alone => self.read_as_maker(ctx, entry),
            Phase::Taking | Phase::Entering => self.read_as_joiner(ctx, entry),
            Phase::Member => {
                hashes::put(&mut ctx.store, self.id, next_seq, hash);
                self.read_as_member(ctx, entry, accepted.own);
            }
            _ => {}
        }
    }

    pub(super) fn main_caught_up(&mut self, ctx: &mut Ctx<'_>, next_seq: u64) {
        let Some(view) = self.live.main.open_state().map(|open| open.view) else {
            return;
        };
        let Some(main) = &mut self.state.main else {
            return;
        };
        match main.track.caught_up(next_seq, &view) {
            Ok(None) => self.live.main.caught_up(),
            Ok(Some(missing)) => {
                let (next_seq, hash) = (main.track.next_seq(), main.track.hash());
                self.live.main.caught_up();
                if self.state.phase == Phase::Member {
                    hashes::put(&mut ctx.store, self.id, next_seq, hash);
                }
                self.gap(ctx, missing);
                self.closed_without_commit(ctx);
            }
            Err(trouble) => self.main_trouble(ctx, trouble),
        }
    }

    /// What the relay said it has did not come.
    pub(super) fn check_relay_in_time(&mut self, ctx: &mut Ctx<'_>) {
        let Some(main) = &self.state.main else {
            return;
        };
        if self.live.main.open_state().is_none() {
            // Nobody asks: it was left, by block, trouble or too many unread lines.
            self.live.read_first_by = None;
            return;
        }
        let arrived =
            main.track.next_seq() >= self.live.read_first && self.live.main.is_caught_up();
        if arrived {
            self.live.read_first_by = None;
        }
        if self
            .live
            .read_first_by
            .is_some_and(|by| by <= ctx.clock.mono())
        {
            self.live.read_first_by = None;
            self.tell_trouble(ctx, RelayTrouble::Withheld);
            self.live.main.leave(&mut ctx.port);
            self.live.main.wait(ctx.clock.mono(), 0);
        }
    }

    /// The relay shows what cannot be.
    // [SPEC 10.20]
    pub(super) fn main_trouble(&mut self, ctx: &mut Ctx<'_>, kind: RelayTrouble) {
        self.tell_trouble(ctx, kind);
        let rewritten = matches!(kind, RelayTrouble::RolledBack | RelayTrouble::TwoHistories);
        match self.state.phase {
            Phase::Member if rewritten => self.trouble(ctx, RestartReason::RelayRolledBack),
            Phase::Member => {
                self.live.main.leave(&mut ctx.port);
                self.live.main.wait(ctx.clock.mono(), 0);
            }
            // Log 0 holds nothing of ours but its first entry: read it again.
            _ => {
                if let Some(main) = &mut self.state.main {
                    main.track = super::track::Track::default();
                }
                self.live.main.leave(&mut ctx.port);
                self.live.main.wait(ctx.clock.mono(), 0);
            }
        }
    }

    fn read_as_member(&mut self, ctx: &mut Ctx<'_>, entry: &EntryPush, own: bool) {
        let opened = self.live.access.as_ref().and_then(|access| {
            entry::open(&access.outer, &entry.aad(access.log_id), &entry.body).ok()
        });
        let staged = self.stage.as_ref().is_some_and(|staged| staged.is(entry));
        match self.copy_of(ctx, entry, opened.as_ref()) {
            Some(Copied::ByRelay) => self.tell_trouble(ctx, RelayTrouble::WrongSequence),
            _ if staged => self.own_read_back(ctx, entry),
            _ if own => {}
            Some(Copied::ByWriter) => self.rubbish(ctx, entry.commit),
            None => self.read_foreign(ctx, entry, opened),
        }
        self.closed_without_commit(ctx);
    }

    /// Whether the entry was read before; from now on it was.
    // [SPEC 10.28]
    fn copy_of(
        &mut self,
        ctx: &mut Ctx<'_>,
        entry: &EntryPush,
        opened: Option<&(u8, Vec<u8>)>,
    ) -> Option<Copied> {
        // Whoever has not the log's keys repeats whole entries, or writes what does not open.
        let (kind, content) = opened?;
        // Of a commit the group alone says what it is, for all members alike.
        let print = copies::print(*kind, content).filter(|_| !entry.commit);
        let read = &mut self.live.copies;
        let read = read.get_or_insert_with(|| Copies::load(&ctx.store, self.id));
        let copied = if read.has_nonce(&entry.nonce) {
            Some(Copied::ByRelay)
        } else {
            read.has_content(print.as_ref()).then_some(Copied::ByWriter)
        };
        read.note(&mut ctx.store, self.id, entry.nonce, print);
        copied
    }

    /// The append that is under way stands in the log.
    fn own_read_back(&mut self, ctx: &mut Ctx<'_>, entry: &EntryPush) {
        let Some(staged) = self.take_stage(ctx) else {
            return;
        };
        match staged.what {
            What::Update => {
                let merged = self
                    .own_and_group(ctx)
                    .map(|(_, group)| group.merge_pending().is_ok());
                self.group_changed();
                if merged != Some(true) {
                    return self.trouble(ctx, RestartReason::StateLost);
                }
                self.leaf_updated(ctx);
            }
            What::NextGeneration(secret) => {
                let merged = self
                    .own_and_group(ctx)
                    .map(|(_, group)| group.merge_pending().is_ok());
                self.group_changed();
                if merged != Some(true) {
                    return self.trouble(ctx, RestartReason::StateLost);
                }
                self.leaf_updated(ctx);
                self.next_generation(ctx, &secret.0, false);
            }
            _ if staged.acknowledged.0 => {}
            _ => self.message_sent(ctx, staged, entry.seq),
        }
    }

    // [SPEC 8.55]
    fn read_foreign(
        &mut self,
        ctx: &mut Ctx<'_>,
        entry: &EntryPush,
        opened: Option<(u8, Vec<u8>)>,
    ) {
        let Some((kind, content)) = opened else {
            return self.tell_trouble(ctx, RelayTrouble::ForeignEntry);
        };
        match kind {
            kind::MLS => self.read_mls(ctx, entry, &content),
            kind::LOOK if !entry.commit => self.look_soon(ctx),
            _ => self.rubbish(ctx, entry.commit),
        }
    }

    fn read_mls(&mut self, ctx: &mut Ctx<'_>, entry: &EntryPush, content: &[u8]) {
        let slot = Slot {
            commit: entry.commit,
            close: entry.close,
        };
        let Some((_, group)) = self.own_and_group(ctx) else {
            return self.trouble(ctx, RestartReason::StateLost);
        };
        match group.process(content, slot, Admission::Nobody) {
            Processed::Application { sender, message } => {
                self.keys_changed();
                self.peer_is_here(ctx);
                self.read_message(ctx, entry, &sender, &Zeroizing::new(message));
            }
            Processed::Commit(staged) => self.read_commit(ctx, staged),
            // Neither is known by its nonce: this device went back to an older state.
            // [SPEC 10.6]
            Processed::OwnMessage
            | Processed::OwnCommit
            | Processed::Trouble(Trouble::OwnUnknown) => {
                self.trouble(ctx, RestartReason::DeviceRestored);
            }
            Processed::Trouble(Trouble::CannotFollow) => {
                self.trouble(ctx, RestartReason::CannotFollow)
            }
            // A message of this log that no key opens: the two groups differ. Never only "unable to decrypt".
            // [SPEC 10.1]
            Processed::Rejected(PeerFault::Undecryptable | PeerFault::OtherEpoch { .. })
                if !entry.commit =>
            {
                self.peer_trouble(ctx, PeerTrouble::RubbishMessage);
                self.trouble(ctx, RestartReason::CannotFollow);
            }
            Processed::Rejected(_) => self.rubbish(ctx, entry.commit),
        }
    }

    fn read_commit(&mut self, ctx: &mut Ctx<'_>, commit: StagedCommit) {
        // It is the commit of this epoch: whatever this device was about to append is void.
        self.drop_stage(ctx);
        let close = commit.note().close;
        let by = commit.by().bytes().to_vec();
        let generation = self.state.main.as_ref().map_or(0, |main| main.generation) + 1;
        let Some((_, group)) = self.own_and_group(ctx) else {
            return self.trouble(ctx, RestartReason::StateLost);
        };
        let secret = close.then(|| commit.generation_secret(group, generation));
        let merged = group.merge(commit);
        self.group_changed();
        self.state.peer = Some(by.into());
        self.peer_is_here(ctx);
        match (merged, secret) {
            (Ok(()), None) => {}
            (Ok(()), Some(Ok(secret))) => self.next_generation(ctx, &secret, true),
            _ => self.trouble(ctx, RestartReason::CannotFollow),
        }
    }

    /// Moves into the next generation's log; the secrets of the one before are gone with this step.
    // [SPEC 8.44]
    fn next_generation(&mut self, ctx: &mut Ctx<'_>, secret: &Secret32, by_peer: bool) {
        let (Some(old), Some(access)) = (&self.state.main, &self.live.access) else {
            return;
        };
        let order = destroy(access, &ctx.port.relay).filter(|_| old.generation > 0);
        let destroy_before = order.and_then(|order| codec::encode(&order).ok().map(Into::into));
        let now_ms = ctx.clock.now().0;
        let key = LogKey::generation(secret);
        let mut main = MainLog::new(key, old.restart, old.generation + 1, now_ms);
        main.before = Some(old.point());
        main.sealed_ms = old.sealed_ms;
        main.destroy_before = destroy_before;
        // Who made the closing commit may not have read back to it: the order waits for an entry of his in the new log.
        main.peer_seen = Flag(by_peer);
        self.set_main(ctx, main);
        if by_peer {
            self.inviter_is_here(ctx);
        }
    }

    /// An entry of the other side was read in this generation: it has read the one before to its end.
    fn peer_is_here(&mut self, ctx: &mut Ctx<'_>) {
        if let Some(main) = &mut self.state.main {
            main.peer_seen = Flag(true);
            let order = main.destroy_before.take();
            let order = order.and_then(|order| codec::decode(order.as_slice()).ok());
            ctx.destroys.extend(order.map(|destroy| Order {
                destroy,
                log: OrderedLog::Ending,
            }));
        }
        self.inviter_is_here(ctx);
    }

    /// Entries are missing.
    // [SPEC 10.30]
    fn gap(&mut self, ctx: &mut Ctx<'_>, missing: Missing) {
        if !matches!(self.state.phase, Phase::Member) {
            return;
        }
        let now = ctx.clock.now().0;
        let Some(main) = &self.state.main else {
            return;
        };
        let until = missing.from.saturating_add(missing.entries);
        let acknowledged = self.state.receipts.told_delivered >= main.at(until);
        if !acknowledged {
            let loss = now.saturating_sub(main.sealed_ms) < DAY_MS;
            let gap = Gap {
                from: main.at(missing.from),
                until_seq: until,
            };
            self.note_gap(gap);
            self.receipt_later(ctx);
            self.tell_gap(ctx, loss, missing.entries);
            if loss {
                self.tell_trouble(ctx, RelayTrouble::Withheld);
            }
        }
        self.state.sending.must_update = Flag(true);
        if missing.commits > 0 {
            self.trouble(ctx, RestartReason::CannotFollow);
        }
    }

    /// One unread line for a run of gaps, told again when it has doubled: a log whose entries ran out one by one fills neither
    /// the screen nor the vault.
    // [SPEC 10.31]
    fn tell_gap(&mut self, ctx: &mut Ctx<'_>, loss: bool, entries: u64) {
        let last = self.state.lines.last();
        if let Some(mut record) = lines::get(&ctx.store, self.id, last)
            && let LineContent::Gap(gap) = &mut record.content
            && gap.loss.0 == loss
            && self.state.lines.is_unread(last)
        {
            let before = gap.entries;
            gap.entries = before.saturating_add(entries);
            let doubled = gap.entries.checked_ilog2() > before.checked_ilog2();
            lines::write(&mut ctx.store, self.id, last, &record);
            if doubled {
                let line = self.state.lines.shown(last, &record);
                self.event_line(ctx, line);
            }
            return;
        }
        let content = LineContent::Gap(GapLine {
            loss: Flag(loss),
            entries,
        });
        let line = self.notice(ctx, content);
        self.event_line(ctx, line);
    }

    /// The log is closed, and no valid commit did it.
    // [SPEC 10.4]
    fn closed_without_commit(&mut self, ctx: &mut Ctx<'_>) {
        let closed = self
            .state
            .main
            .as_ref()
            .is_some_and(|main| main.track.closed());
        if closed && self.state.phase == Phase::Member {
            self.trouble(ctx, RestartReason::ClosedWithoutCommit);
        }
    }

    fn look_soon(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.clock.now().0;
        if let Some(recovery) = &mut self.state.recovery {
            let looked_at = recovery.looked_ms.saturating_add(LOOK_EVERY_MS);
            recovery.next_look_ms = recovery.next_look_ms.min(now.max(looked_at));
        }
    }

    fn rubbish(&mut self, ctx: &mut Ctx<'_>, commit: bool) {
        let kind = if commit {
            PeerTrouble::RubbishCommit
        } else {
            PeerTrouble::RubbishMessage
        };
        self.peer_trouble(ctx, kind);
    }

    /// Whether a message's claim about the log agrees with what this device read.
    // [SPEC 10.24]
    pub(super) fn agrees(
        &self,
        ctx: &Ctx<'_>,
        entry_seq: u64,
        here: &LogPoint,
        before: Option<&LogPoint>,
    ) -> bool {
        let Some(main) = &self.state.main else {
            return true;
        };
        let place = here.position;
        if place.restart != main.restart || place.generation != main.generation {
            return false;
        }
        if place.next_seq > entry_seq {
            return false;
        }
        let known = hashes::get(&ctx.store, self.id, place.next_seq);
        if known.is_some_and(|known| known.0 != here.running_hash) {
            return false;
        }
        match (before, &main.before) {
            (Some(theirs), Some(ours)) => theirs == ours,
            _ => true,
        }
    }
}
