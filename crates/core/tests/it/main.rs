//! Tests of the crate from outside. One binary; a module for each part.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod content;
#[path = "../../../wire/tests/it/corpus.rs"]
mod corpus;
mod fuzz;
mod keys;
mod mallory;
mod mls;
mod party;
mod restart;
mod vectors;
mod verification;

mod client;
/// The simulator's disk for relays; the same file, because tests of this crate cannot use a crate that uses it.
#[path = "../../../sim/src/memory_store.rs"]
#[allow(dead_code, unreachable_pub)]
mod memory_store;
