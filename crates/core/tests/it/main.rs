//! Tests of the crate from outside. One binary; a module for each part.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod mallory;
mod mls;
mod party;
