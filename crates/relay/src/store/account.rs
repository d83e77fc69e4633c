//! The budget from which `next` is paid: one account for all logs that descend from one made with a code.
//!
//! The account is a row like any other, found by a seed that each of these logs' rows holds. It counts what was made and taken
//! today and names no log, so that it leads from no log to another.

use emptyroom_wire::derive::expand;
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::limits::RECOVERY_LIFE_DAYS;
use emptyroom_wire::op::{Refusal, RefusalCode};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::{DAY_MS, Day, SECOND_MS, Wall};
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use super::{NewEntry, Place, RowKey};
use crate::limits::{
    BUDGET_BYTES_PER_DAY, BUDGET_CHUNK_BYTES, BUDGET_LIFE_FACTOR, BUDGET_LOGS_PER_DAY,
    LIFE_ROUNDING_DAYS,
};

/// Finds an account: its row key and the secret it is sealed under.
pub(crate) struct AccountPlace {
    pub(crate) key: RowKey,
    pub(crate) secret: Secret32,
}

/// The seed of the account that descendants of this log, which was made with a code, share.
pub(crate) fn seed_of_root(place: &Place) -> [u8; 32] {
    *expand(place.secret(), "emptyroom v1 row budget", &[]).expose()
}

impl AccountPlace {
    /// The labels are not those of a log's place: whoever knows a capability knows the seed, and could open it as if it were one.
    pub(crate) fn of(seed: &[u8; 32]) -> AccountPlace {
        // [SPEC 6.30]
        AccountPlace {
            key: RowKey(*expand(seed, "emptyroom v1 budget key", &[]).expose()),
            secret: expand(seed, "emptyroom v1 budget secret", &[]),
        }
    }
}

/// What was taken on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Account {
    day: u32,
    logs: u32,
    bytes: u64,
}

impl Account {
    pub(crate) fn new(today: Day) -> Account {
        Account {
            day: today.0,
            logs: 0,
            bytes: 0,
        }
    }

    /// Begins a new day's allowance. A clock that jumped back brings none.
    pub(crate) fn begin(&mut self, today: Day) {
        // [SPEC 6.31]
        if today.0 > self.day {
            *self = Account::new(today);
        }
    }

    /// Pays for the making of a log.
    pub(crate) fn take_log(&mut self) -> Result<(), OverBudget> {
        // [SPEC 6.30]
        if self.logs >= BUDGET_LOGS_PER_DAY {
            return Err(OverBudget);
        }
        self.logs += 1;
        Ok(())
    }

    /// Takes at least `bytes`, more if there are, so that not each append comes here; returns how many.
    pub(crate) fn take_bytes(&mut self, bytes: u64) -> Result<u64, OverBudget> {
        // [SPEC 6.30]
        let left = BUDGET_BYTES_PER_DAY.saturating_sub(self.bytes);
        if bytes > left {
            return Err(OverBudget);
        }
        let taken = bytes.max(BUDGET_CHUNK_BYTES).min(left);
        self.bytes += taken;
        Ok(taken)
    }
}

/// What an entry costs in bytes. One that stays as long as its log costs so much more that it is worth its place.
pub(crate) fn cost(entry: &NewEntry) -> u64 {
    let bytes = u64::try_from(entry.body.len()).unwrap_or(u64::MAX);
    // [SPEC 6.32]
    match entry.aad.ttl {
        Ttl::Life => bytes.saturating_mul(BUDGET_LIFE_FACTOR),
        Ttl::Day1 | Ttl::Day7 | Ttl::Day30 => bytes,
    }
}

/// Nothing left today.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OverBudget;

/// The refusal: come back tomorrow.
pub(crate) fn refusal(now: Wall) -> Refusal {
    let left_ms = DAY_MS - now.0 % DAY_MS;
    let left_s = u32::try_from(left_ms / SECOND_MS + 1).unwrap_or(u32::MAX);
    Refusal::later(RefusalCode::Budget, left_s)
}

/// The last day of an account that is used today: it outlives every log that it pays for.
pub(crate) fn last_day(today: Day) -> Day {
    today.plus(RECOVERY_LIFE_DAYS + LIFE_ROUNDING_DAYS)
}
