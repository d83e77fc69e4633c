//! The lines that wait to be sent, and what becomes of them.

use emptyroom_wire::entry::Ttl;
use emptyroom_wire::time::DAY_MS;
use zeroize::Zeroizing;

use super::lines::{self, LineContent, LineRecord};
use super::stage::What;
use super::{Conversation, Ctx};
use crate::api::{Burn, Event, FailedWhy, LineId, MessageState};
use crate::content::{Body, TextMessage, TimerChange};
use crate::position::Position;
use crate::store::key;

impl Conversation {
    pub(super) fn stage_line(&mut self, ctx: &mut Ctx<'_>) {
        let found = ctx.store.scan(&self.id.queue(), None, 1, false);
        let Some(line) = found.first().and_then(|(key, _)| key::last_number(key)) else {
            self.state.sending.queued = 0;
            return;
        };
        let line = LineId(line);
        match lines::get(&ctx.store, self.id, line).map(|record| intent_of(&record)) {
            Some(Some((body, ttl))) => self.stage_message(ctx, What::Line(line.0), body, ttl),
            // Deleted while it waited.
            _ => self.unqueue(ctx, line),
        }
    }

    pub(super) fn unqueue(&mut self, ctx: &mut Ctx<'_>, line: LineId) {
        let key = self.id.queued(line.0);
        if ctx.store.get(&key).is_some() {
            ctx.store.delete(&key);
            self.state.sending.queued = self.state.sending.queued.saturating_sub(1);
        }
    }

    /// Lets a line wait for its turn; `again`: it was sent before, and the other side went back.
    pub(super) fn enqueue(&mut self, ctx: &mut Ctx<'_>, line: LineId, again: bool) {
        let key = self.id.queued(line.0);
        if ctx.store.get(&key).is_none() {
            ctx.store.put(key, Zeroizing::new(vec![u8::from(again)]));
            self.state.sending.queued += 1;
        }
    }

    /// A line can never be sent.
    pub(super) fn cannot_send(&mut self, ctx: &mut Ctx<'_>, what: &What) {
        if let What::Line(line) = what {
            self.unqueue(ctx, LineId(*line));
            self.set_state(
                ctx,
                LineId(*line),
                MessageState::Failed(FailedWhy::RelayRefused),
            );
            self.own_timer_refused(ctx, LineId(*line));
        }
    }

    pub(super) fn line_sent(&mut self, ctx: &mut Ctx<'_>, line: LineId, place: Position, ttl: Ttl) {
        let queued = ctx.store.get(&self.id.queued(line.0));
        let again = queued.is_some_and(|queued| queued.first() == Some(&1));
        self.unqueue(ctx, line);
        let now = ctx.clock.now();
        let until = now.plus_ms(ttl_ms(ttl));
        let sent = super::receipts::SentRecord::new(line, until, again);
        ctx.store.put(self.id.sent_at(&place), sent.record());
        let Some(mut record) = lines::get(&ctx.store, self.id, line) else {
            return;
        };
        match &record.content {
            LineContent::Sent(sent) => {
                // The sender's timer starts with the acknowledgement.
                // [SPEC 9.31]
                let ends = match sent.burn.0 {
                    Burn::Never => None,
                    Burn::After(time) => Some(now.plus_ms(time.ms())),
                    Burn::OnRead => Some(now.plus_ms(ON_READ_MS)),
                };
                if let Some(at) = ends.filter(|_| record.expires_at_ms.is_none()) {
                    self.live.next_expiry = None;
                    lines::expire_at(&mut ctx.store, self.id, line, &mut record, at);
                }
                self.set_state(ctx, line, MessageState::Sent);
            }
            LineContent::OwnTimer(timer) => self.own_timer_sent(line, timer.burn.0, place),
            _ => {}
        }
    }

    /// Writes a sent message's state and tells it.
    pub(super) fn set_state(&mut self, ctx: &mut Ctx<'_>, line: LineId, state: MessageState) {
        let Some(mut record) = lines::get(&ctx.store, self.id, line) else {
            return;
        };
        let LineContent::Sent(sent) = &mut record.content else {
            return;
        };
        let code = lines::state_code(state);
        if sent.state == code {
            return;
        }
        sent.state = code;
        lines::write(&mut ctx.store, self.id, line, &record);
        ctx.events.push(Event::MessageState {
            conversation: self.name(),
            id: line,
            state,
        });
    }
}

/// A sender's copy of a burn-on-read message goes at the latest after that.
const ON_READ_MS: u64 = 30 * DAY_MS;

/// How long the relay keeps an entry.
fn ttl_ms(ttl: Ttl) -> u64 {
    match ttl {
        Ttl::Day1 => DAY_MS,
        Ttl::Day7 => 7 * DAY_MS,
        Ttl::Day30 | Ttl::Life => 30 * DAY_MS,
    }
}

/// What a waiting line sends.
fn intent_of(record: &LineRecord) -> Option<(Body, Ttl)> {
    match &record.content {
        LineContent::Sent(line) => {
            let message = TextMessage {
                intent: line.intent,
                sent_at_ms: record.at_ms,
                burn: line.burn.0,
                text: line.text.text(),
            };
            let ttl = match line.days {
                1 => Ttl::Day1,
                7 => Ttl::Day7,
                _ => Ttl::Day30,
            };
            Some((Body::Text(message), ttl))
        }
        LineContent::OwnTimer(line) => {
            let change = TimerChange {
                intent: line.intent,
                changed_at_ms: record.at_ms,
                burn: line.burn.0,
            };
            Some((Body::Timer(change), Ttl::Day30))
        }
        _ => None,
    }
}
