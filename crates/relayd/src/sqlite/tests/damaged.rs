//! A full disk, a broken store and damaged rows.

use super::*;

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
