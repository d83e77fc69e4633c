//! The one place of the client where the clocks are read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use emptyroom_wire::time::{Mono, Now, Wall};

/// Both clocks now. The monotonic one counts suspended time too, so that a timer ends while the lid is closed.
pub(crate) fn now() -> Now {
    Now {
        wall: wall(),
        mono: mono(),
    }
}

/// How long this machine has been up, the time it was suspended included.
pub fn uptime() -> Duration {
    Duration::from_millis(mono().0)
}

fn wall() -> Wall {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Wall(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[allow(unsafe_code)]
fn mono() -> Mono {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec that outlives the call; CLOCK_BOOTTIME exists on every Linux since 2.6.39, and
    // where it should not, the call fails and leaves zeros, on which timers stand still instead of running wrong.
    unsafe {
        libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time);
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Mono(
        seconds
            .saturating_mul(1_000)
            .saturating_add(nanos / 1_000_000),
    )
}
