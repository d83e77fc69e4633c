//! Everything about bytes: published vectors, our own, and each refusal that the specification demands.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods, // vectors and corpora are files
    clippy::type_complexity,
    missing_docs,
    unreachable_pub
)]

mod address;
mod chain;
mod codec;
mod corpus;
mod entry;
mod framing;
mod fuzz;
mod greeting;
mod kem;
mod kill;
mod link;
mod log;
mod op;
mod proof;
mod published;
mod random;
mod share;
mod stream;
mod support;
mod vectors;
mod wipe;
