//! The segment store on damaged files, without space, and after a failed sync.

use super::*;

// [SPEC 6.92]
#[test]
fn damage_in_the_middle_is_an_error_and_a_torn_end_is_none() {
    let (disk, mut rows) = fresh();
    for byte in 1..4 {
        put(&mut rows, byte);
    }
    let log = disk.contents()["journal-0.log"].clone();
    let frame = (log.len() - 16) / 3;
    for at in 16..log.len() {
        disk.damage("journal-0.log", |bytes| bytes[at] ^= 1);
        let opened = reopen(&disk);
        if at < 16 + 2 * frame {
            assert!(matches!(opened, Err(StoreFailure::Broken(_))), "byte {at}");
        } else {
            let row = opened.unwrap().entry(DAY, &ENTRY).unwrap();
            assert_eq!(row, Some(vec![2; 500]), "byte {at}");
        }
        // What the opening began or cut is undone.
        for name in disk
            .contents()
            .into_keys()
            .filter(|name| name.contains("journal-1"))
        {
            Disk::remove(&disk, &name).unwrap();
        }
        disk.damage("journal-0.log", |bytes| bytes.clone_from(&log));
    }
}

// [SPEC 6.92]
#[test]
fn damaged_files_are_named_and_stay() {
    let (disk, mut rows) = fresh();
    put(&mut rows, 1);
    rows.checkpoint().unwrap();
    put(&mut rows, 2);
    rows.checkpoint().unwrap();
    let whole = disk.contents();
    for (name, at) in [
        ("day-20000-0.key", 0),
        ("day-20000-0.key", 20),
        ("day-20000-0.index", 0),
        ("day-20000-0.index", 60),
    ] {
        disk.damage(name, |bytes| bytes[at] ^= 1);
        assert!(
            matches!(reopen(&disk), Err(StoreFailure::Broken(_))),
            "{name}"
        );
        assert_eq!(disk.contents().len(), whole.len());
        disk.damage(name, |bytes| bytes.clone_from(&whole[name]));
    }
    // An empty key, or none.
    disk.damage("day-20000-0.key", Vec::clear);
    assert!(matches!(reopen(&disk), Err(StoreFailure::Broken(_))));
    Disk::remove(&disk, "day-20000-0.key").unwrap();
    assert!(matches!(reopen(&disk), Err(StoreFailure::Broken(_))));
    Disk::create(&disk, "day-20000-0.key").unwrap();
    disk.damage("day-20000-0.key", |bytes| {
        bytes.clone_from(&whole["day-20000-0.key"])
    });
    // A row that was changed is not served.
    disk.damage("day-20000-0.data", |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
    });
    let mut rows = reopen(&disk).unwrap();
    let entry = rows.entry(DAY, &ENTRY);
    let lasting = rows.lasting(&LASTING);
    assert!(entry.is_err() || lasting.is_err());
}

// [SPEC 6.95]
#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let (disk, mut rows) = fresh();
    put(&mut rows, 1);
    disk.fail_after(0, Fault::Full);
    let refused = rows.commit(Changes {
        entries: vec![EntryChange {
            day: DAY,
            key: RowKey([9; 32]),
            row: Some(vec![9; 500]),
        }],
        lasting: Vec::new(),
    });
    assert_eq!(refused, Err(StoreFailure::Full));
    assert_eq!(rows.entry(DAY, &ENTRY).unwrap(), Some(vec![1; 500]));
    assert_eq!(rows.checkpoint(), Ok(false));
    disk.mend();
    assert_eq!(rows.checkpoint(), Ok(true));
    put(&mut rows, 2);
    drop(rows);
    let mut rows = reopen(&disk).unwrap();
    assert_eq!(rows.entry(DAY, &ENTRY).unwrap(), Some(vec![2; 500]));
    assert_eq!(rows.entry(DAY, &RowKey([9; 32])).unwrap(), None);
}

// [SPEC 6.95]
#[test]
fn after_a_failed_sync_nothing_is_done_any_more() {
    let (disk, mut rows) = fresh();
    disk.fail_after(0, Fault::Sync);
    let changes = || Changes {
        entries: Vec::new(),
        lasting: vec![LastingChange::Remove { key: LASTING }],
    };
    assert!(matches!(
        rows.commit(changes()),
        Err(StoreFailure::Broken(_))
    ));
    disk.mend();
    assert!(matches!(
        rows.commit(changes()),
        Err(StoreFailure::Broken(_))
    ));
    assert!(matches!(
        rows.lasting(&LASTING),
        Err(StoreFailure::Broken(_))
    ));
}

/// No file can be made any more, but the journal still grows: checkpoints find no space.
// [SPEC 6.95]
#[test]
fn what_waits_for_a_checkpoint_has_a_limit() {
    let (disk, mut rows) = fresh();
    disk.fail_after(0, Fault::NoNewFiles);
    let number = |n: u8| RowKey([n; 32]);
    let put = |rows: &mut SegmentRows<ShadowDisk>, n: u8| {
        rows.commit(Changes {
            entries: vec![EntryChange {
                day: DAY,
                key: number(n),
                row: Some(vec![n; 3_000]),
            }],
            lasting: Vec::new(),
        })
    };
    let refused = (0..100).find(|n| put(&mut rows, *n) == Err(StoreFailure::Full));
    let refused = refused.expect("memory has an end");
    let written = disk.contents()["journal-0.log"].len();
    let limit = usize::try_from(SIZES.journal * 4).unwrap();
    assert!((limit..limit + 4_000).contains(&written), "{written}");
    disk.mend();
    assert_eq!(put(&mut rows, refused), Ok(()));
    drop(rows);
    let mut rows = reopen(&disk).unwrap();
    for n in 0..=refused {
        let row = rows.entry(DAY, &number(n)).unwrap();
        assert_eq!(row, Some(vec![n; 3_000]));
    }
}
