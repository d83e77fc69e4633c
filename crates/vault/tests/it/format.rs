//! The format is what chapter 11 says: a reader written from it reads our vaults, derivations give
//! the vectors, and headers that it forbids are refused.

use emptyroom_vault::{KdfParams, OpenError, Part, Passphrase, Vault};
use sha2::{Digest, Sha256};

use crate::disk::Disk;
use crate::reader::{self, Key};
use crate::support::{Changes, SECRET, create, delete, fresh_rng, open, put, rng, secret};

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
        .collect()
}

fn key(value: &serde_json::Value) -> Key {
    hex(value.as_str().unwrap()).try_into().unwrap()
}

// [SPEC 11.3]
// [SPEC 11.5]
#[test]
fn derivations_give_the_vectors() {
    let text = include_str!("../../../../spec/vectors/vault.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let (vault, root) = (key(&vectors["vault_key"]), key(&vectors["root"]));
    for slot in vectors["slots"].as_array().unwrap() {
        let material = [
            key(&vectors["stretched"]),
            key(&slot["tpm"]),
            key(&slot["relays"]),
        ];
        let index = slot["index"].as_u64().unwrap() as u8;
        let got = reader::expand(&material.concat(), "emptyroom v1 vault slot", &[index]);
        assert_eq!(got, key(&slot["key"]));
    }
    assert_eq!(
        reader::expand(&vault, "emptyroom v1 vault header", &[]),
        key(&vectors["header_key"])
    );
    assert_eq!(
        reader::expand(&vault, "emptyroom v1 vault area", &[]),
        key(&vectors["area_key"])
    );
    assert_eq!(
        reader::expand(&vault, "emptyroom v1 vault panic", &[]),
        key(&vectors["panic_secret"])
    );
    let stretched = key(&vectors["stretched"]);
    for (label, name) in [
        ("emptyroom v1 vault tpm input", "tpm_input"),
        ("emptyroom v1 vault relays input", "relays_input"),
        ("emptyroom v1 vault check", "check"),
    ] {
        assert_eq!(reader::expand(&stretched, label, &[]), key(&vectors[name]));
    }
    assert_eq!(reader::block_key(&vault), key(&vectors["block_key"]));
    assert_eq!(
        reader::sector_key(&vault, &root),
        key(&vectors["sector_key"])
    );
    assert_eq!(
        reader::journal_key(&vault, &root),
        key(&vectors["journal_key"])
    );
    for vector in vectors["argon2id"].as_array().unwrap() {
        let cost = |name: &str| vector[name].as_u64().unwrap() as u32;
        let got = reader::stretch(
            &hex(vector["secret"].as_str().unwrap()),
            &hex(vector["salt"].as_str().unwrap()),
            cost("memory_kib"),
            cost("passes"),
            cost("lanes"),
        );
        assert_eq!(got, key(&vector["stretched"]));
    }
}

#[test]
fn a_stranger_reads_what_we_write() {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    let many = (0..600).map(|n| put(&format!("n{n:03}"), format!("value {n}").as_bytes()));
    vault.apply(many.collect()).unwrap();
    vault
        .apply(vec![put("n001", b"replaced"), delete("n002")])
        .unwrap();
    vault.apply(vec![delete("n003")]).unwrap();
    vault.lock().unwrap();
    let seized = reader::seize(|name| disk.bytes(name), SECRET).unwrap();
    let values = seized.values();
    assert_eq!(values.len(), 598);
    assert_eq!(values[&b"n001".to_vec()], b"replaced");
    assert_eq!(values[&b"n599".to_vec()], b"value 599");
    assert!(!values.contains_key(b"n002".as_slice()));
    assert!(!values.contains_key(b"n003".as_slice()));
}

// [SPEC 11.6]
// [SPEC 11.7]
#[test]
fn the_secret_opens_any_slot_and_only_one() {
    let mut seen = [false; 4];
    let mut seed = 0;
    while seen != [true; 4] && seed < 100 {
        let disk = Disk::new();
        seed += 1;
        drop(Vault::create(
            disk.boxed(),
            &secret(),
            KdfParams::minimum(),
            rng(seed),
        ));
        let header = disk.bytes("header");
        let opened = reader::newest_header(&header, SECRET).unwrap();
        seen[opened.slot] = true;
        open(&disk).unwrap();
        // Damage to the others' slots changes nothing but the body's seal: they are not empty.
        for index in 0..4 {
            let slot = &header[80 + 256 * index..80 + 256 * (index + 1)];
            let zeros = slot.iter().filter(|byte| **byte == 0).count();
            assert!(zeros < 16, "slot {index} does not look random");
        }
        let shares = &header[1264..4064];
        assert!(shares.iter().filter(|byte| **byte == 0).count() < 60);
    }
    assert_eq!(seen, [true; 4], "every slot is used by some vault");
}

/// Changes both copies of a header, or one, and makes the checksum right again.
fn forge(disk: &Disk, copies: &[usize], change: impl Fn(&mut [u8])) {
    disk.change("header", |bytes| {
        for copy in copies {
            let copy = &mut bytes[copy * 4096..(copy + 1) * 4096];
            change(copy);
            let checksum = Sha256::digest(&copy[..4064]);
            copy[4064..].copy_from_slice(&checksum);
        }
    });
}

fn refused(copies: &[usize], change: impl Fn(&mut [u8])) -> Option<OpenError> {
    let disk = Disk::new();
    drop(create(&disk).unwrap());
    forge(&disk, copies, change);
    open(&disk).err()
}

// [SPEC 11.9]
#[test]
fn a_newer_version_is_named() {
    let newer = Some(OpenError::Newer { found: 7, known: 2 });
    for copies in [&[0][..], &[1], &[0, 1]] {
        assert_eq!(refused(copies, |copy| copy[17] = 7), newer);
        // Whatever the rest of a newer header holds.
        assert_eq!(
            refused(copies, |copy| {
                copy[17] = 7;
                copy[18..4064].fill(9);
            }),
            newer
        );
    }
}

// [SPEC 11.8]
// [SPEC 11.4]
#[test]
fn forbidden_headers_are_corrupt() {
    let corrupt = Some(OpenError::Corrupt(Part::Header));
    let both = &[0, 1];
    assert_eq!(refused(both, |copy| copy[0] ^= 1), corrupt, "magic");
    assert_eq!(refused(both, |copy| copy[17] = 0), corrupt, "version 0");
    assert_eq!(refused(both, |copy| copy[18] = 4), corrupt, "factors");
    assert_eq!(refused(both, |copy| copy[23] = 1), corrupt, "padding");
    let factors_in_version_1 = |copy: &mut [u8]| (copy[17], copy[18]) = (1, 1);
    assert_eq!(refused(both, factors_in_version_1), corrupt);
    assert_eq!(refused(both, |copy| copy[39] = 1), corrupt, "padding");
    for (at, cost) in [
        (24, 7),
        (24, 2 * 1024 * 1024 + 1),
        (28, 0),
        (28, 65),
        (32, 0),
        (32, 17),
        (32, 2), // 8 KiB are not enough for two lanes
    ] {
        let set = |copy: &mut [u8]| copy[at..at + 4].copy_from_slice(&u32::to_be_bytes(cost));
        assert_eq!(refused(both, set), corrupt, "cost {cost} at {at}");
    }
    // One usable copy is enough.
    for copy in [0, 1] {
        assert_eq!(refused(&[copy], |copy| copy[0] ^= 1), None);
    }
    // The sequence is bound to the body.
    assert_eq!(refused(both, |copy| copy[79] ^= 1), corrupt, "sequence");
}

// [SPEC 11.8]
#[test]
fn the_other_copys_secret_is_wrong() {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    let old_copy = disk.bytes("header")[..4096].to_vec();
    let new = Passphrase::from("another".to_owned());
    vault.change_secret(&secret(), &new).unwrap();
    vault.lock().unwrap();
    assert_eq!(disk.bytes("header")[40..72], old_copy[40..72], "the salt");
    for place in [0, 4096] {
        let disk = disk.fork();
        disk.change("header", |bytes| {
            bytes[place..place + 4096].copy_from_slice(&old_copy);
        });
        assert_eq!(open(&disk).err(), Some(OpenError::WrongSecret));
        // [SPEC 11.10]
        Vault::open(disk.boxed(), &new, fresh_rng()).unwrap();
        let bytes = disk.bytes("header");
        assert_eq!(bytes[..4096], bytes[4096..], "the old copy is overwritten");
    }
}
