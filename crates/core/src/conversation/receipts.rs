//! What both sides tell each other about what arrived: cumulative, delayed, coalesced; and what follows from it.
//!
//! A receipt says a position and the gaps below it. It makes sent messages delivered or read, lets the relay's copy be
//! trimmed, and is never answered.

use emptyroom_wire::op::Answer;
use emptyroom_wire::time::{DAY_MS, HOUR_MS, Wall};
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use super::lines::{self, LineContent};
use super::state::Receipts;
use super::{Conversation, Ctx};
use crate::api::{Burn, FailedWhy, GoneWhy, LineId, MessageState};
use crate::content::{GAPS_MAX, Gap, Receipt};
use crate::link::below;
use crate::position::Position;
use crate::records;
use crate::store::value::Flag;
use crate::store::{Value, key};

const VERSION: u16 = 1;
/// A receipt waits at least this long.
// [SPEC 9.22]
const DELAY_MS_MIN: u64 = 1_000;
/// Gaps that no receipt has told yet.
// [SPEC 9.29]
const UNTOLD_GAPS_MAX: usize = 512;
/// Gaps that receipts tell again, the last ones: the receipt that told them first may be withheld.
// [SPEC 9.36]
const TOLD_GAPS_MAX: usize = 32;
const PAGE_LEN: usize = 256;
/// So many are looked through at a time.
const FORGET_MAX: usize = 1_024;
/// So long after its entry's end a message can still turn out not to have arrived.
// [SPEC 9.27]
const UNKNOWN_MS: u64 = 400 * DAY_MS;

/// What is known of a sent message beside its line, without any text.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(super) struct SentRecord {
    line: u64,
    until_ms: u64,
    delivered: Flag,
    /// It was sent again because the other side went back.
    again: Flag,
}

impl SentRecord {
    pub(super) fn new(line: LineId, until: Wall, again: bool) -> Self {
        Self {
            line: line.0,
            until_ms: until.0,
            delivered: Flag(false),
            again: Flag(again),
        }
    }

    pub(super) fn record(&self) -> Value {
        Value::new(records::encode(VERSION, self))
    }

    pub(super) fn read(record: &[u8]) -> Option<Self> {
        records::decode(VERSION, record).ok()
    }

    pub(super) fn line(&self) -> LineId {
        LineId(self.line)
    }

    pub(super) fn until_ms(&self) -> u64 {
        self.until_ms
    }

    pub(super) fn delivered(&self) -> bool {
        self.delivered.0
    }

    pub(super) fn again(&self) -> bool {
        self.again.0
    }

    /// The relay has the entry still, as far as time goes.
    pub(super) fn lives(&self, now: Wall) -> bool {
        self.until_ms > now.0
    }
}

impl Receipts {
    /// Every gap below was told.
    fn told(&self) -> Position {
        self.told_delivered.max(self.told_read)
    }

    /// The first place that is missing and that no receipt has named.
    pub(super) fn first_untold_gap(&self) -> Option<Position> {
        let told = self.told();
        let untold = self.gaps.iter().find(|gap| end(gap) > told);
        untold.map(|gap| gap.from.max(told))
    }
}

impl Conversation {
    /// Something for the user came, or he read it: a receipt goes out after a random delay, one for all until then.
    // [SPEC 9.22]
    pub(super) fn receipt_later(&mut self, ctx: &mut Ctx<'_>) {
        let profile = &self.state.profile;
        let wanted = profile.receipts_delivered.0 || profile.receipts_read.0;
        if wanted && self.state.receipts.due_ms == 0 {
            let delay = DELAY_MS_MIN + below(ctx.rng, ctx.settings.receipt_delay_ms_max);
            self.state.receipts.due_ms = ctx.clock.now().plus_ms(delay).0;
        }
    }

    /// Remembers a gap for the receipts to come. One too many makes one of two: nothing is said to have come that did not.
    // [SPEC 9.29]
    pub(super) fn note_gap(&mut self, gap: Gap) {
        let told = self.state.receipts.told();
        let gaps = &mut self.state.receipts.gaps;
        match gaps.last_mut() {
            Some(last) if same_log(last, &gap) && last.until_seq >= gap.from.next_seq => {
                last.until_seq = last.until_seq.max(gap.until_seq);
            }
            _ => gaps.push(gap),
        }
        if gaps.len() <= UNTOLD_GAPS_MAX {
            return;
        }
        if gaps.first().is_some_and(|first| end(first) <= told) {
            gaps.remove(0);
            return;
        }
        let two = gaps
            .windows(2)
            .rposition(|two| matches!(two, [one, next] if same_log(one, next)));
        // Where each is of another log, the first is older than anything that its sender remembers.
        let next = gaps.remove(two.map_or(0, |at| at + 1));
        if let Some(one) = two.and_then(|at| gaps.get_mut(at)) {
            one.until_seq = one.until_seq.max(next.until_seq);
        }
    }

    /// The receipt to be sent now, if one is due and says something new.
    pub(super) fn receipt_due(&mut self, ctx: &Ctx<'_>) -> Option<Receipt> {
        let due = self.state.receipts.due_ms;
        if due == 0 || due > ctx.clock.now().0 {
            return None;
        }
        let (mut delivered, mut read) = self.receipt_news();
        if delivered.is_none() && read.is_none() {
            self.state.receipts.due_ms = 0;
            return None;
        }
        let highest = delivered.max(read).unwrap_or_default();
        let gaps = &self.state.receipts.gaps;
        let mut gaps: Vec<Gap> = gaps
            .iter()
            .filter(|gap| end(gap) <= highest)
            .copied()
            .collect();
        if let Some(next) = gaps.get(GAPS_MAX) {
            // The rest is said by another receipt.
            // [SPEC 9.29]
            delivered = delivered.map(|delivered| delivered.min(next.from));
            read = read.map(|read| read.min(next.from));
            gaps.truncate(GAPS_MAX);
        }
        Some(Receipt {
            delivered,
            read,
            gaps,
        })
    }

    /// What the next receipt would say beyond the last one.
    fn receipt_news(&self) -> (Option<Position>, Option<Position>) {
        let receipts = &self.state.receipts;
        let profile = &self.state.profile;
        let here = self
            .state
            .main
            .as_ref()
            .map(super::state::MainLog::position);
        let news = receipts.got > receipts.told_delivered || receipts.first_untold_gap().is_some();
        // [SPEC 9.24]
        let delivered = here.filter(|_| profile.receipts_delivered.0 && news);
        let read = Some(receipts.read)
            .filter(|read| profile.receipts_read.0 && *read > receipts.told_read);
        (delivered, read)
    }

    /// A receipt is durable at the relay.
    pub(super) fn receipt_sent(&mut self, receipt: &Receipt) {
        let receipts = &mut self.state.receipts;
        receipts.told_delivered = receipts
            .told_delivered
            .max(receipt.delivered.unwrap_or_default());
        receipts.told_read = receipts.told_read.max(receipt.read.unwrap_or_default());
        let told = receipts.told();
        let told = receipts.gaps.partition_point(|gap| end(gap) <= told);
        receipts.gaps.drain(..told.saturating_sub(TOLD_GAPS_MAX));
        let (delivered, read) = self.receipt_news();
        if delivered.is_none() && read.is_none() {
            self.state.receipts.due_ms = 0;
        }
    }

    /// The other side's receipt, read at `place`.
    // [SPEC 9.23]
    pub(super) fn receipt_came(&mut self, ctx: &mut Ctx<'_>, receipt: &Receipt, place: Position) {
        self.missing_there(ctx, &receipt.gaps);
        if let Some(delivered) = receipt.delivered.map(|delivered| delivered.min(place)) {
            let from = self.state.receipts.peer_delivered;
            if delivered > from {
                self.mark_delivered(ctx, from, delivered, &receipt.gaps);
                self.state.receipts.peer_delivered = delivered;
            }
        }
        if let Some(read) = receipt.read.map(|read| read.min(place)) {
            let from = self.state.receipts.peer_read;
            if read > from {
                self.mark_read(ctx, from, read, &receipt.gaps);
                self.state.receipts.peer_read = read;
            }
        }
    }

    /// Entries that never came to the other side are not delivered, unless it said before that they were: then it was restored
    /// from a backup, and they are sent again under the same ids.
    // [SPEC 9.26] [SPEC 9.28]
    fn missing_there(&mut self, ctx: &mut Ctx<'_>, gaps: &[Gap]) {
        for gap in gaps {
            for (key, _, sent) in self.sent_between(ctx, gap.from, end(gap)) {
                if sent.delivered() && !sent.again() && sent.lives(ctx.clock.now()) {
                    self.send_line_again(ctx, &key, (sent.line(), true));
                }
            }
        }
    }

    fn mark_delivered(&mut self, ctx: &mut Ctx<'_>, from: Position, to: Position, gaps: &[Gap]) {
        for (key, position, mut sent) in self.sent_between(ctx, from, to) {
            if gaps.iter().any(|gap| holds(gap, &position)) {
                self.ran_out(ctx, &key, sent.line());
                continue;
            }
            sent.delivered = Flag(true);
            ctx.store.put(key, sent.record());
            if !self.was_read(ctx, sent.line()) {
                self.set_state(ctx, sent.line(), MessageState::Delivered);
            }
        }
    }

    /// What never came to the other side: a message has failed, a change of the timer that still counts is sent again.
    // [SPEC 9.23] [SPEC 9.34]
    pub(super) fn ran_out(&mut self, ctx: &mut Ctx<'_>, sent: &[u8], line: LineId) {
        self.set_state(ctx, line, MessageState::Failed(FailedWhy::RanOut));
        self.send_line_again(ctx, sent, (line, false));
    }

    fn was_read(&self, ctx: &Ctx<'_>, line: LineId) -> bool {
        let record = lines::get(&ctx.store, self.id, line);
        record.is_some_and(|record| {
            matches!(&record.content, LineContent::Sent(sent)
                if lines::state_of(sent.state) == MessageState::Read)
        })
    }

    fn mark_read(&mut self, ctx: &mut Ctx<'_>, from: Position, to: Position, gaps: &[Gap]) {
        for (key, position, mut sent) in self.sent_between(ctx, from, to) {
            if gaps.iter().any(|gap| holds(gap, &position)) {
                if !sent.delivered() {
                    self.ran_out(ctx, &key, sent.line());
                }
                continue;
            }
            sent.delivered = Flag(true);
            ctx.store.put(key, sent.record());
            let line = sent.line();
            let Some(record) = lines::get(&ctx.store, self.id, line) else {
                continue;
            };
            let LineContent::Sent(message) = &record.content else {
                continue;
            };
            if matches!(lines::state_of(message.state), MessageState::Failed(_)) {
                continue;
            }
            let burns = message.burn.0 == Burn::OnRead;
            self.set_state(ctx, line, MessageState::Read);
            if burns {
                self.line_gone(ctx, line, GoneWhy::Expired);
            }
        }
    }

    /// What was sent at places from `from` up to and without `to`.
    pub(super) fn sent_between(
        &self,
        ctx: &Ctx<'_>,
        from: Position,
        to: Position,
    ) -> Vec<(Vec<u8>, Position, SentRecord)> {
        let mut after = self.id.sent_at(&from);
        match from.next_seq.checked_sub(1) {
            Some(next_seq) => after = self.id.sent_at(&Position { next_seq, ..from }),
            None => after.truncate(after.len() - 8),
        }
        let mut found = Vec::new();
        loop {
            let page = ctx
                .store
                .scan(&self.id.sent(), Some(&after), PAGE_LEN, false);
            let more = page.len() == PAGE_LEN;
            for (key, value) in page {
                let position = key::sent_position(&key).filter(|position| *position < to);
                let Some(position) = position else {
                    return found;
                };
                after.clone_from(&key);
                if let Some(sent) = SentRecord::read(&value) {
                    found.push((key, position, sent));
                }
            }
            if !more {
                return found;
            }
        }
    }

    /// Forgets where messages stood of which nothing can become known any more.
    // [SPEC 9.27]
    pub(super) fn forget_ended(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.clock.now();
        if now.0 < self.live.next_forget_ms {
            return;
        }
        self.live.next_forget_ms = now.plus_ms(HOUR_MS).0;
        let after = self.live.forget_after.take();
        let page = ctx
            .store
            .scan(&self.id.sent(), after.as_deref(), FORGET_MAX, false);
        if page.len() == FORGET_MAX {
            self.live.forget_after = page.last().map(|(key, _)| key.clone());
        }
        for (key, value) in page {
            let sent = SentRecord::read(&value);
            if sent.is_none_or(|sent| !sent.lives(now) && !self.may_fail(ctx, &sent)) {
                ctx.store.delete(&key);
            }
        }
    }

    /// The relay does not have it any more; the other side has not said whether it came, and may yet.
    fn may_fail(&self, ctx: &Ctx<'_>, sent: &SentRecord) -> bool {
        let in_time = ctx.clock.now().0 < sent.until_ms.saturating_add(UNKNOWN_MS);
        !sent.delivered() && in_time && ctx.store.get(&self.id.line(sent.line)).is_some()
    }

    /// The relay's copy goes once both sides have it, and not before this side's receipt for it is there: should this device
    /// go back to an older copy, the other side knows then that it must send again what it finds missing.
    // [SPEC 9.25]
    pub(super) fn drive_trim(&mut self, ctx: &mut Ctx<'_>) {
        let (Some(main), Some(access)) = (&self.state.main, &self.live.access) else {
            return;
        };
        let receipts = &self.state.receipts;
        let own = if receipts.got > receipts.told_delivered {
            receipts.told_delivered
        } else {
            main.position()
        };
        let up_to = receipts.peer_delivered.min(own);
        let here = main.at(up_to.next_seq) == up_to;
        if here && up_to.next_seq > main.trimmed {
            self.live.main.trim(&mut ctx.port, access, up_to.next_seq);
        }
    }

    /// The answer to a trim. One that was cut off is asked again, one that was refused is left to the entries' time.
    pub(super) fn trimmed(&mut self, up_to: u64, _answer: &Answer) {
        self.live.main.trimmed();
        if let Some(main) = &mut self.state.main {
            main.trimmed = main.trimmed.max(up_to);
        }
    }
}

fn same_log(one: &Gap, other: &Gap) -> bool {
    one.from.restart == other.from.restart && one.from.generation == other.from.generation
}

fn holds(gap: &Gap, position: &Position) -> bool {
    gap.from <= *position && *position < end(gap)
}

/// The place after a gap.
fn end(gap: &Gap) -> Position {
    Position {
        next_seq: gap.until_seq,
        ..gap.from
    }
}

#[cfg(test)]
mod tests;
