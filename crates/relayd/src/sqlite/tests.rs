//! The store alone: what survives a stop between any two steps, and what the files hold.

use std::fs;

use super::*;
use crate::testing::{Scratch, scratch};

mod damaged;
mod expiry;
mod killed;
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
