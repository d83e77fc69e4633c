//! Integration tests of the node: its parsers under hostile bytes, its carrier against a real TLS end.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod carrier;
#[path = "../../../wire/tests/it/corpus.rs"]
mod corpus;
mod fuzz;
