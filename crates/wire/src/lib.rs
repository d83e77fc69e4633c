//! Bytes to types and back: everything two parties of Emptyroom must agree on to the last bit.
//!
//! What is here: the log and its capability, the sealing of entries, shares, orders to wipe, every operation of the relay
//! protocol, both ends of the sealed stream, relay keys and their chain, addresses and invite links,
//! the limits and the refusal codes. The clauses are chapters 2, 3, 4, 5 and 7 of `spec/SPEC.md`.
//!
//! What is not: no sockets, files, clock or operating-system randomness (time and randomness are
//! handed in), no MLS, and no decision about what to store or whom to answer. That is `core`'s and
//! `relay`'s.
//!
//! Start with [`log`] (the object that most is about), then [`op`] (what one can do with it), then
//! [`stream`] (how a request travels).

pub mod address;
pub mod aead;
mod base32;
pub mod codec;
pub mod derive;
pub mod entry;
pub mod framing;
pub mod fuzz;
pub mod greeting;
pub mod hash;
pub mod kem;
pub mod kill;
pub mod limits;
pub mod link;
pub mod log;
pub mod log_keys;
pub mod op;
mod pasted;
pub mod proof;
pub mod relay_key;
pub mod rng;
pub mod secret;
pub mod share;
pub mod sign;
pub mod stream;
pub mod time;
pub mod wipe;

/// Version of `spec/SPEC.md` that this code follows.
pub const SPEC_VERSION: &str = "0.1";

/// Lowest protocol version this code speaks.
pub const PROTOCOL_VERSION_MIN: u16 = 1;
/// Highest protocol version this code speaks.
pub const PROTOCOL_VERSION_MAX: u16 = 1;
