//! The kept corpus of a parser, replayed and then mutated from one seed. The tests of each crate take this file by its path: it
//! needs nothing but the standard library, and a failure comes again wherever it is run.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    unreachable_pub,
    reason = "the corpus is files, and not every crate looks into them"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// So many changes of one input at most.
const CHANGES_MAX: usize = 5;
/// What parsers treat apart: ends of ranges, and what JSON is made of.
const INTERESTING: &[u8] = b"\x00\x01\x02\x7f\x80\xff{}[]\":,\\0-\n";

/// What is kept for a target.
pub fn kept(target: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz-corpus")
        .join(target);
    let entries = fs::read_dir(&corpus).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", corpus.display());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Gives a parser nothing, its corpus, and so many mutations of it.
pub fn survived(target: &str, mutations: u32, parse: impl Fn(&[u8])) {
    let inputs = kept(target);
    parse(&[]);
    inputs.iter().for_each(|input| parse(input));
    let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
    for _ in 0..mutations {
        let mut input = inputs[draw.below(inputs.len())].clone();
        for _ in 0..=draw.below(CHANGES_MAX) {
            draw.change(&mut input, &inputs);
        }
        parse(&input);
    }
}

/// Xorshift: the same everywhere.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    /// A bit, a byte, a cut, a repetition, or a piece of another input.
    fn change(&mut self, input: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = (at + self.below(40)).min(input.len());
        let byte = INTERESTING[self.below(INTERESTING.len())];
        match self.below(8) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = byte,
            2 => input.insert(at, byte),
            3 => input.truncate(at),
            4 => drop(input.drain(at..end)),
            5 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            choice => {
                let other = &inputs[self.below(inputs.len())];
                let from = self.below(other.len());
                let len = if choice == 6 { 40 } else { other.len() };
                let until = (from + len).min(other.len());
                input.splice(at..at, other[from..until].iter().copied());
            }
        }
    }
}
