//! The TPM's tests, against a real TPM in software: one binary.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod attacks;
mod bus;
#[path = "../../../wire/tests/it/corpus.rs"]
mod corpus;
mod fuzz;
mod hostile;
mod operations;
mod raw;
mod support;
