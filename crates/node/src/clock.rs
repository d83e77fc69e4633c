//! The one place of the client where the clocks are read, and what the system says of them.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use emptyroom_wire::derive::expand;
use emptyroom_wire::time::{Mono, Now, Wall};

/// Names the start since which this machine is up.
const BOOT_PATH: &str = "/proc/sys/kernel/random/boot_id";
const LABEL_BOOT: &str = "emptyroom v1 boot";

/// A start of a machine; nothing where the system does not say.
pub(crate) type Boot = Option<[u8; 16]>;

/// The clocks, and what the system says of them.
#[derive(Clone, Copy)]
pub(crate) struct Here {
    pub(crate) now: Now,
    /// The clock that stands still while the machine is asleep, since `boot`.
    pub(crate) running_ms: u64,
    pub(crate) boot: Boot,
    /// The wall clock, where the kernel says that something keeps it right.
    pub(crate) synchronised: Option<Wall>,
}

/// The clocks now.
pub(crate) fn here() -> Here {
    static BOOT: OnceLock<Boot> = OnceLock::new();
    let read = || boot(&std::fs::read_to_string(BOOT_PATH).ok()?);
    let now = now();
    Here {
        now,
        running_ms: clock_ms(libc::CLOCK_MONOTONIC),
        boot: *BOOT.get_or_init(read),
        synchronised: is_synchronised().then_some(now.wall),
    }
}

/// What is kept of the name that the system gives: it tells starts apart, and not which one it is.
pub(crate) fn boot(text: &str) -> Boot {
    let text = text.trim();
    // [SPEC 11.60]
    (!text.is_empty()).then(|| *expand::<16>(text.as_bytes(), LABEL_BOOT, &[]).expose())
}

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

/// How long after it has woken from a suspend a machine may have a vault open.
const WOKEN_CHECK: Duration = Duration::from_secs(1);

/// Clocks are read in milliseconds, and one may be corrected against the other: that is no suspend.
const SUSPEND_MIN: Duration = Duration::from_secs(1);

/// Comes back when the machine has woken from a suspend.
// [SPEC 11.91]
pub(crate) async fn woken() {
    let mut suspends = Suspends::since_now();
    while !suspends.was_suspended() {
        tokio::time::sleep(WOKEN_CHECK).await;
    }
}

/// Tells that this machine was suspended, by two clocks of which one stood still meanwhile.
struct Suspends {
    standing: Instant,
    counting: Mono,
}

impl Suspends {
    fn since_now() -> Self {
        Self {
            standing: Instant::now(),
            counting: mono(),
        }
    }

    /// Whether it was since this was asked last.
    fn was_suspended(&mut self) -> bool {
        let before = std::mem::replace(self, Self::since_now());
        let counted = Duration::from_millis(self.counting.0.saturating_sub(before.counting.0));
        // From before the one reading to after the other, so that being stopped between two clocks is no suspend.
        is_suspend(counted, before.standing.elapsed())
    }
}

/// Whether these two clocks differ by a suspend.
// [SPEC 11.91]
fn is_suspend(counted: Duration, stood: Duration) -> bool {
    counted.saturating_sub(stood) >= SUSPEND_MIN
}

fn wall() -> Wall {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Wall(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

fn mono() -> Mono {
    Mono(clock_ms(libc::CLOCK_BOOTTIME))
}

#[allow(unsafe_code)]
fn clock_ms(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec that outlives the call; both clocks exist on every Linux since 2.6.39, and
    // where one should not, the call fails and leaves zeros, on which timers stand still instead of running wrong.
    unsafe {
        libc::clock_gettime(clock, &raw mut time);
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds
        .saturating_mul(1_000)
        .saturating_add(nanos / 1_000_000)
}

/// Whether the kernel says that the wall clock is kept right: whoever sets it by hand takes that away. Where it may not be
/// asked, it is not.
// [SPEC 11.81]
#[allow(unsafe_code)]
fn is_synchronised() -> bool {
    // SAFETY: a timex is integers alone, for which zeros are values; as `modes` is 0 nothing is set.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a timex that outlives the call.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    answer >= 0 && state.status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 11.91]
    #[test]
    fn a_suspend_is_what_one_clock_counts_and_the_other_does_not() {
        let s = Duration::from_secs;
        assert!(is_suspend(s(31), s(1)));
        assert!(is_suspend(s(2), s(1)));
        // A machine that is busy or stopped by a debugger is not suspended: both clocks go on.
        assert!(!is_suspend(s(31), s(31)));
        assert!(!is_suspend(Duration::from_millis(1_400), s(1)));
        assert!(!is_suspend(s(0), s(1)));
        let mut suspends = Suspends::since_now();
        std::hint::black_box(mono());
        assert!(!suspends.was_suspended());
    }
}
