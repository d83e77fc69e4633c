//! What a conversation tells its user.

use emptyroom_wire::op::RefusalCode;

use super::lines::{LineContent, LineRecord};
use super::state::Phase;
use super::{Conversation, Ctx};
use crate::api::{Event, Line, LineId, PeerTrouble, RelayTrouble};

impl Conversation {
    /// Adds a line that says what happened.
    pub(super) fn notice(&mut self, ctx: &mut Ctx<'_>, content: LineContent) -> Line {
        let record = LineRecord {
            at_ms: ctx.clock.now().0,
            expires_at_ms: None,
            content,
        };
        let id: LineId = self.state.lines.add(&mut ctx.store, self.id, &record);
        self.state.lines.shown(id, &record)
    }

    pub(super) fn event_line(&mut self, ctx: &mut Ctx<'_>, line: Line) {
        let conversation = self.name();
        ctx.events.push(Event::Noticed { conversation, line });
    }

    /// Says what the relay did; once per kind and link.
    pub(super) fn tell_trouble(&mut self, ctx: &mut Ctx<'_>, kind: RelayTrouble) {
        ctx.port.troubles.push(kind);
        if self.live.told.insert(kind.code()) {
            ctx.events.push(Event::RelayTrouble {
                relay: ctx.port.relay_name.clone(),
                conversation: Some(self.name()),
                kind,
            });
        }
    }

    /// Says that the log it lives in is gone. Whoever has a generation's secret can have its log destroyed, also from an old copy;
    /// but the relay's word for it has no proof.
    // [SPEC 10.26]
    pub(super) fn tell_gone(&mut self, ctx: &mut Ctx<'_>, code: RefusalCode) {
        if code == RefusalCode::Destroyed && self.state.phase == Phase::Member {
            return self.peer_trouble(ctx, PeerTrouble::LogDestroyed);
        }
        self.tell_trouble(ctx, RelayTrouble::LogLost);
    }

    /// Says what the other side did; once per kind and link.
    pub(super) fn peer_trouble(&mut self, ctx: &mut Ctx<'_>, kind: PeerTrouble) {
        if self.live.told.insert(kind.code()) {
            let conversation = self.name();
            ctx.events.push(Event::PeerTrouble { conversation, kind });
        }
    }
}
