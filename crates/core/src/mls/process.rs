//! Reading an entry: the verdict that all members share, then what this device can do with it.

use std::collections::BTreeSet;

use emptyroom_wire::kem::KemPublicKey;
use emptyroom_wire::secret::Secret32;
use openmls::prelude::{MlsMessageIn, ProcessedMessageContent, Sender as MlsSender, StagedCommit};
use tls_codec::DeserializeBytes as _;

use super::fault::{self, Failure, Misuse, PeerFault, Trouble};
use super::framing::{self, CommitFace, Face, Head, LeafFace, Proposals, Sender};
use super::note::CommitNote;
use super::provider::Provider;
use super::{GENERATION_LABEL, Group, Member, secret_of};
use crate::account::IdentityKey;
use crate::certificate::Certificate;

/// What is read of a commit: the leaf that it brings stays in the group's record, on every member's disk.
const COMMIT_LEN_MAX: usize = 64 * 1024;

/// The flags of the entry that holds a message, which the log's AEAD covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// It counts as a commit.
    pub commit: bool,
    /// It closes the log.
    pub close: bool,
}

/// Who may join the group from outside.
#[derive(Clone, Copy)]
pub enum Admission<'a> {
    /// Nobody: a group that two are in, or that is not open.
    Nobody,
    /// An invite's group: one identity that is not the inviter's.
    Invited,
    /// A restart's group: whoever the group before it had.
    Returning(&'a BTreeSet<IdentityKey>),
}

/// What an entry is.
#[derive(Debug)]
pub enum Processed {
    /// A message for this device.
    Application {
        /// Whose device sent it.
        sender: Member,
        /// What it says.
        message: Vec<u8>,
    },
    /// A message that claims to be of this device. It cannot be opened again; whether it is known tells the append nonce.
    /// The claim is not proven: other members could make it, too.
    OwnMessage,
    /// The commit of this epoch, by another device. [`Group::merge`] moves on.
    Commit(Staged),
    /// The commit of this epoch, by this device. [`Group::merge_pending`] moves on.
    OwnCommit,
    /// Nothing: every member skips it.
    Rejected(PeerFault),
    /// The commit of this epoch, which this device cannot follow.
    Trouble(Trouble),
}

/// A commit of another device that was checked and not yet merged.
pub struct Staged {
    mls: Box<StagedCommit>,
    note: CommitNote,
    by: Certificate,
    joined: bool,
}

impl Group {
    /// Judges one entry. Nothing moves on but the sender's message keys, and those only if the message opened.
    ///
    /// The verdict between [`Processed::Rejected`] and the rest of the commits depends on the entry, the group's public
    /// state and `admission`; it is the same for all members. It reads no clock and draws no randomness.
    pub fn process(&mut self, message: &[u8], slot: Slot, admission: Admission<'_>) -> Processed {
        match self.try_process(message, slot, admission) {
            Ok(processed) => processed,
            Err(Failure::Peer(fault)) => Processed::Rejected(fault),
            Err(Failure::Trouble(trouble)) => Processed::Trouble(trouble),
        }
    }

    fn try_process(
        &mut self,
        message: &[u8],
        slot: Slot,
        admission: Admission<'_>,
    ) -> Result<Processed, Failure> {
        let judged = match framing::face(message) {
            Some(Face::Application(head)) => {
                self.judge_message(&head, slot).map_err(Failure::Peer)?;
                None
            }
            // [SPEC 8.17]
            Some(Face::Commit(_)) if message.len() > COMMIT_LEN_MAX => {
                return Err(Failure::Peer(PeerFault::TooLong));
            }
            Some(Face::Commit(face)) => Some(
                self.judge_commit(&face, slot, admission)
                    .map_err(Failure::Peer)?,
            ),
            // [SPEC 8.17]
            Some(Face::Other) | None => return Err(Failure::Peer(PeerFault::NotAMessage)),
        };
        let message = MlsMessageIn::tls_deserialize_exact_bytes(message)
            .ok()
            .and_then(|message| message.try_into_protocol_message().ok())
            .ok_or(Failure::Peer(PeerFault::NotAMessage))?;
        self.step += 1;
        let provider = Provider::without_randomness(&self.store, &self.crypto);
        let processed = self
            .mls
            .process_message(&provider, message)
            .map_err(fault::sort)?;
        let sender = processed.sender().clone();
        match (processed.into_content(), judged) {
            (ProcessedMessageContent::ApplicationMessage(message), None) => {
                let sender = match sender {
                    MlsSender::Member(leaf) => self.member(leaf.u32()),
                    _ => None,
                };
                Ok(Processed::Application {
                    sender: sender.ok_or(Failure::Peer(PeerFault::NoMember))?,
                    message: message.into_bytes(),
                })
            }
            (ProcessedMessageContent::OwnPrivateMessage, None) => Ok(Processed::OwnMessage),
            (ProcessedMessageContent::OwnPendingCommit, Some(_)) => Ok(Processed::OwnCommit),
            (ProcessedMessageContent::StagedCommitMessage(mls), Some(judged)) => {
                Ok(Processed::Commit(Staged {
                    mls,
                    note: judged.note,
                    by: judged.by,
                    joined: judged.joined,
                }))
            }
            _ => Err(Failure::Peer(PeerFault::NotAMessage)),
        }
    }

    fn judge_message(&self, head: &Head<'_>, slot: Slot) -> Result<(), PeerFault> {
        // [SPEC 8.18]
        if slot != Slot::default() {
            return Err(PeerFault::Flags);
        }
        self.judge_head(head)
    }

    fn judge_head(&self, head: &Head<'_>) -> Result<(), PeerFault> {
        if head.group_id != self.id().0 {
            return Err(PeerFault::OtherGroup);
        }
        // [SPEC 8.19]
        if head.epoch != self.epoch() {
            return Err(PeerFault::OtherEpoch {
                got: head.epoch,
                expected: self.epoch(),
            });
        }
        Ok(())
    }

    /// The checks of a commit that need no key: flags, note, proposals, certificate, who may.
    fn judge_commit(
        &self,
        face: &CommitFace<'_>,
        slot: Slot,
        admission: Admission<'_>,
    ) -> Result<Judged, PeerFault> {
        if !slot.commit {
            return Err(PeerFault::Flags);
        }
        self.judge_head(&face.head)?;
        let note = CommitNote::decode(face.note)?;
        if note.close != slot.close {
            return Err(PeerFault::Flags);
        }
        let by = leaf(face.leaf.as_ref().ok_or(PeerFault::NoPath)?)?;
        match face.sender {
            Sender::Member(leaf) => self.judge_update(leaf, &by, face.proposals, &note)?,
            Sender::Joiner => self.judge_join(&by, face.proposals, &note, admission)?,
            Sender::Other => return Err(PeerFault::NotAMessage),
        }
        Ok(Judged {
            note,
            by,
            joined: face.sender == Sender::Joiner,
        })
    }

    fn judge_update(
        &self,
        leaf: u32,
        new: &Certificate,
        proposals: Proposals,
        note: &CommitNote,
    ) -> Result<(), PeerFault> {
        // [SPEC 8.17]
        if proposals != Proposals::None {
            return Err(PeerFault::Proposals);
        }
        let old = self.member(leaf).ok_or(PeerFault::NoMember)?.certificate;
        // [SPEC 8.20]
        if old.identity() != new.identity() || old.device() != new.device() {
            return Err(PeerFault::OtherKeys);
        }
        match note.shown {
            None => Ok(()),
            Some(_) => Err(PeerFault::MalformedNote),
        }
    }

    fn judge_join(
        &self,
        new: &Certificate,
        proposals: Proposals,
        note: &CommitNote,
        admission: Admission<'_>,
    ) -> Result<(), PeerFault> {
        if proposals != Proposals::ExternalInit {
            return Err(PeerFault::Proposals);
        }
        // [SPEC 8.12]
        if !note.close {
            return Err(PeerFault::Flags);
        }
        let members = self.members();
        let [maker] = members.as_slice() else {
            return Err(PeerFault::NotAdmitted);
        };
        // [SPEC 8.22]
        let admitted = match admission {
            Admission::Nobody => false,
            Admission::Invited => new.identity() != maker.certificate.identity(),
            Admission::Returning(identities) => identities.contains(&new.identity()),
        };
        if admitted {
            Ok(())
        } else {
            Err(PeerFault::NotAdmitted)
        }
    }
}

/// What was found out about a commit from its face.
struct Judged {
    note: CommitNote,
    by: Certificate,
    joined: bool,
}

/// The certificate of a new leaf, which must be the leaf's own, and the leaf one that can be sealed to.
fn leaf(face: &LeafFace<'_>) -> Result<Certificate, PeerFault> {
    // [SPEC 8.20]
    let certificate = face.certificate.ok_or(PeerFault::OtherKeys)?;
    let certificate = Certificate::verify(certificate).map_err(PeerFault::Certificate)?;
    if certificate.device().0 != face.signature_key {
        return Err(PeerFault::OtherKeys);
    }
    // Else the next commit of anybody else could not be sealed to this leaf.
    KemPublicKey::new(face.encryption_key).map_err(|_| PeerFault::BadKey)?;
    Ok(certificate)
}

impl Staged {
    /// The commit's note.
    #[must_use]
    pub fn note(&self) -> &CommitNote {
        &self.note
    }

    /// The certificate of whoever committed, as it is from now on.
    #[must_use]
    pub fn by(&self) -> &Certificate {
        &self.by
    }

    /// Whether the committer came in with it.
    #[must_use]
    pub fn joined(&self) -> bool {
        self.joined
    }

    /// `S_g` of the epoch that it starts.
    ///
    /// # Errors
    /// [`Misuse::Library`], which would be a bug.
    pub fn generation_secret(&self, group: &Group, generation: u64) -> Result<Secret32, Misuse> {
        let secret = self.mls.export_secret(
            &group.crypto,
            GENERATION_LABEL,
            &generation.to_be_bytes(),
            32,
        );
        secret_of(secret.ok())
    }

    pub(super) fn into_mls(self) -> StagedCommit {
        *self.mls
    }
}

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Staged(private)")
    }
}
