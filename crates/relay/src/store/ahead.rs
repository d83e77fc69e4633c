//! What a batch will look at, said before it is decided, so that rows on another machine come in few round trips.

use emptyroom_wire::time::Day;

use super::{RowKey, ShareOp, StoreOp};

/// Rows that are about to be looked up. A hint: what is not said here is found as well.
#[derive(Default)]
pub struct Expected {
    /// Lasting rows that may be changed.
    pub change: Vec<RowKey>,
    /// Lasting rows of logs and shares that are to be made.
    pub made: Vec<RowKey>,
    /// Lasting rows that are looked at only.
    pub look: Vec<RowKey>,
    /// Entries with their last days.
    pub entries: Vec<(Day, RowKey)>,
}

/// What a batch does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// It looks at rows of logs and shares.
    Look,
    /// It reads entries, too.
    Read,
    /// It may change something.
    Write,
}

impl Access {
    /// What these operations need.
    pub(super) fn of(ops: &[StoreOp]) -> Access {
        if ops.iter().any(StoreOp::writes) {
            Access::Write
        } else if ops.iter().any(|op| matches!(op, StoreOp::Read { .. })) {
            Access::Read
        } else {
            Access::Look
        }
    }
}

/// The rows of all logs and shares that operations name.
pub(super) fn logs_of(ops: &[StoreOp]) -> Expected {
    let mut expected = Expected::default();
    for op in ops {
        match op {
            StoreOp::Look { place } | StoreOp::Read { place, .. } => {
                expected.look.push(place.key());
            }
            StoreOp::Create(new) => expected.made.push(new.place.key()),
            StoreOp::Append(append) => {
                expected.change.push(append.place.key());
                let next = append.next.iter().map(|new| new.place.key());
                expected.made.extend(next);
            }
            StoreOp::Renew { place } | StoreOp::Trim { place, .. } | StoreOp::Destroy { place } => {
                expected.change.push(place.key());
            }
            StoreOp::Share(place, ShareOp::Put(_)) => expected.made.push(place.key()),
            StoreOp::Share(place, op) if op.writes() => expected.change.push(place.key()),
            StoreOp::Share(place, _) => expected.look.push(place.key()),
        }
    }
    expected
}
