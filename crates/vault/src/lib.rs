//! The vault: a durable, encrypted table of records whose deleted records are really gone.
//!
//! One directory, handed in as a [`Directory`] (the real one: [`os::OsDirectory`]), one writer. A
//! record is a short name and a value; [`Vault::apply`] changes any number of them in one durable
//! transaction. Every value is sealed under a key of its own, and deleting kills that key.
//!
//! Not here: what the records mean (core), timers (callers hand in the time), limits of the process
//! such as core dumps (binaries), remote and TPM factors (their place in the derivation is kept).
//!
//! Start at [`Vault`]. What binds: chapter 11 of `spec/SPEC.md`.

mod directory;
mod error;
pub mod os;
mod secret;
mod vault;

pub use directory::{Directory, File};
pub use error::{CreateError, OpenError, Part, ReadError, WriteError};
pub use secret::Passphrase;
pub use vault::{Change, KdfParams, Mode, Record, Status, Vault};
