//! The corpus of each parser, replayed and then mutated from one seed.
#![allow(clippy::disallowed_methods, reason = "the corpus is files")]

use std::path::PathBuf;

use emptyroom_core::fuzz::TARGETS;
use emptyroom_core::{MemoryRecords, Value, inspect};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// Mutations of each target's corpus; those that make groups are a hundred times as slow.
const MUTATIONS: u64 = 4_000;
const SLOW_MUTATIONS: u64 = 150;
const SLOW: [&str; 4] = ["group_info", "group_record", "mls_message", "vault_records"];

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz-corpus")
        .join(name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&path)
        .unwrap_or_else(|_| panic!("{} has no corpus", path.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

#[test]
fn every_corpus_is_replayed() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name} has an input");
        target(&[]);
        inputs.iter().for_each(|input| target(input));
    }
}

#[test]
fn mutations_of_every_corpus_are_survived() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let count = if SLOW.contains(&name) {
            SLOW_MUTATIONS
        } else {
            MUTATIONS
        };
        for _ in 0..count {
            let mut input = inputs[below(&mut rng, inputs.len())].clone();
            for _ in 0..=below(&mut rng, 3) {
                mutate(&mut input, &inputs, &mut rng);
            }
            target(&input);
        }
    }
}

fn below(rng: &mut ChaCha20Rng, limit: usize) -> usize {
    let limit = u64::try_from(limit.max(1)).unwrap();
    usize::try_from(rng.next_u64() % limit).unwrap()
}

/// One change: a bit, an interesting byte, a cut, a repetition, a piece of another input.
fn mutate(input: &mut Vec<u8>, inputs: &[Vec<u8>], rng: &mut ChaCha20Rng) {
    let place = below(rng, input.len());
    let len = below(rng, 40);
    let end = (place + len).min(input.len());
    match below(rng, 6) {
        0 if !input.is_empty() => input[place] ^= 1 << below(rng, 8),
        1 if !input.is_empty() => input[place] = [0, 1, 2, 0x7f, 0x80, 0xff][below(rng, 6)],
        2 => input.truncate(place),
        3 => drop(input.drain(place.min(end)..end)),
        4 => {
            let piece = input[place.min(end)..end].to_vec();
            input.splice(place..place, piece);
        }
        _ => {
            let other = &inputs[below(rng, inputs.len())];
            let from = below(rng, other.len());
            let piece = other[from..(from + len).min(other.len())].to_vec();
            input.splice(place..place, piece);
        }
    }
}

/// What is mutated must be a vault: an old form of its records would be refused at the first of them.
#[test]
fn the_vaults_of_the_corpus_are_whole() {
    for vault in corpus("vault_records") {
        let mut records = MemoryRecords::default();
        let mut rest = &vault[..];
        while let Some((len, after)) = rest.split_first() {
            let (key, after) = after.split_at(usize::from(*len));
            let (len, after) = after.split_first_chunk().unwrap();
            let (value, after) = after.split_at(u32::from_be_bytes(*len) as usize);
            records.0.insert(key.to_vec(), Value::new(value.to_vec()));
            rest = after;
        }
        let found = inspect::conversations(&records).unwrap();
        assert!(found.iter().any(|found| found.main.is_some()));
    }
}
