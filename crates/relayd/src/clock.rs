//! The one place where the clocks enter.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use emptyroom_wire::time::{Mono, Now, Wall};

/// Hands out the time since its making and the time of day.
#[derive(Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Both times.
    #[must_use]
    pub fn now(self) -> Now {
        Now {
            wall: wall(),
            mono: Mono(milliseconds(self.start.elapsed())),
        }
    }

    /// How long it is until a monotonic time; nothing if it has passed.
    #[must_use]
    pub fn until(self, when: Mono) -> Duration {
        Duration::from_millis(when.ms_since(self.now().mono))
    }
}

/// The time of day. A clock set before 1970 counts as 1970.
#[must_use]
pub fn wall() -> Wall {
    Wall(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, milliseconds),
    )
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
