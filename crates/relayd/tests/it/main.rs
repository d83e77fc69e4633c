//! The real program over loopback, against a raw client made of `wire`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod abuse;
mod backup;
mod client;
mod confined;
mod conformance;
#[path = "../../../wire/tests/it/corpus.rs"]
mod corpus;
mod database;
mod disk;
mod failing;
mod flow;
mod fuzz;
mod golden;
mod kill;
mod lanes;
mod machine;
mod memory;
mod moving;
mod nats;
mod nodes;
mod operator;
mod postgres;
mod process;
mod program;
mod reload;
mod scratch;
mod segments;
mod shadow;
mod shares;
mod strangers;
mod totals;
