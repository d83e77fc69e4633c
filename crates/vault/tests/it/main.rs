//! The vault's tests: one binary.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod basics;
#[path = "../../../wire/tests/it/corpus.rs"]
mod corpus;
mod crash;
mod damage;
mod disk;
mod drill;
mod equal;
mod factors;
mod faults;
mod forensic;
mod format;
mod fuzz;
mod journal;
#[path = "../../../relayd/tests/it/machine.rs"]
mod machine;
mod os;
mod outside;
mod panic;
mod reader;
mod recovery;
mod sectors;
mod support;
mod versions;
mod wipe;
