//! The client's own time: never runs backwards, whatever the wall clock does.
//!
//! While the client runs it follows the monotonic clock or the wall clock, whichever went further; across restarts the wall
//! clock, but never below what was reached before. So a wall clock that jumps back a day prolongs no timer, and one that
//! jumps forwards ends timers early rather than late. What others say of time only tells a loss from what ran out. Whether a
//! link is over goes by the device's clock as it stands.

use emptyroom_wire::time::{Mono, Now, Wall};

/// How far the clock may run before its mark is written again.
const MARK_EVERY_MS: u64 = 60_000;

/// The client's time.
pub(crate) struct Clock {
    started: Mono,
    base: Wall,
    now: Now,
    marked: Wall,
    told: Wall,
}

impl Clock {
    /// Starts at the wall clock's time, or at the mark reached before if that is later.
    // [SPEC 9.33]
    pub(crate) fn start(now: Now, mark: Wall) -> Self {
        Self {
            started: now.mono,
            base: now.wall.max(mark),
            now: Now {
                wall: now.wall.max(mark),
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

    /// A new mark to be written, if the last one is old enough.
    pub(crate) fn mark_due(&mut self) -> Option<Wall> {
        let due = self.now.wall.ms_since(self.marked) >= MARK_EVERY_MS;
        due.then(|| {
            self.marked = self.now.wall;
            self.marked
        })
    }
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

    #[test]
    fn a_jump_backwards_prolongs_nothing() {
        let mut clock = Clock::start(at(100_000_000, 5), Wall(0));
        clock.advance(at(100_001_000, 1_005));
        assert_eq!(clock.now(), Wall(100_001_000));
        clock.advance(at(13_600_000, 2_005));
        assert_eq!(clock.now(), Wall(100_002_000));
        let again = Clock::start(at(13_700_000, 0), Wall(100_002_000));
        assert_eq!(again.now(), Wall(100_002_000));
    }

    #[test]
    fn a_jump_forwards_counts_once() {
        let mut clock = Clock::start(at(1_000, 0), Wall(0));
        clock.advance(at(90_000_000, 1_000));
        assert_eq!(clock.now(), Wall(90_000_000));
        clock.advance(at(3_000, 2_000));
        assert_eq!(clock.now(), Wall(90_001_000));
        assert_eq!(clock.mono_at(Wall(90_001_500)), Mono(2_500));
    }

    #[test]
    fn the_mark_follows_in_minutes() {
        let mut clock = Clock::start(at(1_000_000, 0), Wall(0));
        assert_eq!(clock.mark_due(), Some(Wall(1_000_000)));
        assert_eq!(clock.mark_due(), None);
        clock.advance(at(1_060_000, 60_000));
        assert_eq!(clock.mark_due(), Some(Wall(1_060_000)));
    }
}
