//! The operating system: the real directory, and memory that is not swapped. The only place in this
//! crate that touches files, and the only one with unsafe code.

mod directory;
pub(crate) mod sys;

pub use directory::{LOCK_NAME, OsDirectory};
