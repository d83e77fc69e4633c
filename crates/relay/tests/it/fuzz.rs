//! Every way in survives its corpus and mutations of it.

use emptyroom_relay::fuzz::TARGETS;

use crate::corpus;

#[test]
fn every_corpus_and_its_mutations_are_survived() {
    for (name, target) in TARGETS {
        // Where a stream is opened each costs a millisecond.
        let mutations = if name == "relay_rows" { 20_000 } else { 1_500 };
        corpus::survived(name, mutations, target);
    }
}
