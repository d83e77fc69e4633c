//! When lines end, and when a conversation must be looked at without an input.

use emptyroom_wire::time::Wall;

use super::joining::NOT_SEEN_MS;
use super::lines::{self, LineContent, OwnTimerLine};
use super::origin::Origin;
use super::recovery::NOT_TAKEN_MS;
use super::stage::What;
use super::state::Phase;
use super::{Conversation, Ctx};
use crate::api::{Burn, Event, GoneWhy, LineId, Side};
use crate::content::IntentId;
use crate::position::Position;
use crate::store::value::StoredBurn;
use crate::store::{Store, key};

const PAGE_LEN: usize = 256;

impl Conversation {
    /// Deletes every line whose time is over: the record goes, and its key with it.
    // [SPEC 9.32]
    pub(crate) fn expire_lines(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.clock.now().0;
        while self.next_expiry(&ctx.store).is_some_and(|at| at <= now) {
            let page = ctx.store.scan(&self.id.expiries(), None, PAGE_LEN, false);
            let due: Vec<(Vec<u8>, u64)> = page
                .into_iter()
                .take_while(|(key, _)| key::expiry_time(key).is_some_and(|at| at <= now))
                .filter_map(|(key, _)| key::last_number(&key).map(|line| (key, line)))
                .collect();
            if due.is_empty() {
                break;
            }
            for (key, line) in due {
                self.line_gone(ctx, LineId(line), GoneWhy::Expired);
                ctx.store.delete(&key);
            }
            self.live.next_expiry = None;
        }
        self.forget_ended(ctx);
    }

    /// A change of the timer stands in the log: the last one there counts. While an own one waits, that one stays the user's
    /// choice: its place will be after everything that was read.
    // [SPEC 9.34]
    pub(super) fn timer_logged(&mut self, burn: Burn, place: Position) {
        let profile = &mut self.state.profile;
        if place > profile.burn_logged_at {
            profile.burn_logged = StoredBurn(burn);
            profile.burn_logged_at = place;
        }
        if profile.burn_waits == 0 {
            profile.burn = StoredBurn(profile.burn_logged.0);
        }
    }

    pub(super) fn own_timer_sent(&mut self, line: LineId, burn: Burn, place: Position) {
        let waits = &mut self.state.profile.burn_waits;
        if *waits == line.0 {
            *waits = 0;
        }
        self.timer_logged(burn, place);
    }

    /// What waited is given up: the last change in the log counts again.
    pub(super) fn own_timer_given_up(&mut self) {
        let profile = &mut self.state.profile;
        profile.burn_waits = 0;
        profile.burn = StoredBurn(profile.burn_logged.0);
    }

    /// The relay refuses a change of the timer. If it held here, the one before does again, and its user sees it.
    // [SPEC 9.35]
    pub(super) fn own_timer_refused(&mut self, ctx: &mut Ctx<'_>, line: LineId) {
        if self.state.profile.burn_waits != line.0 {
            return;
        }
        self.own_timer_given_up();
        let burn = self.state.profile.burn.0;
        let back = OwnTimerLine {
            intent: IntentId([0; 16]),
            burn: StoredBurn(burn),
        };
        let line = self.notice(ctx, LineContent::OwnTimer(back));
        ctx.events.push(Event::TimerChanged {
            conversation: self.name(),
            id: line.id,
            by: Side::Me,
            burn,
        });
    }

    /// A change of the timer that this device made and that was not sent yet.
    pub(super) fn is_waiting_timer(&self, store: &Store<'_>, line: LineId) -> bool {
        store.get(&self.id.queued(line.0)).is_some() && self.is_own_timer(store, line)
    }

    fn is_own_timer(&self, store: &Store<'_>, line: LineId) -> bool {
        let record = lines::get(store, self.id, line);
        record.is_some_and(|record| matches!(record.content, LineContent::OwnTimer(_)))
    }

    /// When the next line ends.
    fn next_expiry(&mut self, store: &Store<'_>) -> Option<u64> {
        let expiries = self.id.expiries();
        *self.live.next_expiry.get_or_insert_with(|| {
            let first = store.scan(&expiries, None, 1, false);
            first.first().and_then(|(key, _)| key::expiry_time(key))
        })
    }

    /// The line's message is on its way: it may have left.
    pub(super) fn is_staged(&self, id: LineId) -> bool {
        let staged = self.stage.as_ref().map(|staged| &staged.what);
        matches!(staged, Some(What::Line(line)) if *line == id.0)
    }

    /// The line ended while the conversation was damaged.
    pub(super) fn staged_line_is_gone(&self, store: &Store<'_>) -> bool {
        let staged = self.stage.as_ref().map(|staged| &staged.what);
        matches!(staged, Some(What::Line(line)) if store.get(&self.id.line(*line)).is_none())
    }

    /// What is of a line that is gone is not sent.
    // [SPEC 8.62, 8.67]
    pub(super) fn check_stage(&mut self, ctx: &mut Ctx<'_>) {
        if std::mem::take(&mut self.live.staged_line_gone) {
            self.withdraw_stage(ctx);
        }
    }

    /// Deletes a line and says so.
    pub(super) fn line_gone(&mut self, ctx: &mut Ctx<'_>, id: LineId, why: GoneWhy) {
        // [SPEC 8.62]
        if self.is_staged(id) {
            self.withdraw_stage(ctx);
        }
        self.unqueue(ctx, id);
        self.live.next_expiry = None;
        if self.state.lines.delete(&mut ctx.store, self.id, id) {
            let conversation = self.name();
            ctx.events.push(Event::MessageGone {
                conversation,
                id,
                why,
            });
        }
    }

    /// Times at which something is due. Those that passed are due with the next input anyway.
    pub(super) fn due_times(&mut self, store: &Store<'_>) -> Vec<Wall> {
        let mut due = Vec::new();
        due.extend(self.next_expiry(store));
        if self.state.profile.blocked.0 {
            return due.into_iter().map(Wall).collect();
        }
        let receipt = self.state.receipts.due_ms;
        if receipt != 0 && self.live.main.is_caught_up() && self.state.phase == Phase::Member {
            due.push(receipt);
        }
        if let Some(recovery) = &self.state.recovery {
            match self.state.phase {
                Phase::Member if !self.live.recovery.is_caught_up() => {
                    due.push(recovery.next_look_ms)
                }
                Phase::Alone => due.push(recovery.alone_since_ms.saturating_add(NOT_TAKEN_MS)),
                _ => {}
            }
        }
        match &self.live.origin {
            Some(Origin::Invite(invite)) if self.state.phase == Phase::Invited => {
                due.push(invite.expires_ms)
            }
            Some(Origin::Link(link)) if !link.inviter_seen.0 && !link.told_not_seen.0 => {
                due.push(link.taken_ms.saturating_add(NOT_SEEN_MS));
            }
            _ => {}
        }
        due.into_iter().map(Wall).collect()
    }
}
