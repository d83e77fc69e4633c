//! The relay as a program: sockets, TLS, disk and clock around the pure `emptyroom-relay`.
//!
//! It decides nothing about logs, streams or refusals: bytes go to the pure relay, and what that asks for
//! is carried out. It links no MLS and knows no user.
//!
//! Start at [`server::Server`].

pub mod carrier;
pub mod clock;
pub mod console;
pub mod data;
pub mod entropy;
pub mod platform;
pub mod store;
pub mod tls;
#[cfg(test)]
mod testing;
