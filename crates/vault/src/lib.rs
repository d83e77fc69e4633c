//! The vault: a durable, encrypted table of records whose deleted records are really gone.
//!
//! One directory, handed in as a [`Directory`] (the real one: [`os::OsDirectory`]), one writer. A
//! record is a short name and a value; [`Vault::apply`] changes any number of them in one durable
//! transaction. Every value is sealed under a key of its own, and deleting kills that key.
//!
//! Not here: what the records mean (core), timers (callers hand in the time), limits of the process
//! such as core dumps (binaries), asking a TPM (it takes the shares that callers were given).
//!
//! Start at [`Vault`]. What binds: chapter 11 of `spec/SPEC.md`.

mod derive;
mod directory;
mod error;
mod factors;
mod forensic;
pub mod fuzz;
mod header;
mod keys;
mod memory;
pub mod os;
pub mod outside;
mod pair;
mod random;
mod record;
mod seal;
mod secret;
mod store;
mod vault;

pub use derive::KdfParams;
pub use directory::{Directory, File};
pub use error::{CreateError, OpenError, Part, ReadError, SecretError, WipeError, WriteError};
pub use factors::{Answers, Besides, Factors, Mode, Share};
pub use forensic::Found;
pub use record::{NAME_LEN_MAX, VALUE_LEN_MAX};
pub use secret::Passphrase;
pub use vault::{
    Change, DRILL_RECORDS, Drill, DrillError, Ground, Locked, OutsideFile, ROTATION_PERIOD_MS,
    Record, Rewrapping, Status, Stretched, Tried, Vault, Way, file_names, is_there, mode_of, wipe,
    wipe_held,
};
