//! Parsers: the kept corpus is replayed, and a seeded mutator runs over it.

use std::path::Path;

use emptyroom_tpm::fuzz;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

const MUTATIONS: u32 = 300;

fn mutated(bytes: &[u8], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=rng.next_u32() % 4 {
        let at = rng.next_u32() as usize % bytes.len().max(1);
        match rng.next_u32() % 8 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), rng.next_u32() as u8),
            _ if at < bytes.len() => bytes[at] ^= 1 << (rng.next_u32() % 8),
            _ => {}
        }
    }
    bytes
}

fn run(name: &str, parser: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz-corpus")
        .join(name);
    let mut files: Vec<_> = std::fs::read_dir(corpus)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    for file in files {
        let bytes = std::fs::read(file).unwrap();
        parser(&bytes);
        for _ in 0..MUTATIONS {
            parser(&mutated(&bytes, &mut rng));
        }
    }
}

#[test]
fn enrolments() {
    run("enrolment", fuzz::fuzz_enrolment);
}

// [SPEC 11.37]
#[test]
fn answers() {
    run("answers", |data| {
        fuzz::fuzz_answers(data);
    });
}
