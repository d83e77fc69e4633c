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

/// Two days with a segment each.
fn two_days() -> ShadowDisk {
    let (disk, mut rows) = fresh();
    put(&mut rows, 1);
    rows.commit(Changes {
        entries: Vec::new(),
        lasting: vec![LastingChange::Put {
            key: KEPT,
            day: LATER,
            row: vec![7; 600],
        }],
    })
    .unwrap();
    rows.checkpoint().unwrap();
    disk
}

const LATER: Day = Day(DAY.0 + 1);

type Damage = fn(&mut Vec<u8>);

// [SPEC 6.111]
#[test]
fn a_damaged_segment_is_kept_apart_and_the_rest_is_served() {
    let damages: [(&str, Damage); 7] = [
        ("key", |bytes| bytes[0] ^= 1),
        ("key", |bytes| bytes[20] ^= 1),
        ("key", Vec::clear),
        ("index", |bytes| bytes[0] ^= 1),
        ("index", |bytes| bytes[60] ^= 1),
        ("index", Vec::clear),
        ("data", |bytes| bytes.truncate(400)),
    ];
    for (ending, damage) in damages {
        let disk = two_days();
        let name = format!("day-20000-0.{ending}");
        disk.damage(&name, damage);
        let damaged = disk.contents();
        let mut rows = reopen(&disk).unwrap();
        assert_eq!(rows.lasting(&KEPT).unwrap(), Some(vec![7; 600]), "{name}");
        assert_eq!(rows.entry(DAY, &ENTRY).unwrap(), None);
        assert_eq!(rows.lasting(&LASTING).unwrap(), None);
        // Nothing of it was changed.
        let apart = disk.contents();
        for ending in ["key", "index", "data"] {
            let name = format!("day-20000-0.{ending}");
            assert!(!apart.contains_key(&name));
            assert_eq!(apart[&format!("quarantine/{name}")], damaged[&name]);
        }
        // It is written to anew, under another number, and ends with its day.
        put(&mut rows, 2);
        rows.checkpoint().unwrap();
        drop(rows);
        let mut rows = reopen(&disk).unwrap();
        assert_eq!(rows.entry(DAY, &ENTRY).unwrap(), Some(vec![2; 500]));
        assert!(disk.contents().contains_key("day-20000-1.data"));
        rows.expire(LATER).unwrap();
        let left = disk.contents().into_keys();
        let left: Vec<String> = left.filter(|name| name.contains("20000")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

// [SPEC 6.111]
#[test]
fn a_crash_while_files_are_moved_away_loses_none() {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    for operations in 0..60 {
        let disk = two_days();
        disk.damage("day-20000-0.index", |bytes| bytes[60] ^= 1);
        disk.fail_after(operations, Fault::Dead);
        drop(reopen(&disk));
        disk.mend();
        let disk = disk.crash(&mut rng);
        let mut rows = reopen(&disk).unwrap();
        assert_eq!(rows.lasting(&KEPT).unwrap(), Some(vec![7; 600]));
        for ending in ["key", "index", "data"] {
            let name = format!("quarantine/day-20000-0.{ending}");
            assert!(disk.contents().contains_key(&name), "{operations}: {name}");
        }
    }
}

// [SPEC 6.111]
#[test]
fn a_row_that_does_not_open_is_lost_and_no_other() {
    let (disk, mut rows) = fresh();
    put(&mut rows, 1);
    rows.checkpoint().unwrap();
    // Lasting rows come last.
    disk.damage("day-20000-0.data", |bytes| *bytes.last_mut().unwrap() ^= 1);
    drop(rows);
    let mut rows = reopen(&disk).unwrap();
    assert_eq!(rows.entry(DAY, &ENTRY).unwrap(), Some(vec![1; 500]));
    assert_eq!(rows.lasting(&LASTING).unwrap(), None);
    // It can be written again, and moves are no harm to it.
    put(&mut rows, 2);
    rows.checkpoint().unwrap();
    drop(rows);
    let mut rows = reopen(&disk).unwrap();
    assert_eq!(rows.lasting(&LASTING).unwrap(), Some(vec![2; 500]));
}

// [SPEC 6.111]
#[test]
fn a_damaged_journal_is_left_out_only_if_that_is_wanted() {
    let (disk, mut rows) = fresh();
    keep(&mut rows);
    put(&mut rows, 1);
    let first = disk.contents()["journal-1.log"].len();
    put(&mut rows, 2);
    put(&mut rows, 3);
    drop(rows);
    disk.damage("journal-1.log", |bytes| bytes[first + 100] ^= 1);
    let before = disk.contents();
    let refused = SegmentRows::open(disk.clone(), SIZES, OnDamage::Refuse);
    let refused = refused.err().unwrap();
    assert!(refused.damaged_journal);
    assert_eq!(refused.file, "journal-1.log");
    assert_eq!(disk.contents(), before);
    let mut rows = SegmentRows::open(disk.clone(), SIZES, OnDamage::Quarantine).unwrap();
    // What came before the damage is there.
    assert_eq!(rows.entry(DAY, &ENTRY).unwrap(), Some(vec![1; 500]));
    assert_eq!(rows.lasting(&KEPT).unwrap(), Some(vec![7; 600]));
    let apart = disk.contents();
    for name in ["journal-1.log", "journal-1.key"] {
        assert_eq!(apart[&format!("quarantine/{name}")], before[name]);
    }
    rows.checkpoint().unwrap();
    drop(rows);
    let mut rows = reopen(&disk).unwrap();
    assert_eq!(rows.entry(DAY, &ENTRY).unwrap(), Some(vec![1; 500]));
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
    let mut rows = SegmentRows::open(disk, sizes, OnDamage::Refuse).unwrap();
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
