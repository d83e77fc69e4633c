//! Every parser survives its corpus and mutations of it.

use emptyroom_core::fuzz::TARGETS;
use emptyroom_core::{MemoryRecords, Value, inspect};

use crate::corpus;

/// Those that make groups are a hundred times as slow.
const SLOW: [&str; 4] = ["group_info", "group_record", "mls_message", "vault_records"];

#[test]
fn every_corpus_and_its_mutations_are_survived() {
    for (name, target) in TARGETS {
        let mutations = if SLOW.contains(&name) { 150 } else { 4_000 };
        corpus::survived(name, mutations, target);
    }
}

/// What is mutated must be a vault: an old form of its records would be refused at the first of them.
#[test]
fn the_vaults_of_the_corpus_are_whole() {
    for vault in corpus::kept("vault_records") {
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
