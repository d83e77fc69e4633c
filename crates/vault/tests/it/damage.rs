//! Damage to every file: it is healed or named, never a panic, never a value that was not stored.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use emptyroom_vault::{OpenError, Part, ReadError, Vault};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::disk::Disk;
use crate::support::{create, delete, open, put};

type Model = BTreeMap<String, Vec<u8>>;

const FILES: [&str; 5] = ["header", "keys.0", "keys.1", "journal", "records"];

fn vault_with_records(clean: bool) -> (Disk, Model) {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    let mut model = Model::new();
    for n in 0..40 {
        let (key, bytes) = (format!("k{n:02}"), vec![n as u8; 50 * n]);
        vault.apply(vec![put(&key, &bytes)]).unwrap();
        model.insert(key, bytes);
    }
    vault.apply(vec![delete("k07"), delete("k08")]).unwrap();
    vault
        .apply(vec![put("k09", b"again"), delete("k10")])
        .unwrap();
    for key in ["k07", "k08", "k10"] {
        model.remove(key);
    }
    model.insert("k09".to_owned(), b"again".to_vec());
    if clean {
        vault.lock().unwrap();
    } else {
        drop(disk.fork());
        let crashed = disk.after_crash(crate::disk::Loss::All);
        return (crashed, model);
    }
    (disk, model)
}

/// Reads everything there is, and says whether it is all there.
fn check(vault: &Vault, model: &Model, what: &str) -> bool {
    let mut whole = true;
    for (key, expected) in model {
        match vault.get(key.as_bytes()) {
            Ok(Some(value)) => assert_eq!(&*value, expected, "{what}: wrong value of {key}"),
            Ok(None) => panic!("{what}: {key} is missing"),
            Err(e) => {
                assert_eq!(e, ReadError::Corrupt(Part::Records), "{what}");
                whole = false;
            }
        }
    }
    match vault.scan(b"", None, usize::MAX, false) {
        Ok(all) => {
            assert_eq!(all.len(), model.len(), "{what}");
            for (key, value) in all {
                let key = String::from_utf8(key).unwrap();
                assert_eq!(*value, model[&key], "{what}");
            }
        }
        Err(e) => assert_eq!(e, ReadError::Corrupt(Part::Records), "{what}"),
    }
    whole
}

/// Opens the damaged vault. Says whether the damage was healed.
fn judge(disk: &Disk, model: &Model, part: Part, what: &str) -> bool {
    let judged = catch_unwind(AssertUnwindSafe(|| match open(disk) {
        Ok(vault) => check(&vault, model, what),
        Err(OpenError::Corrupt(found)) => {
            assert_eq!(found, part, "{what}");
            false
        }
        Err(e) => panic!("{what}: {e}"),
    }));
    judged.unwrap_or_else(|_| panic!("{what}: panic"))
}

fn part(name: &str) -> Part {
    match name {
        "header" => Part::Header,
        "records" => Part::Records,
        _ => Part::Keys,
    }
}

fn damaged(clean: bool, seed: u64, rounds: usize, damage: impl Fn(&mut Vec<u8>, &mut ChaCha20Rng)) {
    let (disk, model) = vault_with_records(clean);
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    for name in FILES {
        for round in 0..rounds {
            let disk = disk.fork();
            disk.change(name, |bytes| damage(bytes, &mut rng));
            judge(&disk, &model, part(name), &format!("{name}, {round}"));
        }
    }
}

fn below(rng: &mut ChaCha20Rng, n: usize) -> usize {
    (rng.next_u64() % n.max(1) as u64) as usize
}

// [SPEC 11.25]
// [SPEC 11.11]
// [SPEC 11.13]
#[test]
fn flipped_bits() {
    for clean in [true, false] {
        damaged(clean, 1, 150, |bytes, rng| {
            let at = below(rng, bytes.len());
            bytes[at] ^= 1 << below(rng, 8);
        });
    }
}

// [SPEC 11.25]
#[test]
fn files_cut_short() {
    for clean in [true, false] {
        damaged(clean, 2, 60, |bytes, rng| {
            let len = below(rng, bytes.len());
            bytes.truncate(len);
        });
        damaged(clean, 3, 1, |bytes, _| bytes.clear());
    }
}

#[test]
fn blocks_of_zeros_and_noise() {
    for clean in [true, false] {
        damaged(clean, 4, 60, |bytes, rng| {
            let at = below(rng, bytes.len() / 4096) * 4096;
            let zeros = rng.next_u32() % 2 == 0;
            for byte in &mut bytes[at..at + 4096] {
                *byte = if zeros { 0 } else { rng.next_u32() as u8 };
            }
        });
    }
}

#[test]
fn blocks_in_each_others_places() {
    damaged(true, 5, 60, |bytes, rng| {
        let stride = if rng.next_u32() % 2 == 0 { 4096 } else { 4136 };
        let start = if stride == 4136 && bytes.len() > 20_000 {
            16_384
        } else {
            0
        };
        let count = (bytes.len() - start) / stride;
        let (a, b) = (below(rng, count), below(rng, count));
        let from = bytes[start + a * stride..start + (a + 1) * stride].to_vec();
        bytes[start + b * stride..start + (b + 1) * stride].copy_from_slice(&from);
    });
}

#[test]
fn files_that_go_on() {
    damaged(true, 6, 10, |bytes, rng| {
        let more = below(rng, 10_000);
        bytes.extend((0..more).map(|_| rng.next_u32() as u8));
    });
}

#[test]
fn damage_to_one_copy_is_healed() {
    let (disk, model) = vault_with_records(true);
    for (name, at) in [
        ("header", 100),
        ("header", 1200),
        ("header", 4096 + 100),
        ("records", 30),
        ("records", 8192 + 30),
    ] {
        let disk = disk.fork();
        disk.change(name, |bytes| bytes[at] ^= 1);
        assert!(judge(&disk, &model, part(name), name), "{name} at {at}");
        // Healed for good: the other copy may be damaged now.
        let other = (at + 4096 * if name == "header" { 1 } else { 2 })
            % if name == "header" { 8192 } else { 16_384 };
        disk.change(name, |bytes| bytes[other] ^= 1);
        assert!(judge(&disk, &model, part(name), name), "{name} at {other}");
    }
}

// [SPEC 11.14]
#[test]
fn files_of_different_days() {
    // A backup that was restored by half: values may be reported as damaged, never be old ones.
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    let fill = |vault: &mut Vault, round: u8| {
        for n in 0..40 {
            let (key, bytes) = (format!("k{n}"), vec![round; 100]);
            vault.apply(vec![put(&key, &bytes)]).unwrap();
        }
    };
    fill(&mut vault, 1);
    vault.lock().unwrap();
    let yesterday = disk.fork();
    let mut vault = open(&disk).unwrap();
    fill(&mut vault, 2);
    vault.lock().unwrap();
    for mask in 1..(1u32 << FILES.len()) - 1 {
        let mixed = disk.fork();
        for (index, name) in FILES.iter().enumerate() {
            if mask & (1 << index) != 0 {
                mixed.change(name, |bytes| *bytes = yesterday.bytes(name));
            }
        }
        let Ok(vault) = open(&mixed) else { continue };
        let values: Vec<_> = (0..40)
            .filter_map(|n| match vault.get(format!("k{n}").as_bytes()) {
                Ok(value) => Some(value.expect("no record is missing")[0]),
                Err(e) => {
                    assert_eq!(e, ReadError::Corrupt(Part::Records), "{mask:b}");
                    None
                }
            })
            .collect();
        let all = |round| values.iter().all(|value| *value == round);
        assert!(all(1) || all(2), "{mask:b}: values of two days");
    }
}
