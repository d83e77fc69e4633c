//! What the relay asks of its disk: whole operations, decided in batches.
//!
//! [`Store`] is the interface between the relay's decisions about streams and whatever keeps logs. A store is handed a batch of
//! [`StoreOp`]s and decides each of them, compare-and-set included, so that a distributed store can do it where the rows are.
//!
//! Two ways to make one:
//! - keep rows only: implement [`Rows`] (look up by key, commit a set of changes) and wrap it in [`Ledger`], which holds every
//!   rule of the protocol once, seals the rows and turns a batch into one commit. SQLite and the simulator's memory do this.
//! - implement [`Store`] itself, where the rules are to run in the database.
//!
//! Either way [`crate::conformance`] is the judge.
//!
//! # The contract
//!
//! - **Order.** The operations of a batch take effect one after the other, batches in the order of the calls: an operation sees
//!   everything decided before it. There is one reply per operation, at its index.
//! - **Atomicity.** An operation happens whole or not at all, an append's `next` logs included. A batch need not be atomic: after
//!   a crash any prefix-closed part of it may be there, because nothing of it was acknowledged.
//! - **Durability.** When `apply` returns `Ok`, everything in the batch survives a crash of the machine.
//! - **Failure.** [`StoreFailure::Full`] means that nothing of the batch took effect and the store is usable: the relay refuses
//!   what needs space, and asks for the rest again. [`StoreFailure::Broken`] means that nobody knows what of the batch is on disk (a failed sync), or that a
//!   row cannot be read. A store that has failed so never writes again until it is opened anew: it answers `Broken` to every batch
//!   that would write, and goes on to answer those that only read, from what was durable before.
//!   A store on another machine has two more: [`StoreFailure::Away`] means that nothing of the batch took effect, [`StoreFailure::Lost`] that nobody
//!   knows what did. After either it tries to come back with the next batch.
//! - **Time** only comes in as `now`; days are counted from it. A clock that jumps back makes nothing live again that was removed.
//! - **Secrecy.** A store writes no capability, and no log id, nothing of a header and nothing of a share in clear: rows stand under [`RowKey`]s and are sealed
//!   under keys from the row secret, both derived from the capability or the share's id. What it may write in clear is a row's expiry day and length.

use std::sync::Arc;

use emptyroom_wire::codec;
use emptyroom_wire::entry::{Aad, RunningHash};
use emptyroom_wire::log::{Flags, Header};
use emptyroom_wire::op::{Appended, First, Refusal, View};
use emptyroom_wire::sign::VerifyKey;
use emptyroom_wire::time::Wall;
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

mod account;
mod ahead;
mod allowance;
mod decide;
mod entryrow;
mod ledger;
mod logrow;
mod nonces;
mod place;
mod rowseal;
mod runs;
mod share;
mod shelves;

pub use ahead::{Access, Expected};
pub use ledger::{Changes, EntryChange, LastingChange, Ledger, Rows};
pub use place::{Place, RowKey};
pub use share::{ShareOp, SharePlace, ShareReply};

/// Keeps logs and decides operations on them. See the module's head for the contract.
pub trait Store {
    /// Decides a batch of operations and makes the outcome durable.
    ///
    /// # Errors
    /// [`StoreFailure::Full`]: nothing happened, the store goes on. [`StoreFailure::Broken`]: it writes no more.
    fn apply(&mut self, now: Wall, ops: Vec<StoreOp>) -> Result<Vec<StoreReply>, StoreFailure>;

    /// Removes what has run out by `now` for good: called at start, at every change of day and at least once an hour.
    ///
    /// # Errors
    /// As [`Store::apply`].
    fn expire(&mut self, now: Wall) -> Result<(), StoreFailure>;
}

impl<S: Store + ?Sized> Store for Box<S> {
    fn apply(&mut self, now: Wall, ops: Vec<StoreOp>) -> Result<Vec<StoreReply>, StoreFailure> {
        (**self).apply(now, ops)
    }

    fn expire(&mut self, now: Wall) -> Result<(), StoreFailure> {
        (**self).expire(now)
    }
}

/// One operation on one log or share. Signatures and codes were checked before; everything else is the store's to decide.
pub enum StoreOp {
    /// Make a log. The same again succeeds.
    Create(NewPlace),
    /// Keys and view of a log.
    Look {
        /// The log.
        place: Place,
    },
    /// Stored entries from `from` on, at least one if there is one, then as many as fit in `bytes_max`.
    Read {
        /// The log.
        place: Place,
        /// The first sequence number wanted.
        from: u64,
        /// How many bytes of bodies to stop at.
        bytes_max: usize,
    },
    /// Append an entry.
    Append(Append),
    /// Start the log's life anew.
    Renew {
        /// The log.
        place: Place,
    },
    /// Remove all entries below `up_to`.
    Trim {
        /// The log.
        place: Place,
        /// The first sequence number kept.
        up_to: u64,
    },
    /// Remove the log and refuse its capability for [`emptyroom_wire::limits::TOMBSTONE_LIFE_DAYS`].
    Destroy {
        /// The log.
        place: Place,
    },
    /// Something about a share.
    Share(SharePlace, ShareOp),
}

impl StoreOp {
    /// Whether it may change something; a store that failed refuses such alone.
    #[must_use]
    pub fn writes(&self) -> bool {
        match self {
            StoreOp::Look { .. } | StoreOp::Read { .. } => false,
            StoreOp::Create(_)
            | StoreOp::Append(_)
            | StoreOp::Renew { .. }
            | StoreOp::Trim { .. }
            | StoreOp::Destroy { .. } => true,
            StoreOp::Share(_, op) => op.writes(),
        }
    }

    /// Whether it needs space.
    #[must_use]
    pub fn grows(&self) -> bool {
        matches!(
            self,
            StoreOp::Create(_) | StoreOp::Append(_) | StoreOp::Share(_, ShareOp::Put(_))
        )
    }

    /// The row keys of the logs that it makes besides.
    pub fn makes(&self) -> impl Iterator<Item = RowKey> + '_ {
        let next = match self {
            StoreOp::Append(append) => append.next.as_slice(),
            _ => &[],
        };
        next.iter().map(|new| new.place.key())
    }

    /// The row key of the log or share that it is about.
    #[must_use]
    pub fn key(&self) -> RowKey {
        match self {
            StoreOp::Create(new) => new.place.key(),
            StoreOp::Append(append) => append.place.key(),
            StoreOp::Look { place }
            | StoreOp::Read { place, .. }
            | StoreOp::Renew { place }
            | StoreOp::Trim { place, .. }
            | StoreOp::Destroy { place } => place.key(),
            StoreOp::Share(place, _) => place.key(),
        }
    }
}

/// A log to be made.
pub struct NewPlace {
    /// Where it will stand.
    pub place: Place,
    /// What its header says, whose hash is the capability of its place.
    pub rules: Rules,
    /// Its first entry.
    pub first: Option<NewEntry>,
}

/// What a log's header says, without the salt: whoever has a log's rows and the secret they are sealed under cannot compute its
/// capability.
#[derive(Clone, Copy, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Rules {
    /// Must have signed for an append.
    pub append_key: Option<VerifyKey>,
    /// Must have signed for an open.
    pub read_key: Option<VerifyKey>,
    /// May trim, destroy and renew.
    pub owner_key: Option<VerifyKey>,
    /// How the log behaves.
    pub flags: Flags,
}

impl NewPlace {
    /// A log with this header. The header, and with it the capability, is gone afterwards.
    #[must_use]
    pub fn new(header: &Header, first: Option<First>) -> NewPlace {
        let place = Place::of(&header.capability());
        let first = first.map(|first| NewEntry {
            aad: Aad {
                log_id: place.log_id(),
                expect_slots: 0,
                commit: false,
                close: false,
                ttl: first.ttl,
                nonce: first.nonce,
                next_hash: [0; 32],
            },
            body: Arc::from(first.body),
        });
        let rules = Rules {
            append_key: header.append_key,
            read_key: header.read_key,
            owner_key: header.owner_key,
            flags: header.flags,
        };
        NewPlace {
            place,
            rules,
            first,
        }
    }
}

/// An entry to be appended, with everything its running hash covers.
pub struct NewEntry {
    /// The entry's additional data.
    pub aad: Aad,
    /// The sealed entry.
    pub body: Arc<[u8]>,
}

/// An append with the logs it makes.
pub struct Append {
    /// The log.
    pub place: Place,
    /// The entry.
    pub entry: NewEntry,
    /// Logs to be made by the same operation.
    pub next: Vec<NewPlace>,
}

/// The answer to a [`StoreOp`].
pub enum StoreReply {
    /// The log is there.
    Created,
    /// What was asked for.
    Looked(Looked),
    /// Stored entries.
    Read(Batch),
    /// The entry is stored now; to be pushed.
    Appended(Placed),
    /// The same entry was stored before; nothing was written.
    Already(Appended),
    /// Nothing was written: `expect_slots` is not the log's count of slots.
    Stale(View),
    /// Renewed, trimmed or destroyed; a share put, renewed or deleted.
    Done,
    /// What was asked of a share.
    Share(ShareReply),
    /// Not done, nothing written.
    Refused(Refusal),
    /// Nobody knows what was done of it, as [`StoreFailure::Lost`] says of a whole batch.
    Lost,
}

impl StoreReply {
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Lost)
    }
}

/// Keys and view of a log.
pub struct Looked {
    /// The keys and flags.
    pub rules: Rules,
    /// The counters.
    pub view: View,
}

/// A part of a log's stored entries.
pub struct Batch {
    /// In order; sequence numbers may have holes where entries ran out.
    pub entries: Vec<StoredEntry>,
    /// Where to read on.
    pub cursor: u64,
    /// Nothing was stored at or above `cursor` when this was decided.
    pub end: bool,
}

/// An entry as it is stored.
pub struct StoredEntry {
    /// Its place in the log.
    pub seq: u64,
    /// The running hash before it.
    pub before: RunningHash,
    /// Its additional data.
    pub aad: Aad,
    /// The sealed entry.
    pub body: Arc<[u8]>,
}

/// Where a new entry stands.
pub struct Placed {
    /// The entry's place in the log.
    pub seq: u64,
    /// The running hash before it.
    pub before: RunningHash,
    /// The running hash after it.
    pub after: RunningHash,
}

/// Why a batch was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFailure {
    /// No space; nothing of the batch took effect, the store is usable.
    Full,
    /// The state is unknown or damaged: nothing more is written. The text says where, and holds nothing of any log.
    Broken(&'static str),
    /// It cannot be reached, or takes nothing for now. Nothing of the batch took effect; the next one may find it back.
    Away(&'static str),
    /// It went away in the middle: nobody knows what of the batch took effect. The next one may find it back.
    Lost(&'static str),
    /// Of [`Rows`] alone: somebody else changed what was looked up. Nothing took effect; a [`Ledger`] decides again.
    Conflict,
}

impl StoreFailure {
    /// Whether the store may be asked again.
    #[must_use]
    pub fn passes(&self) -> bool {
        !matches!(self, StoreFailure::Broken(_))
    }
}

impl std::fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreFailure::Full => f.write_str("no space left in the store"),
            StoreFailure::Broken(place) => write!(f, "store failed: {place}"),
            StoreFailure::Away(why) => write!(f, "the store cannot be reached: {why}"),
            StoreFailure::Lost(why) => write!(f, "the store went away: {why}"),
            StoreFailure::Conflict => f.write_str("others were faster"),
        }
    }
}

impl std::error::Error for StoreFailure {}

/// Decodes bytes as each kind of row's content: what a fuzzer looks for faults in. No program calls it.
pub(crate) fn decode_rows(content: &[u8]) {
    let today = emptyroom_wire::time::Day(20_000);
    if let Ok(logrow::Row::Log(mut log)) = codec::decode::<logrow::Row>(content) {
        log.forget_expired(today);
        let _ = (log.view(), log.held_from(3).take(10).count());
        let _ = log.trim(5).len();
        log.touch(today);
    }
    if let Ok(page) = codec::decode::<nonces::NoncePage>(content) {
        let _ = page.find(&[0; 16]).is_some();
    }
    let _ = codec::decode::<account::Account>(content).is_ok();
    let _ = codec::decode::<share::Row>(content).is_ok();
    let _ = entryrow::entry(0, content).is_ok();
}
