//! When messages are due: a schedule that does not wait for answers.

use std::time::{Duration, Instant};

/// The grid of the runtime's timers; arrivals lie on it, so that no sleep is late by itself.
const GRID: Duration = Duration::from_millis(1);
/// A wake-up comes so long after its tick, at most, on a machine that is idle; deadlines are set so much before the tick.
const BEFORE_TICK: Duration = Duration::from_micros(200);

/// Arrivals of one of several senders that share a rate.
#[derive(Clone, Copy)]
pub struct Schedule {
    /// When the first message of all is due.
    pub begin: Instant,
    /// When no more are due.
    pub end: Instant,
    /// Seconds between two messages of this sender.
    interval_s: f64,
    /// Seconds from `begin` to its first message.
    offset_s: f64,
}

impl Schedule {
    /// For sender `number` of `senders`, which together send `per_second` for as long as said.
    #[must_use]
    pub fn new(
        begin: Instant,
        lasts: Duration,
        per_second: f64,
        (number, senders): (u32, u32),
    ) -> Self {
        let interval_s = f64::from(senders) / per_second;
        Schedule {
            begin,
            end: begin + lasts,
            interval_s,
            offset_s: interval_s * f64::from(number) / f64::from(senders),
        }
    }

    /// When message `number` is due; `None` after the end.
    #[must_use]
    pub fn due(&self, number: u64) -> Option<Instant> {
        let after_s = self.offset_s + self.interval_s * number as f64;
        let after = Duration::from_secs_f64(after_s);
        let ticks = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
        let due = self.begin + GRID * ticks;
        (due < self.end).then_some(due)
    }
}

/// A moment from which whole milliseconds fall on this runtime's ticks.
pub async fn on_grid() -> Instant {
    tokio::time::sleep(GRID).await;
    let reference = Instant::now();
    // How much earlier in its tick a wake-up came than the reference did: what is left is the tick itself.
    let mut earlier = Duration::ZERO;
    for _ in 0..5 {
        tokio::time::sleep(GRID).await;
        let into = reference.elapsed().subsec_nanos() % 1_000_000;
        let before = GRID.saturating_sub(Duration::from_nanos(into.into()));
        if before < GRID / 2 {
            earlier = earlier.max(before);
        }
    }
    let tick = reference - earlier - BEFORE_TICK;
    let passed = u32::try_from(tick.elapsed().as_millis()).unwrap_or(0);
    tick + GRID * (passed + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_share_a_rate_and_nobody_waits() {
        let begin = Instant::now();
        let lasts = Duration::from_secs(2);
        let schedules = [0, 1, 2].map(|number| Schedule::new(begin, lasts, 300.0, (number, 3)));
        let mut dues: Vec<_> = schedules
            .iter()
            .flat_map(|schedule| (0..).map_while(|number| schedule.due(number)))
            .collect();
        dues.sort_unstable();
        assert_eq!(dues.len(), 600);
        let at = |number: usize| dues[number].duration_since(begin).as_millis();
        assert_eq!((at(0), at(3), at(300), at(599)), (0, 10, 1_000, 1_996));
        // Above the grid, several are due at once.
        let fast = Schedule::new(begin, lasts, 4_000.0, (0, 1));
        assert_eq!(fast.due(0), fast.due(3));
        assert_ne!(fast.due(3), fast.due(4));
    }
}
