//! What a relay says of a log when it does not take an append, and whether what it shows next agrees.
//!
//! *Stale*, *closed* and *unknown* are believed so far that the log is read on or opened again. What was to be appended stays
//! as it is until the log shows it to be void: a relay that only says so gains nothing, and is found out.

use emptyroom_wire::op::{RefusalCode, View};

use super::{Conversation, Ctx, is_gone};
use crate::api::RelayTrouble;
use crate::link::Role;

/// What was said.
#[derive(Clone, Copy)]
pub(crate) enum Claim {
    /// The log is not there.
    Gone,
    /// The log is closed.
    Closed,
    /// The log goes at least so far.
    Filled(View),
}

impl Claim {
    /// What a refusal says of the log, if it says anything.
    pub(crate) fn of(code: RefusalCode) -> Option<Self> {
        match code {
            code if is_gone(code) => Some(Self::Gone),
            RefusalCode::Closed => Some(Self::Closed),
            _ => None,
        }
    }

    /// Whether it can have been true of a log that looks so afterwards.
    fn agrees(&self, now: &View) -> bool {
        match self {
            Self::Gone => false,
            Self::Closed => now.closed,
            Self::Filled(then) => {
                now.next_seq >= then.next_seq
                    && now.slots >= then.slots
                    && (now.closed || !then.closed)
            }
        }
    }
}

impl Conversation {
    /// Whether a log is as the relay said when it did not take the last append. Else it is told.
    // [SPEC 8.65]
    pub(super) fn is_as_claimed(&mut self, ctx: &mut Ctx<'_>, role: Role, now: &View) -> bool {
        let claim = self.channel_mut(role).take_claim();
        let agrees = claim.is_none_or(|claim| claim.agrees(now));
        if !agrees {
            self.answer_cannot_be(ctx, role, RelayTrouble::WrongAnswer);
        }
        agrees
    }

    /// An append was answered as no honest relay does: it is told, and the append is tried again, later each time.
    pub(super) fn answer_cannot_be(&mut self, ctx: &mut Ctx<'_>, role: Role, kind: RelayTrouble) {
        self.tell_trouble(ctx, kind);
        self.channel_mut(role).doubt(ctx.clock.mono());
    }
}
