//! The corpus of each parser, replayed and then mutated from one seed.

use std::fs;
use std::path::{Path, PathBuf};

use emptyroom_relayd::fuzz::TARGETS;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

const MUTATIONS: u32 = 3_000;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz-corpus")
        .join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(&path)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has no input");
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn every_corpus_and_its_mutations_are_survived() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        target(&[]);
        inputs.iter().for_each(|input| target(input));
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut below = |limit: usize| (rng.next_u64() % limit.max(1) as u64) as usize;
        for _ in 0..MUTATIONS {
            let mut input = inputs[below(inputs.len())].clone();
            for _ in 0..=below(3) {
                let place = below(input.len());
                match below(5) {
                    0 if !input.is_empty() => input[place] ^= 1 << below(8),
                    1 if !input.is_empty() => input[place] = [0, 1, 0x7f, 0x80, 0xff][below(5)],
                    2 => input.truncate(place),
                    3 => input.insert(place, below(256) as u8),
                    _ => {
                        let piece = input[place..].to_vec();
                        input.extend(piece);
                    }
                }
            }
            target(&input);
        }
    }
}
