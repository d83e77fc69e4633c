//! The panic PIN: what it leaves, and that nothing brings back what it destroyed.

use std::io;

use emptyroom_vault::{OpenError, SecretError, Vault, WriteError};

use crate::disk::{Disk, Loss};
use crate::reader;
use crate::support::{
    Changes, PANIC, SECRET, create, open, open_with, panic_pin, put, secret, sizes, value,
    with_panic_pin,
};

const WRONG: Option<OpenError> = Some(OpenError::WrongSecret);

fn records(vault: &Vault) -> usize {
    vault.scan(b"", None, usize::MAX, false).unwrap().len()
}

/// A vault that was just made, locked, and opened with its PIN.
fn fresh() -> (Disk, Vault) {
    let disk = Disk::new();
    create(&disk).unwrap().lock().unwrap();
    let vault = open(&disk).unwrap();
    (disk, vault)
}

// [SPEC 11.56]
// [SPEC 11.58]
#[test]
fn it_leaves_a_vault_that_looks_fresh() {
    let disk = with_panic_pin();
    let old = reader::newest_header(&disk.bytes("header"), SECRET).unwrap();
    let mut vault = open_with(&disk, PANIC).unwrap();
    let (fresh_disk, mut fresh) = fresh();
    for _ in 0..2 {
        let (status, expected) = (vault.status().unwrap(), fresh.status().unwrap());
        assert_eq!(format!("{status:?}"), format!("{expected:?}"));
        assert_eq!(records(&vault), 0);
        vault.lock().unwrap();
        fresh.lock().unwrap();
        assert_eq!(sizes(&disk), sizes(&fresh_disk));
        assert_eq!(open(&disk).err(), WRONG);
        // From now on it is the PIN, and no panic PIN.
        vault = open_with(&disk, PANIC).unwrap();
        fresh = open(&fresh_disk).unwrap();
    }
    let new = reader::newest_header(&disk.bytes("header"), PANIC).unwrap();
    assert_ne!(new.vault, old.vault);
    assert_eq!(new.panic, None);
    vault.apply(vec![put("new", b"life")]).unwrap();
    vault.lock().unwrap();
    let vault = open_with(&disk, PANIC).unwrap();
    assert_eq!(value(&vault, "new"), Some(b"life".to_vec()));
}

/// What is left after an opening with the panic PIN was cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Left {
    /// Everything is as it was: the header was not replaced.
    Old,
    /// Nothing of the old vault.
    Empty,
}

/// Looks at what is left with the old PIN and with the panic PIN, each on a copy of its own.
fn left(disk: &Disk, what: &str) -> Left {
    let (by_old, by_panic) = (disk.fork(), disk.fork());
    // Which PIN is tried first makes no difference to what the other finds.
    let old = open(&by_old);
    let emptied = open_with(&by_panic, PANIC).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(records(&emptied), 0, "{what}");
    drop(emptied);
    assert_eq!(open(&by_panic).err(), WRONG, "{what}");
    match old {
        Ok(vault) => {
            assert_eq!(records(&vault), 601, "{what}: all or nothing");
            Left::Old
        }
        Err(e) => {
            assert_eq!(Some(e), WRONG, "{what}");
            let after = open_with(&by_old, PANIC).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(records(&after), 0, "{what}");
            Left::Empty
        }
    }
}

// [SPEC 11.56]
// [SPEC 11.58]
#[test]
fn a_kill_at_any_step_brings_nothing_back() {
    let start = with_panic_pin();
    let mut kills = 0;
    let mut gone_at = None;
    for point in 0.. {
        let disk = start.fork();
        disk.crash_after(point);
        let done = open_with(&disk, PANIC).is_ok();
        let mut lefts = Vec::new();
        for loss in [Loss::All, Loss::Nothing, Loss::Torn, Loss::Random(point)] {
            let what = format!("killed at {point}, {loss:?}");
            lefts.push(left(&disk.after_crash(loss), &what));
            kills += 1;
        }
        // What is durable once stays: from the sync of the first copy on nothing is left.
        let all_lost = lefts[0];
        if all_lost == Left::Empty {
            gone_at.get_or_insert(point);
        }
        if gone_at.is_some() {
            assert_eq!(lefts, [Left::Empty; 4], "killed at {point}");
        }
        if done {
            break;
        }
    }
    assert!(kills >= 100, "{kills} kills");
    // The sync of the header as it is read, then the write and the sync of its first copy.
    assert_eq!(gone_at, Some(3));
}

/// The opening that goes on is killed, too, and the process may die without the machine.
// [SPEC 11.58]
#[test]
fn a_second_kill_brings_nothing_back() {
    let start = with_panic_pin();
    let whole = start.fork();
    let opened = open_with(&whole, PANIC);
    let steps = whole.steps() - start.steps();
    drop(opened.unwrap());
    for first in (4..steps).step_by(3) {
        let disk = start.fork();
        disk.crash_after(first);
        assert!(open_with(&disk, PANIC).is_err());
        for second in (0..steps).step_by(7) {
            let again = disk.after_kill();
            again.crash_after(second);
            let pin = if second % 2 == 0 { PANIC } else { SECRET };
            let _ = open_with(&again, pin);
            let after = again.after_crash(Loss::Torn);
            let what = format!("killed at {first} and {second}");
            assert_eq!(left(&after, &what), Left::Empty);
        }
    }
}

/// Whoever has the old PIN, and even the old vault's keys, finds nothing to open in what was there
/// when the second copy of the header had been written and everything after it had failed.
// [SPEC 11.58]
#[test]
fn the_header_alone_destroys() {
    let start = with_panic_pin();
    let whole = start.bytes("header");
    for point in 0..60 {
        let disk = start.fork();
        disk.crash_after(point);
        let _ = open_with(&disk, PANIC);
        let header = disk.after_crash(Loss::All).bytes("header");
        let copies = header.chunks_exact(4096);
        let changed = copies.zip(whole.chunks_exact(4096));
        if changed.into_iter().all(|(new, old)| new != old) {
            assert!(reader::newest_header(&header, SECRET).is_none());
            let slots = reader::kinds(&header[..4096], PANIC);
            assert_eq!(slots, [1], "the panic PIN is the PIN");
            return;
        }
    }
    panic!("both copies are replaced at some point");
}

// [SPEC 11.56]
#[test]
fn a_fault_keeps_no_later_step_from_being_done() {
    let start = with_panic_pin();
    let old = reader::newest_header(&start.bytes("header"), SECRET).unwrap();
    for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
        for step in 2.. {
            let disk = start.fork();
            disk.fail_step(step, kind);
            let opened = open_with(&disk, PANIC);
            let reached = disk.steps() >= start.steps() + step;
            let failed = opened.is_err();
            drop(opened);
            disk.fail_nothing();
            assert_eq!(open(&disk).err(), WRONG, "{kind:?} at {step}");
            assert!(
                reader::newest_header(&disk.bytes("header"), SECRET).is_none(),
                "{kind:?} at {step}"
            );
            if failed && step > 12 {
                assert!(!sectors_open(&disk, &old), "{kind:?} at {step}");
            }
            let vault = open_with(&disk, PANIC).unwrap();
            assert_eq!(records(&vault), 0);
            assert!(!sectors_open(&disk, &old), "{kind:?} at {step}");
            if !reached {
                break;
            }
        }
    }
}

/// Whether a sector of the old vault's record keys is anywhere in the key files.
fn sectors_open(disk: &Disk, old: &reader::OpenedHeader) -> bool {
    let key = reader::sector_key(&old.vault, &old.root);
    ["keys.0", "keys.1"].into_iter().any(|name| {
        let bytes = disk.bytes(name);
        bytes
            .chunks_exact(4096)
            .enumerate()
            .any(|(number, sector)| {
                let context = (number as u32).to_be_bytes();
                reader::open_sealed(&key, &context, sector).is_some()
            })
    })
}

/// A disk that never takes the header again: the record keys die all the same.
// [SPEC 11.56]
#[test]
fn a_header_that_cannot_be_written_does_not_save_the_vault() {
    let disk = with_panic_pin();
    let old = reader::newest_header(&disk.bytes("header"), SECRET).unwrap();
    assert!(sectors_open(&disk, &old));
    disk.refuse_writes_to(Some("header"));
    let refused = open_with(&disk, PANIC).err();
    assert_eq!(refused, Some(OpenError::Io(io::ErrorKind::Other)));
    assert!(!sectors_open(&disk, &old));
    assert!(disk.bytes("records").is_empty());
    disk.refuse_writes_to(None);
    assert!(open(&disk).is_err());
    assert_eq!(records(&open_with(&disk, PANIC).unwrap()), 0);
    assert_eq!(open(&disk).err(), WRONG);
}

// [SPEC 11.55]
#[test]
fn it_needs_the_pin_and_is_another_one() {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    let wrong = Err(SecretError::WrongSecret);
    assert_eq!(vault.set_panic(&panic_pin(), &panic_pin()), wrong);
    assert_eq!(vault.unset_panic(&panic_pin()), wrong);
    let same = Err(SecretError::Same);
    assert_eq!(vault.set_panic(&secret(), &secret()), same);
    vault.set_panic(&secret(), &panic_pin()).unwrap();
    assert_eq!(vault.change_secret(&secret(), &panic_pin()), same);
    // The panic PIN is no present PIN.
    assert_eq!(vault.change_secret(&panic_pin(), &secret()), wrong);
    vault.lock().unwrap();
    assert_eq!(records(&open(&disk).unwrap()), 0);
}

// [SPEC 11.43]
// [SPEC 11.55]
#[test]
fn it_outlives_a_change_of_the_pin_and_goes_when_told() {
    let other = "another secret altogether";
    let pin = || emptyroom_vault::Passphrase::from(other.to_owned());
    let disk = with_panic_pin();
    let salt = disk.bytes("header")[24..72].to_vec();
    let mut vault = open(&disk).unwrap();
    vault.change_secret(&secret(), &pin()).unwrap();
    vault.lock().unwrap();
    assert_eq!(disk.bytes("header")[24..72], salt);
    let panicked = disk.fork();
    assert_eq!(records(&open_with(&panicked, PANIC).unwrap()), 0);
    assert_eq!(open_with(&panicked, other).err(), WRONG);
    let mut vault = open_with(&disk, other).unwrap();
    for _ in 0..2 {
        // The second time there is none: it does the same.
        vault.unset_panic(&pin()).unwrap();
    }
    vault.lock().unwrap();
    assert_eq!(open_with(&disk, PANIC).err(), WRONG);
    assert_eq!(records(&open_with(&disk, other).unwrap()), 601);
}

/// A crash at every step of setting it, taking it away, and changing the PIN beside it.
// [SPEC 11.43]
#[test]
fn a_crash_while_it_is_set_leaves_the_old_or_the_new_whole() {
    type Step = fn(&mut Vault) -> Result<(), SecretError>;
    let steps: [(Step, bool, bool); 3] = [
        (
            |vault| vault.set_panic(&secret(), &panic_pin()),
            false,
            true,
        ),
        (|vault| vault.unset_panic(&secret()), true, false),
        (
            |vault| vault.change_secret(&secret(), &secret()),
            true,
            true,
        ),
    ];
    for (step, before, after) in steps {
        let mut seen = Vec::new();
        for point in 0.. {
            let disk = Disk::new();
            let mut vault = create(&disk).unwrap();
            if before {
                vault.set_panic(&secret(), &panic_pin()).unwrap();
            }
            vault.apply(vec![put("a", b"1")]).unwrap();
            disk.crash_after(point);
            let done = step(&mut vault).is_ok();
            drop(vault);
            for loss in [Loss::All, Loss::Nothing, Loss::Torn, Loss::Random(point)] {
                let disk = disk.after_crash(loss);
                let what = format!("crash at {point}, {loss:?}");
                let has = match open_with(&disk.fork(), PANIC) {
                    Ok(vault) => {
                        assert_eq!(records(&vault), 0, "{what}");
                        true
                    }
                    Err(e) => {
                        assert_eq!(Some(e), WRONG, "{what}");
                        false
                    }
                };
                assert!(has == before || has == after, "{what}");
                assert!(!done || has == after, "{what}");
                let vault = open(&disk).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_eq!(value(&vault, "a"), Some(b"1".to_vec()), "{what}");
                seen.push(has);
            }
            if done {
                break;
            }
        }
        assert!(seen.contains(&before) && seen.contains(&after));
    }
}

/// Setting it on a disk that is full leaves what was there, in memory as on the disk.
#[test]
fn a_full_disk_refuses_it_whole() {
    for step in 1..40 {
        let disk = Disk::new();
        let mut vault = create(&disk).unwrap();
        disk.fail_step(step, io::ErrorKind::StorageFull);
        let refused = vault.set_panic(&secret(), &panic_pin());
        disk.fail_nothing();
        if refused.is_ok() {
            return;
        }
        let full = Err(SecretError::Write(WriteError::Full));
        assert_eq!(refused, full, "{step}");
        // What follows writes the header anew, with or without it, but not with half of it.
        vault.rotate().unwrap();
        vault.lock().unwrap();
        let slots = reader::kinds(&disk.bytes("header")[..4096], PANIC);
        let body = reader::newest_header(&disk.bytes("header"), SECRET).unwrap();
        assert_eq!(slots == [2], body.panic.is_some(), "{step}");
    }
    panic!("it is set at some point");
}

// [SPEC 11.55]
#[test]
fn nothing_shows_whether_there_is_one() {
    let mut shown = Vec::new();
    for n in 0..40 {
        let disk = Disk::new();
        let mut vault = create(&disk).unwrap();
        match n % 2 {
            0 => vault.set_panic(&secret(), &panic_pin()).unwrap(),
            _ => vault.unset_panic(&secret()).unwrap(),
        }
        vault.apply(vec![put("a", b"1")]).unwrap();
        let status = format!("{:?}", vault.status().unwrap());
        vault.lock().unwrap();
        let header = disk.bytes("header");
        for copy in header.chunks_exact(4096) {
            // Slots, body and shares look alike, whatever is in them.
            for part in copy[80..4064].chunks_exact(249) {
                let zeros = part.iter().filter(|byte| **byte == 0).count();
                assert!(zeros < 12, "{n}: {zeros}");
            }
        }
        let clear = [&header[..40], &header[72..80]].concat();
        shown.push((sizes(&disk), clear, status));
    }
    assert!(shown.iter().all(|one| *one == shown[0]));
}

// [SPEC 11.56]
#[test]
fn the_command_leaves_what_the_panic_pin_opens() {
    let disk = with_panic_pin();
    let old = reader::newest_header(&disk.bytes("header"), SECRET).unwrap();
    let vault = open(&disk).unwrap();
    let empty = vault.panicked().unwrap().expect("there is a panic PIN");
    assert_eq!(records(&empty), 0);
    empty.lock().unwrap();
    assert!(!sectors_open(&disk, &old));
    assert_eq!(open(&disk).err(), WRONG);
    assert_eq!(records(&open_with(&disk, PANIC).unwrap()), 0);
}

// [SPEC 11.58]
#[test]
fn a_kill_at_any_step_of_the_command_brings_nothing_back() {
    let start = with_panic_pin();
    let mut kills = 0;
    let mut gone = false;
    for point in 0.. {
        let disk = start.fork();
        let vault = open(&disk).unwrap();
        disk.crash_after(point);
        let done = vault.panicked().is_ok();
        for loss in [Loss::All, Loss::Nothing, Loss::Torn, Loss::Random(point)] {
            let what = format!("killed at {point}, {loss:?}");
            let left = left(&disk.after_crash(loss), &what);
            // The first write and its sync are the header's.
            gone |= point == 2;
            assert!(!gone || left == Left::Empty, "{what}");
            kills += 1;
        }
        if done {
            break;
        }
    }
    assert!(gone && kills >= 100, "{kills} kills");
}
