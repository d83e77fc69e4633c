//! The dead-man time: how much of it has passed, whatever the clocks say. Pure: clocks are handed in.
//!
//! It must end for a vault that nobody opens, and must never end for one whose owner does what he should, on whatever
//! machine and with whatever clock. So what one clock says alone destroys nothing: the running clock is believed as far as
//! it is known to be of the machine that it was read on before, the wall clock only when the machine has run with it for a day.

pub(crate) mod start;

use emptyroom_wire::derive::expand;
use emptyroom_wire::time::DAY_MS;
use zeroize::Zeroizing;

use crate::api::DeadmanInfo;
use crate::clock::{Here, Id};

/// The longest dead-man time in days.
// [SPEC 11.80]
pub(crate) const DAYS_MAX: u32 = 365;

/// The longest journey in days.
// [SPEC 11.82]
pub(crate) const SUSPENDED_DAYS_MAX: u32 = 90;

/// 2026-11-01, before this program was released: a clock that shows less is wrong.
// [SPEC 11.80]
const WALL_MS_MIN: u64 = 1_793_491_200_000;

/// Parts of the time, in per cent, after which a warning is given.
// [SPEC 11.83]
const WARNINGS: [u64; 3] = [50, 80, 95];

/// Bytes of a deadline.
const LEN: usize = 141;

const LABEL_TAG: &str = "emptyroom v1 deadline";

/// What only the open vault has: it marks a deadline as the vault's own.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// When the vault is to be destroyed, and what is known of the time since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    /// What only the open vault changes.
    fixed: Fixed,
    /// The vault's mark on that.
    tag: [u8; 32],
    /// The latest wall time that was believed.
    seen_ms: u64,
    /// For how long machines were running since the opening, at least.
    run_ms: u64,
    /// How much of the wall clock's time since then was no time that passed: it was set right.
    ahead_ms: u64,
    /// Where the wall clock is in doubt: one more than `run_ms` was when that began. Else 0.
    doubt_ms: u64,
    /// The wall time that is in doubt.
    next_ms: u64,
    /// `run_ms` is all of the time since the opening: the machine was not started anew.
    whole: bool,
    /// The running clock when it was looked at last, and whose it was.
    mono_ms: u64,
    machine: Id,
    boot: Id,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fixed {
    /// What was set.
    days: u32,
    /// Rises with every change.
    count: u64,
    /// When the vault was opened, by the wall clock; 0 where that clock was not to be believed.
    opened_ms: u64,
    /// From then to the end: the days, or longer while it is suspended.
    limit_ms: u64,
}

/// What a look at the clocks shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// So many milliseconds are left.
    Left(u64),
    /// By the wall clock the time is over, but nothing else says so; it is believed in so many milliseconds.
    Doubt(u64),
    /// The time is over.
    Over,
}

impl Deadline {
    /// One that begins now. Nothing where no clock here could say that it is over.
    pub(crate) fn new(days: u32, count: u64, here: &Here, key: &Key) -> Option<Self> {
        // [SPEC 11.80]
        if here.now.wall.0 < WALL_MS_MIN || here.boot.is_none() {
            return None;
        }
        let opened_ms = if here.keeps_time { here.now.wall.0 } else { 0 };
        Some(Self::begun(days, count, opened_ms, here, key))
    }

    /// The same, begun anew: the vault was opened.
    pub(crate) fn again(&self, here: &Here, key: &Key) -> Self {
        let Fixed { days, count, .. } = self.fixed;
        let wall = here.now.wall.0;
        // [SPEC 11.80]
        let is_right = wall >= WALL_MS_MIN && wall.saturating_add(DAY_MS) >= self.seen_ms;
        let opened_ms = if here.keeps_time && is_right {
            wall.max(self.seen_ms)
        } else {
            0
        };
        Self::begun(days, count.saturating_add(1), opened_ms, here, key)
    }

    fn begun(days: u32, count: u64, opened_ms: u64, here: &Here, key: &Key) -> Self {
        let fixed = Fixed {
            days,
            count,
            opened_ms,
            limit_ms: u64::from(days).saturating_mul(DAY_MS),
        };
        Self {
            fixed,
            tag: fixed.tag(key),
            seen_ms: opened_ms.max(here.now.wall.0),
            run_ms: 0,
            ahead_ms: 0,
            doubt_ms: 0,
            next_ms: 0,
            whole: here.boot.is_some(),
            mono_ms: here.now.mono.0,
            machine: here.machine,
            boot: here.boot,
        }
    }

    /// Takes in what the clocks show.
    pub(crate) fn look(&mut self, here: &Here) -> Look {
        // [SPEC 11.81]
        let ran = self.take_running(here);
        self.seen_ms = self.seen_ms.saturating_add(ran);
        self.next_ms = self.next_ms.saturating_add(ran);
        let wall = here.now.wall.0;
        self.take_wall(wall);
        if self.passed_ms() >= self.fixed.limit_ms {
            return Look::Over;
        }
        let perhaps = self.passed_ms().max(self.by_wall_ms(wall));
        match self.fixed.limit_ms.saturating_sub(perhaps) {
            0 => {
                let since = self.run_ms.saturating_add(1);
                Look::Doubt(DAY_MS.saturating_sub(since.saturating_sub(self.doubt_ms)))
            }
            left => Look::Left(left),
        }
    }

    /// What the running clock adds to the time that has passed.
    fn take_running(&mut self, here: &Here) -> u64 {
        let mono = here.now.mono.0;
        let known = |one: Id, other: Id| one.is_some() && one == other;
        let goes_on = known(self.boot, here.boot) && mono >= self.mono_ms;
        // A start that by the wall clock was before the last look was on a machine that only looks the same.
        let started_since = known(self.machine, here.machine)
            && here.now.wall.0.saturating_sub(mono) >= self.seen_ms;
        let ran = if goes_on {
            mono - self.mono_ms
        } else if started_since {
            mono
        } else {
            0
        };
        self.whole &= goes_on;
        self.mono_ms = mono;
        self.machine = here.machine;
        self.boot = here.boot;
        self.run_ms = self.run_ms.saturating_add(ran);
        ran
    }

    /// What the wall clock shows, and whether it is believed.
    fn take_wall(&mut self, wall: u64) {
        let jump = wall.saturating_sub(self.seen_ms);
        let is_over = self.by_wall_ms(wall) >= self.fixed.limit_ms;
        let as_before = wall.abs_diff(self.next_ms) <= DAY_MS;
        let since = self.run_ms.saturating_add(1);
        if self.counts_running_only() {
            // The running clock knows better: this one was set right.
            self.ahead_ms = self.ahead_ms.saturating_add(jump);
        } else if jump > 0 && (jump > DAY_MS || is_over) {
            if self.doubt_ms == 0 || !as_before {
                self.doubt_ms = since;
                self.next_ms = wall;
                return;
            }
            self.next_ms = self.next_ms.max(wall);
            if since < self.doubt_ms.saturating_add(DAY_MS) {
                return;
            }
        }
        self.seen_ms = self.seen_ms.max(wall);
        self.doubt_ms = 0;
    }

    fn counts_running_only(&self) -> bool {
        self.whole || self.fixed.opened_ms == 0
    }

    fn passed_ms(&self) -> u64 {
        self.run_ms.max(self.by_wall_ms(self.seen_ms))
    }

    fn by_wall_ms(&self, wall: u64) -> u64 {
        if self.counts_running_only() {
            return 0;
        }
        let since = wall.saturating_sub(self.fixed.opened_ms);
        since.saturating_sub(self.ahead_ms)
    }

    /// From now on `days` more are left, if that is longer.
    pub(crate) fn suspend(&mut self, days: u32, here: &Here, key: &Key) {
        // [SPEC 11.82]
        self.look(here);
        let journey = u64::from(days).saturating_mul(DAY_MS);
        self.fixed.limit_ms = self
            .fixed
            .limit_ms
            .max(self.passed_ms().saturating_add(journey));
        self.fixed.count = self.fixed.count.saturating_add(1);
        self.tag = self.fixed.tag(key);
    }

    fn is_suspended(&self) -> bool {
        self.fixed.limit_ms > u64::from(self.fixed.days).saturating_mul(DAY_MS)
    }

    /// How many warnings are due after this look.
    pub(crate) fn warnings(&self, look: Look) -> usize {
        let Look::Left(left_ms) = look else {
            return WARNINGS.len();
        };
        let limit_ms = u128::from(self.fixed.limit_ms);
        let passed = u128::from(self.fixed.limit_ms.saturating_sub(left_ms)) * 100;
        let due = |percent: &&u64| passed >= limit_ms * u128::from(**percent);
        WARNINGS.iter().filter(due).count()
    }

    /// What people are shown.
    pub(crate) fn info(&self, here: &Here) -> DeadmanInfo {
        let mut deadline = *self;
        let left_ms = match deadline.look(here) {
            Look::Left(ms) | Look::Doubt(ms) => ms,
            Look::Over => 0,
        };
        DeadmanInfo {
            days: self.fixed.days,
            left_s: left_ms / 1_000,
            suspended: self.is_suspended(),
            changed_at: None,
        }
    }

    /// Whether the vault with this key made it, when it had made `known` or later.
    // [SPEC 11.61]
    pub(crate) fn is_own(&self, known: &Self, key: &Key) -> bool {
        self.tag == self.fixed.tag(key) && self.fixed.count >= known.fixed.count
    }

    pub(crate) fn count(&self) -> u64 {
        self.fixed.count
    }

    // [SPEC 11.60]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend_from_slice(&self.fixed.encode());
        bytes.extend_from_slice(&self.tag);
        for field in [
            self.seen_ms,
            self.run_ms,
            self.ahead_ms,
            self.doubt_ms,
            self.next_ms,
            self.mono_ms,
        ] {
            bytes.extend_from_slice(&field.to_be_bytes());
        }
        bytes.push(u8::from(self.whole));
        bytes.extend_from_slice(&self.machine.unwrap_or_default());
        bytes.extend_from_slice(&self.boot.unwrap_or_default());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.try_into().ok()?;
        let (fixed, rest) = bytes.split_first_chunk()?;
        let (tag, rest) = rest.split_first_chunk()?;
        let (fields, rest) = rest.split_first_chunk::<48>()?;
        let field = |n: usize| number(fields.get(8 * n..)?);
        let ([whole], rest) = rest.split_first_chunk()?;
        let (machine, boot) = rest.split_first_chunk()?;
        Some(Self {
            fixed: Fixed::decode(fixed)?,
            tag: *tag,
            seen_ms: field(0)?,
            run_ms: field(1)?,
            ahead_ms: field(2)?,
            doubt_ms: field(3)?,
            next_ms: field(4)?,
            mono_ms: field(5)?,
            whole: match whole {
                0 => false,
                1 => true,
                _ => return None,
            },
            machine: known(machine),
            boot: known(boot.try_into().ok()?),
        })
    }
}

impl Fixed {
    const LEN: usize = 28;

    fn tag(&self, key: &Key) -> [u8; 32] {
        // [SPEC 11.61]
        *expand(key.as_slice(), LABEL_TAG, &self.encode()).expose()
    }

    fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (days, rest) = bytes.split_at_mut(4);
        days.copy_from_slice(&self.days.to_be_bytes());
        let fields = [self.count, self.opened_ms, self.limit_ms];
        for (place, field) in rest.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let days = u32::from_be_bytes(*bytes.first_chunk()?);
        let field = |n: usize| number(bytes.get(4 + 8 * n..)?);
        Some(Self {
            days: (1..=DAYS_MAX).contains(&days).then_some(days)?,
            count: field(0)?,
            opened_ms: field(1)?,
            limit_ms: field(2)?,
        })
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

fn known(id: &[u8; 16]) -> Id {
    (*id != [0; 16]).then_some(*id)
}

#[cfg(test)]
pub(crate) mod tests;
