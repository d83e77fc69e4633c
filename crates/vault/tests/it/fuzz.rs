//! Parsers: the kept corpus is replayed, and a seeded mutator runs over it.

use std::path::{Path, PathBuf};

use emptyroom_vault::fuzz;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::disk::Disk;
use crate::support::create;

const MUTATIONS: u32 = 4000;

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz-corpus")
        .join(name);
    let entries = std::fs::read_dir(&dir).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", dir.display());
    files
}

fn mutated(bytes: &[u8], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=rng.next_u32() % 4 {
        let at = rng.next_u32() as usize % bytes.len().max(1);
        match rng.next_u32() % 4 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), rng.next_u32() as u8),
            _ if at < bytes.len() => bytes[at] ^= 1 << (rng.next_u32() % 8),
            _ => {}
        }
    }
    bytes
}

fn run(name: &str, parser: fn(&[u8])) {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    for (_, bytes) in corpus(name) {
        parser(&bytes);
        for _ in 0..MUTATIONS {
            parser(&mutated(&bytes, &mut rng));
        }
    }
}

#[test]
fn headers() {
    run("header", fuzz::fuzz_header);
    let disk = Disk::new();
    drop(create(&disk).unwrap());
    fuzz::fuzz_header(&disk.bytes("header"));
}

#[test]
fn sectors() {
    run("sector", fuzz::fuzz_sector);
}

#[test]
fn journals() {
    run("journal", fuzz::fuzz_journal);
}

#[test]
fn block_zeros() {
    run("block_zero", fuzz::fuzz_block_zero);
}

#[test]
fn what_lies_outside() {
    run("outside", fuzz::fuzz_outside);
}

#[test]
fn rows() {
    run("row", fuzz::fuzz_row);
}
