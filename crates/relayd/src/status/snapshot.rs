//! What is shown to an operator, at one moment: totals, the same in JSON, as metrics and on the page. They are rounded down here, so
//! that nobody sees from them what a single client does.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use emptyroom_relay::Totals;
use emptyroom_relay::totals::{HANGUPS, REFUSALS};
use serde::{Deserialize, Serialize};

use crate::medium::Kind;
use crate::metrics::{Databases, Distribution, Metrics};

/// The version of the JSON.
pub(crate) const VERSION: u8 = 1;
/// Counts are multiples of this,
// [SPEC 6.137]
pub(crate) const COUNT_STEP: u64 = 16;
/// and sizes multiples of this many bytes.
pub(crate) const BYTES_STEP: u64 = 1 << 20;
/// Sums of seconds are whole.
const SECONDS_STEP: u64 = 1;

/// How the relay fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Health {
    /// It takes, keeps and delivers.
    Ok,
    /// The disk is full: what needs space is refused.
    DiskFull,
    /// It was told to stop.
    Draining,
    /// The store failed: nothing is written any more, what is stored is served.
    StoreFailed,
    /// A database is away: what is asked of it is refused.
    DatabaseAway,
    /// One of several is full: what needs space there is refused.
    DatabaseFull,
    /// The part that decides does not answer.
    NotAnswering,
}

impl Health {
    /// All, with the names they have in metrics.
    pub(crate) const NAMED: [(Self, &str); 7] = [
        (Self::Ok, "ok"),
        (Self::DiskFull, "disk-full"),
        (Self::Draining, "draining"),
        (Self::StoreFailed, "store-failed"),
        (Self::DatabaseAway, "database-away"),
        (Self::DatabaseFull, "database-full"),
        (Self::NotAnswering, "not-answering"),
    ];

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Ok => "healthy",
            Self::DiskFull => "the disk is full: whatever needs space is refused, the rest goes on",
            Self::Draining => "stopping: no new connections, what was asked before is answered",
            Self::StoreFailed => {
                "the store failed: new entries are refused, what is stored is served; check the disk, then restart"
            }
            Self::DatabaseAway => {
                "a database is away: what is asked of it is refused until it is back, the rest goes on"
            }
            Self::DatabaseFull => {
                "a database is full: what needs space there is refused, the rest goes on"
            }
            Self::NotAnswering => "the relay does not answer: overloaded, or a bug",
        }
    }
}

/// Everything at one moment, all but how the relay fares rounded down. What it holds does not grow with clients.
// [SPEC 6.125] [SPEC 6.137]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) v: u8,
    /// As of now, whatever the sums are of.
    pub(crate) health: Health,
    /// What failed, in words of the program; of now, too.
    pub(crate) failure: Option<String>,
    /// When all below was taken.
    pub(crate) as_of_unix_s: u64,
    pub(crate) version: String,
    /// How far the kernel confines it: `full`, `files`, `calls` or `none`.
    #[serde(default)]
    pub(crate) sandbox: String,
    /// Whether NATS brings news of other nodes: `there` or `away`; nothing where there is none.
    #[serde(default)]
    pub(crate) news: Option<String>,
    /// How many databases the rows are in, and how many of them are away, or full.
    #[serde(default)]
    pub(crate) databases: u64,
    #[serde(default)]
    pub(crate) databases_away: u64,
    #[serde(default)]
    pub(crate) databases_full: u64,
    pub(crate) started_unix_s: u64,
    pub(crate) up_s: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) connections: u64,
    pub(crate) streams: u64,
    pub(crate) handles: u64,
    pub(crate) logs_open: u64,
    pub(crate) unsent_bytes: u64,
    pub(crate) queue_requests: u64,
    pub(crate) queue_bytes: u64,
    pub(crate) handshakes: u64,
    pub(crate) handshakes_failed: u64,
    pub(crate) streams_opened: u64,
    pub(crate) entries_appended: u64,
    pub(crate) entries_pushed: u64,
    pub(crate) casts_pushed: u64,
    pub(crate) turned_away: BTreeMap<String, u64>,
    pub(crate) refusals: BTreeMap<String, u64>,
    pub(crate) hangups: BTreeMap<String, u64>,
    pub(crate) store: Store,
    pub(crate) batch_operations: Distribution,
    pub(crate) batch_seconds: Distribution,
}

/// What lies on the disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Store {
    pub(crate) kind: String,
    /// Rows it holds, where it knows.
    pub(crate) rows: Option<u64>,
    /// What its files take of the disk.
    pub(crate) bytes: u64,
    /// Of that, what is not yet in its place.
    pub(crate) journal_bytes: u64,
    pub(crate) disk_free_bytes: u64,
    pub(crate) disk_bytes: u64,
}

impl Snapshot {
    /// Puts together what the relay, the shell and the disk say.
    pub(crate) fn new(totals: &Totals, metrics: &Metrics, (now_s, store): (u64, Store)) -> Self {
        let count = |number: usize| rounded(u64::try_from(number).unwrap_or(u64::MAX), COUNT_STEP);
        let since = |number: u64| rounded(number, COUNT_STEP);
        let size = |number: usize| rounded(u64::try_from(number).unwrap_or(u64::MAX), BYTES_STEP);
        let away = [
            ("handshakes", &metrics.turned_away_handshakes),
            ("address", &metrics.turned_away_address),
            ("places", &metrics.turned_away_places),
        ];
        let store = match metrics.databases().of {
            0 => store,
            _ => Store {
                kind: "postgres".to_owned(),
                ..store
            },
        };
        let rows = u64::try_from(metrics.rows.load(Ordering::Relaxed)).ok();
        Self {
            v: VERSION,
            health: Health::Ok,
            failure: None,
            as_of_unix_s: now_s,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sandbox: emptyroom_sandbox::in_force().name().to_owned(),
            news: None,
            databases: 0,
            databases_away: 0,
            databases_full: 0,
            started_unix_s: metrics.started_s,
            up_s: now_s.saturating_sub(metrics.started_s),
            memory_bytes: rounded(memory_bytes(), BYTES_STEP),
            connections: count(totals.connections),
            streams: count(totals.streams),
            handles: count(totals.handles),
            logs_open: count(totals.logs_open),
            unsent_bytes: size(totals.unsent_bytes),
            queue_requests: count(totals.queue_requests),
            queue_bytes: size(totals.queue_bytes),
            handshakes: since(metrics.accepted.now()),
            handshakes_failed: since(metrics.handshakes_failed.now()),
            streams_opened: since(totals.streams_opened),
            entries_appended: since(totals.entries_appended),
            entries_pushed: since(totals.entries_pushed),
            casts_pushed: since(totals.casts_pushed),
            turned_away: away
                .iter()
                .map(|(why, count)| ((*why).to_owned(), since(count.now())))
                .collect(),
            refusals: named(&REFUSALS.map(|(_, name)| name), &totals.refusals),
            hangups: named(&HANGUPS.map(|(_, name)| name), &totals.hangups),
            store: Store {
                rows: rows.map(since),
                ..store.rounded()
            },
            batch_operations: metrics.batch_ops.now().rounded(COUNT_STEP, COUNT_STEP),
            batch_seconds: metrics
                .batch_seconds
                .now()
                .rounded(COUNT_STEP, SECONDS_STEP),
        }
    }
}

impl Snapshot {
    /// The same, with what the others of a relay on several nodes are like now.
    // [SPEC 6.217]
    pub(crate) fn with_others(self, metrics: &Metrics) -> Self {
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let Databases { of, away, full } = metrics.databases();
        let word = |come| if come { "there" } else { "away" };
        Self {
            news: metrics.news().map(|come| word(come).to_owned()),
            databases: number(of),
            databases_away: number(away.len()),
            databases_full: number(full.len()),
            ..self
        }
    }
}

fn named(names: &[&str], counts: &[u64]) -> BTreeMap<String, u64> {
    let names = names.iter().map(|name| (*name).to_owned());
    let counts = counts.iter().map(|count| rounded(*count, COUNT_STEP));
    names.zip(counts).collect()
}

/// Down to a multiple of `step`.
pub(crate) fn rounded(number: u64, step: u64) -> u64 {
    number - number % step.max(1)
}

impl Store {
    /// Nothing is known.
    pub(crate) fn unknown() -> Self {
        Self {
            kind: String::new(),
            rows: None,
            bytes: 0,
            journal_bytes: 0,
            disk_free_bytes: 0,
            disk_bytes: 0,
        }
    }

    fn rounded(self) -> Self {
        let size = |bytes| rounded(bytes, BYTES_STEP);
        Self {
            bytes: size(self.bytes),
            journal_bytes: size(self.journal_bytes),
            disk_free_bytes: size(self.disk_free_bytes),
            disk_bytes: size(self.disk_bytes),
            ..self
        }
    }

    /// Looks at the files. What cannot be read counts as nothing: this is for looking, not for deciding.
    pub(crate) fn look(data: &Path) -> Self {
        let kind = [Kind::Segments, Kind::Sqlite]
            .into_iter()
            .find(|kind| data.join(kind.directory()).is_dir())
            .unwrap_or(Kind::Segments);
        let (mut bytes, mut journal_bytes) = (0, 0);
        let files = std::fs::read_dir(data.join(kind.directory()));
        for file in files.into_iter().flatten().flatten() {
            // Holes take nothing.
            let taken = file.metadata().map_or(0, |meta| meta.blocks() * 512);
            bytes += taken;
            let name = file.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("journal-") || name.ends_with("-wal") {
                journal_bytes += taken;
            }
        }
        let disk = rustix::fs::statvfs(data).ok();
        let space = |blocks: Option<u64>| {
            let size = disk.as_ref().map_or(0, |disk| disk.f_frsize);
            blocks.unwrap_or(0).saturating_mul(size)
        };
        Self {
            kind: kind.name().to_owned(),
            rows: None,
            bytes,
            journal_bytes,
            disk_free_bytes: space(disk.as_ref().map(|disk| disk.f_bavail)),
            disk_bytes: space(disk.as_ref().map(|disk| disk.f_blocks)),
        }
    }
}

/// What the process holds in memory; nothing where the system does not say.
fn memory_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(0);
    pages.unwrap_or(0).saturating_mul(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 6.137]
    #[test]
    fn what_few_clients_do_does_not_show() {
        let metrics = Metrics::default();
        let store = || Store {
            bytes: 5 << 20,
            journal_bytes: 4_096,
            ..Store::unknown()
        };
        let take = |totals: &Totals| Snapshot::new(totals, &metrics, (7, store()));
        let shown = |totals: &Totals| {
            // The process grows by itself.
            let snapshot = Snapshot {
                memory_bytes: 0,
                ..take(totals)
            };
            serde_json::to_value(snapshot).unwrap()
        };
        let nothing = shown(&Totals::default());
        let mut totals = Totals {
            connections: 15,
            streams: 15,
            handles: 15,
            logs_open: 15,
            unsent_bytes: 1_000_000,
            queue_requests: 15,
            queue_bytes: 4_196,
            draining: false,
            streams_opened: 15,
            entries_appended: 15,
            entries_pushed: 15,
            casts_pushed: 15,
            refusals: [15; REFUSALS.len()],
            hangups: [15; HANGUPS.len()],
        };
        for _ in 0..15 {
            metrics.accepted.add_one();
            metrics.handshakes_failed.add_one();
            metrics.turned_away_address.add_one();
            metrics.turned_away_handshakes.add_one();
            metrics.turned_away_places.add_one();
            metrics.batch(1, std::time::Instant::now());
        }
        assert_eq!(shown(&totals), nothing);
        totals.entries_appended += 1;
        metrics.batch(1, std::time::Instant::now());
        let sixteen = take(&totals);
        assert_eq!((sixteen.entries_appended, sixteen.streams), (16, 0));
        assert_eq!(sixteen.batch_operations.counts, [16, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            (sixteen.store.bytes, sixteen.store.journal_bytes),
            (5 << 20, 0)
        );
        assert_eq!(sixteen.as_of_unix_s, 7);
        metrics.set_rows(Some(33));
        assert_eq!(take(&totals).store.rows, Some(32));
    }
}
