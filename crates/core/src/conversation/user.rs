//! What a user does in a conversation.

use emptyroom_wire::rng;
use emptyroom_wire::time::Mono;

use super::lines::{self, LineContent, LineRecord, OwnTimerLine, SentLine};
use super::sending::QUEUE_MAX;
use super::state::Phase;
use super::{Conversation, Ctx};
use crate::api::{
    Burn, Command, Contact, ContactState, Event, Fingerprint, GoneWhy, Line, LineId, MessageState,
    Name, Refused, RelayLife, Side, Text,
};
use crate::content::IntentId;
use crate::store::Store;
use crate::store::value::{Flag, StoredBurn, StoredText};
use crate::verification::{self, Code};

impl Conversation {
    /// Stores a text to be sent.
    ///
    /// # Errors
    /// Why not.
    // [SPEC 8.47]
    pub(crate) fn send(
        &mut self,
        ctx: &mut Ctx<'_>,
        text: &Text,
        burn: Option<Burn>,
        life: RelayLife,
    ) -> Result<LineId, Refused> {
        let len = text.expose().len();
        if len == 0 || len > Command::TEXT_BYTES_MAX {
            return Err(Refused::BadText);
        }
        self.may_send()?;
        let record = LineRecord {
            at_ms: ctx.clock.now().0,
            expires_at_ms: None,
            content: LineContent::Sent(SentLine {
                text: StoredText::of(text),
                intent: IntentId(rng::bytes(ctx.rng)),
                burn: StoredBurn(burn.unwrap_or(self.state.profile.burn.0)),
                days: match life {
                    RelayLife::Day1 => 1,
                    RelayLife::Day7 => 7,
                    RelayLife::Day30 => 30,
                },
                state: lines::state_code(MessageState::Queued),
            }),
        };
        let line = self.state.lines.add(&mut ctx.store, self.id, &record);
        self.enqueue(ctx, line);
        Ok(line)
    }

    fn may_send(&self) -> Result<(), Refused> {
        if self.state.profile.blocked.0 {
            return Err(Refused::Blocked);
        }
        if self.is_over() {
            return Err(Refused::ConversationOver);
        }
        if self.has_failed() {
            return Err(Refused::LinkFailed);
        }
        if !self.state.phase.stands() && !self.repeats_join() {
            return Err(Refused::NotJoined);
        }
        if self.state.sending.queued >= QUEUE_MAX {
            return Err(Refused::QueueFull);
        }
        Ok(())
    }

    /// It stood before and is taking its link again.
    fn repeats_join(&self) -> bool {
        self.state.phase == Phase::Taking && self.state.recovery.is_some()
    }

    /// Sets the timer for both sides.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn set_timer(&mut self, ctx: &mut Ctx<'_>, burn: Burn) -> Result<(), Refused> {
        self.may_send()?;
        let record = LineRecord {
            at_ms: ctx.clock.now().0,
            expires_at_ms: None,
            content: LineContent::OwnTimer(OwnTimerLine {
                intent: IntentId(rng::bytes(ctx.rng)),
                burn: StoredBurn(burn),
            }),
        };
        let id = self.state.lines.add(&mut ctx.store, self.id, &record);
        self.enqueue(ctx, id);
        self.state.profile.burn = StoredBurn(burn);
        self.state.profile.burn_waits = id.0;
        ctx.events.push(Event::TimerChanged {
            conversation: self.name(),
            id,
            by: Side::Me,
            burn,
        });
        Ok(())
    }

    /// Everything up to a line was seen: timers start, burn-on-read burns.
    // [SPEC 9.31]
    pub(crate) fn read(&mut self, ctx: &mut Ctx<'_>, up_to: LineId) {
        let now = ctx.clock.now();
        let read = self.state.lines.read(&ctx.store, self.id, up_to);
        for (line, mut record) in read {
            let LineContent::Received(received) = &record.content else {
                continue;
            };
            self.state.receipts.read = self.state.receipts.read.max(received.after);
            match received.burn.0 {
                Burn::Never => {}
                Burn::OnRead => self.line_gone(ctx, line, GoneWhy::Expired),
                Burn::After(time) => {
                    self.live.next_expiry = None;
                    lines::expire_at(
                        &mut ctx.store,
                        self.id,
                        line,
                        &mut record,
                        now.plus_ms(time.ms()),
                    );
                }
            }
        }
        if self.state.lines.unread() == 0 {
            // Also what came again after a restart and was read before.
            self.state.receipts.read = self.state.receipts.read.max(self.state.receipts.got);
        }
        if self.state.profile.receipts_read.0
            && self.state.receipts.read > self.state.receipts.told_read
        {
            self.receipt_later(ctx);
        }
    }

    /// Deletes a line here, and says whether its message may have left before. Nothing: there is no such line.
    pub(crate) fn delete(&mut self, ctx: &mut Ctx<'_>, line: LineId) -> Option<bool> {
        // A change of the timer that waits holds for messages already: it goes on its way first.
        let found = lines::get(&ctx.store, self.id, line).is_some()
            && !self.is_waiting_timer(&ctx.store, line);
        let may_have_left = self.is_staged(line);
        found.then(|| {
            self.line_gone(ctx, line, GoneWhy::Deleted);
            may_have_left
        })
    }

    pub(crate) fn unread(&self, store: &Store<'_>, limit: usize) -> Vec<Line> {
        self.state.lines.list_unread(store, self.id, limit)
    }

    pub(crate) fn history_lines(
        &self,
        store: &Store<'_>,
        before: Option<LineId>,
        limit: usize,
    ) -> Vec<Line> {
        self.state.lines.history(store, self.id, before, limit)
    }

    pub(crate) fn rename(&mut self, name: &Name) {
        self.state.profile.name = StoredText::of(&name.as_str().into());
    }

    pub(crate) fn set_receipts(&mut self, delivered: bool, read: bool) {
        self.state.profile.receipts_delivered = Flag(delivered);
        self.state.profile.receipts_read = Flag(read);
        if !delivered && !read {
            self.state.receipts.due_ms = 0;
        }
    }

    pub(crate) fn block(&mut self, on: bool) {
        self.state.profile.blocked = Flag(on);
    }

    pub(crate) fn confirm_verified(&mut self) -> bool {
        let known = self.state.peer.is_some();
        if known {
            self.state.profile.verified = Flag(true);
        }
        known
    }

    /// What two people compare.
    pub(crate) fn fingerprint(&mut self, ctx: &Ctx<'_>) -> Option<Fingerprint> {
        let peer = self.peer()?.identity();
        let own = self.own(ctx)?.identity();
        let point = self.state.main.as_ref()?.point();
        Some(Fingerprint {
            digits: verification::number(own, peer),
            qr: Code::new(own, peer, point).text(),
            verified: self.state.profile.verified.0,
        })
    }

    /// The conversation in the list of contacts.
    pub(crate) fn contact(&self, relay: String) -> Contact {
        let profile = &self.state.profile;
        Contact {
            name: self.name(),
            state: self.contact_state(),
            verified: profile.verified.0,
            blocked: profile.blocked.0,
            burn: profile.burn.0,
            receipts_delivered: profile.receipts_delivered.0,
            receipts_read: profile.receipts_read.0,
            unread: self.state.lines.unread(),
            waiting: self.waiting(),
            relay,
            all_logs_known: true,
        }
    }

    fn contact_state(&self) -> ContactState {
        match self.state.phase {
            Phase::Invited => ContactState::Invited,
            Phase::InviteFailed(code) => ContactState::InviteFailed(Phase::invite_fault(code)),
            Phase::Taking if self.repeats_join() => ContactState::Restarting,
            Phase::Taking => ContactState::Joining,
            Phase::JoinFailed(code) => ContactState::JoinFailed(Phase::join_fault(code)),
            // Also while it waits in a restart that the inviter does not see either.
            phase
                if phase.stands()
                    && self.inviter_missing()
                    && !self.is_over()
                    && !self.restart_waits_for_user() =>
            {
                ContactState::JoinFailed(crate::api::JoinFault::InviterNotSeen)
            }
            Phase::Member => ContactState::Active,
            _ if self.is_over() => ContactState::Over,
            _ if self.restart_waits_for_user() => ContactState::RestartWaits,
            _ => ContactState::Restarting,
        }
    }

    /// Messages and changes that wait for the relay.
    pub(crate) fn waiting(&self) -> usize {
        usize::try_from(self.state.sending.queued).unwrap_or(usize::MAX)
    }

    /// Nothing is left that could be done now with a relay that answers.
    pub(crate) fn is_settled(&self, now: Mono) -> bool {
        if self.state.profile.blocked.0 || self.is_over() || self.restart_waits_for_user() {
            return true;
        }
        let main_read = self.live.main.is_caught_up();
        let pausing = !self.live.main.may_try(now);
        match self.state.phase {
            Phase::InviteFailed(_) | Phase::JoinFailed(_) => true,
            Phase::Invited | Phase::Alone => main_read || pausing,
            Phase::Taking | Phase::Entering => pausing,
            Phase::Trouble(_) => !self.live.recovery.may_try(now),
            Phase::Member => {
                let idle = self.stage.is_none()
                    && self.state.sending.queued == 0
                    && !self.state.sending.seen_due.0;
                let receipts = self.state.receipts.due_ms == 0;
                pausing || self.state.lines.is_full() || (main_read && idle && receipts)
            }
        }
    }

    /// Deletes everything this device knows of it, and has the relay destroy what it owns there.
    pub(crate) fn forget(mut self, ctx: &mut Ctx<'_>) {
        let orders = self.destroy_orders(&ctx.port.relay);
        ctx.destroys.extend(orders);
        self.live.main.leave(&mut ctx.port);
        self.live.recovery.leave(&mut ctx.port);
        self.live.former.leave(&mut ctx.port);
        ctx.store.delete_all(&self.id.all());
    }
}
