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
mod crash;
mod disk;
mod format;
mod reader;
mod support;
