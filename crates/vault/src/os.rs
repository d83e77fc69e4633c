//! The operating system: the real directory. The only place in this crate that touches files.

mod directory;

pub use directory::OsDirectory;
