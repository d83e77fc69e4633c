//! The corpus of each way in, replayed and then mutated from one seed.

use std::path::PathBuf;

use emptyroom_relay::fuzz::TARGETS;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// Mutations of each target's corpus; where a stream is opened each costs a millisecond.
fn mutations(name: &str) -> u64 {
    match name {
        "relay_rows" => 20_000,
        _ => 1_500,
    }
}

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
        for _ in 0..mutations(name) {
            let at = below(&mut rng, inputs.len());
            let mut input = inputs[at].clone();
            for _ in 0..=below(&mut rng, 4) {
                mutate(&mut input, &inputs, &mut rng);
            }
            target(&input);
        }
    }
}

fn mutate(input: &mut Vec<u8>, others: &[Vec<u8>], rng: &mut ChaCha20Rng) {
    if input.is_empty() {
        input.push(0);
    }
    let at = below(rng, input.len());
    match below(rng, 6) {
        0 => input[at] ^= 1 << below(rng, 8),
        1 => input[at] = [0, 1, 0x7f, 0x80, 0xff][below(rng, 5)],
        2 => input.truncate(at),
        3 => {
            input.remove(at);
        }
        4 => input.insert(at, input[at]),
        _ => {
            let other = &others[below(rng, others.len())];
            let from = below(rng, other.len().max(1)).min(other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
    }
}

fn below(rng: &mut ChaCha20Rng, end: usize) -> usize {
    usize::try_from(rng.next_u64() % (end as u64)).unwrap()
}
