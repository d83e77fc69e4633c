//! The client's decisions: who says what to whom, in which log, and what becomes of it.
//!
//! What is here: accounts and their keys, MLS behind one module, invites, generations, sending and
//! reading in order, receipts, timers, and restart, the one recovery for everything. The clauses are
//! chapters 8, 9 and 10 of `spec/SPEC.md`.
//!
//! What is not: no sockets, files, clock or operating-system randomness. Bytes, time and a random
//! source come in, outputs go out, the same for the same inputs; a shell (`node`, the simulator)
//! carries them out.
//!
//! Start with [`api`] (what goes in and out), then [`Client`].

pub mod account;
pub mod api;
pub mod certificate;
mod client;
mod clock;
pub mod content;
mod conversation;
pub mod extension;
pub mod fuzz;
pub mod genesis;
pub mod inspect;
pub mod kind;
mod link;
pub mod mls;
pub mod position;
pub mod records;
pub mod restart;
mod store;
pub mod verification;

pub use client::{Client, LoadError};
pub use store::{MemoryRecords, Records, VALUE_LEN_MAX, Value};
