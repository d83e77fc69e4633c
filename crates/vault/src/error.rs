//! What can go wrong, one type per operation: the caller branches on what to do.

use std::fmt;
use std::io;

/// Which part of the vault is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The header: both copies.
    Header,
    /// The file of record keys.
    Keys,
    /// The table of records.
    Records,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Header => "header",
            Part::Keys => "key file",
            Part::Records => "records",
        })
    }
}

/// Why a vault was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateError {
    /// There is a vault in this directory already.
    Exists,
    /// Another process has this directory open.
    InUse,
    /// The key derivation parameters are outside of what the format allows.
    Kdf,
    /// The disk is full.
    Full,
    /// Another fault of disk or system.
    Io(io::ErrorKind),
}

/// Why a vault was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The secret opens none of the slots.
    WrongSecret,
    /// It opens none without the share of a factor that did not answer; with it, it might.
    Unanswered,
    /// There is no vault in this directory.
    Missing,
    /// The vault is damaged.
    Corrupt(Part),
    /// The vault was written by a newer program.
    Newer {
        /// The format version found.
        found: u16,
        /// The highest version this program knows.
        known: u16,
    },
    /// Another process has this vault open.
    InUse,
    /// The disk is full, and there is not even the space to open it.
    Full,
    /// Another fault of disk or system.
    Io(io::ErrorKind),
}

/// Why a record was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The vault is damaged.
    Corrupt(Part),
    /// Another fault of disk or system.
    Io(io::ErrorKind),
}

/// Why a change was not made, or not yet wholly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The disk is full. Nothing was lost; the same call succeeds when there is space again. (If the
    /// space ran out at the very end the change has been made, and making it again does no harm.)
    Full,
    /// A record's name or value is longer than a vault takes.
    TooLong,
    /// The vault is damaged.
    Corrupt(Part),
    /// Another fault of disk or system. The change may or may not have been made.
    Io(io::ErrorKind),
}

/// Why a vault was not destroyed, or not wholly: to be done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WipeError {
    /// There is nothing of a vault in this directory.
    Missing,
    /// Another process has this vault open.
    InUse,
    /// A fault of disk or system. Whatever could be overwritten or removed has been.
    Io(io::ErrorKind),
}

/// Why the secrets of a vault were not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretError {
    /// What was given as the present secret is not that.
    WrongSecret,
    /// The secret and the panic PIN would be the same.
    Same,
    /// The header was not written.
    Write(WriteError),
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CreateError::Exists => f.write_str("there is a vault already"),
            CreateError::InUse => f.write_str("the vault is in use by another process"),
            CreateError::Kdf => f.write_str("key derivation parameters are out of range"),
            CreateError::Full => f.write_str("the disk is full"),
            CreateError::Io(kind) => write!(f, "the vault could not be written: {kind}"),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::WrongSecret => f.write_str("wrong secret"),
            OpenError::Unanswered => f.write_str("a factor besides the secret did not answer"),
            OpenError::Missing => f.write_str("there is no vault"),
            OpenError::Corrupt(part) => write!(f, "the vault is damaged: {part}"),
            OpenError::Newer { found, known } => {
                write!(f, "vault format {found} is newer than {known}")
            }
            OpenError::InUse => f.write_str("the vault is in use by another process"),
            OpenError::Full => f.write_str("the disk is full"),
            OpenError::Io(kind) => write!(f, "the vault could not be read: {kind}"),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Corrupt(part) => write!(f, "the vault is damaged: {part}"),
            ReadError::Io(kind) => write!(f, "the vault could not be read: {kind}"),
        }
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Full => f.write_str("the disk is full"),
            WriteError::TooLong => f.write_str("the record is too long"),
            WriteError::Corrupt(part) => write!(f, "the vault is damaged: {part}"),
            WriteError::Io(kind) => write!(f, "the vault could not be written: {kind}"),
        }
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretError::WrongSecret => f.write_str("wrong secret"),
            SecretError::Same => f.write_str("the secret and the panic PIN would be the same"),
            SecretError::Write(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for WipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WipeError::Missing => f.write_str("there is no vault"),
            WipeError::InUse => f.write_str("the vault is in use by another process"),
            WipeError::Io(kind) => write!(f, "the vault could not be destroyed: {kind}"),
        }
    }
}

impl std::error::Error for WipeError {}
impl std::error::Error for SecretError {}
impl std::error::Error for CreateError {}
impl std::error::Error for OpenError {}
impl std::error::Error for ReadError {}
impl std::error::Error for WriteError {}
