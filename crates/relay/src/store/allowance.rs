//! What one batch may still do, and how an operation ends that goes beyond it.

use emptyroom_wire::op::{Refusal, RefusalCode};

use super::StoreFailure;
use crate::limits::{BATCH_REACH_MAX, BUSY_RETRY_S, FULL_RETRY_S};

/// Why an operation is not done: an answer, or the end of the relay.
pub(super) enum Stop {
    Refused(Refusal),
    Failed(StoreFailure),
}

impl From<StoreFailure> for Stop {
    fn from(failure: StoreFailure) -> Stop {
        Stop::Failed(failure)
    }
}

impl From<RefusalCode> for Stop {
    fn from(code: RefusalCode) -> Stop {
        Stop::Refused(Refusal::now(code))
    }
}

/// What a batch may still do.
pub(super) struct Allowance {
    /// Entries that it removes or moves by order.
    reached: usize,
    /// Rows that it may still make.
    room: usize,
}

impl Allowance {
    pub(super) fn new(room: usize) -> Allowance {
        Allowance { reached: 0, room }
    }

    /// One small request can be about thousands of rows, a batch about millions: these are counted, and wait for the next.
    pub(super) fn reach(&mut self, entries: usize) -> Result<(), Stop> {
        // [SPEC 6.55]
        let reached = self.reached.saturating_add(entries);
        if reached > BATCH_REACH_MAX {
            return Err(Stop::Refused(Refusal::later(
                RefusalCode::Busy,
                BUSY_RETRY_S,
            )));
        }
        self.reached = reached;
        Ok(())
    }

    /// Where the store has space for so many rows only, what finds none is refused alone.
    // [SPEC 6.114]
    pub(super) fn take_room(&mut self, rows: usize) -> Result<(), Stop> {
        let full = Refusal::later(RefusalCode::StorageFull, FULL_RETRY_S);
        self.room = self.room.checked_sub(rows).ok_or(Stop::Refused(full))?;
        Ok(())
    }
}
