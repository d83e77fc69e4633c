//! One account on one device: routes inputs to links and conversations, and their outputs out.

use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::time::{Mono, Now};

use crate::api::{Input, Output, Settings};
use crate::store::Records;

/// A client. One input, drain every output, next input.
pub struct Client {}

/// Why stored records cannot be used. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// Written by a later version of this program.
    Newer,
    /// A record is not what was written.
    Damaged,
}

impl Client {
    /// A client over what was stored; over no records at all a fresh account, whose first
    /// [`Output::Persist`] holds its root.
    ///
    /// # Errors
    /// The records come from a later version, or are damaged.
    pub fn load(
        now: Now,
        rng: Box<dyn CryptoRng + Send>,
        records: &dyn Records,
        settings: Settings,
    ) -> Result<Self, LoadError> {
        let _ = (now, rng, records, settings);
        Ok(Self {})
    }

    /// Takes one input. Outputs come from [`Client::poll`].
    pub fn handle(&mut self, now: Now, input: Input, records: &dyn Records) {
        let _ = (now, input, records);
    }

    /// The next output to carry out.
    pub fn poll(&mut self) -> Option<Output> {
        None
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn wake_at(&self) -> Option<Mono> {
        None
    }
}
