//! What is there after a kill or a power cut in the middle.

use super::*;

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
