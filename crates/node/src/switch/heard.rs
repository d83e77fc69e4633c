//! Whether the relay of a switch says what it should: that there is the switch, and no order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use emptyroom_vault::Directory;
use emptyroom_wire::time::HOUR_MS;

use crate::clock;
use crate::outside::{Outside, Trouble};

/// What is known of it, in unix milliseconds; 0 is never. Shared by whoever watches and whoever shows it.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Times>);

#[derive(Default)]
struct Times {
    last_ms: AtomicU64,
    gone_ms: AtomicU64,
    filled_ms: AtomicU64,
    /// As they lie outside.
    stored_ms: AtomicU64,
    stored_gone_ms: AtomicU64,
    stored_filled_ms: AtomicU64,
}

impl Heard {
    /// As it lies outside.
    pub(crate) fn new(outside: &Outside) -> Self {
        let ms = |ms: u64| AtomicU64::new(ms);
        let Trouble { gone_ms, filled_ms } = outside.trouble;
        let last_ms = outside.heard_ms.unwrap_or(0);
        Self(Arc::new(Times {
            last_ms: ms(last_ms),
            gone_ms: ms(gone_ms),
            filled_ms: ms(filled_ms),
            stored_ms: ms(last_ms),
            stored_gone_ms: ms(gone_ms),
            stored_filled_ms: ms(filled_ms),
        }))
    }

    /// It has the switch, and no order.
    pub(super) fn now(&self) {
        self.0.last_ms.store(clock::now().wall.0, Relaxed);
        self.0.gone_ms.store(0, Relaxed);
    }

    /// It has no such switch.
    pub(super) fn gone(&self) {
        since(&self.0.gone_ms, true);
    }

    /// Whether somebody fills it. Before all of it was read nobody knows that it is not so.
    // [SPEC 11.95]
    pub(super) fn filled(&self, is_filled: bool, is_all: bool) {
        if is_filled || is_all {
            since(&self.0.filled_ms, is_filled);
        }
    }

    /// There is another switch, of which nothing is known.
    pub(crate) fn forget(&self) {
        let Times {
            last_ms,
            gone_ms,
            filled_ms,
            stored_ms,
            stored_gone_ms,
            stored_filled_ms,
        } = &*self.0;
        for ms in [last_ms, gone_ms, filled_ms] {
            ms.store(0, Relaxed);
        }
        for ms in [stored_ms, stored_gone_ms, stored_filled_ms] {
            ms.store(0, Relaxed);
        }
    }

    /// When it was heard last.
    pub(crate) fn at_ms(&self) -> Option<u64> {
        non_zero(&self.0.last_ms)
    }

    /// Since when it has no such switch, as far as is known here.
    pub(crate) fn gone_ms(&self) -> Option<u64> {
        non_zero(&self.0.gone_ms)
    }

    /// Since when somebody fills it.
    pub(crate) fn filled_ms(&self) -> Option<u64> {
        non_zero(&self.0.filled_ms)
    }

    fn trouble(&self) -> Trouble {
        Trouble {
            gone_ms: self.0.gone_ms.load(Relaxed),
            filled_ms: self.0.filled_ms.load(Relaxed),
        }
    }

    /// Whether something is to be written outside: trouble at once, when it was heard once in an hour.
    pub(crate) fn is_due(&self) -> bool {
        let stored = Trouble {
            gone_ms: self.0.stored_gone_ms.load(Relaxed),
            filled_ms: self.0.stored_filled_ms.load(Relaxed),
        };
        let stored_ms = self.0.stored_ms.load(Relaxed);
        let last_ms = self.at_ms();
        self.trouble() != stored
            || last_ms.is_some_and(|last_ms| last_ms.abs_diff(stored_ms) >= HOUR_MS)
    }

    /// Writes it outside where that is due. Whoever calls this has the directory's lock.
    // [SPEC 11.60]
    pub(crate) fn store(&self, directory: &dyn Directory) {
        if !self.is_due() {
            return;
        }
        let (last_ms, trouble) = (self.at_ms(), self.trouble());
        let change = |outside: &mut Outside| {
            outside.heard_ms = last_ms.or(outside.heard_ms);
            outside.trouble = trouble;
        };
        // It is only shown: what cannot be written is later.
        if Outside::change(directory, change).is_ok() {
            self.0.stored_ms.store(last_ms.unwrap_or(0), Relaxed);
            self.0.stored_gone_ms.store(trouble.gone_ms, Relaxed);
            self.0.stored_filled_ms.store(trouble.filled_ms, Relaxed);
        }
    }
}

/// Since the first time that it was so.
fn since(ms: &AtomicU64, is_so: bool) {
    if is_so {
        let now_ms = clock::now().wall.0.max(1);
        let _ = ms.compare_exchange(0, now_ms, Relaxed, Relaxed);
    } else {
        ms.store(0, Relaxed);
    }
}

fn non_zero(ms: &AtomicU64) -> Option<u64> {
    let ms = ms.load(Relaxed);
    (ms > 0).then_some(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a slow road a part of it is read for long, and each time anew.
    // [SPEC 11.95]
    #[test]
    fn a_part_of_a_switch_does_not_show_that_nobody_fills_it() {
        let heard = Heard::default();
        heard.filled(true, false);
        let since = heard.filled_ms();
        assert!(since.is_some());
        heard.filled(false, false);
        assert_eq!(heard.filled_ms(), since);
        heard.filled(false, true);
        assert_eq!(heard.filled_ms(), None);
    }
}
