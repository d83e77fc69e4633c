//! An append on its way: stored before it leaves, sent again byte for byte until its fate is known.

use emptyroom_wire::entry::{self, Aad, OuterKey, Ttl};
use emptyroom_wire::log::LogId;
use emptyroom_wire::log_keys::LogAccess;
use emptyroom_wire::op::{EntryPush, NewLog};
use emptyroom_wire::rng::{self, CryptoRng};
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize, VLBytes};

use super::track::OwnAppend;
use crate::content::Receipt;
use crate::records::{self, RecordFault};
use crate::store::Value;
use crate::store::value::{Flag, StoredSecret};

const VERSION: u16 = 1;

/// One append with everything needed to repeat it and to go on once it is acknowledged.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Staged {
    pub(crate) what: What,
    pub(crate) log_id: LogId,
    pub(crate) expect_slots: u64,
    pub(crate) commit: Flag,
    pub(crate) close: Flag,
    pub(crate) ttl: Ttl,
    pub(crate) nonce: [u8; 16],
    pub(crate) body: VLBytes,
    pub(crate) next: Vec<NewLog>,
    /// The relay has it; a commit waits until it is read back.
    pub(crate) acknowledged: Flag,
}

/// What an append is for.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub(crate) enum What {
    /// A queued line: a text or a timer change.
    #[tls_codec(discriminant = 1)]
    Line(u64),
    /// The first message in a new group.
    #[tls_codec(discriminant = 2)]
    Seen,
    /// A receipt.
    #[tls_codec(discriminant = 3)]
    Receipt(Receipt),
    /// New keys for this device's leaf.
    #[tls_codec(discriminant = 4)]
    Update,
    /// The same, and the next generation with its secret.
    #[tls_codec(discriminant = 5)]
    NextGeneration(StoredSecret),
    /// The join of an invite's or restart's group, with the secret of generation 1.
    #[tls_codec(discriminant = 6)]
    Join(StoredSecret),
    /// A restart, with the secret of its log 0.
    #[tls_codec(discriminant = 7)]
    Restart(RestartStage),
    /// A hint to look into the recovery log, or only the making of it.
    #[tls_codec(discriminant = 8)]
    Look,
}

/// What is known of a restart that is being made.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct RestartStage {
    pub(crate) secret: StoredSecret,
    pub(crate) counter: u64,
    pub(crate) hash: [u8; 32],
    pub(crate) reason: u8,
}

/// How an entry is to be appended.
pub(crate) struct Slot {
    pub(crate) expect_slots: u64,
    pub(crate) commit: bool,
    pub(crate) close: bool,
    pub(crate) ttl: Ttl,
}

impl Staged {
    /// Seals an entry. Nothing if it is too long for any class, which the limits of contents exclude.
    pub(crate) fn seal(
        access: &LogAccess,
        what: What,
        slot: Slot,
        content: (u8, &[u8]),
        next: Vec<NewLog>,
        rng: &mut dyn CryptoRng,
    ) -> Option<Self> {
        let aad = Aad {
            log_id: access.log_id,
            expect_slots: slot.expect_slots,
            commit: slot.commit,
            close: slot.close,
            ttl: slot.ttl,
            nonce: rng::bytes(rng),
            next_hash: entry::next_hash(&next).ok()?,
        };
        let (kind, content) = content;
        let body = entry::seal(&access.outer, &aad, kind, content, rng).ok()?;
        Some(Self {
            what,
            log_id: aad.log_id,
            expect_slots: aad.expect_slots,
            commit: Flag(aad.commit),
            close: Flag(aad.close),
            ttl: aad.ttl,
            nonce: aad.nonce,
            body: body.into(),
            next,
            acknowledged: Flag(false),
        })
    }

    /// The first entry of a new log.
    pub(crate) fn first(
        outer: &OuterKey,
        log_id: LogId,
        ttl: Ttl,
        content: (u8, &[u8]),
        rng: &mut dyn CryptoRng,
    ) -> Option<emptyroom_wire::op::First> {
        let aad = Aad {
            log_id,
            expect_slots: 0,
            commit: false,
            close: false,
            ttl,
            nonce: rng::bytes(rng),
            next_hash: [0; 32],
        };
        let (kind, content) = content;
        let body = entry::seal(outer, &aad, kind, content, rng).ok()?;
        Some(emptyroom_wire::op::First {
            ttl,
            nonce: aad.nonce,
            body,
        })
    }

    /// The AAD it was sealed under.
    pub(crate) fn aad(&self) -> Aad {
        Aad {
            log_id: self.log_id,
            expect_slots: self.expect_slots,
            commit: self.commit.0,
            close: self.close.0,
            ttl: self.ttl,
            nonce: self.nonce,
            next_hash: entry::next_hash(&self.next).unwrap_or_default(),
        }
    }

    /// What the log's track needs to know of it.
    pub(crate) fn own<'a>(&'a self, aad: &'a Aad) -> OwnAppend<'a> {
        OwnAppend {
            nonce: self.nonce,
            aad,
            body: self.body.as_slice(),
        }
    }

    /// Whether an entry of its log is this one.
    pub(crate) fn is(&self, entry: &EntryPush) -> bool {
        self.nonce == entry.nonce && self.body.as_slice() == entry.body
    }

    /// It is something that its user wrote.
    pub(crate) fn is_line(&self) -> bool {
        matches!(self.what, What::Line(_))
    }

    /// It changes the group: pending until read back.
    pub(crate) fn is_commit(&self) -> bool {
        matches!(self.what, What::Update | What::NextGeneration(_))
    }

    pub(crate) fn record(&self) -> Value {
        Value::new(records::encode(VERSION, self))
    }

    /// The append whose record this is.
    ///
    /// # Errors
    /// The record is damaged or from a later version.
    pub(crate) fn read(record: &[u8]) -> Result<Self, RecordFault> {
        records::decode(VERSION, record)
    }
}
