//! The client's own time: never runs backwards, whatever the wall clock does.
//!
//! While the client runs it follows the monotonic clock or the wall clock, whichever went further; across restarts the wall
//! clock, but never below what was reached before. So a wall clock that jumps back a day prolongs no timer, and one that
//! jumps forwards ends timers early rather than late. What others say of time only tells a loss from what ran out. Whether a
//! link is over goes by the device's clock as it stands.
//!
//! A wall clock that was years ahead once leaves a mark in the future. From there time passes by what the wall clock adds from
//! one start to the next, as long as it stays far below the mark. One that was behind for a moment and is right again adds nothing.

use emptyroom_wire::time::{DAY_MS, Mono, Now, Wall};

/// How far the clock may run before its mark is written again.
const MARK_EVERY_MS: u64 = 60_000;
/// So far above the device's clock it is worth a word.
// [SPEC 9.37]
const AHEAD_MS: u64 = DAY_MS;
/// And so far above it moves on with that one, too. Below, standing still brings both together again.
const FAR_AHEAD_MS: u64 = 30 * DAY_MS;
/// From one start to the next by so much at most: a clock that was wrong twice adds no years. The longest timer has four weeks.
const MOVES_MS_MAX: u64 = 60 * DAY_MS;

/// The client's time.
pub(crate) struct Clock {
    started: Mono,
    base: Wall,
    now: Now,
    marked: Mark,
    told: Wall,
}

/// What was reached before, and what the device's clock said of that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) reached: Wall,
    pub(crate) device: Wall,
}

impl Clock {
    /// Starts at the wall clock's time, or at the mark reached before if that is later.
    // [SPEC 9.33] [SPEC 9.37]
    pub(crate) fn start(now: Now, mark: Mark) -> Self {
        let mut reached = mark.reached;
        let was_far = reached.ms_since(mark.device) > FAR_AHEAD_MS;
        if was_far && reached.ms_since(now.wall) > FAR_AHEAD_MS {
            let added = now.wall.ms_since(mark.device);
            reached = reached.plus_ms(added.min(MOVES_MS_MAX));
        }
        let wall = now.wall.max(reached);
        Self {
            base: wall,
            started: now.mono,
            now: Now {
                wall,
                mono: now.mono,
            },
            marked: mark,
            told: now.wall,
        }
    }

    /// Moves to the time that a step was given.
    pub(crate) fn advance(&mut self, now: Now) {
        self.told = now.wall;
        let mono = self.now.mono.max(now.mono);
        let elapsed = mono.ms_since(self.started);
        let wall = self.base.plus_ms(elapsed).max(now.wall).max(self.now.wall);
        self.now = Now { wall, mono };
        if wall > self.base.plus_ms(elapsed) {
            self.base = wall;
            self.started = mono;
        }
    }

    /// How far it is above the device's clock, where that is more than a day: one of both was wrong.
    pub(crate) fn ahead_ms(&self) -> Option<u64> {
        let ahead = is_ahead(self.now.wall, self.told);
        ahead.then(|| self.now.wall.ms_since(self.told))
    }

    /// The time of this step.
    pub(crate) fn now(&self) -> Wall {
        self.now.wall
    }

    /// What the device's clock says, right or wrong: for what its user can put right by setting it.
    pub(crate) fn device(&self) -> Wall {
        self.told
    }

    /// The monotonic time of this step.
    pub(crate) fn mono(&self) -> Mono {
        self.now.mono
    }

    /// When the monotonic clock will show that `at` has come.
    pub(crate) fn mono_at(&self, at: Wall) -> Mono {
        self.now.mono.plus_ms(at.ms_since(self.now.wall))
    }

    /// A new mark to be written, if the last one is old enough, or the device's clock was set back since.
    pub(crate) fn mark_due(&mut self) -> Option<Mark> {
        let moved = self.now.wall.ms_since(self.marked.reached) >= MARK_EVERY_MS;
        let set_back = is_ahead(self.marked.device, self.told);
        (moved || set_back).then(|| {
            self.marked = Mark {
                reached: self.now.wall,
                device: self.told,
            };
            self.marked
        })
    }
}

fn is_ahead(time: Wall, device: Wall) -> bool {
    time.ms_since(device) > AHEAD_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: u64, mono: u64) -> Now {
        Now {
            wall: Wall(wall),
            mono: Mono(mono),
        }
    }

    fn mark(reached: u64, device: u64) -> Mark {
        Mark {
            reached: Wall(reached),
            device: Wall(device),
        }
    }

    #[test]
    fn a_jump_backwards_prolongs_nothing() {
        let mut clock = Clock::start(at(100_000_000, 5), mark(0, 0));
        clock.advance(at(100_001_000, 1_005));
        assert_eq!(clock.now(), Wall(100_001_000));
        clock.advance(at(13_600_000, 2_005));
        assert_eq!(clock.now(), Wall(100_002_000));
        let again = Clock::start(at(13_700_000, 0), mark(100_002_000, 100_002_000));
        assert_eq!(again.now(), Wall(100_002_000));
    }

    #[test]
    fn a_jump_forwards_counts_once() {
        let mut clock = Clock::start(at(1_000, 0), mark(0, 0));
        clock.advance(at(90_000_000, 1_000));
        assert_eq!(clock.now(), Wall(90_000_000));
        clock.advance(at(3_000, 2_000));
        assert_eq!(clock.now(), Wall(90_001_000));
        assert_eq!(clock.mono_at(Wall(90_001_500)), Mono(2_500));
    }

    #[test]
    fn the_mark_follows_in_minutes() {
        let mut clock = Clock::start(at(1_000_000, 0), mark(0, 0));
        assert_eq!(clock.mark_due(), Some(mark(1_000_000, 1_000_000)));
        assert_eq!(clock.mark_due(), None);
        clock.advance(at(1_060_000, 60_000));
        assert_eq!(clock.mark_due(), Some(mark(1_060_000, 1_060_000)));
    }

    /// The device's clock was ten years ahead when the mark was written, and is right again.
    // [SPEC 9.33] [SPEC 9.37]
    #[test]
    fn after_a_clock_that_was_far_ahead_time_passes_all_the_same() {
        let year = 365 * DAY_MS;
        let (right, wrong) = (60 * year, 70 * year);
        let mut clock = Clock::start(at(wrong, 0), mark(0, 0));
        assert_eq!(clock.mark_due(), Some(mark(wrong, wrong)));
        assert_eq!(clock.ahead_ms(), None);
        clock.advance(at(right, 1_000));
        assert_eq!(clock.now(), Wall(wrong + 1_000));
        assert_eq!(clock.ahead_ms(), Some(10 * year + 1_000));
        let mut last = clock.mark_due().unwrap();
        assert_eq!(last, mark(wrong + 1_000, right));
        // A moment of use each day.
        for day in 1..30 {
            let mut clock = Clock::start(at(right + day * DAY_MS, 0), last);
            assert_eq!(clock.now(), Wall(wrong + 1_000 + day * DAY_MS));
            last = clock.mark_due().unwrap();
        }
        // As far ahead as before, with the mark of a program that did not note the device's clock.
        let clock = Clock::start(at(right, 0), mark(wrong, wrong));
        assert_eq!(clock.now(), Wall(wrong));
        // Wrong in both directions, one after the other: no years are added.
        let clock = Clock::start(at(right, 0), mark(wrong, 0));
        assert_eq!(clock.now(), Wall(wrong + MOVES_MS_MAX));
    }

    /// A device without a battery begins in 1970, until somebody tells it the time.
    // [SPEC 9.37]
    #[test]
    fn a_clock_that_was_behind_for_a_moment_adds_nothing() {
        let right = 56 * 365 * DAY_MS;
        for starts in [false, true] {
            let mut last = mark(right, right);
            for day in 1..10 {
                let mut clock = Clock::start(at(0, 0), last);
                last = clock.mark_due().unwrap_or(last);
                let now = right + day * DAY_MS;
                if starts {
                    clock = Clock::start(at(now, 0), last);
                } else {
                    clock.advance(at(now, 5_000));
                }
                assert_eq!(clock.now(), Wall(now), "day {day}");
                assert_eq!(clock.ahead_ms(), None);
                last = clock.mark_due().unwrap_or(last);
            }
        }
    }

    #[test]
    fn a_clock_that_was_a_little_ahead_heals() {
        let right = 56 * 365 * DAY_MS;
        let ahead = 25 * 3_600_000;
        let mut clock = Clock::start(at(right + ahead, 0), mark(right, right));
        let mut last = clock.mark_due().unwrap();
        clock = Clock::start(at(right, 0), last);
        assert_eq!(clock.ahead_ms(), Some(ahead));
        last = clock.mark_due().unwrap_or(last);
        let clock = Clock::start(at(right + 2 * DAY_MS, 0), last);
        assert_eq!(clock.now(), Wall(right + 2 * DAY_MS));
    }
}
