//! What a program gives up before it begins: core dumps, being read by others, files outside of its own
//! directory, and the system calls that it never needs.
//!
//! None of it is what keeps secrets from a network or a thief. It is for the day on which a mistake in the program lets
//! somebody else say what it does: then he has this process and its directory, and not the rest of the machine.
//!
//! A crate of its own, for every shell, as none may link another. Not here: what a process may open, which
//! is each shell's to say.
//!
//! Start at [`harden`] and [`confine`].

// What makes filters knows machines of 64 bits alone.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod calls;
#[cfg(target_os = "linux")]
mod files;
mod harden;
#[cfg(target_os = "linux")]
mod places;

use std::path::PathBuf;
use std::sync::OnceLock;

pub use harden::harden;

static IN_FORCE: OnceLock<InForce> = OnceLock::new();

/// What a process may still open, besides what it has open. Of what is not there nothing is said.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// Files and directories, with all below, that may be read, written, made and removed.
    pub written: Vec<PathBuf>,
    /// What may be read.
    pub read: Reads,
    /// Whether it is a server: it binds TCP ports, and may have been told sockets that have no place among files.
    pub serves: bool,
}

/// What a process may read.
#[derive(Clone, Debug)]
pub enum Reads {
    /// Its own, the system's, and these files and directories, with all below.
    These(Vec<PathBuf>),
    /// Whatever its user may.
    All,
}

/// How far a process is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InForce {
    /// Files and system calls.
    Full,
    /// Files alone.
    Files,
    /// System calls alone.
    Calls,
    /// Nothing.
    Nothing,
}

impl InForce {
    /// The name in interfaces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Files => "files",
            Self::Calls => "calls",
            Self::Nothing => "none",
        }
    }

    /// Whether files are confined.
    pub fn has_files(self) -> bool {
        matches!(self, Self::Full | Self::Files)
    }
}

/// Whoever may set a variable of a program is its user, and may have a system on which confining stands in the way.
const VARIABLE: &str = "EMPTYROOM_SANDBOX";
const OFF: &str = "off";

/// Confines this process for good, as far as the kernel can. Only threads that are started from here on are confined
/// wholly, so it is called before any is. `EMPTYROOM_SANDBOX=off` leaves the process as it is.
pub fn confine(allowed: &Allowed) -> InForce {
    let reached = confine_as_far(allowed);
    *IN_FORCE.get_or_init(|| reached)
}

/// Confines this process further, for good and as far as the kernel can, once it has opened all that it needs: no file and no
/// socket more, and no signals to others.
// [SPEC 11.130]
pub fn confine_to_what_is_open() {
    if std::env::var_os(VARIABLE).is_none_or(|value| value != OFF) {
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        calls::confine_to_what_is_open();
    }
}

/// How far this process is confined.
pub fn in_force() -> InForce {
    IN_FORCE.get().copied().unwrap_or(InForce::Nothing)
}

// [SPEC 11.94]
#[cfg(target_os = "linux")]
fn confine_as_far(allowed: &Allowed) -> InForce {
    if std::env::var_os(VARIABLE).is_some_and(|value| value == OFF) {
        return InForce::Nothing;
    }
    // Files first: the calls that it takes are not among those that are denied, but need not be there afterwards.
    let files = files::confine(allowed);
    #[cfg(target_pointer_width = "64")]
    let calls = calls::confine();
    #[cfg(not(target_pointer_width = "64"))]
    let calls = false;
    match (files, calls) {
        (true, true) => InForce::Full,
        (true, false) => InForce::Files,
        (false, true) => InForce::Calls,
        (false, false) => InForce::Nothing,
    }
}

#[cfg(not(target_os = "linux"))]
fn confine_as_far(_allowed: &Allowed) -> InForce {
    InForce::Nothing
}
