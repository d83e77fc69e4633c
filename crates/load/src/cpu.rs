//! CPU time: of this process, and of another one.

use std::time::Duration;

/// User and system time of this process, all threads, so far.
#[allow(unsafe_code)]
pub fn spent() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec that outlives the call, and the clock exists on every Linux.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "the process's CPU clock exists");
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// What `work` costs this process.
pub fn of<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let before = spent();
    let result = work();
    (spent().saturating_sub(before), result)
}
