//! What goes into the relay and what comes out of it.

use emptyroom_wire::op::Push;
use emptyroom_wire::relay_key::KeyRecord;

use crate::config::Limits;
use crate::store::{RowKey, StoreFailure, StoreOp, StoreReply};

/// A connection of the shell, numbered by it; a number is not used again while the relay runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// What an answer of the shell belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Something happened.
pub enum Input {
    /// A carrier connection stands; the relay answers with its greeting.
    Connected(ConnId),
    /// A whole frame came in, without the carrier's length prefix.
    Frame(ConnId, Vec<u8>),
    /// So many bytes of [`Output::Frame`]s of this connection have been handed to its socket. The relay paces what it reads from
    /// the store by it, and a reader that takes nothing is hung up on: a shell that does not report this delivers little.
    Written(ConnId, usize),
    /// The connection is gone. Not to be sent for one that got [`Output::Hangup`] (harmless if it is).
    Disconnected(ConnId),
    /// The answer to [`Output::Store`].
    Stored(Ticket, Result<Vec<StoreReply>, StoreFailure>),
    /// The answer to [`Output::PersistKeyRecord`].
    KeyRecordPersisted(Ticket, Result<(), StoreFailure>),
    /// The answer to [`Output::Expire`].
    Expired(Ticket, Result<(), StoreFailure>),
    /// The store can write no more, found out apart from any of these.
    StoreFailed(StoreFailure),
    /// The answer to [`Output::PersistKeyRecord`] when another node was faster: the record does not follow the chain's last one, and was
    /// not stored. These are the chain's records after the last one known here, oldest first.
    KeyRecordOvertaken(Ticket, Vec<KeyRecord>),
    /// The answer to [`Output::ReadKeyRecords`], oldest first.
    KeyRecords(Ticket, Result<Vec<KeyRecord>, StoreFailure>),
    /// Another node says what became of a log, as it tells its readers; "caught up" says where the log ends. The shell has checked
    /// that a node said it.
    News(RowKey, Push),
    /// News of these logs will come from now on. What was written before may be known to nobody here.
    Watched(Vec<RowKey>),
    /// News were lost: every open log may have been written to.
    NewsLost,
    /// From now on these limits hold, and this least spread of reconnects in seconds, for what is asked from here on.
    Limits(Limits, u32),
    /// Time went by (at the latest at [`crate::Relay::wake_at`]).
    Tick,
    /// Stop: take no more requests, answer those that came before, hang up, then say [`Output::Stopped`].
    Drain,
}

/// Something is to be done. The shell carries outputs out in order.
pub enum Output {
    /// Send a frame.
    Frame(ConnId, Vec<u8>),
    /// Send what was handed out before, then close the connection.
    Hangup(ConnId, Reason),
    /// Hand this to [`crate::store::Store::apply`] with the current time and answer with [`Input::Stored`]. There is never more than one of
    /// these without an answer: what arrives meanwhile becomes the next batch, which is the group commit.
    Store(Ticket, Vec<StoreOp>),
    /// Append this record durably to the relay's chain, then answer. Records older than
    /// [`emptyroom_wire::limits::KEY_RECORD_LIFE_MS`] may be removed (never the newest).
    PersistKeyRecord(Ticket, KeyRecord),
    /// Read the records of the chain after the one with this number, from where all nodes append theirs, then answer.
    ReadKeyRecords(Ticket, u64),
    /// Tell the other nodes. Whatever is lost of it is found in the store. Of a long entry it is enough to say where the log ends.
    News(RowKey, Push),
    /// Others' news of this log are wanted; [`Input::Watched`] when they come.
    Watch(RowKey),
    /// They are not wanted any more.
    Unwatch(RowKey),
    /// Run [`crate::store::Store::expire`] with the current time and answer with [`Input::Expired`].
    Expire(Ticket),
    /// Nothing more will come: stopped as asked (with the failure after which nothing was written any more, if there was one), or because
    /// not even reading goes.
    Stopped(Result<(), StoreFailure>),
}

/// Why the relay ends a connection. Holds nothing about the client: it may be counted and logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The opening, a frame or a request was not understood.
    Malformed,
    /// The client speaks no version this relay speaks.
    UpdateNeeded,
    /// No opening came in time.
    NoOpening,
    /// The stream reached its greatest age.
    Age,
    /// The reader took nothing for too long, or let too many answers pile up.
    Slow,
    /// Too many refused codes, proofs or requests.
    Abuse,
    /// As many connections as this relay takes.
    Busy,
    /// The store failed.
    StoreFailed,
    /// The store lost entries that this reader was sent.
    StoreWentBack,
    /// The relay is stopping.
    Stopping,
}
