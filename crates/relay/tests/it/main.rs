//! The relay against attacks, and the ledger against the conformance suite.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]
// The corpus is on disk.
#![allow(clippy::disallowed_methods)]

mod appends;
mod at_rest;
mod away;
mod casts;
#[path = "../../../wire/tests/it/corpus.rs"]
mod corpus;
mod fairness;
mod full;
mod fuzz;
mod logs;
mod malformed;
mod nodes;
mod opening;
mod readers;
mod running;
mod shares;
mod stores;
mod storm;
mod streams;
mod world;
