//! A vault that an earlier version made is opened, and is one of this version afterwards.

use emptyroom_vault::{OpenError, Passphrase, Vault, WriteError};

use crate::disk::{Disk, Loss};
use crate::reader;
use crate::support::{SECRET, create, delete, fresh_rng, open, put, value};

/// A vault of version 1: it differs in the header alone.
fn version_1() -> Disk {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    vault.apply(vec![put("a", b"1"), put("b", b"2")]).unwrap();
    vault.apply(vec![delete("b")]).unwrap();
    vault.lock().unwrap();
    disk.change("header", |bytes| {
        for copy in bytes.chunks_exact_mut(4096) {
            let old = reader::as_version_1(copy, SECRET);
            copy.copy_from_slice(&old);
        }
    });
    disk
}

fn header(disk: &Disk) -> reader::OpenedHeader {
    reader::newest_header(&disk.bytes("header"), SECRET).unwrap()
}

// [SPEC 11.45]
#[test]
fn the_first_opening_makes_it_version_2() {
    let disk = version_1();
    let before = header(&disk);
    assert_eq!(before.version, 1);
    let wrong = Passphrase::from("wrong".to_owned());
    let refused = Vault::open(disk.boxed(), &wrong, fresh_rng()).err();
    assert_eq!(refused, Some(OpenError::WrongSecret));
    assert_eq!(header(&disk).version, 1, "a wrong secret changes nothing");
    let salt = disk.bytes("header")[40..72].to_vec();
    let vault = open(&disk).unwrap();
    assert_eq!(vault.status().unwrap().version, 2);
    assert_eq!(value(&vault, "a"), Some(b"1".to_vec()));
    let bytes = disk.bytes("header");
    assert_eq!(bytes[..4096], bytes[4096..]);
    let after = header(&disk);
    assert_eq!((after.version, after.vault), (2, before.vault));
    assert_eq!(after.sequence, before.sequence + 1, "one replacement");
    assert_ne!(after.root, before.root);
    assert_eq!(bytes[40..72], salt);
    vault.lock().unwrap();
    assert_eq!(value(&open(&disk).unwrap(), "a"), Some(b"1".to_vec()));
}

// [SPEC 11.45]
#[test]
fn a_crash_on_the_way_leaves_one_that_opens() {
    let start = version_1();
    let mut seen = [false; 2];
    for point in 0.. {
        let disk = start.fork();
        disk.crash_after(point);
        let done = open(&disk).is_ok_and(|vault| vault.lock().is_ok());
        for loss in [Loss::All, Loss::Nothing, Loss::Torn, Loss::Random(point)] {
            let disk = disk.after_crash(loss);
            seen[usize::from(header(&disk).version - 1)] = true;
            let vault = open(&disk).unwrap_or_else(|e| panic!("{point}, {loss:?}: {e}"));
            assert_eq!(value(&vault, "a"), Some(b"1".to_vec()));
            drop(vault);
            assert_eq!(header(&disk).version, 2);
        }
        if done {
            break;
        }
    }
    assert_eq!(seen, [true; 2], "it stays version 1 and becomes version 2");
}

// [SPEC 11.45]
#[test]
fn a_full_disk_leaves_it_as_it_was() {
    let start = version_1();
    let mut stayed = 0;
    for step in 1..60 {
        let disk = start.fork();
        disk.fail_step(step, std::io::ErrorKind::StorageFull);
        let Ok(mut vault) = open(&disk) else { continue };
        disk.fail_nothing();
        stayed += usize::from(vault.status().unwrap().version == 1);
        assert_ne!(vault.rotate(), Err(WriteError::Full));
        vault.lock().unwrap();
        assert_eq!(open(&disk).unwrap().status().unwrap().version, 2);
    }
    assert!(stayed > 0);
}
