//! Counters of the shell that the pure relay cannot know: what was turned away at the door, and how the disk fares.
//!
//! Totals only. Their number and size are the same whatever clients do.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::postgres::standing::Standing;
use crate::status::snapshot::rounded;

/// Shared by all tasks and threads of one relay.
// [SPEC 6.125]
pub struct Metrics {
    /// Unix time of the start, in seconds.
    pub(crate) started_s: u64,
    /// Handshakes that were done.
    pub(crate) accepted: Count,
    /// Newcomers dropped because too many handshakes were under way.
    pub(crate) turned_away_handshakes: Count,
    /// Because their address has all that one address may have.
    pub(crate) turned_away_address: Count,
    /// Because all places were taken.
    pub(crate) turned_away_places: Count,
    /// Handshakes that came to nothing.
    pub(crate) handshakes_failed: Count,
    /// Operations in a batch for the store.
    pub(crate) batch_ops: Buckets,
    /// How long the store took for a batch, its sync included, in seconds.
    pub(crate) batch_seconds: Buckets,
    /// Rows that the store holds; negative where it does not know.
    pub(crate) rows: AtomicI64,
    databases: OnceLock<Standing>,
    /// News of other nodes come; nothing where there are none to come.
    news: OnceLock<AtomicBool>,
    stopping: AtomicBool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started_s: clock::wall().0 / 1_000,
            accepted: Count::default(),
            turned_away_handshakes: Count::default(),
            turned_away_address: Count::default(),
            turned_away_places: Count::default(),
            handshakes_failed: Count::default(),
            batch_ops: Buckets::new(&[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0]),
            batch_seconds: Buckets::new(&[
                0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0,
            ]),
            rows: AtomicI64::new(-1),
            databases: OnceLock::new(),
            news: OnceLock::new(),
            stopping: AtomicBool::new(false),
        }
    }
}

impl Metrics {
    /// A batch of so many operations came back from the store.
    pub(crate) fn batch(&self, ops: usize, since: Instant) {
        self.batch_ops
            .add(f64::from(u32::try_from(ops).unwrap_or(u32::MAX)));
        self.batch_seconds.add_time(since.elapsed());
    }

    pub(crate) fn stops(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// From now on these say which of them are away.
    pub(crate) fn set_databases(&self, databases: Option<Standing>) {
        if let Some(databases) = databases {
            // There is one store, and it is set once.
            let _ = self.databases.set(databases);
        }
    }

    /// How the databases are, where there are any.
    pub(crate) fn databases(&self) -> Databases {
        let databases = self.databases.get();
        databases.map_or_else(Databases::default, |all| Databases {
            of: all.databases(),
            away: all.away(),
            full: all.full(),
        })
    }

    /// There are several, of which each may be full or not.
    pub(crate) fn has_several(&self) -> bool {
        self.databases.get().is_some_and(|all| all.databases() > 1)
    }

    /// News of other nodes come by now, or do not.
    pub(crate) fn set_news(&self, come: bool) {
        let news = self.news.get_or_init(|| AtomicBool::new(come));
        news.store(come, Ordering::Relaxed);
    }

    /// Whether they come, where there are any.
    pub(crate) fn news(&self) -> Option<bool> {
        self.news.get().map(|come| come.load(Ordering::Relaxed))
    }

    pub(crate) fn set_rows(&self, rows: Option<usize>) {
        let rows = rows.map_or(-1, |rows| i64::try_from(rows).unwrap_or(i64::MAX));
        self.rows.store(rows, Ordering::Relaxed);
    }
}

/// Some databases.
#[derive(Default)]
pub(crate) struct Databases {
    /// How many there are.
    pub(crate) of: usize,
    /// Which of them are away, from 1.
    pub(crate) away: Vec<usize>,
    /// Which of several are full.
    pub(crate) full: Vec<usize>,
}

impl Databases {
    /// One of them at least takes what is new.
    pub(crate) fn some_take(&self) -> bool {
        (1..=self.of).any(|number| !self.away.contains(&number) && !self.full.contains(&number))
    }

    /// All are full.
    pub(crate) fn all_full(&self) -> bool {
        self.of > 0 && self.full.len() == self.of
    }
}

/// A number that only grows.
#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How values are distributed over fixed ranges.
pub(crate) struct Buckets {
    /// The upper ends of the ranges but the last, which has none.
    upper: &'static [f64],
    counts: Vec<AtomicU64>,
    /// In millionths.
    sum: AtomicU64,
}

impl Buckets {
    fn new(upper: &'static [f64]) -> Self {
        Self {
            upper,
            counts: (0..=upper.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    fn add(&self, value: f64) {
        let at = self.upper.partition_point(|upper| *upper < value);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = Duration::try_from_secs_f64(value).map_or(u128::MAX, |time| time.as_micros());
        self.sum
            .fetch_add(u64::try_from(micros).unwrap_or(0), Ordering::Relaxed);
    }

    fn add_time(&self, time: Duration) {
        self.add(time.as_secs_f64());
    }

    pub(crate) fn now(&self) -> Distribution {
        let counts = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        let millionths = Duration::from_micros(self.sum.load(Ordering::Relaxed));
        Distribution {
            sum: millionths.as_secs_f64(),
            upper: self.upper.to_vec(),
            counts: counts.collect(),
        }
    }
}

/// What [`Buckets`] held at one moment. The last count has no upper end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Distribution {
    pub(crate) sum: f64,
    pub(crate) upper: Vec<f64>,
    pub(crate) counts: Vec<u64>,
}

impl Distribution {
    /// The counts up to each end rounded down to a multiple of `step`, so that the whole is, too; the sum to one of `sum_step`.
    // [SPEC 6.137]
    pub(crate) fn rounded(self, step: u64, sum_step: u64) -> Self {
        let (mut seen, mut shown) = (0, 0);
        let counts = self.counts.iter().map(|count| {
            seen += count;
            let before = std::mem::replace(&mut shown, rounded(seen, step));
            shown - before
        });
        let whole = Duration::try_from_secs_f64(self.sum).map_or(u64::MAX, |sum| sum.as_secs());
        Self {
            counts: counts.collect(),
            sum: Duration::from_secs(rounded(whole, sum_step)).as_secs_f64(),
            upper: self.upper,
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The upper end of the range in which the value of this rank lies; nothing if there is no value, or no such end.
    pub(crate) fn at_most(&self, share: f64) -> Option<f64> {
        let mut seen = 0;
        for (upper, count) in self.upper.iter().zip(&self.counts) {
            seen += count;
            if seen > 0 && share_of(seen, self.count()) >= share {
                return Some(*upper);
            }
        }
        None
    }
}

#[allow(clippy::cast_precision_loss)]
fn share_of(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_their_ranges() {
        let buckets = Buckets::new(&[1.0, 10.0]);
        assert_eq!(buckets.now().at_most(0.5), None);
        for value in [0.5, 1.0, 2.0, 10.0, 11.0] {
            buckets.add(value);
        }
        let now = buckets.now();
        assert_eq!(now.counts, [2, 2, 1]);
        assert!((now.sum - 24.5).abs() < 1e-9);
        assert_eq!(now.at_most(0.4), Some(1.0));
        assert_eq!(now.at_most(0.5), Some(10.0));
        assert_eq!(now.at_most(0.99), None);
    }

    // [SPEC 6.137]
    #[test]
    fn rounded_values_stay_where_they_fell() {
        let of = |counts: [u64; 3], sum| Distribution {
            sum,
            upper: vec![1.0, 10.0],
            counts: counts.to_vec(),
        };
        assert_eq!(of([15, 0, 0], 0.9).rounded(16, 1), of([0, 0, 0], 0.0));
        assert_eq!(
            of([15, 15, 15], 47.5).rounded(16, 16),
            of([0, 16, 16], 32.0)
        );
        assert_eq!(of([16, 1, 31], 9.0).rounded(16, 1), of([16, 0, 32], 9.0));
    }
}
