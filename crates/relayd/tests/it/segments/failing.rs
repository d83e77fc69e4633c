//! The segment store without space or memory, and after a failed sync.

use super::*;

/// A sync that fails for want of space tells no more of what is durable than any other.
// [SPEC 6.69]
#[test]
fn a_failed_sync_is_never_a_full_disk() {
    for operations in 0.. {
        let (disk, mut rows) = fresh();
        keep(&mut rows);
        disk.fail_after(operations, Fault::FullSync);
        let outcome = try_put(&mut rows, 1)
            .and_then(|()| rows.checkpoint())
            .and_then(|_| rows.expire(Day(DAY.0 + 1)));
        if outcome.is_ok() {
            assert!(operations > 20);
            break;
        }
        assert!(
            matches!(outcome, Err(StoreFailure::Broken(_))),
            "{operations}"
        );
    }
    // At a start, with a piece that a crash cut off.
    for operations in 0.. {
        let (disk, mut rows) = fresh();
        keep(&mut rows);
        put(&mut rows, 1);
        drop(rows);
        disk.damage("day-20000-0.data", |bytes| bytes.extend([1; 700]));
        disk.fail_after(operations, Fault::FullSync);
        let opened = reopen(&disk).map(drop);
        if opened.is_ok() {
            assert!(operations > 5);
            return;
        }
        assert!(
            matches!(opened, Err(StoreFailure::Broken(_))),
            "{operations}"
        );
    }
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
fn after_a_failed_sync_nothing_is_written_and_what_was_durable_is_read() {
    for in_segment in [false, true] {
        let (disk, mut rows) = fresh();
        put(&mut rows, 1);
        if in_segment {
            rows.checkpoint().unwrap();
        }
        disk.fail_after(0, Fault::Sync);
        assert!(matches!(
            try_put(&mut rows, 2),
            Err(StoreFailure::Broken(_))
        ));
        disk.mend();
        let before = disk.contents();
        assert!(matches!(
            try_put(&mut rows, 3),
            Err(StoreFailure::Broken(_))
        ));
        assert!(matches!(rows.settle(), Err(StoreFailure::Broken(_))));
        assert!(matches!(rows.expire(LATER), Err(StoreFailure::Broken(_))));
        assert!(disk.contents() == before);
        assert_eq!(rows.entry(DAY, &ENTRY).unwrap(), Some(vec![1; 500]));
        assert_eq!(rows.lasting(&LASTING).unwrap(), Some(vec![1; 500]));
    }
}

/// Whatever a checkpoint was doing when the disk failed, what was committed is still read.
// [SPEC 6.95]
#[test]
fn a_checkpoint_that_fails_leaves_everything_to_read() {
    for operations in 0.. {
        let (disk, mut rows) = fresh();
        keep(&mut rows);
        put(&mut rows, 1);
        rows.checkpoint().unwrap();
        put(&mut rows, 2);
        disk.fail_after(operations, Fault::Sync);
        let outcome = rows.checkpoint();
        assert_eq!(rows.entry(DAY, &ENTRY).unwrap(), Some(vec![2; 500]));
        assert_eq!(rows.lasting(&LASTING).unwrap(), Some(vec![2; 500]));
        assert_eq!(rows.lasting(&KEPT).unwrap(), Some(vec![7; 600]));
        if outcome.is_ok() {
            assert!(operations > 10);
            return;
        }
    }
}

// [SPEC 6.112]
#[test]
fn memory_for_rows_has_a_bound() {
    let disk = ShadowDisk::default();
    let sizes = Sizes { rows: 10, ..SIZES };
    let mut rows = SegmentRows::open(disk, sizes, OnDamage::Refuse, DAY).unwrap();
    let change = |n: u8, row: Option<Vec<u8>>| Changes {
        entries: vec![EntryChange {
            day: DAY,
            key: RowKey([n; 32]),
            row,
        }],
        lasting: Vec::new(),
    };
    for n in 0..10 {
        rows.commit(change(n, Some(vec![n; 100]))).unwrap();
        rows.checkpoint().unwrap();
    }
    let one_more = || change(10, Some(vec![1; 100]));
    assert_eq!(rows.commit(one_more()), Err(StoreFailure::Full));
    // What takes the place of another, and what makes room, is no more rows.
    rows.commit(change(3, Some(vec![33; 100]))).unwrap();
    rows.commit(change(4, None)).unwrap();
    rows.commit(one_more()).unwrap();
    assert_eq!(
        rows.commit(change(4, Some(vec![4]))),
        Err(StoreFailure::Full)
    );
    assert_eq!(rows.rows(), 10);
}

/// Its rows may be in segments, but what it says of those that are gone is still there: that is not done.
// [SPEC 6.95]
#[test]
fn a_checkpoint_without_a_new_journal_is_not_done() {
    let (disk, mut rows) = fresh();
    keep(&mut rows);
    put(&mut rows, 1);
    disk.fail_after(0, Fault::NoNewFiles);
    let settle = |rows: &mut SegmentRows<ShadowDisk>| {
        loop {
            match rows.settle().unwrap() {
                Settled::More => {}
                end => return end,
            }
        }
    };
    assert_eq!(settle(&mut rows), Settled::Full);
    assert_eq!(settle(&mut rows), Settled::Full);
    disk.mend();
    assert_eq!(settle(&mut rows), Settled::Done);
    let contents = disk.contents();
    let mut journals = contents.iter().filter(|(name, _)| name.ends_with(".log"));
    assert!(journals.all(|(_, bytes)| bytes.len() == 16));
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
