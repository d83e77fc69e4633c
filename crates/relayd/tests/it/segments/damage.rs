//! The segment store on damaged files.

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
