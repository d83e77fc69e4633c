//! When lines end, and when a conversation must be looked at without an input.

use emptyroom_wire::time::Wall;

use super::joining::NOT_SEEN_MS;
use super::origin::Origin;
use super::recovery::NOT_TAKEN_MS;
use super::state::Phase;
use super::{Conversation, Ctx};
use crate::api::{Event, GoneWhy, LineId};
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

    /// When the next line ends.
    fn next_expiry(&mut self, store: &Store<'_>) -> Option<u64> {
        let expiries = self.id.expiries();
        *self.live.next_expiry.get_or_insert_with(|| {
            let first = store.scan(&expiries, None, 1, false);
            first.first().and_then(|(key, _)| key::expiry_time(key))
        })
    }

    /// Deletes a line and says so.
    pub(super) fn line_gone(&mut self, ctx: &mut Ctx<'_>, id: LineId, why: GoneWhy) {
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
