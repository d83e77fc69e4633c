//! Where a log stands on the relay's disk, derived from its capability and not leading back to it.

use std::sync::Arc;

use emptyroom_wire::Secret32;
use emptyroom_wire::derive;
use emptyroom_wire::log::{Capability, LogId};

/// The key a row stands under. Equal-looking random bytes to whoever does not know the capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey(pub [u8; 32]);

/// Names a log to the store: its row key, the secret its rows are sealed under and its log id. An open handle keeps this and not the
/// capability. Copies share one secret, which is erased with the last of them.
#[derive(Clone)]
pub struct Place {
    key: RowKey,
    secret: Arc<Secret32>,
    log_id: LogId,
}

impl Place {
    /// The place of the log with this capability.
    // [SPEC 6.2]
    #[must_use]
    pub fn of(capability: &Capability) -> Place {
        todo!()
    }
}
