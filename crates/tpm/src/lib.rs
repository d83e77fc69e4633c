//! The TPM's share of a vault's key: a key that never leaves the chip, behind ten tries.
//!
//! [`Tpm::enrol`] makes a key in the TPM and, in front of it, an index that counts how often the key
//! was asked, right or wrong. [`Tpm::share`] asks it, [`Tpm::reset`] sets the count back, for which it
//! takes a secret that lies inside the vault, and [`Tpm::destroy`] removes the index, so that nothing
//! ever opens that key again.
//!
//! It speaks to the kernel's device itself: no TPM library is linked or needed. Where there is no
//! TPM, [`Tpm::open`] says so.
//!
//! Not here: the vault (it takes the share as 32 bytes from whoever asked for it) and where the
//! [`Enrolment`] is kept.
//!
//! Start at [`Tpm`]. What binds: 11.30 to 11.38 of `spec/SPEC.md`. Names and numbers are those of the
//! TPM 2.0 Library specification of the Trusted Computing Group, cited as `TPM2` with its part.

mod channel;
mod command;
mod connection;
mod enrolment;
mod error;
pub mod fuzz;
mod object;
mod operation;
mod secret;
mod session;
pub mod swtpm;
mod tpm;
mod wire;

pub use enrolment::{ENROLMENT_LEN_MAX, Enrolment, Identity, Place};
pub use error::{DestroyError, EnrolError, Fault, ResetError, ShareError, TriesError};
pub use secret::{ResetSecret, Share, Stretched};
pub use tpm::{DEVICE, Destroyed, TRIES, Tpm, Tries};
