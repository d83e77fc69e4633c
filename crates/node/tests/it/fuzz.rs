//! The corpus, and a few thousand seeded mutations of it.

use std::path::Path;

use emptyroom_node::fuzz::{fuzz_area, fuzz_outside, fuzz_request, fuzz_response};

const ROUNDS: usize = 4_000;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz-corpus")
        .join(name);
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// A small generator of its own, so that a failing seed means the same everywhere.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

fn mutate(random: &mut Xorshift, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut data = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(data.len() + 1);
        match random.below(5) {
            0 => data.truncate(at),
            1 => data.insert(at, b"{}[]\":,\\0-\n\xff"[random.below(12)]),
            2 if at < data.len() => data[at] ^= 1 << random.below(8),
            3 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                data.splice(at..at, other[from..].iter().copied());
            }
            _ if at < data.len() => drop(data.remove(at)),
            _ => {}
        }
    }
    data
}

fn run(name: &str, target: fn(&[u8])) {
    let seeds = corpus(name);
    assert!(!seeds.is_empty());
    seeds.iter().for_each(|seed| target(seed));
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    for _ in 0..ROUNDS {
        target(&mutate(&mut random, &seeds));
    }
}

#[test]
fn areas_never_panic() {
    run("area", fuzz_area);
}

#[test]
fn requests_never_panic() {
    run("request", fuzz_request);
}

#[test]
fn responses_never_panic() {
    run("response", fuzz_response);
}

#[test]
fn what_lies_outside_never_panics() {
    run("outside", fuzz_outside);
}
