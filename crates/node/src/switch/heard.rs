//! Whether the relay of a switch says what it should: that there is the switch, and no order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use emptyroom_vault::Directory;
use emptyroom_wire::time::HOUR_MS;

use crate::clock;
use crate::outside::Outside;

/// What is known of it, in unix milliseconds; 0 is never. Shared by whoever watches and whoever shows it.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Times>);

#[derive(Default)]
struct Times {
    last_ms: AtomicU64,
    stored_ms: AtomicU64,
    gone_ms: AtomicU64,
}

impl Heard {
    /// As it lies outside.
    pub(crate) fn new(stored_ms: Option<u64>) -> Self {
        let ms = || AtomicU64::new(stored_ms.unwrap_or(0));
        Self(Arc::new(Times {
            last_ms: ms(),
            stored_ms: ms(),
            gone_ms: AtomicU64::new(0),
        }))
    }

    /// It has the switch, and no order.
    pub(super) fn now(&self) {
        self.0.last_ms.store(clock::now().wall.0, Relaxed);
        self.0.gone_ms.store(0, Relaxed);
    }

    /// It has no such switch.
    pub(super) fn gone(&self) {
        let now_ms = clock::now().wall.0.max(1);
        // Since the first time.
        let _ = self.0.gone_ms.compare_exchange(0, now_ms, Relaxed, Relaxed);
    }

    /// There is another switch, of which nothing is known.
    pub(crate) fn forget(&self) {
        for ms in [&self.0.last_ms, &self.0.stored_ms, &self.0.gone_ms] {
            ms.store(0, Relaxed);
        }
    }

    /// When it was heard last.
    pub(crate) fn at_ms(&self) -> Option<u64> {
        non_zero(&self.0.last_ms)
    }

    /// Since when it has no such switch, as far as this process knows.
    pub(crate) fn gone_ms(&self) -> Option<u64> {
        non_zero(&self.0.gone_ms)
    }

    /// Whether it is to be written outside.
    pub(crate) fn is_due(&self) -> bool {
        let stored_ms = self.0.stored_ms.load(Relaxed);
        let last_ms = self.at_ms();
        last_ms.is_some_and(|last_ms| last_ms.abs_diff(stored_ms) >= HOUR_MS)
    }

    /// Writes it outside, once in an hour. Whoever calls this has the directory's lock.
    // [SPEC 11.60]
    pub(crate) fn store(&self, directory: &dyn Directory) {
        let Some(last_ms) = self.at_ms().filter(|_| self.is_due()) else {
            return;
        };
        // It is only shown: what cannot be written is later.
        if Outside::change(directory, |outside| outside.heard_ms = Some(last_ms)).is_ok() {
            self.0.stored_ms.store(last_ms, Relaxed);
        }
    }
}

fn non_zero(ms: &AtomicU64) -> Option<u64> {
    let ms = ms.load(Relaxed);
    (ms > 0).then_some(ms)
}
