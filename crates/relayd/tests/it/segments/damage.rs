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
    let refused = SegmentRows::open(disk.clone(), SIZES, OnDamage::Refuse, DAY);
    let refused = refused.err().unwrap();
    assert!(refused.damaged_journal);
    assert_eq!(refused.file, "journal-1.log");
    assert_eq!(disk.contents(), before);
    let mut rows = SegmentRows::open(disk.clone(), SIZES, OnDamage::Quarantine, DAY).unwrap();
    // What came before the damage is there.
    assert_eq!(rows.entry(DAY, &ENTRY).unwrap(), Some(vec![1; 500]));
    assert_eq!(rows.lasting(&KEPT).unwrap(), Some(vec![7; 600]));
    let kept_until = DAY.0 + 30;
    let apart = disk.contents();
    for ending in ["log", "key"] {
        let name = format!("quarantine/journal-1-until-{kept_until}.{ending}");
        assert_eq!(apart[&name], before[&format!("journal-1.{ending}")]);
    }
    // It lies in a segment already: whatever happens now, the next start needs no permission and loses nothing more.
    drop(rows);
    let disk = disk.crash(&mut ChaCha20Rng::seed_from_u64(1));
    let mut rows = reopen(&disk).unwrap();
    assert_eq!(rows.entry(DAY, &ENTRY).unwrap(), Some(vec![1; 500]));
    // The damaged journal has an end, and no other gets its number before.
    let is_kept = |name: &String| name.starts_with("quarantine/journal-1-");
    assert!(!disk.contents().contains_key("journal-1.log"));
    rows.expire(Day(kept_until)).unwrap();
    assert_eq!(
        disk.contents().keys().filter(|name| is_kept(name)).count(),
        2
    );
    rows.expire(Day(kept_until + 1)).unwrap();
    assert_eq!(
        disk.contents().keys().filter(|name| is_kept(name)).count(),
        0
    );
    assert!(
        disk.removed().contains(&vec![0; 48]),
        "its key was overwritten"
    );
}

/// Whenever the power fails, what came before the damage is not lost, and what came later is not undone by it.
// [SPEC 6.113]
#[test]
fn a_crash_while_damage_is_settled_loses_nothing_more() {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    for operations in 0.. {
        let (disk, mut rows) = fresh();
        keep(&mut rows);
        put(&mut rows, 1);
        let first = disk.contents()["journal-1.log"].len();
        put(&mut rows, 2);
        put(&mut rows, 3);
        // Another journal, behind which this one stays.
        disk.fail_after(0, Fault::Dead);
        assert!(rows.settle().is_err());
        drop(rows);
        disk.mend();
        drop(reopen(&disk).unwrap());
        disk.damage("journal-1.log", |bytes| bytes[first + 100] ^= 1);
        disk.fail_after(operations, Fault::Dead);
        let whole = SegmentRows::open(disk.clone(), SIZES, OnDamage::Quarantine, DAY).is_ok();
        disk.mend();
        let disk = disk.crash(&mut rng);
        let mut rows = SegmentRows::open(disk, SIZES, OnDamage::Quarantine, DAY).unwrap();
        let row = rows.entry(DAY, &ENTRY).unwrap();
        assert_eq!(row, Some(vec![1; 500]), "after {operations}");
        assert_eq!(rows.lasting(&KEPT).unwrap(), Some(vec![7; 600]));
        if whole {
            assert!(operations > 20);
            return;
        }
    }
}

/// Segments and torn ends are looked at only when all journals were.
// [SPEC 6.111]
#[test]
fn a_refused_start_changes_nothing() {
    let disk = two_days();
    disk.damage("day-20000-0.index", |bytes| bytes[60] ^= 1);
    // As a checkpoint leaves it that is cut off.
    disk.damage("day-20001-0.data", |bytes| bytes.extend([1; 700]));
    disk.damage("day-20001-0.index", |bytes| bytes.extend([1; 70]));
    let mut journals = disk.contents().into_keys();
    let journal = journals.find(|name| name.ends_with(".log")).unwrap();
    disk.damage(&journal, |bytes| bytes.extend([1; 100]));
    disk.damage(&journal.replace(".log", ".key"), |bytes| bytes[20] ^= 1);
    let before = disk.contents();
    let refused = SegmentRows::open(disk.clone(), SIZES, OnDamage::Refuse, DAY);
    assert!(refused.err().unwrap().damaged_journal);
    assert!(disk.contents() == before);
    let mut rows = SegmentRows::open(disk.clone(), SIZES, OnDamage::Quarantine, DAY).unwrap();
    assert_eq!(rows.lasting(&KEPT).unwrap(), Some(vec![7; 600]));
    assert_eq!(disk.contents()["day-20001-0.data"].len(), 640);
}

/// Read again after a start, it would take the place of what was written since.
// [SPEC 6.111]
#[test]
fn a_lost_row_never_hides_a_later_one() {
    let (disk, mut rows) = fresh();
    let put_on = |rows: &mut SegmentRows<ShadowDisk>, day: Day, byte: u8| {
        let (key, row) = (LASTING, vec![byte; 500]);
        rows.commit(Changes {
            entries: Vec::new(),
            lasting: vec![LastingChange::Put { key, day, row }],
        })
        .unwrap();
        rows.checkpoint().unwrap();
    };
    put_on(&mut rows, LATER, 1);
    disk.damage("day-20001-0.data", |bytes| *bytes.last_mut().unwrap() ^= 1);
    assert_eq!(rows.lasting(&LASTING).unwrap(), None);
    // To an earlier day, as when a log is destroyed.
    put_on(&mut rows, DAY, 2);
    for _ in 0..2 {
        drop(rows);
        rows = reopen(&disk).unwrap();
        assert_eq!(rows.lasting(&LASTING).unwrap(), Some(vec![2; 500]));
        rows.checkpoint().unwrap();
    }
}

/// What was erased has no key any more; rows without their file are lost, and said to be.
// [SPEC 6.111]
#[test]
fn a_missing_file_of_rows_is_damage() {
    let disk = two_days();
    let before = disk.contents();
    Disk::remove(&disk, "day-20000-0.data").unwrap();
    let mut rows = reopen(&disk).unwrap();
    assert_eq!(rows.lasting(&KEPT).unwrap(), Some(vec![7; 600]));
    assert_eq!(rows.entry(DAY, &ENTRY).unwrap(), None);
    for ending in ["key", "index"] {
        let name = format!("day-20000-0.{ending}");
        assert_eq!(
            disk.contents()[&format!("quarantine/{name}")],
            before[&name]
        );
    }
}

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

/// Segments are read on two threads at once, and in no order.
// [SPEC 6.91] [SPEC 6.94]
#[test]
fn segments_are_read_in_any_order() {
    let (disk, mut rows) = fresh();
    let number = |n: u32| {
        let mut key = [9; 32];
        key[..4].copy_from_slice(&n.to_be_bytes());
        RowKey(key)
    };
    for n in 0..400 {
        // Most of it moves once, and there are two copies while a crash can come.
        let (key, day) = (number(n / 2), Day(DAY.0 + n % 7));
        let row = vec![u8::try_from(n % 251).unwrap(); 300];
        rows.commit(Changes {
            entries: Vec::new(),
            lasting: vec![LastingChange::Put { key, day, row }],
        })
        .unwrap();
        rows.settle().unwrap();
    }
    drop(rows);
    let sizes = Sizes {
        readers: 2,
        ..SIZES
    };
    let names = disk.contents().into_keys();
    assert!(names.filter(|name| name.ends_with(".data")).count() >= 5);
    for _ in 0..20 {
        let mut rows = SegmentRows::open(disk.clone(), sizes, OnDamage::Refuse, DAY).unwrap();
        assert_eq!(rows.rows(), 200);
        for n in (1..400).step_by(2) {
            let row = vec![u8::try_from(n % 251).unwrap(); 300];
            assert_eq!(rows.lasting(&number(n / 2)).unwrap(), Some(row));
        }
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
