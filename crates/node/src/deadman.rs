//! The dead-man time: how much of it has passed, whatever the clocks say. Pure: clocks are handed in.
//!
//! It counts twice. What any clock tells makes the time *due*, which is told and destroys nothing. What destroys is time for
//! which this program was there and saw nobody open the vault. So a clock that is wrong costs a day of warnings, and no vault.

pub(crate) mod start;

use emptyroom_wire::derive::expand;
use emptyroom_wire::time::{DAY_MS, HOUR_MS, Wall};
use zeroize::Zeroizing;

use crate::api::DeadmanInfo;
use crate::clock::{Boot, Here};

/// The longest dead-man time in days.
// [SPEC 11.80]
pub(crate) const DAYS_MAX: u32 = 365;

/// The longest journey in days.
// [SPEC 11.82]
pub(crate) const JOURNEY_DAYS_MAX: u32 = 90;

/// The longest time between two looks for which this program was there.
// [SPEC 11.81]
const WATCHED_MS_MAX: u64 = 2 * HOUR_MS;

/// For how long it has to be seen that the time is due.
// [SPEC 11.80]
const DUE_MS_MAX: u64 = DAY_MS;

/// Parts of the time, in per cent, after which a warning is given; and how often one is given while the time is due.
// [SPEC 11.83]
const WARNINGS: [u64; 3] = [50, 80, 95];
const DUE_WARNED_EVERY_MS: u64 = 6 * HOUR_MS;

/// Bytes of a deadline.
const LEN: usize = Fixed::LEN + 32 + 6 * 8 + 16;

const LABEL_TAG: &str = "emptyroom v1 deadline";

/// What only the open vault has: it marks what was set as the vault's own.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// What was set: only the open vault changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fixed {
    days: u32,
    /// A journey of so many days, until the next opening; 0 without.
    journey: u32,
    /// Rises with every change.
    count: u64,
}

/// When the vault is to be destroyed, and what is known of the time since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    fixed: Fixed,
    /// The vault's mark on that.
    tag: [u8; 32],
    /// How much time has passed, as far as any clock tells.
    counted_ms: u64,
    /// For how much of it this program was there.
    watched_ms: u64,
    /// The same since the time is due.
    due_ms: u64,
    /// The running clock at the last look, and since which start of a machine it runs.
    mono_ms: u64,
    boot: Boot,
    /// The wall clock at the last look at which it was synchronised, 0 if there was none, and what was counted then.
    wall_ms: u64,
    then_ms: u64,
}

/// What a look at the clocks shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// In so many milliseconds the time is due.
    Left(u64),
    /// The time is due, and over when this program has been there for so many milliseconds more.
    Due(u64),
    /// The time is over.
    Over,
}

impl Fixed {
    pub(crate) const LEN: usize = 16;

    /// What is set now; `before` is what was set.
    pub(crate) fn new(days: u32, journey: u32, before: Option<Self>) -> Self {
        Self {
            days,
            journey,
            count: before.map_or(1, |before| before.count.saturating_add(1)),
        }
    }

    /// What is set when the vault is opened: a journey ends.
    // [SPEC 11.82]
    pub(crate) fn opened(self) -> Self {
        match self.journey {
            0 => self,
            _ => Self::new(self.days, 0, Some(self)),
        }
    }

    pub(crate) fn days(self) -> u32 {
        self.days
    }

    /// After so many days it is due.
    pub(crate) fn limit_days(self) -> u32 {
        self.days.max(self.journey)
    }

    fn limit_ms(self) -> u64 {
        u64::from(self.limit_days()).saturating_mul(DAY_MS)
    }

    fn tag(self, key: &Key) -> [u8; 32] {
        // [SPEC 11.61]
        *expand(key.as_slice(), LABEL_TAG, &self.encode()).expose()
    }

    pub(crate) fn encode(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (days, rest) = bytes.split_at_mut(4);
        let (journey, count) = rest.split_at_mut(4);
        days.copy_from_slice(&self.days.to_be_bytes());
        journey.copy_from_slice(&self.journey.to_be_bytes());
        count.copy_from_slice(&self.count.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let (days, rest) = bytes.split_first_chunk()?;
        let (journey, rest) = rest.split_first_chunk()?;
        let days = u32::from_be_bytes(*days);
        let journey = u32::from_be_bytes(*journey);
        Some(Self {
            days: (1..=DAYS_MAX).contains(&days).then_some(days)?,
            journey: (journey <= JOURNEY_DAYS_MAX).then_some(journey)?,
            count: number(rest)?,
        })
    }
}

impl Deadline {
    /// One that begins now.
    pub(crate) fn begun(fixed: Fixed, here: &Here, key: &Key) -> Self {
        Self {
            fixed,
            tag: fixed.tag(key),
            counted_ms: 0,
            watched_ms: 0,
            due_ms: 0,
            mono_ms: here.running_ms,
            boot: here.boot,
            wall_ms: here.synchronised.map_or(0, |wall| wall.0),
            then_ms: 0,
        }
    }

    /// Takes in what the clocks show.
    // [SPEC 11.81]
    pub(crate) fn look(&mut self, here: &Here) -> Look {
        let was_due = self.is_due();
        let is_same = self.boot.is_some() && self.boot == here.boot;
        let ran = if is_same {
            here.running_ms.saturating_sub(self.mono_ms)
        } else {
            0
        };
        (self.mono_ms, self.boot) = (here.running_ms, here.boot);
        self.counted_ms = self.counted_ms.saturating_add(ran);
        if let Some(Wall(wall_ms)) = here.synchronised {
            self.take_wall(wall_ms);
        }
        if ran <= WATCHED_MS_MAX {
            self.watched_ms = self.watched_ms.saturating_add(ran);
            if was_due {
                self.due_ms = self.due_ms.saturating_add(ran);
            }
        }
        self.shows()
    }

    /// What a wall clock that is synchronised shows: it goes on while the machine is off or asleep.
    fn take_wall(&mut self, wall_ms: u64) {
        if self.wall_ms > 0 {
            let since = wall_ms.saturating_sub(self.wall_ms);
            self.counted_ms = self.counted_ms.max(self.then_ms.saturating_add(since));
        }
        (self.wall_ms, self.then_ms) = (wall_ms, self.counted_ms);
    }

    fn is_due(&self) -> bool {
        self.counted_ms >= self.fixed.limit_ms()
    }

    /// How much longer this program has to be there until the time is over.
    fn unwatched_ms(&self) -> u64 {
        let limit_ms = self.fixed.limit_ms();
        let left_ms = limit_ms.saturating_sub(self.counted_ms);
        let due_ms = left_ms.saturating_add(DUE_MS_MAX.saturating_sub(self.due_ms));
        limit_ms.saturating_sub(self.watched_ms).min(due_ms)
    }

    // [SPEC 11.80]
    fn shows(&self) -> Look {
        match self.fixed.limit_ms().saturating_sub(self.counted_ms) {
            0 => match self.unwatched_ms() {
                0 => Look::Over,
                ms => Look::Due(ms),
            },
            left_ms => Look::Left(left_ms),
        }
    }

    /// How many warnings are due after this look.
    // [SPEC 11.83]
    pub(crate) fn warnings(&self) -> u64 {
        let limit_ms = u128::from(self.fixed.limit_ms());
        let counted = u128::from(self.counted_ms) * 100;
        let is_past = |percent: &&u64| counted >= limit_ms * u128::from(**percent);
        let before = WARNINGS
            .iter()
            .filter(is_past)
            .fold(0, |count, _| count + 1);
        if self.is_due() {
            before + 1 + self.due_ms / DUE_WARNED_EVERY_MS
        } else {
            before
        }
    }

    /// What people are shown.
    pub(crate) fn info(&self, here: &Here) -> DeadmanInfo {
        let mut deadline = *self;
        deadline.look(here);
        let left_ms = self.fixed.limit_ms().saturating_sub(deadline.counted_ms);
        DeadmanInfo {
            days: self.fixed.days,
            counted_s: deadline.counted_ms / 1_000,
            left_s: left_ms.div_ceil(1_000),
            destroyed_after_s: deadline.unwatched_ms().div_ceil(1_000),
            warned: deadline.warnings() > 0,
            suspended: self.fixed.journey > self.fixed.days,
            synchronised: here.synchronised.is_some(),
            unwritten: false,
            changed_at: None,
        }
    }

    /// What was set, where the vault with this key set it, when it had set `known` or later.
    // [SPEC 11.61]
    pub(crate) fn own(&self, known: Fixed, key: &Key) -> Option<Fixed> {
        let is_own = self.tag == self.fixed.tag(key) && self.fixed.count >= known.count;
        is_own.then_some(self.fixed)
    }

    pub(crate) fn fixed(&self) -> Fixed {
        self.fixed
    }

    // [SPEC 11.60]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend_from_slice(&self.fixed.encode());
        bytes.extend_from_slice(&self.tag);
        for field in [
            self.counted_ms,
            self.watched_ms,
            self.due_ms,
            self.mono_ms,
            self.wall_ms,
            self.then_ms,
        ] {
            bytes.extend_from_slice(&field.to_be_bytes());
        }
        bytes.extend_from_slice(&self.boot.unwrap_or_default());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.try_into().ok()?;
        let (fixed, rest) = bytes.split_first_chunk()?;
        let (tag, rest) = rest.split_first_chunk()?;
        let (fields, boot) = rest.split_first_chunk::<48>()?;
        let field = |n: usize| number(fields.get(8 * n..)?);
        let boot = boot.try_into().ok()?;
        Some(Self {
            fixed: Fixed::decode(fixed)?,
            tag: *tag,
            counted_ms: field(0)?,
            watched_ms: field(1)?,
            due_ms: field(2)?,
            mono_ms: field(3)?,
            wall_ms: field(4)?,
            then_ms: field(5)?,
            boot: (boot != [0; 16]).then_some(boot),
        })
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
pub(crate) mod tests;
