//! What every store must do, as a test suite that any store can be put through.
//!
//! A store's own tests implement [`Subject`] and call [`run`] (or each of [`CHECKS`] by itself). A check panics where the store is wrong.
//! Each gets a fresh, empty store. The simulator's memory store, SQLite and whatever comes later pass the same.

// A test suite that lives in a library, because the stores it is for live in other crates.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod budget;
mod driver;
mod limits;
mod logs;
mod model;
mod rows;
mod shares;
mod time;
mod traces;

pub use rows::MemoryRows;
pub use traces::{TRACES, trace};

use crate::store::Store;

/// A store under test, together with the disk below it.
pub trait Subject {
    /// The store.
    fn store(&mut self) -> &mut dyn Store;

    /// Loses the process and everything that was not made durable, and opens the store again.
    fn crash(&mut self);
}

/// One check.
pub struct Check {
    /// What it is about.
    pub name: &'static str,
    /// Runs it on a fresh store.
    pub run: fn(&mut dyn Subject),
}

/// All checks.
pub const CHECKS: &[Check] = &[
    Check {
        name: "creating again",
        run: logs::creating_again,
    },
    Check {
        name: "compare and set",
        run: logs::compare_and_set,
    },
    Check {
        name: "an append is answered once",
        run: logs::nonces,
    },
    Check {
        name: "next is one operation with its append",
        run: logs::next_is_atomic,
    },
    Check {
        name: "a batch is decided in order",
        run: logs::order_in_a_batch,
    },
    Check {
        name: "reading in parts",
        run: logs::reading_in_parts,
    },
    Check {
        name: "closing",
        run: logs::closing,
    },
    Check {
        name: "trimming",
        run: logs::trimming,
    },
    Check {
        name: "destroying",
        run: logs::destroying,
    },
    Check {
        name: "entries run out by day",
        run: time::entries_run_out,
    },
    Check {
        name: "counters outlive entries",
        run: time::counters_outlive_entries,
    },
    Check {
        name: "logs run out",
        run: time::logs_run_out,
    },
    Check {
        name: "nonces live as long as their log",
        run: time::nonces_live_on,
    },
    Check {
        name: "recovery logs live on",
        run: time::recovery_logs,
    },
    Check {
        name: "a clock that jumps back",
        run: time::clock_jumps_back,
    },
    Check {
        name: "a log full of entries",
        run: limits::full_of_entries,
    },
    Check {
        name: "a log full of bytes",
        run: limits::full_of_bytes,
    },
    Check {
        name: "the reach of a batch",
        run: limits::reach_of_a_batch,
    },
    Check {
        name: "dropping the oldest",
        run: limits::drop_oldest,
    },
    Check {
        name: "budget of logs",
        run: budget::logs,
    },
    Check {
        name: "budget of bytes",
        run: budget::bytes,
    },
    Check {
        name: "the budget of lasting bytes",
        run: budget::lasting_bytes,
    },
    Check {
        name: "shares are put once",
        run: shares::put_once,
    },
    Check {
        name: "the uses of a share",
        run: shares::uses,
    },
    Check {
        name: "shares run out",
        run: shares::running_out,
    },
    Check {
        name: "deleting shares",
        run: shares::deleting,
    },
    Check {
        name: "deleting shares by order",
        run: shares::deleting_by_order,
    },
    Check {
        name: "random operations",
        run: traces::random_operations,
    },
];

/// Runs all checks, each on a store that `fresh` makes.
pub fn run(fresh: &mut dyn FnMut() -> Box<dyn Subject>) {
    for check in CHECKS {
        let mut subject = fresh();
        (check.run)(&mut *subject);
    }
}
