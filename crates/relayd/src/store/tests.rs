//! The store alone: what survives a stop between any two steps, and what the files hold.

use std::fs;

use super::*;
use crate::testing::{Scratch, scratch};

mod expiry;
mod large;
mod tidying;

/// Makes the store fail when it reaches a step.
pub(super) struct Fault(Option<(FaultAt, StoreFailure)>);

type FaultAt = fn(Step) -> bool;

impl Fault {
    pub(super) fn none() -> Self {
        Self(None)
    }

    fn at(at: FaultAt, failure: StoreFailure) -> Self {
        Self(Some((at, failure)))
    }

    pub(super) fn reached(&mut self, step: Step) -> Result<(), StoreFailure> {
        match self.0 {
            Some((at, failure)) if at(step) => Err(failure),
            _ => Ok(()),
        }
    }
}

/// Stands for a kill at this moment: nothing after it happens, the store is not used again.
const KILLED: StoreFailure = StoreFailure::Broken("killed by the test");
const TODAY: Day = Day(20_000);

fn key(number: u8) -> RowKey {
    RowKey([number; 32])
}

fn day(after: u32) -> Day {
    TODAY.plus(after)
}

fn open(dir: &Scratch) -> SqliteRows {
    SqliteRows::open(dir.path(), TODAY).unwrap()
}

fn put(after: u32, number: u8, row: &[u8]) -> Changes {
    Changes {
        entries: vec![entry(after, number, Some(row))],
        ..Changes::default()
    }
}

fn entry(after: u32, number: u8, row: Option<&[u8]>) -> EntryChange {
    EntryChange {
        day: day(after),
        key: key(number),
        row: row.map(<[u8]>::to_vec),
    }
}

fn lasting(after: u32, number: u8, row: &[u8]) -> LastingChange {
    LastingChange::Put {
        key: key(number),
        day: day(after),
        row: row.to_vec(),
    }
}

fn files(dir: &Scratch) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Whether any file under the directory holds these bytes.
fn on_disk(dir: &Scratch, bytes: &[u8]) -> bool {
    files(dir).iter().any(|name| {
        let file = fs::read(dir.path().join(name)).unwrap();
        file.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn rows_come_back() {
    let dir = scratch("rows");
    let mut rows = open(&dir);
    rows.commit(Changes {
        entries: vec![
            entry(1, 1, Some(b"one")),
            entry(7, 1, Some(b"seven")),
            entry(7, 2, None),
        ],
        lasting: vec![
            lasting(30, 3, b"header"),
            LastingChange::Move {
                key: key(9),
                day: day(1),
            },
        ],
    })
    .unwrap();
    for _ in 0..2 {
        assert_eq!(rows.entry(day(1), &key(1)).unwrap().unwrap(), b"one");
        assert_eq!(rows.entry(day(7), &key(1)).unwrap().unwrap(), b"seven");
        assert!(rows.entry(day(2), &key(1)).unwrap().is_none());
        assert_eq!(rows.lasting(&key(3)).unwrap().unwrap(), b"header");
        assert!(rows.lasting(&key(9)).unwrap().is_none());
        drop(rows);
        rows = open(&dir);
    }
    rows.commit(Changes {
        lasting: vec![LastingChange::Move {
            key: key(3),
            day: day(90),
        }],
        ..put(7, 1, b"replaced")
    })
    .unwrap();
    assert_eq!(
        rows.lasting_row(&key(3)).unwrap().unwrap(),
        (day(90), b"header".to_vec())
    );
    assert_eq!(rows.entry(day(7), &key(1)).unwrap().unwrap(), b"replaced");
    rows.commit(Changes {
        lasting: vec![LastingChange::Remove { key: key(3) }],
        ..Changes::default()
    })
    .unwrap();
    assert!(rows.lasting(&key(3)).unwrap().is_none());
}

// [SPEC 6.63]
#[test]
fn killed_before_the_lasting_rows_nothing_happened() {
    let steps: [FaultAt; 3] = [
        |step| matches!(step, Step::Entries(d) if d == day(1)),
        |step| matches!(step, Step::Entries(d) if d == day(7)),
        |step| step == Step::Lasting,
    ];
    for at in steps {
        let dir = scratch("kill-before");
        let mut rows = open(&dir);
        rows.commit(Changes {
            lasting: vec![lasting(30, 3, b"old")],
            ..put(7, 9, b"kept")
        })
        .unwrap();
        rows.fault = Fault::at(at, KILLED);
        let batch = || Changes {
            entries: vec![
                entry(1, 1, Some(b"a")),
                entry(7, 2, Some(b"b")),
                entry(7, 9, None),
            ],
            lasting: vec![lasting(30, 3, b"new")],
        };
        assert_eq!(rows.commit(batch()), Err(KILLED));
        drop(rows);
        let mut rows = open(&dir);
        assert_eq!(rows.lasting(&key(3)).unwrap().unwrap(), b"old");
        assert_eq!(rows.entry(day(7), &key(9)).unwrap().unwrap(), b"kept");
        // Void rows are replaced without notice.
        rows.commit(batch()).unwrap();
        assert_eq!(rows.entry(day(1), &key(1)).unwrap().unwrap(), b"a");
        assert!(rows.entry(day(7), &key(9)).unwrap().is_none());
    }
}

// [SPEC 6.64]
#[test]
fn killed_before_the_removals_they_are_done_at_the_next_start() {
    let dir = scratch("kill-removals");
    let mut rows = open(&dir);
    rows.commit(put(7, 1, b"old")).unwrap();
    rows.fault = Fault::at(|step| matches!(step, Step::Removals(_)), KILLED);
    let removal = Changes {
        entries: vec![entry(7, 1, None)],
        lasting: vec![lasting(30, 3, b"header")],
    };
    // It is committed; what fails is whatever comes next.
    rows.commit(removal).unwrap();
    assert_eq!(rows.commit(put(7, 2, b"x")), Err(KILLED));
    assert_eq!(rows.tidy(), Err(KILLED));
    drop(rows);
    let mut rows = open(&dir);
    assert_eq!(rows.lasting(&key(3)).unwrap().unwrap(), b"header");
    assert!(rows.entry(day(7), &key(1)).unwrap().is_none());
    assert!(rows.entry(day(7), &key(2)).unwrap().is_none());
    assert!(rows.lasting.removals().unwrap().is_empty());
}

#[test]
fn removals_without_space_wait_for_the_next_commit() {
    let dir = scratch("full-removals");
    let mut rows = open(&dir);
    rows.commit(put(7, 1, b"old")).unwrap();
    rows.fault = Fault::at(|step| matches!(step, Step::Removals(_)), StoreFailure::Full);
    let removal = Changes {
        entries: vec![entry(7, 1, None)],
        lasting: vec![lasting(30, 3, b"header")],
    };
    rows.commit(removal).unwrap();
    assert_eq!(rows.commit(put(7, 2, b"x")), Err(StoreFailure::Full));
    rows.tidy().unwrap();
    rows.fault = Fault::none();
    // Put again under the same key: the old removal must not take it.
    rows.commit(put(7, 1, b"new")).unwrap();
    drop(rows);
    assert_eq!(open(&dir).entry(day(7), &key(1)).unwrap().unwrap(), b"new");
}

/// A disk that was full while a day file was made does not keep the relay from starting.
#[test]
fn an_empty_day_file_is_no_hindrance() {
    let dir = scratch("empty-day");
    let mut rows = open(&dir);
    rows.keys.make(day(7)).unwrap();
    for name in ["day-20007.db", "day-20007.db-wal"] {
        fs::write(dir.path().join(name), []).unwrap();
    }
    drop(rows);
    let mut rows = open(&dir);
    assert!(rows.entry(day(7), &key(1)).unwrap().is_none());
    rows.commit(put(7, 1, b"row")).unwrap();
    drop(rows);
    let mut rows = open(&dir);
    assert_eq!(rows.entry(day(7), &key(1)).unwrap().unwrap(), b"row");
}

#[test]
fn a_row_put_again_is_not_removed_at_the_next_start() {
    let dir = scratch("put-again");
    let mut rows = open(&dir);
    rows.commit(put(7, 1, b"old")).unwrap();
    rows.commit(Changes {
        entries: vec![entry(7, 1, None)],
        ..Changes::default()
    })
    .unwrap();
    rows.commit(put(7, 1, b"new")).unwrap();
    drop(rows);
    assert_eq!(open(&dir).entry(day(7), &key(1)).unwrap().unwrap(), b"new");
}

// [SPEC 6.66] [SPEC 6.67]
#[test]
fn what_was_deleted_or_replaced_is_in_no_file() {
    let dir = scratch("deleted");
    let mut rows = open(&dir);
    let long = vec![7; 5_000];
    for number in 0..50 {
        rows.commit(Changes {
            lasting: vec![lasting(30, number, &long)],
            ..put(7, number, &long)
        })
        .unwrap();
    }
    let entry_row = rows.days.row(day(7), &key(7)).unwrap().unwrap();
    let (_, lasting_row) = rows.lasting.row(&key(7)).unwrap().unwrap();
    // A piece of each that lies on one page.
    let pieces = [&entry_row[4_000..4_064], &lasting_row[4_000..4_064]];
    for piece in pieces {
        assert!(on_disk(&dir, piece));
    }
    rows.commit(Changes {
        entries: vec![entry(7, 7, None)],
        lasting: vec![lasting(30, 7, b"short")],
    })
    .unwrap();
    rows.tidy().unwrap();
    for piece in pieces {
        assert!(!on_disk(&dir, piece));
    }
    for name in files(&dir).iter().filter(|name| name.ends_with("-wal")) {
        assert_eq!(
            fs::metadata(dir.path().join(name)).unwrap().len(),
            0,
            "{name}"
        );
    }
}

// [SPEC 6.66]
#[test]
fn files_are_set_up_as_said() {
    let dir = scratch("pragmas");
    let mut rows = open(&dir);
    rows.commit(put(7, 1, b"x")).unwrap();
    for connection in [rows.lasting.connection(), rows.days.connection(day(7))] {
        let number = |name: &str| -> i64 {
            connection
                .query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
                .unwrap()
        };
        let text = |name: &str| -> String {
            connection
                .query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
                .unwrap()
        };
        assert_eq!(number("synchronous"), 2);
        assert_eq!(number("secure_delete"), 1);
        assert_eq!(number("wal_autocheckpoint"), 0);
        assert_eq!(text("journal_mode"), "wal");
        assert_eq!(text("locking_mode"), "exclusive");
    }
}

// [SPEC 6.84]
#[test]
fn files_of_another_version_are_an_error_and_stay() {
    for name in ["lasting.db", "day-20001.db"] {
        let dir = scratch("version");
        let mut rows = open(&dir);
        rows.commit(put(1, 1, b"row")).unwrap();
        drop(rows);
        let file = rusqlite::Connection::open(dir.path().join(name)).unwrap();
        file.pragma_update(None, "user_version", 2).unwrap();
        drop(file);
        let failure = SqliteRows::open(dir.path(), TODAY).err();
        let said = "a file was made by another version of this program";
        assert_eq!(failure, Some(StoreFailure::Broken(said)), "{name}");
        assert!(dir.path().join(name).exists());
    }
}

// [SPEC 6.69]
#[test]
fn a_full_disk_refuses_and_goes_on() {
    let dir = scratch("full");
    let mut rows = open(&dir);
    let long = vec![7; 5_000];
    rows.commit(Changes {
        lasting: vec![lasting(30, 1, b"old")],
        ..put(7, 1, &long)
    })
    .unwrap();
    let limit = |rows: &SqliteRows, pages: i64| {
        for connection in [rows.lasting.connection(), rows.days.connection(day(7))] {
            let sql = format!("PRAGMA max_page_count = {pages}");
            connection.query_row(&sql, [], |_| Ok(())).unwrap();
        }
    };
    // SQLite takes the file's present size where the limit is lower.
    limit(&rows, 1);
    let batch = |number: u8| Changes {
        lasting: vec![lasting(30, 1, b"new")],
        ..put(7, number, &long)
    };
    assert_eq!(rows.commit(batch(2)), Err(StoreFailure::Full));
    assert_eq!(
        rows.commit(Changes {
            lasting: vec![lasting(30, 2, &long)],
            ..Changes::default()
        }),
        Err(StoreFailure::Full)
    );
    rows.tidy().unwrap();
    assert_eq!(rows.lasting(&key(1)).unwrap().unwrap(), b"old");
    assert_eq!(rows.entry(day(7), &key(1)).unwrap().unwrap(), long);
    limit(&rows, 1_000_000);
    rows.commit(batch(2)).unwrap();
    assert_eq!(rows.lasting(&key(1)).unwrap().unwrap(), b"new");
    assert_eq!(rows.entry(day(7), &key(2)).unwrap().unwrap(), long);
}

// [SPEC 6.5] [SPEC 6.69]
#[test]
fn a_broken_store_writes_no_more_and_is_read() {
    let dir = scratch("broken");
    let mut rows = open(&dir);
    rows.commit(put(7, 1, b"row")).unwrap();
    rows.fault = Fault::at(|_| true, KILLED);
    assert_eq!(rows.commit(put(7, 2, b"row")), Err(KILLED));
    rows.fault = Fault::none();
    assert_eq!(rows.commit(put(7, 2, b"row")), Err(KILLED));
    assert_eq!(rows.entry(day(7), &key(1)).unwrap().unwrap(), b"row");
    assert_eq!(rows.entry(day(7), &key(2)), Ok(None));
    assert_eq!(rows.lasting(&key(1)), Ok(None));
    assert_eq!(rows.expire(day(1)), Err(KILLED));
    assert_eq!(rows.tidy(), Err(KILLED));
}

#[test]
fn a_damaged_row_is_noticed() {
    let dir = scratch("damaged");
    let mut rows = open(&dir);
    rows.commit(Changes {
        lasting: vec![lasting(30, 1, b"header")],
        ..put(7, 1, b"row")
    })
    .unwrap();
    let sql = "UPDATE entries SET row = zeroblob(length(row))";
    rows.days.connection(day(7)).execute(sql, []).unwrap();
    assert!(matches!(
        rows.entry(day(7), &key(1)),
        Err(StoreFailure::Broken(_))
    ));
    // What is whole is read on, but nothing is written beside damage.
    assert!(rows.lasting(&key(1)).unwrap().is_some());
    assert!(matches!(
        rows.commit(put(7, 2, b"row")),
        Err(StoreFailure::Broken(_))
    ));
}

// [SPEC 6.68]
#[test]
fn rows_of_one_commit_are_written_in_random_order() {
    let mut rng = entropy::generator();
    let sorted: Vec<u32> = (0..8).collect();
    let mut first_places = BTreeSet::new();
    for _ in 0..400 {
        let mut items = sorted.clone();
        shuffle(&mut items, &mut rng);
        first_places.insert(items[0]);
        items.sort_unstable();
        assert_eq!(items, sorted);
    }
    assert_eq!(first_places.len(), 8);
}

fn copy_of(dir: &Scratch) -> Scratch {
    let copy = scratch("copy");
    for name in files(dir) {
        fs::copy(dir.path().join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}

fn cut(dir: &Scratch, name: &str, len: u64, then_garbage: bool) {
    let path = dir.path().join(name);
    let whole = fs::metadata(&path).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(len).unwrap();
    if then_garbage {
        // The length was there before the bytes were.
        file.set_len(whole).unwrap();
    }
}

/// A power cut leaves any part of what was not synced yet.
// [SPEC 6.63]
#[test]
fn a_torn_commit_is_none() {
    let dir = scratch("torn");
    let mut rows = open(&dir);
    let batch = |number: u8, header: &[u8]| Changes {
        lasting: vec![lasting(30, 99, header), lasting(30, number, b"row")],
        entries: vec![
            entry(1, number, Some(b"row")),
            entry(7, number, Some(&[7; 3_000])),
        ],
    };
    for number in 0..4 {
        rows.commit(batch(number, b"old")).unwrap();
    }
    let before = copy_of(&dir);
    let length = |dir: &Scratch, name: &str| fs::metadata(dir.path().join(name)).unwrap().len();
    rows.commit(batch(4, b"new")).unwrap();
    let entry_logs = ["day-20001.db-wal", "day-20007.db-wal"];
    let lasting_log = "lasting.db-wal";
    let mut rng = entropy::generator();
    for round in 0..60 {
        let torn = copy_of(&dir);
        let somewhere = |name: &str, rng: &mut ChaCha20Rng| {
            let (from, to) = (length(&before, name), length(&dir, name));
            from + rng.next_u64() % (to - from)
        };
        // The lasting rows were under way, or the entries were and the lasting rows were not begun.
        if round % 2 == 0 {
            cut(
                &torn,
                lasting_log,
                somewhere(lasting_log, &mut rng),
                round % 4 == 0,
            );
        } else {
            cut(&torn, lasting_log, length(&before, lasting_log), false);
            for name in entry_logs {
                cut(&torn, name, somewhere(name, &mut rng), round % 4 == 1);
            }
        }
        let mut rows = open(&torn);
        assert_eq!(rows.lasting(&key(99)).unwrap().unwrap(), b"old");
        assert!(rows.lasting(&key(4)).unwrap().is_none());
        for number in 0..4 {
            assert_eq!(rows.lasting(&key(number)).unwrap().unwrap(), b"row");
            assert_eq!(rows.entry(day(1), &key(number)).unwrap().unwrap(), b"row");
            assert_eq!(
                rows.entry(day(7), &key(number)).unwrap().unwrap(),
                [7; 3_000]
            );
        }
        rows.commit(batch(4, b"new")).unwrap();
        assert_eq!(rows.lasting(&key(99)).unwrap().unwrap(), b"new");
    }
}
