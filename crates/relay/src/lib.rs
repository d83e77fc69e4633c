//! The relay, pure: it decides what is stored, who is answered and what is pushed, and does no IO.
//!
//! What is here: the streams of all clients ([`Relay`]), every operation of the relay protocol with its limits, the interface to
//! the disk ([`store`]) with the rules of storage over plain rows ([`store::Ledger`]), and the test suite that every store must pass
//! ([`conformance`]).
//!
//! What is not: no sockets, files, threads, clock or operating-system randomness; no MLS, no accounts, no senders. A shell carries
//! frames and batches in and out; the simulator does the same in one thread.
//!
//! Start with [`io`] (what goes in and out), then [`Relay`], then [`store`].

pub mod config;
pub mod conformance;
pub mod fuzz;
pub mod io;
pub mod limits;
mod relay;
pub mod store;
pub mod totals;

pub use config::{Config, Limits, Nodes};
pub use io::{ConnId, Input, Output, Reason, Ticket};
pub use relay::{Relay, kept_records};
pub use totals::Totals;
