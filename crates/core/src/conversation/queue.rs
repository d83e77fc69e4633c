//! The lines that wait to be sent, and what becomes of them.

use emptyroom_wire::entry::Ttl;
use emptyroom_wire::time::{DAY_MS, Wall};

use super::lines::{self, LineContent, LineRecord};
use super::stage::What;
use super::{Conversation, Ctx};
use crate::api::{Burn, Event, FailedWhy, LineId, MessageState};
use crate::content::{Body, TextMessage, TimerChange};
use crate::position::Position;
use crate::store::{Value, key};

/// What is known of a line that waits.
#[derive(Clone, Copy, Default)]
struct Waiting {
    /// It was sent before, and the other side went back.
    again: bool,
    /// When its time at the relay is over, if it was there before; else 0.
    until_ms: u64,
}

impl Waiting {
    fn record(self) -> Value {
        let mut record = vec![u8::from(self.again)];
        if self.until_ms != 0 {
            record.extend_from_slice(&self.until_ms.to_be_bytes());
        }
        Value::new(record)
    }

    fn read(record: &[u8]) -> Self {
        let (again, until) = record.split_first().unwrap_or((&0, &[]));
        Self {
            again: *again == 1,
            until_ms: until
                .first_chunk()
                .map_or(0, |bytes| u64::from_be_bytes(*bytes)),
        }
    }

    /// When the relay's copy ends, if it is kept for so long from now on: no later than it was to end at first.
    // [SPEC 9.27]
    fn until(self, now: Wall, ttl: Ttl) -> Wall {
        let until = now.plus_ms(ttl_ms(ttl));
        match self.until_ms {
            0 => until,
            first => until.min(Wall(first)),
        }
    }
}

impl Conversation {
    pub(super) fn stage_line(&mut self, ctx: &mut Ctx<'_>) {
        let found = ctx.store.scan(&self.id.queue(), None, 1, false);
        let Some(line) = found.first().and_then(|(key, _)| key::last_number(key)) else {
            self.state.sending.queued = 0;
            return;
        };
        let line = LineId(line);
        let waiting = self.waiting_line(ctx, line);
        let now = ctx.clock.now();
        match lines::get(&ctx.store, self.id, line).map(|record| intent_of(&record)) {
            // Its time was over before it could be sent again.
            // [SPEC 9.27]
            Some(Some((Body::Text(_), ttl))) if waiting.until(now, ttl) <= now => {
                self.unqueue(ctx, line);
                self.set_state(ctx, line, MessageState::Failed(FailedWhy::RanOut));
                self.live.moved = true;
            }
            Some(Some((body, ttl))) => {
                let left_ms = waiting.until(now, ttl).ms_since(now);
                self.stage_message(ctx, What::Line(line.0), body, shortest(left_ms));
            }
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

    /// Lets a line wait for its turn.
    pub(super) fn enqueue(&mut self, ctx: &mut Ctx<'_>, line: LineId) {
        self.enqueue_as(ctx, line, Waiting::default());
    }

    /// Lets a line wait that was sent before; `again`: because the other side went back. `until_ms`: when its time at the relay
    /// is over, 0 if it gets a new one.
    pub(super) fn enqueue_again(
        &mut self,
        ctx: &mut Ctx<'_>,
        line: LineId,
        again: bool,
        until_ms: u64,
    ) {
        self.enqueue_as(ctx, line, Waiting { again, until_ms });
    }

    fn enqueue_as(&mut self, ctx: &mut Ctx<'_>, line: LineId, waiting: Waiting) {
        let key = self.id.queued(line.0);
        if ctx.store.get(&key).is_none() {
            ctx.store.put(key, waiting.record());
            self.state.sending.queued += 1;
        }
    }

    fn waiting_line(&self, ctx: &Ctx<'_>, line: LineId) -> Waiting {
        let queued = ctx.store.get(&self.id.queued(line.0));
        queued.map_or_else(Waiting::default, |record| Waiting::read(&record))
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
        let waiting = self.waiting_line(ctx, line);
        self.unqueue(ctx, line);
        let now = ctx.clock.now();
        let until = waiting.until(now, ttl);
        let sent = super::receipts::SentRecord::new(line, until, waiting.again);
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

/// The shortest time at the relay that covers what is left.
fn shortest(left_ms: u64) -> Ttl {
    let all = [Ttl::Day1, Ttl::Day7, Ttl::Day30];
    let covers = |ttl: &Ttl| ttl_ms(*ttl) >= left_ms;
    all.into_iter().find(covers).unwrap_or(Ttl::Day30)
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
