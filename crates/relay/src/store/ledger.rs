//! Draft.
use super::*;
use emptyroom_wire::time::Day;

/// Rows under keys: what a simple store has to keep. No rule of the protocol lives below this line.
///
/// There are two kinds of rows. *Entries* are written under the day they expire and never change: a store puts each day in a file of its
/// own and removes the file when the day is over. *Lasting* rows (log headers, nonces, tombstones, budgets, entries that live as
/// long as their log) are rewritten and their expiry moves: they stand in one file and carry their day.
///
/// Values are sealed already and may be written as they are (under one more random day key where the medium remembers).
pub trait Rows {
    /// The lasting row under `key`.
    fn lasting(&mut self, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure>;

    /// The entry row under `key` among those that expire with `day`.
    fn entry(&mut self, day: Day, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure>;

    /// Makes `changes` durable. In this order where one transaction cannot hold all: `entries`, synced; then `lasting` in one
    /// transaction, synced. Nothing refers to an entry before its log's lasting row does, so a crash in between leaves only
    /// rows that nobody looks for (a later put under the same key replaces them).
    fn commit(&mut self, changes: Changes) -> Result<(), StoreFailure>;

    /// Removes all entries of days before `today` and all lasting rows whose day is before `today`, so that nothing of them is left
    /// on the medium.
    fn expire(&mut self, today: Day) -> Result<(), StoreFailure>;
}

/// What a batch changes.
#[derive(Default)]
pub struct Changes {
    /// Puts and removals of entries. Independent of each other: a store may write them in any order.
    pub entries: Vec<EntryChange>,
    /// Puts, removals and moves of lasting rows, the same.
    pub lasting: Vec<LastingChange>,
}

/// One change of an entry row. At most one per (day, key) in a batch.
pub struct EntryChange {
    /// The day it expires with.
    pub day: Day,
    /// Its key.
    pub key: RowKey,
    /// The row to put (replacing what is there), or `None` to remove it if it is there.
    pub row: Option<Vec<u8>>,
}

/// One change of a lasting row. At most one per key in a batch.
pub enum LastingChange {
    /// Write this row, replacing what is there.
    Put {
        /// Its key.
        key: RowKey,
        /// It may be removed after this day.
        day: Day,
        /// The sealed row.
        row: Vec<u8>,
    },
    /// Give the row that is there another day; nothing if there is none.
    Move {
        /// Its key.
        key: RowKey,
        /// It may be removed after this day.
        day: Day,
    },
    /// Remove the row if it is there.
    Remove {
        /// Its key.
        key: RowKey,
    },
}

/// A [`Store`] over [`Rows`].
pub struct Ledger<R> { rows: R, rng: Box<dyn rand_core::CryptoRng + Send> }
