//! What a job at the store is for.

use std::sync::Arc;

use emptyroom_wire::entry::Aad;
use emptyroom_wire::op::Handle;
use emptyroom_wire::sign::Signature;

use crate::io::ConnId;
use crate::store::{Place, RowKey};

/// Who waits for an answer.
#[derive(Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) conn: ConnId,
    /// The request's id.
    pub(crate) id: u32,
}

pub(crate) enum Purpose {
    /// Answer with what the store says: create, renew, trim.
    Answer(Asker),
    /// Open logs that were looked at.
    Open(Asker, Vec<Opening>),
    /// Answer, and push the entry to its readers.
    Append(Asker, Entry),
    /// Destroy the log that was looked at, if its owner signed.
    DestroyLook(Asker, Place, Signature),
    /// Answer, and tell the readers.
    Destroy(Asker, RowKey),
    /// Send stored entries to a handle that is behind.
    CatchUp(ConnId, Handle),
}

impl Purpose {
    /// Whether its operations change something.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Purpose::Answer(_) | Purpose::Append(..) | Purpose::Destroy(..) => true,
            Purpose::Open(..) | Purpose::DestroyLook(..) | Purpose::CatchUp(..) => false,
        }
    }
}

/// A log to be opened.
pub(crate) struct Opening {
    pub(crate) place: Place,
    pub(crate) from: u64,
    pub(crate) proof: Option<Signature>,
}

/// An entry on its way to the store.
pub(crate) struct Entry {
    pub(crate) log: RowKey,
    pub(crate) aad: Aad,
    pub(crate) body: Arc<[u8]>,
}
