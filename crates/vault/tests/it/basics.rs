//! What a vault does when nothing goes wrong, and how it says no.

use std::collections::BTreeMap;

use emptyroom_vault::{
    Change, CreateError, KdfParams, NAME_LEN_MAX, OpenError, Part, Passphrase, ROTATION_PERIOD_MS,
    SecretError, VALUE_LEN_MAX, Vault, WriteError,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::disk::Disk;
use crate::reader;
use crate::support::{Changes, SECRET, create, delete, fresh_rng, open, put, secret, value};

#[test]
fn records_are_there_after_reopening() {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    vault
        .apply(vec![put("a", b"one"), put("b", b"two")])
        .unwrap();
    assert_eq!(value(&vault, "a"), Some(b"one".to_vec()));
    vault.apply(vec![put("a", b"three"), delete("b")]).unwrap();
    vault.lock().unwrap();
    let mut vault = open(&disk).unwrap();
    assert_eq!(value(&vault, "a"), Some(b"three".to_vec()));
    assert_eq!(value(&vault, "b"), None);
    vault.apply(vec![delete("a")]).unwrap();
    assert_eq!(value(&vault, "a"), None);
    drop(vault);
    let vault = open(&disk).unwrap();
    assert_eq!(value(&vault, "a"), None);
}

// [SPEC 11.25]
#[test]
fn every_refusal_is_its_own() {
    let disk = Disk::new();
    assert_eq!(open(&disk).err(), Some(OpenError::Missing));
    let costly = KdfParams {
        memory_kib: 4,
        ..KdfParams::minimum()
    };
    assert_eq!(
        Vault::create(disk.boxed(), &secret(), costly, fresh_rng()).err(),
        Some(CreateError::Kdf)
    );
    let vault = create(&disk).unwrap();
    // [SPEC 11.1]
    assert_eq!(open(&disk).err(), Some(OpenError::InUse));
    assert_eq!(create(&disk).err(), Some(CreateError::InUse));
    drop(vault);
    assert_eq!(create(&disk).err(), Some(CreateError::Exists));
    let wrong = Passphrase::from("wrong".to_owned());
    assert_eq!(
        Vault::open(disk.boxed(), &wrong, fresh_rng()).err(),
        Some(OpenError::WrongSecret)
    );
    let parts = [
        ("keys.0", Part::Keys),
        ("keys.1", Part::Keys),
        ("journal", Part::Keys),
        ("records", Part::Records),
    ];
    for (name, part) in parts {
        let disk = disk.fork();
        disk.remove(name);
        assert_eq!(open(&disk).err(), Some(OpenError::Corrupt(part)), "{name}");
    }
    disk.remove("header");
    assert_eq!(open(&disk).err(), Some(OpenError::Missing));
}

// [SPEC 11.18]
#[test]
fn limits_of_names_and_values() {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    let change = |key: usize, value: usize| Change {
        key: vec![b'k'; key],
        value: Some(vec![b'v'; value]),
    };
    vault
        .apply(vec![change(NAME_LEN_MAX, VALUE_LEN_MAX), change(1, 0)])
        .unwrap();
    for (key, value) in [(0, 1), (NAME_LEN_MAX + 1, 1), (1, VALUE_LEN_MAX + 1)] {
        let refused = vault.apply(vec![change(2, 2), change(key, value)]);
        assert_eq!(refused, Err(WriteError::TooLong));
    }
    assert_eq!(value(&vault, "kk"), None, "nothing of a refused call");
    assert_eq!(value(&vault, "k"), Some(vec![]));
    vault.lock().unwrap();
    let vault = open(&disk).unwrap();
    let long = vault.get(&[b'k'; NAME_LEN_MAX]).unwrap().unwrap();
    assert_eq!(long.len(), VALUE_LEN_MAX);
}

#[test]
fn the_last_change_of_a_call_counts() {
    let mut vault = create(&Disk::new()).unwrap();
    vault
        .apply(vec![
            put("a", b"1"),
            put("a", b"2"),
            delete("b"),
            put("b", b"3"),
            put("c", b"4"),
            delete("c"),
        ])
        .unwrap();
    assert_eq!(value(&vault, "a"), Some(b"2".to_vec()));
    assert_eq!(value(&vault, "b"), Some(b"3".to_vec()));
    assert_eq!(value(&vault, "c"), None);
}

#[test]
fn scans_like_an_ordered_map() {
    let mut vault = create(&Disk::new()).unwrap();
    let mut model = BTreeMap::new();
    let names: [&[u8]; 9] = [
        b"a",
        b"a\x00",
        b"a\xff",
        b"a\xff\xff",
        b"ab",
        b"abc",
        b"b",
        b"\xff",
        b"\xff\xff",
    ];
    for name in names {
        model.insert(name.to_vec(), name.to_vec());
        vault
            .apply(vec![Change {
                key: name.to_vec(),
                value: Some(name.to_vec()),
            }])
            .unwrap();
    }
    let prefixes: [&[u8]; 6] = [b"", b"a", b"a\xff", b"ab", b"\xff", b"zz"];
    let mut after: Vec<Option<&[u8]>> = names.iter().map(|name| Some(*name)).collect();
    after.extend([None, Some(&b""[..]), Some(&b"aa"[..]), Some(&b"z"[..])]);
    for prefix in prefixes {
        for after in &after {
            for reverse in [false, true] {
                for limit in [0, 1, 2, 100] {
                    let mut expected: Vec<_> = model
                        .iter()
                        .filter(|(name, _)| name.starts_with(prefix))
                        .filter(|(name, _)| match after {
                            None => true,
                            Some(after) if reverse => name.as_slice() < *after,
                            Some(after) => name.as_slice() > *after,
                        })
                        .map(|(name, value)| (name.clone(), value.clone()))
                        .collect();
                    if reverse {
                        expected.reverse();
                    }
                    expected.truncate(limit);
                    let got: Vec<_> = vault
                        .scan(prefix, *after, limit, reverse)
                        .unwrap()
                        .into_iter()
                        .map(|(name, value)| (name, value.to_vec()))
                        .collect();
                    assert_eq!(got, expected, "{prefix:?} {after:?} {limit} {reverse}");
                }
            }
        }
    }
}

#[test]
fn random_traces_match_a_map() {
    for seed in 0..20 {
        let disk = Disk::new();
        let mut random = ChaCha20Rng::seed_from_u64(seed);
        let mut model: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut vault = create(&disk).unwrap();
        for _ in 0..60 {
            let mut changes = Vec::new();
            for _ in 0..random.next_u32() % 6 {
                let key = format!("k{}", random.next_u32() % 40);
                if random.next_u32() % 3 == 0 {
                    model.remove(&key);
                    changes.push(delete(&key));
                } else {
                    let mut bytes = vec![0; (random.next_u32() % 300) as usize];
                    random.fill_bytes(&mut bytes);
                    model.insert(key.clone(), bytes.clone());
                    changes.push(put(&key, &bytes));
                }
            }
            vault.apply(changes).unwrap();
            match random.next_u32() % 12 {
                0 => vault.rotate().unwrap(),
                1 => {
                    vault.lock().unwrap();
                    vault = open(&disk).unwrap();
                }
                2 => {
                    drop(vault);
                    vault = open(&disk).unwrap();
                }
                _ => {}
            }
            for key in ["k1", "k7", "k39"] {
                assert_eq!(value(&vault, key).as_ref(), model.get(key));
            }
        }
        let all = vault.scan(b"", None, usize::MAX, false).unwrap();
        let all: BTreeMap<String, Vec<u8>> = all
            .into_iter()
            .map(|(key, value)| (String::from_utf8(key).unwrap(), value.to_vec()))
            .collect();
        assert_eq!(all, model, "seed {seed}");
        assert_eq!(vault.status().unwrap().records, model.len() as u64);
    }
}

// [SPEC 11.22]
#[test]
fn the_root_is_rotated_within_the_hour_if_a_key_was_killed() {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    let root = || {
        reader::newest_header(&disk.bytes("header"), SECRET)
            .unwrap()
            .root
    };
    vault.apply(vec![put("a", b"1")]).unwrap();
    let first = root();
    assert!(!vault.rotate_if_due(5).unwrap());
    assert!(!vault.rotate_if_due(5 + 10 * ROTATION_PERIOD_MS).unwrap());
    assert_eq!(root(), first, "no key was killed");
    let start = 5 + 10 * ROTATION_PERIOD_MS;
    vault.apply(vec![put("a", b"2")]).unwrap();
    assert!(vault.status().unwrap().rotation_due);
    assert!(!vault.rotate_if_due(start + ROTATION_PERIOD_MS - 1).unwrap());
    // Whoever looks every minute is in time.
    const HOUR_MS: u64 = 60 * 60 * 1_000;
    const { assert!(ROTATION_PERIOD_MS + 60 * 1_000 <= HOUR_MS) };
    assert!(vault.rotate_if_due(start + ROTATION_PERIOD_MS).unwrap());
    assert_ne!(root(), first);
    assert!(!vault.status().unwrap().rotation_due);
    assert!(!vault.rotate_if_due(start + 3 * ROTATION_PERIOD_MS).unwrap());
}

#[test]
fn the_file_that_no_longer_counts_is_overwritten() {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    let before = disk.bytes("keys.0");
    let header = reader::newest_header(&disk.bytes("header"), SECRET).unwrap();
    let key = reader::sector_key(&header.vault, &header.root);
    assert!(reader::open_sealed(&key, &0u32.to_be_bytes(), &before[..4096]).is_some());
    vault.rotate().unwrap();
    let after = disk.bytes("keys.0");
    assert_eq!(before.len(), after.len());
    for (sector, old) in after.chunks_exact(4096).zip(before.chunks_exact(4096)) {
        assert_ne!(sector, old);
        for number in 0..header.sectors {
            assert!(reader::open_sealed(&key, &number.to_be_bytes(), sector).is_none());
        }
    }
}

// [SPEC 11.21]
// [SPEC 11.10]
#[test]
fn opening_and_locking_rotate_the_root() {
    let disk = Disk::new();
    let root = || {
        let bytes = disk.bytes("header");
        assert_eq!(bytes[..4096], bytes[4096..], "no copy of an older header");
        reader::newest_header(&bytes, SECRET).unwrap().root
    };
    let mut vault = create(&disk).unwrap();
    vault.apply(vec![put("a", b"1")]).unwrap();
    let first = root();
    drop(vault);
    let mut vault = open(&disk).unwrap();
    let second = root();
    assert_ne!(first, second);
    vault.apply(vec![delete("a")]).unwrap();
    assert_eq!(root(), second);
    vault.lock().unwrap();
    assert_ne!(root(), second);
}

// [SPEC 11.23]
#[test]
fn a_changed_secret_opens_and_the_old_does_not() {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    vault.apply(vec![put("a", b"1")]).unwrap();
    let new = Passphrase::from("new".to_owned());
    let refused = Err(SecretError::WrongSecret);
    assert_eq!(vault.change_secret(&new, &secret()), refused);
    let files = ["keys.0", "keys.1", "journal", "records"];
    let header = || reader::newest_header(&disk.bytes("header"), SECRET).unwrap();
    let before = (header(), files.map(|name| disk.bytes(name)));
    let salt = disk.bytes("header")[24..72].to_vec();
    vault.change_secret(&secret(), &new).unwrap();
    // [SPEC 11.43]
    let after = reader::newest_header(&disk.bytes("header"), "new").unwrap();
    assert_eq!(disk.bytes("header")[24..72], salt, "cost and salt");
    assert_eq!(after.vault, before.0.vault);
    assert_eq!(after.sequence, before.0.sequence + 1, "one replacement");
    assert_ne!(after.root, before.0.root);
    assert_eq!(disk.bytes("records"), before.1[3]);
    assert_eq!(vault.change_secret(&secret(), &new), refused);
    vault.apply(vec![put("b", b"2")]).unwrap();
    vault.lock().unwrap();
    assert_eq!(open(&disk).err(), Some(OpenError::WrongSecret));
    let vault = Vault::open(disk.boxed(), &new, fresh_rng()).unwrap();
    assert_eq!(value(&vault, "a"), Some(b"1".to_vec()));
    assert_eq!(value(&vault, "b"), Some(b"2".to_vec()));
}
