//! The whole network in one thread, from one seed: the project's main test.
//!
//! What is here: real clients, real relays and real sealed streams in virtual time ([`world`]), over disks that lose what was
//! not synced ([`records`], [`memory_store`]) and relays that lie ([`lies`]); people who talk through them and what they must
//! see ([`scene`], [`check`]); everything that can go wrong ([`trouble`], [`insider`]); and runs of one seed each ([`run`]).
//!
//! What is not: TLS, sockets, files, the vault's encryption. They have their own tests.
//!
//! Start with [`run`], then [`world`].
#![allow(
    clippy::indexing_slicing,
    reason = "development only: indices are the simulator's own, and a panic is a failing run"
)]

pub mod check;
pub mod dice;
pub mod insider;
pub mod lies;
pub mod memory_store;
pub mod records;
pub mod run;
pub mod scene;
pub mod trace;
pub mod trouble;
pub mod world;
