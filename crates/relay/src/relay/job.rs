//! What a job at the store is for.

use std::sync::Arc;

use emptyroom_wire::entry::Aad;
use emptyroom_wire::op::Handle;
use emptyroom_wire::sign::Signature;

use super::queue::Job;
use super::shares::Asked;
use crate::io::ConnId;
use crate::store::{Place, RowKey, StoreOp};

/// Who waits for an answer.
#[derive(Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) conn: ConnId,
    /// The request's id.
    pub(crate) id: u32,
    /// It asks something of a share: of its answer nothing is counted.
    pub(crate) about_share: bool,
}

pub(crate) enum Purpose {
    /// Answer with what the store says of a log to be made.
    Create(Asker),
    /// Open logs that were looked at.
    Open(Asker, Vec<Opening>),
    /// Answer, and push the entry to its readers.
    Append(Asker, Entry),
    /// Destroy the log that was looked at, if its owner signed.
    DestroyLook(Asker, Place, Signature),
    /// Answer, and tell the readers what is gone.
    Change(Asker, Place, Change),
    /// Send stored entries to a handle that is behind.
    CatchUp(ConnId, Handle),
    /// See whether other nodes wrote to logs that are open here; with the last of them where it is part of a sweep.
    LookAgain(Vec<Place>, Option<RowKey>),
    /// See whether a log still has the entries below this number, which it is known to have had.
    LookBack(Place, u64),
    /// Answer with what the store says of a share.
    Share(Asker, Box<Asked>),
}

impl Purpose {
    /// Whether its operations change something.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Purpose::Create(_) | Purpose::Append(..) | Purpose::Change(..) => true,
            Purpose::Open(..)
            | Purpose::DestroyLook(..)
            | Purpose::CatchUp(..)
            | Purpose::LookAgain(..)
            | Purpose::LookBack(..) => false,
            Purpose::Share(_, asked) => asked.writes(),
        }
    }
}

/// What is done to a whole log. It needs hardly any space, and makes some.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Renew,
    Trim { up_to: u64 },
    Destroy,
}

impl Change {
    pub(crate) fn job(self, asker: Asker, place: Place) -> Job<Purpose> {
        let at = place.clone();
        let op = match self {
            Change::Renew => StoreOp::Renew { place },
            Change::Trim { up_to } => StoreOp::Trim { place, up_to },
            Change::Destroy => StoreOp::Destroy { place },
        };
        Job {
            ops: vec![op],
            purpose: Purpose::Change(asker, at, self),
            bytes: 0,
            reads: 0,
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
