//! What can go wrong, one type per operation: the caller branches on what to do.

use std::fmt;
use std::io;

use crate::command::Failure;

/// A fault that any operation may meet: nothing is known about the share itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no TPM, though there was one when it was opened.
    Missing,
    /// This user may not use the TPM.
    NoPermission,
    /// The TPM was busy for as long as we wait, or too much of it is in use.
    Busy,
    /// The TPM's own guard against guessing is up, by wrong passwords for something else.
    Lockout,
    /// The TPM's owner has a password, which only other programs can have set.
    OwnerPassword,
    /// The TPM's owner hierarchy is switched off, in the firmware as a rule.
    Disabled,
    /// The TPM cannot do what is needed.
    Unsupported,
    /// It is not the TPM of the enrolment that answers.
    OtherTpm,
    /// An answer to the named command is not what the specification says.
    Malformed(&'static str),
    /// An answer to the named command was altered on its way.
    Altered(&'static str),
    /// The TPM refused the named command with this code.
    Refused(&'static str, u32),
    /// A fault of the device or the system.
    Io(io::ErrorKind),
}

/// Why there is no new enrolment. Nothing of it is left in the TPM, but after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnrolError {
    /// Something is at this place already: take another.
    Taken,
    /// The TPM has no space for one more index.
    Full,
    /// Something else.
    Fault(Fault),
}

/// Why there is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareError {
    /// All tries are used up. Nothing but the reset secret helps, and that lies in the vault.
    UsedUp,
    /// The index is gone, for ever: destroyed, or the TPM was cleared, or this is another machine.
    Gone,
    /// Something else. A try may have been counted.
    Fault(Fault),
}

/// Why the tries were not set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetError {
    /// The secret is not the one of this enrolment.
    WrongSecret,
    /// The index is gone, for ever: destroyed, or the TPM was cleared, or this is another machine.
    Gone,
    /// Something else. The tries may have been set back.
    Fault(Fault),
}

/// Why the tries could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriesError {
    /// The index is gone, for ever: destroyed, or the TPM was cleared, or this is another machine.
    Gone,
    /// Something else.
    Fault(Fault),
}

/// Why an index could not be destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestroyError {
    /// What is at this place is not of our making. It was left alone.
    NotOurs,
    /// Something else.
    Fault(Fault),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Missing => f.write_str("there is no TPM any more"),
            Fault::NoPermission => f.write_str(
                "no permission to use the TPM: add this user to the group `tss` and log in again \
                 (Debian's package tpm-udev makes the group and gives it the device)",
            ),
            Fault::Busy => f.write_str("the TPM is busy: try again when other programs are done with it"),
            Fault::Lockout => f.write_str(
                "the TPM refuses all passwords for a while, because somebody guessed at another one: wait, or reset its lockout",
            ),
            Fault::OwnerPassword => f.write_str(
                "the TPM's owner has a password: take it away (`tpm2_changeauth -c owner`) or clear the TPM in the firmware",
            ),
            Fault::Disabled => f.write_str("the TPM is switched off: switch it on in the firmware"),
            Fault::Unsupported => {
                f.write_str("the TPM is too old: an index with limited tries takes revision 1.38 or later")
            }
            Fault::OtherTpm => f.write_str(
                "it is not the enrolled TPM that answers: another machine, or something sits between",
            ),
            Fault::Malformed(command) => write!(f, "the TPM's answer to {command} is malformed"),
            Fault::Altered(command) => {
                write!(f, "the TPM's answer to {command} was altered on its way")
            }
            Fault::Refused(command, code) => write!(f, "the TPM refused {command} with {code:#x}"),
            Fault::Io(kind) => write!(f, "the TPM cannot be reached: {kind}"),
        }
    }
}

const GONE: &str =
    "the TPM's share is gone: it was destroyed, the TPM was cleared, or this is another machine";

impl fmt::Display for EnrolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EnrolError::Taken => f.write_str("this place in the TPM is taken"),
            EnrolError::Full => f.write_str(
                "the TPM has no space left: remove indexes of other programs (`tpm2_nvundefine`)",
            ),
            EnrolError::Fault(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShareError::UsedUp => f.write_str("all tries are used up"),
            ShareError::Gone => f.write_str(GONE),
            ShareError::Fault(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for ResetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResetError::WrongSecret => f.write_str("the reset secret is not of this enrolment"),
            ResetError::Gone => f.write_str(GONE),
            ResetError::Fault(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for TriesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TriesError::Gone => f.write_str(GONE),
            TriesError::Fault(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for DestroyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DestroyError::NotOurs => {
                f.write_str("what is at this place in the TPM belongs to another program")
            }
            DestroyError::Fault(fault) => fault.fmt(f),
        }
    }
}

macro_rules! from_fault {
    ($($name:ident)*) => {$(
        impl From<Fault> for $name {
            fn from(fault: Fault) -> Self {
                $name::Fault(fault)
            }
        }
        impl From<Failure> for $name {
            fn from(failure: Failure) -> Self {
                $name::Fault(failure.into())
            }
        }
        impl std::error::Error for $name {}
    )*};
}

from_fault!(EnrolError ShareError ResetError TriesError DestroyError);
impl std::error::Error for Fault {}

impl From<io::Error> for Fault {
    fn from(why: io::Error) -> Self {
        // A device without a chip behind it.
        const NO_SUCH_DEVICE: [Option<i32>; 2] = [Some(6), Some(19)];
        if NO_SUCH_DEVICE.contains(&why.raw_os_error()) {
            return Fault::Missing;
        }
        match why.kind() {
            io::ErrorKind::NotFound => Fault::Missing,
            io::ErrorKind::PermissionDenied => Fault::NoPermission,
            io::ErrorKind::ResourceBusy => Fault::Busy,
            kind => Fault::Io(kind),
        }
    }
}
