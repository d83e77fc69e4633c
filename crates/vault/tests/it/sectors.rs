//! A disk that does not give a sector any more: one copy is enough, whatever is to be done.

use std::io::ErrorKind;

use emptyroom_vault::outside::{read, write};
use emptyroom_vault::{OpenError, WipeError, wipe};

use crate::disk::Disk;
use crate::factors::with_chip;
use crate::support::{fresh_rng, open, with_panic_pin};

const COPIES: [u64; 2] = [0, 4_096];

/// What a wipe says, and what it asks to be ended elsewhere.
fn wiped(disk: &Disk) -> (Result<(), WipeError>, Vec<Vec<u8>>) {
    let mut named = Vec::new();
    let outcome = wipe(disk.boxed(), fresh_rng(), &mut |area| {
        named.push(area[..area.len().min(300)].to_vec());
    });
    (outcome, named)
}

// [SPEC 11.110]
#[test]
fn the_other_copy_of_the_header_opens_the_vault_and_heals_the_disk() {
    for at in COPIES {
        let disk = with_panic_pin();
        disk.spoil("header", at + 500);
        open(&disk).unwrap().lock().unwrap();
        let other = COPIES[0] + COPIES[1] - at;
        disk.change("header", |bytes| bytes[other as usize] ^= 1);
        open(&disk).unwrap();
    }
}

/// It takes no writes either.
// [SPEC 11.110]
#[test]
fn a_copy_that_cannot_be_written_over_keeps_nobody_out() {
    let disk = with_panic_pin();
    disk.spoil("header", 500);
    disk.refuse_writes_to(Some("header"));
    assert!(open(&disk).is_ok());
}

/// A damaged copy beside one that is not given: the disk is at fault, and the vault may be whole again elsewhere.
// [SPEC 11.110]
#[test]
fn without_a_whole_copy_it_is_a_fault_of_the_disk() {
    let disk = with_panic_pin();
    disk.change("header", |bytes| bytes[4_096] ^= 1);
    disk.spoil("header", 0);
    assert_eq!(open(&disk).err(), Some(OpenError::Io(ErrorKind::Other)));
    disk.change("header", |bytes| bytes[4_096] ^= 1);
    open(&disk).unwrap();
}

// [SPEC 11.110]
#[test]
fn a_wipe_ends_what_is_elsewhere_by_the_copy_that_is_left() {
    for at in COPIES {
        let disk = with_chip();
        disk.spoil("header", at);
        assert_eq!(wiped(&disk), (Ok(()), vec![vec![1; 300]]));
        assert!(disk.names().is_empty());
    }
    // A write of before that failed is told to whoever syncs next.
    let disk = with_chip();
    disk.fail_step(1, ErrorKind::Other);
    assert_eq!(wiped(&disk), (Ok(()), vec![vec![1; 300]]));
    assert!(disk.names().is_empty());
}

/// There are no descriptors, for a moment or for long: then the header waits for who can read what it names.
// [SPEC 11.110]
#[test]
fn a_header_that_could_not_be_opened_is_not_thrown_away() {
    for times in [2, u32::MAX] {
        let disk = with_chip();
        disk.shut(times);
        let mut ended = wiped(&disk);
        if times == u32::MAX {
            assert_eq!(ended, (Err(WipeError::Io(ErrorKind::Other)), Vec::new()));
            assert!(disk.names().contains(&"header".to_owned()));
            disk.shut(0);
            ended = wiped(&disk);
        }
        assert_eq!(ended, (Ok(()), vec![vec![1; 300]]));
        assert!(disk.names().is_empty());
    }
}

// [SPEC 11.110]
#[test]
fn a_wipe_says_that_it_does_not_know_what_was_elsewhere() {
    let disk = with_chip();
    disk.change("header", |bytes| bytes[4_096] ^= 1);
    disk.spoil("header", 0);
    assert_eq!(wiped(&disk), (Ok(()), vec![vec![]]));
    let disk = with_chip();
    disk.change("header", |bytes| bytes.fill(0));
    assert_eq!(wiped(&disk), (Ok(()), vec![vec![]]));
    assert_eq!(open(&disk).err(), Some(OpenError::Missing));
    // Where there is no header, none named anything that is not known.
    let disk = with_chip();
    disk.remove("header");
    assert_eq!(wiped(&disk), (Ok(()), Vec::new()));
}

/// Where one copy cannot be written, the other is all the same.
// [SPEC 11.59]
#[test]
fn a_write_that_fails_keeps_no_other_copy_of_the_header() {
    let whole = with_panic_pin();
    let damaged = whole.fork();
    damaged.change("header", |bytes| bytes.fill(0));
    for (disk, expected) in [(whole, &COPIES[..]), (damaged, &COPIES[1..])] {
        disk.record();
        // The first is the sync of opening it.
        disk.fail_step(2, ErrorKind::Other);
        assert!(wiped(&disk).0.is_err());
        let recorded = disk.recorded();
        let of_header = recorded.iter().filter(|write| write.name == "header");
        let offsets: Vec<u64> = of_header.map(|write| write.offset).collect();
        assert_eq!(offsets, expected);
    }
}

// [SPEC 11.110]
#[test]
fn one_copy_of_what_lies_outside_is_enough_and_is_written_over_the_other() {
    for at in COPIES {
        let disk = Disk::new();
        write(&disk, b"content").unwrap();
        disk.spoil("outside", at);
        assert_eq!(read(&disk).unwrap().unwrap(), b"content");
        write(&disk, b"again").unwrap();
        let other = COPIES[0] + COPIES[1] - at;
        disk.change("outside", |bytes| bytes[other as usize] ^= 1);
        assert_eq!(read(&disk).unwrap().unwrap(), b"again");
    }
    let disk = Disk::new();
    write(&disk, b"content").unwrap();
    disk.change("outside", |bytes| bytes[4_096] ^= 1);
    disk.spoil("outside", 0);
    assert_eq!(read(&disk).unwrap_err().kind(), ErrorKind::Other);
}
