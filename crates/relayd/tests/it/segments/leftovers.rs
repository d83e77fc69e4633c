//! What the segment store leaves on its disk of rows that are gone.

use super::*;

// [SPEC 6.93]
#[test]
fn what_was_removed_is_in_no_file() {
    let (disk, mut rows) = fresh();
    put(&mut rows, 1);
    rows.checkpoint().unwrap();
    let data = || disk.contents()["day-20000-0.data"].clone();
    assert!(data().iter().any(|byte| *byte != 0));
    // Replaced, then removed: every byte that was written is zero.
    put(&mut rows, 2);
    rows.checkpoint().unwrap();
    remove(&mut rows);
    rows.checkpoint().unwrap();
    // Of the journals there is one, and nothing in it; the keys of the others were overwritten.
    let names: Vec<String> = disk.contents().into_keys().collect();
    assert_eq!(names, ["journal-3.key", "journal-3.log"]);
    assert_eq!(disk.contents()["journal-3.log"].len(), 16);
    let keys = disk.removed().into_iter().filter(|file| file.len() == 48);
    let (zero, other): (Vec<_>, Vec<_>) = keys.partition(|key| key.iter().all(|byte| *byte == 0));
    assert!(zero.len() >= 4 && other.is_empty());
}

// [SPEC 6.93]
#[test]
fn whenever_the_power_fails_what_was_removed_is_gone_in_the_end() {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    for operations in 0.. {
        let (disk, mut rows) = fresh();
        keep(&mut rows);
        disk.fail_after(operations, Fault::Dead);
        let whole = try_put(&mut rows, 1)
            .and_then(|()| rows.checkpoint())
            .and_then(|_| try_put(&mut rows, 2))
            .and_then(|()| rows.checkpoint())
            .and_then(|_| rows.checkpoint());
        disk.mend();
        let disk = disk.crash(&mut rng);
        let mut rows = reopen(&disk).unwrap();
        remove(&mut rows);
        assert_eq!(rows.checkpoint(), Ok(true));
        // What is kept is in the segment that was made before.
        let durable = disk.durable();
        let data = durable.iter().filter(|(name, _)| name.ends_with(".data"));
        let left: usize = data
            .map(|(_, bytes)| bytes.iter().filter(|byte| **byte != 0).count())
            .sum();
        assert!((600..=640).contains(&left), "{operations}: {left}");
        assert_eq!(rows.lasting(&KEPT).unwrap(), Some(vec![7; 600]));
        if whole.is_ok() {
            assert!(operations > 40);
            return;
        }
    }
}

// [SPEC 6.96]
#[test]
fn what_is_mostly_gone_is_written_anew() {
    let (disk, mut rows) = fresh();
    keep(&mut rows);
    let key = |n: u8| RowKey([n.wrapping_add(10); 32]);
    for round in 0..200_u8 {
        rows.commit(Changes {
            entries: Vec::new(),
            lasting: vec![LastingChange::Put {
                key: key(round % 3),
                day: DAY,
                row: vec![round; 600],
            }],
        })
        .unwrap();
        rows.checkpoint().unwrap();
        let bytes: usize = disk.contents().values().map(Vec::len).sum();
        assert!(bytes < 20_000, "round {round}: {bytes}");
    }
    drop(rows);
    let mut rows = reopen(&disk).unwrap();
    assert_eq!(rows.lasting(&KEPT).unwrap(), Some(vec![7; 600]));
    assert_eq!(rows.lasting(&key(199 % 3)).unwrap(), Some(vec![199; 600]));
}

/// Half of a segment may be gone before its rest is written anew: that is to be little of what there is.
// [SPEC 6.96]
#[test]
fn a_small_store_has_small_segments_and_none_without_rows() {
    let sizes = Sizes {
        segment: 1 << 20,
        segment_least: 2_000,
        wasted: 1 << 20,
        ..SIZES
    };
    let disk = ShadowDisk::default();
    let mut rows = SegmentRows::open(disk.clone(), sizes, OnDamage::Refuse, DAY).unwrap();
    let segments = || {
        let names = disk.contents().into_keys();
        names.filter(|name| name.ends_with(".data")).count()
    };
    let mut change = |numbers: std::ops::Range<u8>, row: Option<Vec<u8>>| {
        for number in numbers {
            let (day, key) = (DAY, RowKey([number; 32]));
            let entries = vec![EntryChange {
                day,
                key,
                row: row.clone(),
            }];
            let lasting = Vec::new();
            rows.commit(Changes { entries, lasting }).unwrap();
            rows.checkpoint().unwrap();
        }
    };
    change(0..40, Some(vec![1; 600]));
    let all = segments();
    assert!((8..=12).contains(&all), "{all}");
    change(0..20, None);
    let left = segments();
    assert!(left <= all / 2 + 1, "{left} of {all}");
    change(20..40, None);
    assert_eq!(segments(), 0);
}

// [SPEC 6.93]
#[test]
fn what_lived_between_two_checkpoints_was_only_in_the_journal() {
    let (disk, mut rows) = fresh();
    put(&mut rows, 1);
    remove(&mut rows);
    rows.checkpoint().unwrap();
    let names = disk.contents().into_keys();
    assert!(!names.into_iter().any(|name| name.starts_with("day-")));
}

// [SPEC 6.94]
#[test]
fn a_day_that_is_over_leaves_no_file_and_no_key() {
    let (disk, mut rows) = fresh();
    put(&mut rows, 1);
    rows.checkpoint().unwrap();
    rows.expire(Day(DAY.0 + 1)).unwrap();
    let names = disk.contents().into_keys();
    assert!(!names.into_iter().any(|name| name.starts_with("day-")));
    assert!(disk.removed().contains(&vec![0; 48]));
    assert_eq!(rows.entry(DAY, &ENTRY).unwrap(), None);
    assert_eq!(rows.lasting(&LASTING).unwrap(), None);
}

/// A row lies in a segment of a later day, and only a journal says that its own day is over: that must not go before the row.
// [SPEC 6.94]
#[test]
fn whenever_the_power_fails_what_is_over_does_not_come_back() {
    let later = Day(DAY.0 + 5);
    for operations in 0.. {
        let (disk, mut rows) = fresh();
        let change = |change| Changes {
            entries: Vec::new(),
            lasting: vec![change],
        };
        let put = |key| LastingChange::Put {
            key,
            day: later,
            row: vec![1; 500],
        };
        // The other row keeps the segment there.
        rows.commit(change(put(KEPT))).unwrap();
        rows.commit(change(put(LASTING))).unwrap();
        rows.checkpoint().unwrap();
        let key = LASTING;
        rows.commit(change(LastingChange::Move { key, day: DAY }))
            .unwrap();
        // The day ends in the middle of a checkpoint.
        assert_eq!(rows.settle(), Ok(Settled::More));
        disk.fail_after(operations, Fault::Dead);
        let whole = rows.expire(Day(DAY.0 + 1));
        disk.mend();
        let mut rows = reopen(&disk).unwrap();
        rows.expire(Day(DAY.0 + 1)).unwrap();
        assert_eq!(rows.lasting(&key), Ok(None), "after {operations}");
        if whole.is_ok() {
            assert!(operations > 10);
            return;
        }
    }
}

/// A log whose life begins anew moves with all its rows, which may be much more than a piece.
// [SPEC 6.110]
#[test]
fn moved_rows_are_read_and_written_in_pieces() {
    let (disk, mut rows) = fresh();
    let key = |n: u8| RowKey([n; 32]);
    let commit = |rows: &mut SegmentRows<ShadowDisk>, change: LastingChange| {
        let lasting = vec![change];
        rows.commit(Changes {
            entries: Vec::new(),
            lasting,
        })
        .unwrap();
    };
    for n in 0..40 {
        let (key, day, row) = (key(n), DAY, vec![n; 1_000]);
        commit(&mut rows, LastingChange::Put { key, day, row });
        rows.checkpoint().unwrap();
    }
    let later = Day(DAY.0 + 3);
    for n in 0..40 {
        let (key, day) = (key(n), later);
        commit(&mut rows, LastingChange::Move { key, day });
    }
    rows.expire(later).unwrap();
    for n in 0..40 {
        assert_eq!(rows.lasting(&key(n)).unwrap(), Some(vec![n; 1_000]));
    }
    let longest = disk.longest_write();
    assert!(longest <= SIZES.piece + 1_100, "{longest}");
}

/// Commits go on between the slices, and none of them is lost.
// [SPEC 6.110]
#[test]
fn a_checkpoint_ends_although_commits_go_on() {
    let (disk, mut rows) = fresh();
    for byte in 0..10 {
        put(&mut rows, byte);
    }
    let mut slices = 0;
    rows.commit(Changes {
        entries: Vec::new(),
        lasting: vec![LastingChange::Put {
            key: KEPT,
            day: DAY,
            row: vec![7; 600],
        }],
    })
    .unwrap();
    while rows.settle().unwrap() == Settled::More {
        slices += 1;
        put(&mut rows, 100 + slices);
        assert!(slices < 20);
    }
    assert!(slices > 2, "{slices}");
    // The journal of before has gone, that of now has not.
    let names = disk.contents();
    assert!(!names.contains_key("journal-0.log") && names.contains_key("journal-1.log"));
    let mut rows = reopen(&disk.crash(&mut ChaCha20Rng::seed_from_u64(1))).unwrap();
    let row = rows.entry(DAY, &ENTRY).unwrap();
    assert_eq!(row, Some(vec![100 + slices; 500]));
    assert_eq!(rows.lasting(&KEPT).unwrap(), Some(vec![7; 600]));
}

// [SPEC 6.118]
#[test]
fn many_crashes_leave_few_journals() {
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    let mut disk = ShadowDisk::default();
    for start in 0..60_u8 {
        let mut rows = reopen(&disk).unwrap();
        let names = disk.contents().into_keys();
        let journals = names.filter(|name| name.starts_with("journal-") && name.ends_with(".log"));
        assert!(journals.count() <= 17, "start {start}");
        for before in 0..start {
            let row = rows.lasting(&RowKey([before; 32])).unwrap();
            let is_written = before % 3 != 0;
            assert_eq!(row, is_written.then(|| vec![before; 600]), "start {start}");
        }
        // Some crash before they write anything.
        if start % 3 != 0 {
            let row = LastingChange::Put {
                key: RowKey([start; 32]),
                day: DAY,
                row: vec![start; 600],
            };
            rows.commit(Changes {
                entries: Vec::new(),
                lasting: vec![row],
            })
            .unwrap();
        }
        drop(rows);
        disk = disk.crash(&mut rng);
    }
}
