//! Two copies of a thing that is overwritten in place, so that a torn write never loses it.
//!
//! A new version goes to the copy that is not known to be good. Once that is durable it is mirrored
//! to the other, so that at rest both hold the same and damage to one is healed, not taken for a
//! torn write (which would silently bring the version before back).

use std::io;

use crate::directory::File;

/// Where two copies lie in a file, and which of them is known to be durable.
pub(crate) struct Pair {
    offsets: [u64; 2],
    good: usize,
}

impl Pair {
    /// `good` (0 or 1) is durable and whole.
    pub(crate) fn new(offsets: [u64; 2], good: usize) -> Self {
        Pair { offsets, good }
    }

    /// Writes to the copy that is not the good one: a new version, for which the caller syncs and
    /// then calls [`Pair::promote`]; or, after that, the good version once more.
    ///
    /// Until the next sync that copy is in doubt, which is harmless: the good one is durable, and the
    /// next version goes to this one again.
    pub(crate) fn write_other(&self, file: &dyn File, image: &[u8]) -> io::Result<()> {
        let [first, second] = self.offsets;
        file.write_at(if self.good == 0 { second } else { first }, image)
    }

    /// What was written to the other copy is durable: it is the good one now.
    pub(crate) fn promote(&mut self) {
        self.good = 1 - self.good.min(1);
    }
}
