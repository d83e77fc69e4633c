//! The relay against attacks, and the ledger against the conformance suite.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod rows;
mod stores;
