//! The journal of the key file does not outlive what it is for.

use std::io;

use emptyroom_vault::Vault;

use crate::disk::Disk;
use crate::reader;
use crate::support::{SECRET, create, delete, open, put};

const RECORDS: usize = 3000;

fn vault_with_many(disk: &Disk) -> Vault {
    let mut vault = create(disk).unwrap();
    let many = (0..RECORDS).map(|n| put(&format!("k{n:04}"), b"x"));
    vault.apply(many.collect()).unwrap();
    vault
}

/// Numbers of the sectors that the journal would restore.
fn journal_sectors(disk: &Disk) -> Option<usize> {
    let header = reader::newest_header(&disk.bytes("header"), SECRET).unwrap();
    let key = reader::journal_key(&header.vault, &header.root);
    let journal = disk.bytes("journal");
    let index = reader::open_sealed(&key, &[], &journal[..4096])?;
    Some(usize::from(u16::from_be_bytes([index[0], index[1]])))
}

fn delete_range(vault: &mut Vault, from: usize, to: usize) {
    let changes = (from..to).map(|n| delete(&format!("k{n:04}")));
    vault.apply(changes.collect()).unwrap();
}

/// Steps of the disk that deleting a range takes; the last one scrubs the journal.
fn steps_of(from: usize, to: usize, before: impl Fn(&Disk, &mut Vault)) -> u64 {
    let disk = Disk::new();
    let mut vault = vault_with_many(&disk);
    before(&disk, &mut vault);
    let start = disk.steps();
    delete_range(&mut vault, from, to);
    disk.steps() - start
}

// [SPEC 11.16]
// [SPEC 11.15]
#[test]
fn it_is_overwritten_when_it_is_done_and_by_the_next() {
    let disk = Disk::new();
    let mut vault = vault_with_many(&disk);
    delete_range(&mut vault, 0, 10);
    assert_eq!(journal_sectors(&disk), None, "scrubbed");

    // The scrubbing of a long journal fails: it stays whole until the next.
    let long = |disk: &Disk, vault: &mut Vault| {
        let steps = steps_of(1000, 2500, |_, _| {});
        disk.fail_step(steps, io::ErrorKind::StorageFull);
        delete_range(vault, 1000, 2500);
        disk.fail_nothing();
    };
    let disk = Disk::new();
    let mut vault = vault_with_many(&disk);
    long(&disk, &mut vault);
    let sectors = journal_sectors(&disk).expect("not scrubbed");
    assert!(sectors > 10);
    let before = disk.bytes("journal");

    // The next one is short, and its scrubbing fails, too: nothing of the long one is left.
    let steps = steps_of(0, 1, long);
    disk.fail_step(steps, io::ErrorKind::StorageFull);
    delete_range(&mut vault, 0, 1);
    disk.fail_nothing();
    assert_eq!(journal_sectors(&disk), Some(1));
    let after = disk.bytes("journal");
    for sector in 0..=sectors {
        let range = sector * 4096..(sector + 1) * 4096;
        assert_ne!(before[range.clone()], after[range], "{sector}");
    }
    drop(vault);
    assert_eq!(
        open(&disk).unwrap().status().unwrap().records,
        RECORDS as u64 - 1501
    );
}

// [SPEC 11.19]
#[test]
fn more_sectors_than_one_journal_holds_die_in_one_call() {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    let count = 64 * 112 + 300;
    let all = || (0..count).map(|n| format!("k{n:05}"));
    vault
        .apply(all().map(|key| put(&key, b"x")).collect())
        .unwrap();
    vault
        .apply(all().map(|key| delete(&key)).collect())
        .unwrap();
    assert_eq!(vault.status().unwrap().records, 0);
    let kept = reader::seize(|name| disk.bytes(name), SECRET).unwrap();
    assert!(kept.rows.is_empty());
    assert!(
        kept.keys
            .iter()
            .filter(|(generation, _)| *generation == 1)
            .count()
            >= count,
        "every key died"
    );
    vault.lock().unwrap();
    assert_eq!(open(&disk).unwrap().status().unwrap().records, 0);
}
