//! Days that are over, rows that move to a later one, and what of it fails.

use super::*;

// [SPEC 6.62] [SPEC 6.65]
#[test]
fn expiry_removes_files_keys_and_rows() {
    let dir = scratch("expiry");
    let mut rows = open(&dir);
    rows.commit(Changes {
        entries: vec![entry(0, 1, Some(b"yesterday")), entry(1, 2, Some(b"today"))],
        lasting: vec![lasting(0, 3, b"yesterday"), lasting(1, 4, b"today")],
    })
    .unwrap();
    assert!(files(&dir).contains(&"day-20000.db".to_owned()));
    rows.expire(day(1)).unwrap();
    assert!(rows.entry(day(0), &key(1)).unwrap().is_none());
    assert!(rows.lasting(&key(3)).unwrap().is_none());
    assert_eq!(rows.entry(day(1), &key(2)).unwrap().unwrap(), b"today");
    assert_eq!(rows.lasting(&key(4)).unwrap().unwrap(), b"today");
    assert_eq!(
        files(&dir),
        [
            "day-20001.db",
            "day-20001.db-wal",
            "day-20001.key",
            "lasting.db",
            "lasting.db-wal"
        ]
    );
    // The clock goes back a day: what is gone stays gone, and the day can be used again.
    rows.expire(day(0)).unwrap();
    assert!(rows.entry(day(0), &key(1)).unwrap().is_none());
    rows.commit(put(0, 5, b"again")).unwrap();
    assert_eq!(rows.entry(day(0), &key(5)).unwrap().unwrap(), b"again");
}

// [SPEC 6.65]
#[test]
fn a_day_without_its_key_is_removed_at_start() {
    let dir = scratch("expiry-killed");
    let mut rows = open(&dir);
    rows.commit(put(0, 1, b"yesterday")).unwrap();
    rows.keys.destroy(day(0)).unwrap();
    drop(rows);
    // Before the day is over nobody but an operator can have lost the key, who may have it still.
    let before = files(&dir);
    let lost = SqliteRows::open(dir.path(), day(0)).err();
    assert!(matches!(lost, Some(StoreFailure::Broken(_))), "{lost:?}");
    assert_eq!(files(&dir), before);
    let mut rows = SqliteRows::open(dir.path(), day(1)).unwrap();
    assert!(rows.entry(day(0), &key(1)).unwrap().is_none());
    assert_eq!(files(&dir), ["lasting.db", "lasting.db-wal"]);
}

/// The key of a day goes with its entries, also when there is no space to remove its lasting rows: they are gone all the same.
// [SPEC 6.69] [SPEC 6.65]
#[test]
fn lasting_rows_whose_removal_finds_no_space_are_no_damage() {
    let dir = scratch("expiry-full");
    let mut rows = open(&dir);
    rows.commit(Changes {
        lasting: vec![lasting(0, 3, b"yesterday"), lasting(1, 4, b"today")],
        ..put(0, 1, b"yesterday")
    })
    .unwrap();
    for _ in 0..2 {
        rows.fault = Fault::at(|step| step == Step::Lasting, StoreFailure::Full);
        assert_eq!(rows.expire(day(1)), Err(StoreFailure::Full));
        rows.fault = Fault::none();
        assert_eq!(rows.lasting(&key(3)), Ok(None));
        assert_eq!(rows.lasting(&key(4)).unwrap().unwrap(), b"today");
        let later = LastingChange::Move {
            key: key(3),
            day: day(9),
        };
        rows.commit(Changes {
            lasting: vec![later],
            ..Changes::default()
        })
        .unwrap();
        // And after another start, where expiry comes first.
        drop(rows);
        rows = open(&dir);
    }
    rows.expire(day(1)).unwrap();
    assert!(rows.lasting.row(&key(3)).unwrap().is_none());
}

/// What could not be overwritten for want of space is not forgotten.
// [SPEC 6.62] [SPEC 6.65]
#[test]
fn a_day_whose_key_cannot_be_overwritten_is_removed_later() {
    let dir = scratch("expiry-again");
    let mut rows = open(&dir);
    for after in 0..3 {
        rows.commit(put(after, 1, b"row")).unwrap();
    }
    let (path, aside) = (dir.path().join("day-20001.key"), dir.path().join("aside"));
    fs::rename(&path, &aside).unwrap();
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    assert_eq!(rows.expire(day(3)), Err(StoreFailure::Full));
    fs::rename(&aside, &path).unwrap();
    rows.expire(day(3)).unwrap();
    assert_eq!(files(&dir), ["lasting.db", "lasting.db-wal"]);
}

/// Rows that get a later day are written in parts, and what was not moved is when the commit comes again.
// [SPEC 6.63]
#[test]
fn many_moves_are_made_in_parts() {
    let dir = scratch("moves");
    let mut rows = open(&dir);
    let long = vec![7; 1 << 20];
    let numbers = 0..20;
    for number in numbers.clone() {
        rows.commit(Changes {
            lasting: vec![lasting(8, number, &long)],
            ..Changes::default()
        })
        .unwrap();
    }
    let batch = || Changes {
        lasting: numbers
            .clone()
            .map(|number| LastingChange::Move {
                key: key(number),
                day: day(16),
            })
            .chain([lasting(16, 99, b"header")])
            .collect(),
        ..Changes::default()
    };
    let moved = |rows: &SqliteRows| {
        let day_of = |number| rows.lasting_row(&key(number)).unwrap().unwrap().0;
        numbers
            .clone()
            .filter(|number| day_of(*number) == day(16))
            .count()
    };
    rows.fault = Fault::at(|step| step == Step::Lasting, StoreFailure::Full);
    assert_eq!(rows.commit(batch()), Err(StoreFailure::Full));
    assert!((8..20).contains(&moved(&rows)), "{}", moved(&rows));
    assert!(rows.lasting(&key(99)).unwrap().is_none());
    rows.fault = Fault::none();
    rows.commit(batch()).unwrap();
    assert_eq!(moved(&rows), 20);
    assert_eq!(rows.lasting(&key(0)).unwrap().unwrap(), long);
    assert_eq!(rows.lasting(&key(99)).unwrap().unwrap(), b"header");
}
