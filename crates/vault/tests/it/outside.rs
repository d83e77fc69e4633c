//! What lies outside of the vault, for whoever has no secret.

use std::io::ErrorKind;

use emptyroom_vault::outside::{read, remove, write};
use emptyroom_vault::{OutsideFile, wipe_held};

use crate::disk::{Disk, Loss};
use crate::support::{PANIC, create, fresh_rng, open_with, sizes, with_panic_pin};

// [SPEC 11.60]
#[test]
fn a_kill_at_any_step_leaves_the_old_or_the_new() {
    let start = Disk::new();
    write(&start, b"old").unwrap();
    assert_eq!(sizes(&start), [("outside".to_owned(), 8_192)]);
    for point in 0.. {
        let disk = start.fork();
        disk.crash_after(point);
        let done = write(&disk, b"new").is_ok();
        for loss in [Loss::All, Loss::Nothing, Loss::Torn, Loss::Random(point)] {
            let after = disk.after_crash(loss);
            let found = read(&after).unwrap().unwrap();
            assert!(
                found == b"old" && !done || found == b"new",
                "{point} {loss:?}"
            );
            write(&after, b"newer").unwrap();
            assert_eq!(read(&after).unwrap().unwrap(), b"newer");
        }
        if done {
            break;
        }
    }
}

// [SPEC 11.60]
#[test]
fn one_whole_copy_is_enough_and_damage_is_told_and_replaced() {
    let damaged = |disk: &Disk| read(disk).unwrap_err().kind() == ErrorKind::InvalidData;
    let disk = Disk::new();
    assert_eq!(read(&disk).unwrap(), None);
    write(&disk, b"content").unwrap();
    disk.change("outside", |bytes| bytes[100] ^= 1);
    assert_eq!(read(&disk).unwrap().unwrap(), b"content");
    disk.change("outside", |bytes| bytes[4_096 + 100] ^= 1);
    assert!(damaged(&disk));
    write(&disk, b"again").unwrap();
    assert_eq!(read(&disk).unwrap().unwrap(), b"again");
    disk.change("outside", |bytes| bytes.truncate(10));
    assert!(damaged(&disk));
    remove(&disk).unwrap();
    remove(&disk).unwrap();
    assert!(disk.names().is_empty());
}

// [SPEC 11.56, 11.60]
#[test]
fn the_panic_pin_and_a_wipe_take_it_along() {
    let start = with_panic_pin();
    write(&start, b"content").unwrap();
    let disk = start.fork();
    drop(open_with(&disk, PANIC).unwrap());
    assert_eq!(read(&disk).unwrap(), None);
    assert!(!disk.names().contains(&"outside".to_owned()));
    let disk = start.fork();
    emptyroom_vault::wipe(disk.boxed(), fresh_rng(), &mut |_| {}).unwrap();
    assert!(disk.names().is_empty());
}

/// With a panic PIN, too, nothing is left: nobody has entered it.
// [SPEC 11.59]
#[test]
fn an_open_vault_can_be_wiped() {
    let disk = with_panic_pin();
    write(&disk, b"content").unwrap();
    crate::support::open(&disk)
        .unwrap()
        .wipe(&mut || {}, OutsideFile::Goes)
        .unwrap();
    assert!(disk.names().is_empty(), "{:?}", disk.names());
    create(&disk).unwrap();
}

/// Whoever ordered it is to be told first, also after this was cut off and done again.
// [SPEC 11.67]
#[test]
fn what_lies_outside_may_stay_until_the_wipe_was_told() {
    let start = with_panic_pin();
    write(&start, b"content").unwrap();
    let disk = start.fork();
    let open = crate::support::open(&disk).unwrap();
    open.wipe(&mut || {}, OutsideFile::Stays).unwrap();
    for _ in 0..2 {
        assert_eq!(disk.names(), ["outside"]);
        let lock = emptyroom_vault::Directory::lock(&disk).unwrap();
        let again = OutsideFile::Stays;
        wipe_held(disk.boxed(), lock, fresh_rng(), &mut |_| {}, again).unwrap();
    }
    // A new vault is none of what was ordered.
    create(&disk).unwrap();
    assert_eq!(read(&disk).unwrap(), None);
}
