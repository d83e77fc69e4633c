//! The one place of the client where the clocks are read, and what is known of the machine whose clocks they are.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use emptyroom_wire::derive::expand;
use emptyroom_wire::time::{Mono, Now, Wall};

/// Names this machine's installation, and the start since which it is up.
const MACHINE_PATHS: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
const BOOT_PATH: &str = "/proc/sys/kernel/random/boot_id";
/// Clocks that go on while the machine is off.
const RTC_PATH: &str = "/sys/class/rtc";
const LABEL_MACHINE: &str = "emptyroom v1 machine";

/// A machine, or one start of it; nothing where the system does not say.
pub(crate) type Id = Option<[u8; 16]>;

/// The clocks, and whose they are.
#[derive(Clone, Copy)]
pub(crate) struct Here {
    pub(crate) now: Now,
    pub(crate) machine: Id,
    pub(crate) boot: Id,
    /// The wall clock goes on while the machine is off.
    pub(crate) keeps_time: bool,
}

/// Both clocks now, and this machine.
pub(crate) fn here() -> Here {
    static MACHINE: OnceLock<(Id, Id, bool)> = OnceLock::new();
    let (machine, boot, keeps_time) = *MACHINE.get_or_init(|| {
        let text = |path: &&str| std::fs::read_to_string(path).ok();
        let keeps_time =
            std::fs::read_dir(RTC_PATH).is_ok_and(|mut clocks| clocks.next().is_some());
        (
            MACHINE_PATHS
                .iter()
                .find_map(text)
                .and_then(|text| id(&text)),
            text(&BOOT_PATH).and_then(|text| id(&text)),
            keeps_time,
        )
    });
    Here {
        now: now(),
        machine,
        boot,
        keeps_time,
    }
}

/// What is kept of a name that the system gives: it tells machines apart, and not which one it is.
pub(crate) fn id(text: &str) -> Id {
    let text = text.trim();
    let is_set = !text.is_empty() && text != "uninitialized";
    // [SPEC 11.60]
    is_set.then(|| *expand::<16>(text.as_bytes(), LABEL_MACHINE, &[]).expose())
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
