//! A log's own row: its rules, counters, runs; and the decisions that need nothing else.
//!
//! The counters (next sequence number, slots, running hash) live here and so outlive every entry.

use emptyroom_wire::entry::{RunningHash, Ttl};
use emptyroom_wire::limits::{
    DROP_OLDEST_ENTRIES, HEADER_LIFE_DAYS, LOG_BYTES_MAX, LOG_COMMIT_RESERVE, LOG_ENTRIES_MAX,
    RECOVERY_LIFE_DAYS, TOMBSTONE_LIFE_DAYS,
};
use emptyroom_wire::log::Flags;
use emptyroom_wire::op::{RefusalCode, View};
use emptyroom_wire::time::Day;
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use super::runs::{Held, Runs, Shelf};
use super::{NewEntry, Placed, Rules};
use crate::limits::{COMMIT_RESERVE_BYTES, LIFE_ROUNDING_DAYS};

/// What stands under a log's row key.
#[derive(Clone, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub(crate) enum Row {
    /// A log.
    #[tls_codec(discriminant = 1)]
    Log(LogRow),
    /// A destroyed one, refused through this day.
    #[tls_codec(discriminant = 2)]
    Tombstone(u32),
}

impl Row {
    /// The tombstone of a log destroyed today.
    pub(crate) fn tombstone(today: Day) -> Row {
        // [SPEC 6.23]
        Row::Tombstone(today.plus(TOMBSTONE_LIFE_DAYS).0)
    }

    /// The last day on which it says something.
    pub(crate) fn last_day(&self) -> Day {
        match self {
            Row::Log(log) => log.last_day(),
            Row::Tombstone(day) => Day(*day),
        }
    }
}

/// A log without its entries.
#[derive(Clone, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct LogRow {
    /// Random; tells this log's nonce pages from those of an earlier log of the same capability.
    pub(crate) birth: [u8; 8],
    pub(crate) rules: Rules,
    next_seq: u64,
    slots: u64,
    running_hash: RunningHash,
    closed: u8,
    last_day: u32,
    /// The running hash after the first entry it was made with (zero without one), so that making it again can be told from
    /// making another.
    origin: RunningHash,
    runs: Runs,
    pub(crate) funds: Funds,
}

/// What pays for a log's bytes.
#[derive(Clone, Copy, TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub(crate) enum Funds {
    /// It was made with a code, which pays for all it can hold.
    #[tls_codec(discriminant = 1)]
    Code,
    /// It was made by `next`.
    #[tls_codec(discriminant = 2)]
    Budget(Share),
}

/// A part of an account.
#[derive(Clone, Copy, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Share {
    /// Finds the account.
    pub(crate) seed: [u8; 32],
    /// Bytes taken from it and not yet used.
    pub(crate) prepaid: u64,
}

/// Where an append goes.
pub(crate) struct Room {
    pub(crate) placed: Placed,
    pub(crate) shelf: Shelf,
    /// The oldest entries, which made room.
    pub(crate) dropped: Vec<Held>,
}

/// Why an append is not written.
pub(crate) enum Denied {
    /// The log has another number of slots.
    Stale,
    Refused(RefusalCode),
}

impl LogRow {
    /// A log without entries.
    pub(crate) fn new(rules: Rules, birth: [u8; 8], funds: Funds, today: Day) -> LogRow {
        let mut log = LogRow {
            birth,
            rules,
            next_seq: 0,
            slots: 0,
            running_hash: RunningHash::default(),
            closed: 0,
            last_day: 0,
            origin: RunningHash::default(),
            runs: Runs::default(),
            funds,
        };
        log.touch(today);
        log
    }

    /// Appends the entry the log is made with.
    pub(crate) fn begin(&mut self, first: &NewEntry, today: Day) -> Result<Room, Denied> {
        self.origin = origin_of(Some(first));
        self.append(first, today)
    }

    /// Whether it was made with this first entry.
    pub(crate) fn has_origin(&self, first: Option<&NewEntry>) -> bool {
        self.origin == origin_of(first)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed != 0
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub(crate) fn last_day(&self) -> Day {
        Day(self.last_day)
    }

    /// Forgets entries that have run out. Called whenever a row is loaded.
    pub(crate) fn forget_expired(&mut self, today: Day) {
        self.runs.forget_expired(today);
    }

    pub(crate) fn view(&self) -> View {
        View {
            first_seq: self.runs.first().unwrap_or(self.next_seq),
            next_seq: self.next_seq,
            slots: self.slots,
            running_hash: self.running_hash,
            closed: self.is_closed(),
        }
    }

    /// The entries held from `from` on.
    pub(crate) fn held_from(&self, from: u64) -> impl Iterator<Item = Held> + '_ {
        self.runs.held_from(from)
    }

    /// Starts the log's life anew; true if its last day moved.
    pub(crate) fn touch(&mut self, today: Day) -> bool {
        let last_day = self.last_day_from(today);
        let moved = last_day > self.last_day;
        self.last_day = last_day.max(self.last_day);
        moved
    }

    /// How many of its entries get another last day when it is touched.
    pub(crate) fn moving(&self, today: Day) -> usize {
        if self.last_day_from(today) <= self.last_day {
            return 0;
        }
        let held = self.held_from(0);
        held.filter(|held| held.shelf == Shelf::Life).count()
    }

    fn last_day_from(&self, today: Day) -> u32 {
        // [SPEC 6.21]
        let life = if self.rules.flags.has(Flags::RECOVERY_LIFE) {
            RECOVERY_LIFE_DAYS
        } else {
            HEADER_LIFE_DAYS
        };
        round_up(today.plus(life))
    }

    /// Appends an entry if all rules but the budget's allow it. Changes nothing otherwise.
    pub(crate) fn append(&mut self, entry: &NewEntry, today: Day) -> Result<Room, Denied> {
        let aad = &entry.aad;
        if self.is_closed() {
            return Err(Denied::Refused(RefusalCode::Closed));
        }
        // [SPEC 4.50]
        if aad.expect_slots != self.slots {
            return Err(Denied::Stale);
        }
        if aad.close && self.rules.flags.has(Flags::REFUSE_CLOSE) {
            return Err(Denied::Refused(RefusalCode::RefusedClose));
        }
        let shelf = self.shelf(aad.ttl, today).map_err(Denied::Refused)?;
        let len =
            u32::try_from(entry.body.len()).map_err(|_| Denied::Refused(RefusalCode::TooLarge))?;
        let dropped = self.make_room(u64::from(len), aad.commit)?;

        let seq = self.next_seq;
        let before = self.running_hash;
        let after = before.next(seq, aad, &entry.body);
        self.runs.push(seq, shelf, len);
        self.running_hash = after;
        self.next_seq += 1;
        self.slots += u64::from(aad.commit);
        self.closed = u8::from(aad.close);
        Ok(Room {
            placed: Placed { seq, before, after },
            shelf,
            dropped,
        })
    }

    /// Takes away the entries below `up_to` and names them.
    pub(crate) fn trim(&mut self, up_to: u64) -> Vec<Held> {
        self.runs.cut_below(up_to.min(self.next_seq))
    }

    fn shelf(&self, ttl: Ttl, today: Day) -> Result<Shelf, RefusalCode> {
        // [SPEC 6.20]
        match ttl {
            Ttl::Day1 => Ok(Shelf::Day(today.plus(1))),
            Ttl::Day7 => Ok(Shelf::Day(today.plus(7))),
            Ttl::Day30 => Ok(Shelf::Day(today.plus(30))),
            Ttl::Life if self.rules.flags.has(Flags::RECOVERY_LIFE) => Ok(Shelf::Life),
            Ttl::Life => Err(RefusalCode::NotAllowed),
        }
    }

    fn make_room(&mut self, len: u64, commit: bool) -> Result<Vec<Held>, Denied> {
        if self.rules.flags.has(Flags::DROP_OLDEST) {
            return Ok(self.drop_oldest(len));
        }
        // [SPEC 6.10] [SPEC 6.11]
        let (entries_kept, bytes_kept) = if commit {
            (0, 0)
        } else {
            (LOG_COMMIT_RESERVE, COMMIT_RESERVE_BYTES)
        };
        let fits = self.runs.count() + 1 + entries_kept <= LOG_ENTRIES_MAX
            && self.runs.bytes() + len + bytes_kept <= LOG_BYTES_MAX;
        if fits {
            Ok(Vec::new())
        } else {
            Err(Denied::Refused(RefusalCode::Full))
        }
    }

    fn drop_oldest(&mut self, len: u64) -> Vec<Held> {
        // [SPEC 6.12]
        let mut dropped = Vec::new();
        while let Some(first) = self.runs.first() {
            let fits =
                self.runs.count() < DROP_OLDEST_ENTRIES && self.runs.bytes() + len <= LOG_BYTES_MAX;
            if fits {
                break;
            }
            dropped.extend(self.runs.cut_below(first + 1));
        }
        dropped
    }
}

/// The day on which what lives through this one ends.
pub(super) fn round_up(day: Day) -> u32 {
    day.0
        .checked_next_multiple_of(LIFE_ROUNDING_DAYS)
        .unwrap_or(u32::MAX)
}

fn origin_of(first: Option<&NewEntry>) -> RunningHash {
    first.map_or_else(RunningHash::default, |entry| {
        RunningHash::default().next(0, &entry.aad, &entry.body)
    })
}
