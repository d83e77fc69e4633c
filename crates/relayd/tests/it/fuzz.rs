//! Every parser survives its corpus and mutations of it.

use emptyroom_relayd::fuzz::TARGETS;

use crate::corpus;

#[test]
fn every_corpus_and_its_mutations_are_survived() {
    for (name, target) in TARGETS {
        corpus::survived(name, 3_000, target);
    }
}
