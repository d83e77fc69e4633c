//! Whose fault, and so what to do: skip and report, restart, or mend this program.

use std::fmt;

use openmls::framing::errors::{MessageDecryptionError, SecretTreeError};
use openmls::prelude::{
    ApplyUpdatePathError, ProcessMessageError, StageCommitError, ValidationError,
};

use super::store::StoreFault;
use crate::certificate::CertificateFault;
use crate::records::RecordFault;

/// They broke the protocol. Every member skips the entry and says so; a commit slot goes to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerFault {
    /// Neither an application message nor a commit in the form they must have.
    NotAMessage,
    /// A commit longer than any may be.
    TooLong,
    /// A message of another group.
    OtherGroup,
    /// A message of another epoch than the current one.
    OtherEpoch {
        /// The message's.
        got: u64,
        /// The group's.
        expected: u64,
    },
    /// The entry's flags do not fit what is in it.
    Flags,
    /// The sender is no member.
    NoMember,
    /// The commit proposes what this protocol does not have.
    Proposals,
    /// The commit gives its maker no new keys.
    NoPath,
    /// The new leaf's certificate is bad.
    Certificate(CertificateFault),
    /// The new leaf is of another identity or device than its certificate or the leaf before it.
    OtherKeys,
    /// The new leaf's encryption key is none.
    BadKey,
    /// A join where none may join: not the one-member group of an invite or restart, or not who may.
    NotAdmitted,
    /// The commit's note has another form.
    MalformedNote,
    /// The commit's note has a version that this program does not know.
    NoteVersion(u16),
    /// Something must be understood, and is not.
    Critical(u16),
    /// MLS itself refuses it, for reasons that all members see.
    Mls,
    /// A message whose key was used before: a replay, or a sender who went back to an old state.
    Replayed,
    /// A message that no key opens.
    Undecryptable,
}

/// A commit that all members must take for valid, and that this device cannot follow: it must restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// This device made it and does not know it any more: its state was lost or is an old copy.
    OwnUnknown,
    /// What it holds for this device is not what it must be, or this device's keys are not what they should be.
    CannotFollow,
}

/// Why an invite's or a restart's group cannot be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinFault {
    /// Not a group info of this protocol.
    Malformed,
    /// The group has another suite than 0x004F.
    Suite(u16),
    /// Not the group that link or restart name.
    OtherGroup,
    /// Somebody is in the group beside its maker, or it has moved on.
    NotFresh,
    /// The maker's certificate is bad.
    Certificate(CertificateFault),
    /// The maker's leaf does not belong to its certificate.
    OtherKeys,
    /// The maker is this account itself.
    OwnInvite,
    /// MLS refuses the group.
    Mls,
}

/// Our caller's fault, or a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// An own commit is pending; merge or clear it first.
    PendingCommit,
    /// No own commit is pending.
    NoPendingCommit,
    /// A step of the library failed that cannot fail: a bug.
    Library(&'static str),
}

/// Why a group's record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotFault {
    /// The record's frame.
    Record(RecordFault),
    /// The group in it.
    Malformed,
}

/// What a failure to process means.
pub(super) enum Failure {
    Peer(PeerFault),
    Trouble(Trouble),
}

/// Sorts OpenMLS' reasons into those that depend on log bytes and public state (all members see them) and those that
/// depend on this device's secrets. Policy and certificates were judged before. Order matters, and was read in the source:
/// `stage_commit` makes every public check before it opens a path secret.
pub(super) fn sort(error: ProcessMessageError<StoreFault>) -> Failure {
    use Failure::{Peer, Trouble as InTrouble};
    match error {
        ProcessMessageError::InvalidCommit(error) => commit(error),
        ProcessMessageError::ValidationError(ValidationError::UnableToDecrypt(
            MessageDecryptionError::SecretTreeError(
                SecretTreeError::SecretReuseError | SecretTreeError::TooDistantInThePast,
            ),
        )) => Peer(PeerFault::Replayed),
        ProcessMessageError::ValidationError(ValidationError::UnableToDecrypt(_)) => {
            Peer(PeerFault::Undecryptable)
        }
        ProcessMessageError::LibraryError(_)
        | ProcessMessageError::StorageError(_)
        | ProcessMessageError::GroupStateError(_) => InTrouble(Trouble::CannotFollow),
        _ => Peer(PeerFault::Mls),
    }
}

fn commit(error: StageCommitError) -> Failure {
    use ApplyUpdatePathError as Path;
    match error {
        StageCommitError::OwnCommitMismatch => Failure::Trouble(Trouble::OwnUnknown),
        // [SPEC 8.21]
        StageCommitError::ConfirmationTagMismatch
        | StageCommitError::MissingDecryptionKey
        | StageCommitError::OwnKeyNotFound
        | StageCommitError::LibraryError(_)
        | StageCommitError::UpdatePathError(
            Path::UnableToDecrypt
            | Path::PathMismatch
            | Path::MissingCiphertext
            | Path::MissingSender
            | Path::MissingOwnLeaf
            | Path::LibraryError(_),
        ) => Failure::Trouble(Trouble::CannotFollow),
        _ => Failure::Peer(PeerFault::Mls),
    }
}

impl fmt::Display for PeerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAMessage => f.write_str("not a message of this protocol"),
            Self::TooLong => f.write_str("a commit longer than any may be"),
            Self::OtherGroup => f.write_str("a message of another group"),
            Self::OtherEpoch { got, expected } => {
                write!(f, "a message of epoch {got}, expected {expected}")
            }
            Self::Flags => f.write_str("the entry's flags do not fit its content"),
            Self::NoMember => f.write_str("the sender is no member"),
            Self::Proposals => f.write_str("a commit with proposals that are not allowed"),
            Self::NoPath => f.write_str("a commit without new keys"),
            Self::Certificate(fault) => fault.fmt(f),
            Self::OtherKeys => f.write_str("a leaf with other keys than its certificate"),
            Self::BadKey => f.write_str("a leaf whose encryption key is none"),
            Self::NotAdmitted => f.write_str("a join where this one may not join"),
            Self::MalformedNote => f.write_str("a commit's note has another form"),
            Self::NoteVersion(got) => write!(f, "a commit's note of version {got}, expected 1"),
            Self::Critical(kind) => write!(f, "a commit needs extension {kind:#06x}"),
            Self::Mls => f.write_str("mls refuses the message"),
            Self::Replayed => f.write_str("a message whose key was used before"),
            Self::Undecryptable => f.write_str("a message that no key opens"),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnUnknown => "a commit of this device that it does not know",
            Self::CannotFollow => "a valid commit that this device cannot follow",
        })
    }
}

impl fmt::Display for JoinFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not a group info of this protocol"),
            Self::Suite(got) => write!(f, "suite {got:#06x}, expected 0x004f"),
            Self::OtherGroup => f.write_str("not the group that was named"),
            Self::NotFresh => f.write_str("the group is not the fresh one it should be"),
            Self::Certificate(fault) => fault.fmt(f),
            Self::OtherKeys => f.write_str("a leaf with other keys than its certificate"),
            Self::OwnInvite => f.write_str("an invite of this account itself"),
            Self::Mls => f.write_str("mls refuses the group"),
        }
    }
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PendingCommit => f.write_str("an own commit is pending"),
            Self::NoPendingCommit => f.write_str("no own commit is pending"),
            Self::Library(step) => write!(f, "bug: {step} failed"),
        }
    }
}

impl fmt::Display for SnapshotFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(fault) => fault.fmt(f),
            Self::Malformed => f.write_str("the record of a group has another form"),
        }
    }
}

impl std::error::Error for PeerFault {}
impl std::error::Error for Trouble {}
impl std::error::Error for JoinFault {}
impl std::error::Error for Misuse {}
impl std::error::Error for SnapshotFault {}
