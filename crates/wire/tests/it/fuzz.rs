//! Every parser survives its corpus and mutations of it.

use emptyroom_wire::fuzz::TARGETS;

use crate::corpus;

/// Those that decapsulate are a hundred times as slow.
const SLOW: [&str; 4] = ["opening", "opening_answer", "sealed_to", "key_chain"];

#[test]
fn every_corpus_and_its_mutations_are_survived() {
    for (name, target) in TARGETS {
        let mutations = if SLOW.contains(&name) { 100 } else { 4_000 };
        corpus::survived(name, mutations, target);
    }
}
