//! The relay as a program: sockets, TLS, disk and clock around the pure `emptyroom-relay`.
//!
//! It decides nothing about logs, streams or refusals: bytes go to the pure relay, and what that asks for
//! is carried out. It links no MLS and knows no user.
//!
//! Start at [`server::Server`].

pub mod carrier;
mod chain;
pub mod cli;
pub mod clock;
mod committer;
pub mod config;
pub mod connection;
pub mod console;
pub mod data;
mod engine;
pub mod entropy;
pub mod fuzz;
pub mod lanes;
pub mod log;
pub mod medium;
pub mod metrics;
mod moving;
mod outbox;
pub mod platform;
pub mod postgres;
mod seal;
pub mod segments;
pub mod server;
pub mod sqlite;
mod stack;
mod status;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod wake;
