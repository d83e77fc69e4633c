//! The segment store: what every store must do, random operations against rows in memory, and every kind of crash.

use std::collections::BTreeSet;

use emptyroom_relay::conformance::{CHECKS, MemoryRows, Subject};
use emptyroom_relay::store::{
    Changes, EntryChange, LastingChange, Ledger, RowKey, Rows, Store, StoreFailure,
};
use emptyroom_relayd::segments::disk::Disk;
use emptyroom_relayd::segments::{OnDamage, SegmentRows, Settled, Sizes};
use emptyroom_wire::time::Day;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::client::generator;
use crate::process::{Process, repeats, serve};
use crate::scratch::Scratch;
use crate::shadow::{Fault, ShadowDisk};

mod damage;
mod failing;
mod leftovers;

/// Small, so that everything happens often.
const SIZES: Sizes = Sizes {
    journal: 20_000,
    frame: 4_000,
    piece: 6_000,
    removed: 3,
    segment: 20_000,
    segment_least: 10_000,
    wasted: 2_000,
    rewritten: 30_000,
    rows: usize::MAX,
    // A fault comes at the same operation each time.
    readers: 0,
};

struct Segments {
    disk: ShadowDisk,
    rng: ChaCha20Rng,
    store: Ledger<SegmentRows<ShadowDisk>>,
}

pub fn ledger(disk: &ShadowDisk) -> Ledger<SegmentRows<ShadowDisk>> {
    let rows = reopen(disk).unwrap();
    Ledger::new(rows, Box::new(generator()))
}

impl Subject for Segments {
    fn store(&mut self) -> &mut dyn Store {
        &mut self.store
    }

    fn crash(&mut self) {
        self.disk = self.disk.crash(&mut self.rng);
        self.store = ledger(&self.disk);
    }
}

// [SPEC 6.91]
#[test]
fn segments_pass_every_check() {
    for (seed, check) in (0..).zip(CHECKS) {
        eprintln!("check: {}", check.name);
        let disk = ShadowDisk::default();
        (check.run)(&mut Segments {
            store: ledger(&disk),
            disk,
            rng: ChaCha20Rng::seed_from_u64(seed),
        });
    }
}

/// Random rows under few keys, so that they are replaced, moved and removed often.
struct Dice(ChaCha20Rng);

impl Dice {
    fn below(&mut self, end: u32) -> u32 {
        self.0.next_u32() % end
    }

    fn key(&mut self, table: u8) -> RowKey {
        let mut key = [table; 32];
        key[0] = u8::try_from(self.below(40)).unwrap().wrapping_mul(151);
        RowKey(key)
    }

    fn day(&mut self, today: u32) -> Day {
        Day(today + self.below(5))
    }

    fn row(&mut self) -> Vec<u8> {
        let mut row = vec![0; 1 + self.below(3000) as usize];
        self.0.fill_bytes(&mut row);
        row
    }

    fn changes(&mut self, today: u32) -> Changes {
        let mut changes = Changes::default();
        let mut entries = BTreeSet::new();
        for _ in 0..self.below(6) {
            let spot = (self.day(today), self.key(1));
            if entries.insert(spot) {
                let row = (self.below(3) > 0).then(|| self.row());
                let (day, key) = spot;
                changes.entries.push(EntryChange { day, key, row });
            }
        }
        changes
            .entries
            .sort_by_key(|change| (change.day, change.key));
        let mut keys = BTreeSet::new();
        for _ in 0..self.below(6) {
            let (key, day) = (self.key(2), self.day(today));
            if keys.insert(key) {
                changes.lasting.push(match self.below(4) {
                    0 => LastingChange::Remove { key },
                    1 => LastingChange::Move { key, day },
                    _ => LastingChange::Put {
                        key,
                        day,
                        row: self.row(),
                    },
                });
            }
        }
        changes
    }
}

fn again(changes: &Changes) -> Changes {
    let entries = changes.entries.iter().map(|change| EntryChange {
        day: change.day,
        key: change.key,
        row: change.row.clone(),
    });
    let lasting = changes.lasting.iter().map(|change| match change {
        LastingChange::Put { key, day, row } => LastingChange::Put {
            key: *key,
            day: *day,
            row: row.clone(),
        },
        LastingChange::Move { key, day } => LastingChange::Move {
            key: *key,
            day: *day,
        },
        LastingChange::Remove { key } => LastingChange::Remove { key: *key },
    });
    Changes {
        entries: entries.collect(),
        lasting: lasting.collect(),
    }
}

/// Why the store is not what memory says, if it is not.
fn difference(
    rows: &mut SegmentRows<ShadowDisk>,
    model: &MemoryRows,
    today: u32,
) -> Option<String> {
    for first in 0..40u8 {
        let mut key = [2; 32];
        key[0] = first.wrapping_mul(151);
        let lasting = rows.lasting(&RowKey(key)).unwrap();
        let expected = model.lasting.get(&RowKey(key)).map(|(_, row)| row.clone());
        if lasting != expected {
            return Some(format!("lasting row {first}"));
        }
        let mut key = [1; 32];
        key[0] = first.wrapping_mul(151);
        for day in (today..today + 6).map(Day) {
            let entry = rows.entry(day, &RowKey(key)).unwrap();
            if entry.as_ref() != model.entries.get(&(day, RowKey(key))) {
                return Some(format!("entry {first} of day {}", day.0));
            }
        }
    }
    None
}

/// Commits, expiries, checkpoints and crashes at random; after each crash the store is what it was before or after what was cut off.
fn trace(seed: u64) {
    let mut dice = Dice(ChaCha20Rng::seed_from_u64(seed));
    let mut disk = ShadowDisk::default();
    let mut rows = reopen(&disk).unwrap();
    // What the store may be: two things may look alike for a while, because the day of a lasting row is not seen.
    let mut models = vec![MemoryRows::default()];
    let mut today = 20_000;
    // A full disk may keep what is over until there is space, and a clock that went back would show it.
    let clock_jumps_back = dice.below(2) == 0;
    for _ in 0..60 {
        let fault = match dice.below(9) {
            0 => Some(Fault::Dead),
            8 => Some(Fault::FullSync),
            1 | 2 if clock_jumps_back => None,
            1 | 2 => Some(Fault::Full),
            3 => Some(Fault::Sync),
            4 => Some(Fault::OneSync),
            _ => None,
        };
        if let Some(fault) = fault {
            disk.fail_after(u64::from(dice.below(40)), fault);
        }
        let mut after = models.clone();
        let is_expiry = dice.below(8) == 0;
        let outcome = match dice.below(8) {
            _ if is_expiry => {
                today += dice.below(3);
                if clock_jumps_back {
                    today -= dice.below(2);
                }
                expire(&mut after, today);
                rows.expire(Day(today))
            }
            0 => rows.checkpoint().map(drop),
            // A few slices, with whatever comes between them.
            1 | 2 => (0..dice.below(8)).try_for_each(|_| rows.settle().map(drop)),
            _ => {
                let changes = dice.changes(today);
                for model in &mut after {
                    model.commit(again(&changes)).unwrap();
                }
                rows.commit(changes)
            }
        };
        match outcome {
            Ok(()) => models = after,
            // What is over is over, even if its files wait for space to be overwritten in.
            Err(StoreFailure::Full) if is_expiry => models = after,
            Err(StoreFailure::Full) => {}
            Err(StoreFailure::Broken(what)) => {
                assert!(
                    fault != Some(Fault::Full),
                    "seed {seed}: a full disk broke {what}"
                );
                models.extend(after);
            }
            Err(failure) => panic!("seed {seed}: {failure}"),
        }
        if matches!(outcome, Err(StoreFailure::Broken(_))) || dice.below(8) == 0 {
            disk.mend();
            // The program is killed, or the power fails.
            if dice.below(3) > 0 {
                disk = disk.crash(&mut dice.0);
            }
            // Now and then it crashes while it opens.
            if dice.below(3) == 0 {
                disk.fail_after(u64::from(dice.below(60)), Fault::Dead);
                drop(reopen(&disk));
                disk.mend();
                if dice.below(2) == 0 {
                    disk = disk.crash(&mut dice.0);
                }
            }
            rows = reopen(&disk).unwrap();
            rows.expire(Day(today)).unwrap();
            expire(&mut models, today);
        }
        // A full disk stays full for a while.
        if fault != Some(Fault::Full) || dice.below(3) == 0 {
            disk.mend();
        }
        let mut differences = Vec::new();
        models.retain(|model| {
            let difference = difference(&mut rows, model, today);
            differences.extend(difference.clone());
            difference.is_none()
        });
        assert!(!models.is_empty(), "seed {seed}: {differences:?}");
    }
}

fn expire(models: &mut [MemoryRows], today: u32) {
    for model in models {
        model.expire(Day(today)).unwrap();
    }
}

// [SPEC 6.91] [SPEC 6.92] [SPEC 6.94]
#[test]
fn random_operations_and_crashes() {
    let first = repeats("EMPTYROOM_TRACE_FROM", 0);
    let traces = repeats("EMPTYROOM_TRACES", 300);
    for seed in first..first + traces {
        trace(seed);
        let done = seed + 1 - first;
        if done.is_multiple_of(500) {
            eprintln!("{done} of {traces} traces passed");
        }
    }
}

const ENTRY: RowKey = RowKey([1; 32]);
const LASTING: RowKey = RowKey([2; 32]);
const DAY: Day = Day(20_000);
const LATER: Day = Day(DAY.0 + 1);

fn fresh() -> (ShadowDisk, SegmentRows<ShadowDisk>) {
    let disk = ShadowDisk::default();
    let rows = reopen(&disk).unwrap();
    (disk, rows)
}

fn put(rows: &mut SegmentRows<ShadowDisk>, byte: u8) {
    try_put(rows, byte).unwrap();
}

fn try_put(rows: &mut SegmentRows<ShadowDisk>, byte: u8) -> Result<(), StoreFailure> {
    rows.commit(Changes {
        entries: vec![EntryChange {
            day: DAY,
            key: ENTRY,
            row: Some(vec![byte; 500]),
        }],
        lasting: vec![LastingChange::Put {
            key: LASTING,
            day: DAY,
            row: vec![byte; 500],
        }],
    })
}

const KEPT: RowKey = RowKey([3; 32]);

/// A row that stays, in a segment.
fn keep(rows: &mut SegmentRows<ShadowDisk>) {
    rows.commit(Changes {
        entries: Vec::new(),
        lasting: vec![LastingChange::Put {
            key: KEPT,
            day: DAY,
            row: vec![7; 600],
        }],
    })
    .unwrap();
    rows.checkpoint().unwrap();
}

fn remove(rows: &mut SegmentRows<ShadowDisk>) {
    rows.commit(Changes {
        entries: vec![EntryChange {
            day: DAY,
            key: ENTRY,
            row: None,
        }],
        lasting: vec![LastingChange::Remove { key: LASTING }],
    })
    .unwrap();
}

fn reopen(disk: &ShadowDisk) -> Result<SegmentRows<ShadowDisk>, StoreFailure> {
    let opened = SegmentRows::open(disk.clone(), SIZES, OnDamage::Refuse, DAY);
    opened.map_err(|unopened| unopened.failure)
}

// [SPEC 6.90]
#[test]
fn a_data_directory_keeps_its_kind_of_store() {
    let dir = Scratch::new("kinds");
    for (kind, other, kept_in) in [
        ("segments", "sqlite", "segments"),
        ("sqlite", "segments", "store"),
    ] {
        let data = dir.path().join(kind);
        let relay = Process::start_with(&data, &["--store", kind]);
        assert_eq!(relay.signal("TERM").0.code(), Some(0));
        let refused = serve(&data).args(["--store", other]).output().unwrap();
        assert_eq!(refused.status.code(), Some(4));
        let words = String::from_utf8(refused.stderr).unwrap();
        assert!(
            words.contains(&format!("start with --store {kind}")),
            "{words}"
        );
        let relay = Process::start(&data);
        assert_eq!(relay.signal("TERM").0.code(), Some(0));
        assert!(data.join(kept_in).is_dir());
        assert!(
            !data
                .join(if kind == "sqlite" {
                    "segments"
                } else {
                    "store"
                })
                .exists()
        );
    }
}
