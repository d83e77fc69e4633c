//! What messages do: texts are shown once, timers change, receipts count, "seen" is seen.

use emptyroom_wire::op::EntryPush;
use emptyroom_wire::relay_key::Head;
use emptyroom_wire::secret::Private;

use super::lines::{LineContent, LineRecord, ReceivedLine};
use super::receipts::SentRecord;
use super::state::Phase;
use super::{Conversation, Ctx};
use crate::api::{Event, LineId, MessageState, PeerTrouble, RelayTrouble, RestartReason, Side};
use crate::content::{Body, Content, ContentFault, TextMessage, TimerChange};
use crate::mls::Member;
use crate::position::Position;
use crate::store::key;
use crate::store::value::{StoredBurn, StoredText};

impl Conversation {
    /// A message of the other side opened.
    pub(super) fn read_message(
        &mut self,
        ctx: &mut Ctx<'_>,
        entry: &EntryPush,
        sender: &Member,
        message: &[u8],
    ) {
        let peer = self.peer().map(|peer| peer.identity());
        if peer.is_some_and(|peer| peer != sender.certificate.identity()) {
            return self.peer_trouble(ctx, PeerTrouble::RubbishMessage);
        }
        let content = match Content::decode(message) {
            Ok(content) => content,
            Err(ContentFault::Version(_) | ContentFault::Critical(_)) => {
                return self.peer_trouble(ctx, PeerTrouble::UnknownContent);
            }
            Err(_) => return self.peer_trouble(ctx, PeerTrouble::RubbishMessage),
        };
        let history = content.history;
        if let Some(head) = history.relay_key {
            ctx.port.claims.push(Head {
                number: head.number,
                hash: Private(head.hash),
            });
        }
        let Some(place) = self.state.main.as_ref().map(|main| main.at(entry.seq)) else {
            return;
        };
        let agrees = self.agrees(ctx, entry.seq, &history.here, history.before.as_ref());
        self.read_body(ctx, content.body, place);
        if !agrees && self.state.phase == Phase::Member {
            self.tell_trouble(ctx, RelayTrouble::TwoHistories);
            self.trouble(ctx, RestartReason::HistoriesDiffer);
        }
    }

    fn read_body(&mut self, ctx: &mut Ctx<'_>, body: Body, place: Position) {
        match body {
            Body::Text(message) => self.text_came(ctx, &message, place),
            Body::Timer(change) => self.timer_came(ctx, &change, place),
            Body::Receipt(receipt) => self.receipt_came(ctx, &receipt, place),
            Body::Seen | Body::Ignored(_) => {}
        }
    }

    // [SPEC 9.20]
    fn text_came(&mut self, ctx: &mut Ctx<'_>, message: &TextMessage, place: Position) {
        let now = ctx.clock.now().0;
        self.user_entry(ctx, place, message.sent_at_ms);
        if !self.shown.insert(&mut ctx.store, self.id, message.intent) {
            // Sent again after a restart: what its user has read stays read.
            if self.state.lines.unread() == 0 {
                self.state.receipts.read = self.state.receipts.read.max(after(place));
            }
            return;
        }
        let record = LineRecord {
            at_ms: now,
            expires_at_ms: None,
            content: LineContent::Received(ReceivedLine {
                text: StoredText::of(&message.text),
                sent_at_ms: message.sent_at_ms,
                burn: StoredBurn(message.burn),
                after: after(place),
            }),
        };
        let id = self.state.lines.add(&mut ctx.store, self.id, &record);
        let line = self.state.lines.shown(id, &record);
        let conversation = self.name();
        ctx.events
            .push(Event::MessageReceived { conversation, line });
    }

    /// The last change in the order of the log counts, also against an own one that still waits.
    // [SPEC 9.34]
    fn timer_came(&mut self, ctx: &mut Ctx<'_>, change: &TimerChange, place: Position) {
        self.user_entry(ctx, place, change.changed_at_ms);
        // Also one that came again after a restart: for its maker this is its place.
        self.timer_logged(change.burn, place);
        if !self.shown.insert(&mut ctx.store, self.id, change.intent) {
            return;
        }
        let line = self.notice(ctx, LineContent::PeerTimer(StoredBurn(change.burn)));
        ctx.events.push(Event::TimerChanged {
            conversation: self.name(),
            id: line.id,
            by: Side::Peer,
            burn: change.burn,
        });
    }

    /// An entry that holds something for the user: it is receipted, also when it was shown before.
    fn user_entry(&mut self, ctx: &mut Ctx<'_>, place: Position, sealed_ms: u64) {
        let now = ctx.clock.now().0;
        if let Some(main) = &mut self.state.main {
            main.sealed_ms = main.sealed_ms.max(sealed_ms.min(now));
        }
        self.state.receipts.got = self.state.receipts.got.max(after(place));
        self.receipt_later(ctx);
    }

    /// The two are together again: what the other side does not have is sent again, under the same ids.
    // [SPEC 10.12] [SPEC 9.27]
    pub(super) fn send_again(&mut self, ctx: &mut Ctx<'_>, peer_shown: Position) {
        let everything = Position {
            restart: u64::MAX,
            generation: u64::MAX,
            next_seq: u64::MAX,
        };
        // Who gives no receipts has most of what is missing in them.
        let gives_receipts = self.state.receipts.peer_delivered > Position::default();
        for (key, position, sent) in self.sent_between(ctx, Position::default(), everything) {
            let shown = position < peer_shown;
            if sent.lives(ctx.clock.now()) {
                if !sent.delivered() || !shown {
                    self.send_line_again(ctx, &key, (sent.line(), sent.again()));
                }
            } else if !sent.delivered() && !shown && gives_receipts {
                self.ran_out(ctx, &key, sent.line());
            }
        }
    }

    /// Puts a line that was sent into the queue again; `again`: because the other side went back.
    pub(super) fn send_line_again(
        &mut self,
        ctx: &mut Ctx<'_>,
        sent: &[u8],
        (line, again): (LineId, bool),
    ) {
        let before = ctx.store.get(sent).and_then(|sent| SentRecord::read(&sent));
        ctx.store.delete(sent);
        let Some(record) = super::lines::get(&ctx.store, self.id, line) else {
            return;
        };
        match &record.content {
            LineContent::Sent(message)
                if !matches!(
                    super::lines::state_of(message.state),
                    MessageState::Failed(_)
                ) =>
            {
                let until_ms = before.map_or(0, |before| before.until_ms());
                self.enqueue_again(ctx, line, again, until_ms);
                self.set_state(ctx, line, MessageState::Queued);
            }
            // One that a later change has replaced on both sides would only undo that.
            // [SPEC 9.34]
            LineContent::OwnTimer(_)
                if self.state.profile.burn_waits == 0
                    && key::sent_position(sent) == Some(self.state.profile.burn_logged_at) =>
            {
                self.state.profile.burn_waits = line.0;
                self.enqueue_again(ctx, line, again, 0);
            }
            _ => {}
        }
    }
}

/// The place after an entry.
fn after(place: Position) -> Position {
    Position {
        next_seq: place.next_seq.saturating_add(1),
        ..place
    }
}
