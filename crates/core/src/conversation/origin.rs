//! How a conversation began: the invite that was made, or the link that was taken. Kept until it cannot matter any more.

use emptyroom_wire::op::NewLog;
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize, VLBytes};

use super::state::LogKey;
use crate::records::{self, RecordFault};
use crate::store::key::ConversationId;
use crate::store::value::{Flag, StoredText};
use crate::store::{Store, Value};

const VERSION: u16 = 1;

/// The beginning of a conversation.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
pub(crate) enum Origin {
    #[tls_codec(discriminant = 1)]
    Invite(Invite),
    #[tls_codec(discriminant = 2)]
    Link(Link),
}

/// An invite of this device.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Invite {
    pub(crate) link: StoredText,
    /// Log 0 with its first entry, to be made and made again.
    pub(crate) log: NewLog,
    pub(crate) expires_ms: u64,
    /// The relay has it.
    pub(crate) open: Flag,
    /// The user was told that it works.
    pub(crate) told_ready: Flag,
}

/// A link that this device took.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Link {
    pub(crate) key: LogKey,
    pub(crate) binding: [u8; 32],
    pub(crate) taken_ms: u64,
    /// The join as it was appended: repeated should the relay forget it.
    pub(crate) join: Option<VLBytes>,
    /// The join was in the log once.
    pub(crate) joined: Flag,
    pub(crate) inviter_seen: Flag,
    pub(crate) told_not_seen: Flag,
}

impl Origin {
    /// How the conversation began, where that is still kept.
    ///
    /// # Errors
    /// The record is damaged or from a later version.
    pub(crate) fn load(store: &Store<'_>, id: ConversationId) -> Result<Option<Self>, RecordFault> {
        let record = store.get(&id.origin());
        let origin = record.map(|record| records::decode(VERSION, &record));
        origin.transpose()
    }

    pub(crate) fn save(&self, store: &mut Store<'_>, id: ConversationId) {
        store.put(id.origin(), Value::new(records::encode(VERSION, self)));
    }
}
