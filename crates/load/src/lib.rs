//! Load for a relay, and for other servers of the same work: open-loop, over real connections, with the cost told by the system.
//!
//! Development only: `cargo xtask bench relay` runs it. What it measures is the real program in a process of its own; costs
//! are that process's CPU time, memory and writes, and the generator's CPU time is told apart. Nothing here asserts a
//! figure.
//!
//! Start with [`system`] (what a server under load must be able to do), then [`session`] (many connections that do one piece
//! of work after the other) and [`payload`] (how latency is counted from the moment at which a message was due).

// For people at a terminal: what is measured is told as it comes.
#![allow(clippy::print_stderr)]
// Measuring turns counts into seconds and seconds into text.
#![allow(clippy::cast_precision_loss)]

pub mod cost;
pub mod cpu;
pub mod disk;
pub mod drive;
pub mod gate;
pub mod latency;
pub mod machine;
pub mod payload;
pub mod peers;
pub mod plot;
pub mod program;
pub mod relay;
pub mod report;
pub mod scenario;
pub mod schedule;
pub mod scratch;
pub mod session;
pub mod survival;
pub mod system;
pub mod threads;
pub mod wire_client;

/// What stops a measurement: said, and the program ends with 1.
pub type Trouble = Box<dyn std::error::Error + Send + Sync>;
