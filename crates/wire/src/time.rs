//! Time as it is handed in: wall time for what is agreed with others, a monotonic one for waiting.
//!
//! The two never mix: a wall clock may jump a day backwards, a monotonic one may not be compared
//! with anybody else's.

/// Milliseconds since 1 January 1970 UTC, as some clock claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall(pub u64);

/// Milliseconds since any start; never runs backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mono(pub u64);

/// Whole days since 1 January 1970 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub u32);

/// Both times at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Wall time.
    pub wall: Wall,
    /// Monotonic time.
    pub mono: Mono,
}

/// One second in milliseconds.
pub const SECOND_MS: u64 = 1_000;
/// One minute in milliseconds.
pub const MINUTE_MS: u64 = 60 * SECOND_MS;
/// One hour in milliseconds.
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
/// One day in milliseconds.
pub const DAY_MS: u64 = 24 * HOUR_MS;

impl Wall {
    /// The day this moment lies in; saturates in the year 11 million.
    #[must_use]
    pub fn day(self) -> Day {
        Day(u32::try_from(self.0 / DAY_MS).unwrap_or(u32::MAX))
    }

    /// This moment plus `ms`, saturating.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Wall {
        Wall(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; zero when the clock ran backwards.
    #[must_use]
    pub fn ms_since(self, earlier: Wall) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Mono {
    /// This moment plus `ms`, saturating.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Mono {
        Mono(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; zero if it lies later.
    #[must_use]
    pub fn ms_since(self, earlier: Mono) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Day {
    /// The first moment of this day.
    #[must_use]
    pub fn start(self) -> Wall {
        Wall(u64::from(self.0) * DAY_MS)
    }

    /// This day plus `days`, saturating.
    #[must_use]
    pub fn plus(self, days: u32) -> Day {
        Day(self.0.saturating_add(days))
    }
}
