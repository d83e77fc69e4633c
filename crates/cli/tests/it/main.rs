//! End to end: the real program against a real relay, each command and each way it can end.
//!
//! Nothing here sleeps to synchronise: a test waits for a line of output or the end of a process, with a deadline that
//! only a hanging program reaches.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod chat;
mod commands;
mod confined;
mod crash;
mod daemon;
mod damaged;
mod deadman;
mod desktop;
mod disk;
mod drill;
mod endings;
mod golden;
mod hygiene;
mod image;
mod killcode;
#[path = "../../../relayd/tests/it/machine.rs"]
mod machine;
mod mode;
mod panic;
#[path = "../../../vault/tests/it/reader.rs"]
#[allow(dead_code, clippy::cast_possible_truncation)]
mod reader;
mod relay_modes;
mod restored;
mod signals;
mod slow;
mod verify;
mod world;
