//! A store made of rows: every rule of the protocol, once, over whatever keeps bytes under keys.

use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::time::{Day, Wall};

use super::decide::Decision;
use super::{Access, Expected, RowKey, Store, StoreFailure, StoreOp, StoreReply};

/// So often a batch is decided anew when others changed what it looked up.
const ATTEMPTS: usize = 16;

/// Rows under keys: what a simple store has to keep. No rule of the protocol lives below this line.
///
/// There are two kinds of rows. *Entries* are written under the last day of their life and never change: a store puts each day in a
/// file of its own and removes the file when the day is over. *Lasting* rows (log headers, nonces, tombstones, budgets, entries that
/// live as long as their log) are rewritten, and their last day moves: they stand together and carry their day.
///
/// After [`StoreFailure::Broken`] nothing more is written: `commit` and `expire` fail until the rows are opened anew. Looking up goes on.
///
/// Rows that several relays share, on another machine, say so with the failures that pass ([`StoreFailure`]), and are told when a batch begins and
/// ends and what it will look up. Rows of one relay on its own disk need none of that.
///
/// Rows come sealed and may be written as they are (under one more random day key where the medium remembers).
pub trait Rows {
    /// A batch begins. It ends with [`Rows::commit`] or [`Rows::end`].
    ///
    /// # Errors
    /// The rows cannot be reached.
    fn begin(&mut self, _access: Access, _now: Wall) -> Result<(), StoreFailure> {
        Ok(())
    }

    /// Whether looking up takes so long that [`Rows::expect`] wants to be told.
    fn are_distant(&self) -> bool {
        false
    }

    /// Whether the log or share under this key lies in another database, which alone decides on it, or may be made in no other now.
    fn is_elsewhere(&self, _key: &RowKey) -> bool {
        false
    }

    /// Fetches what will be looked up.
    ///
    /// # Errors
    /// As [`Rows::lasting`].
    fn expect(&mut self, _expected: &Expected) -> Result<(), StoreFailure> {
        Ok(())
    }

    /// A batch ends that changes nothing.
    fn end(&mut self) {}

    /// The lasting row under `key`.
    ///
    /// # Errors
    /// [`StoreFailure::Broken`] if it cannot be read.
    fn lasting(&mut self, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure>;

    /// The entry row under `key` among those whose last day is `day`.
    ///
    /// # Errors
    /// [`StoreFailure::Broken`] if it cannot be read.
    fn entry(&mut self, day: Day, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure>;

    /// Makes `changes` durable. Where one transaction cannot hold all of them: first `entries`, synced; then `lasting` in one
    /// transaction, synced. Nothing refers to an entry before its log's lasting row does, so a crash in between leaves only
    /// rows that nobody looks for (a later put under the same key replaces them). A removal that a crash undid is asked for again.
    ///
    /// # Errors
    /// [`StoreFailure::Full`] only if no change of a lasting row took effect; else [`StoreFailure::Broken`].
    fn commit(&mut self, changes: Changes) -> Result<(), StoreFailure>;

    /// Removes all entries of days before `today`, and all lasting rows whose day is before `today`, so that nothing of them is
    /// left on the medium.
    ///
    /// # Errors
    /// As [`Rows::commit`].
    fn expire(&mut self, today: Day) -> Result<(), StoreFailure>;

    /// For how many rows more there is space, where that is a number known before.
    fn room(&self) -> usize {
        usize::MAX
    }
}

/// What a batch changes. The changes are independent of each other: a store may write them in any order.
#[derive(Default)]
pub struct Changes {
    /// Puts and removals of entries, at most one per day and key, in the order of days and keys.
    pub entries: Vec<EntryChange>,
    /// Puts, removals and moves of lasting rows, at most one per key, in the order of keys (which are random).
    pub lasting: Vec<LastingChange>,
}

impl Changes {
    /// Nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.lasting.is_empty()
    }
}

/// One change of an entry row.
pub struct EntryChange {
    /// The last day of its life.
    pub day: Day,
    /// Its key.
    pub key: RowKey,
    /// The row to put (replacing what is there), or `None` to remove it if it is there.
    pub row: Option<Vec<u8>>,
}

/// One change of a lasting row.
pub enum LastingChange {
    /// Write this row, replacing what is there.
    Put {
        /// Its key.
        key: RowKey,
        /// The last day of its life.
        day: Day,
        /// The sealed row.
        row: Vec<u8>,
    },
    /// Give the row that is there another last day; nothing to do if there is none.
    Move {
        /// Its key.
        key: RowKey,
        /// The last day of its life.
        day: Day,
    },
    /// Remove the row if it is there.
    Remove {
        /// Its key.
        key: RowKey,
    },
}

/// A [`Store`] over [`Rows`].
pub struct Ledger<R> {
    rows: R,
    rng: Box<dyn CryptoRng + Send>,
    broken: Option<&'static str>,
}

impl<R: Rows> Ledger<R> {
    /// Over what `rows` holds. Randomness is for the nonces of rows.
    #[must_use]
    pub fn new(rows: R, rng: Box<dyn CryptoRng + Send>) -> Ledger<R> {
        Ledger {
            rows,
            rng,
            broken: None,
        }
    }

    /// The rows below.
    pub fn rows(&mut self) -> &mut R {
        &mut self.rows
    }

    /// The rows below, and no store any more.
    #[must_use]
    pub fn into_rows(self) -> R {
        self.rows
    }

    /// As [`Store::apply`]; the operations stay the caller's.
    ///
    /// # Errors
    /// As there.
    pub fn apply_to(
        &mut self,
        now: Wall,
        ops: &[StoreOp],
    ) -> Result<Vec<StoreReply>, StoreFailure> {
        let access = Access::of(ops);
        self.guarded(access == Access::Write, |rows, rng| {
            for _ in 0..ATTEMPTS {
                // [SPEC 6.201]
                match attempt(rows, rng, now, (access, ops)) {
                    Err(StoreFailure::Conflict) => {}
                    outcome => return outcome,
                }
            }
            Err(StoreFailure::Away("others were faster every time"))
        })
    }

    /// Does `work`, but nothing that writes once the store has failed; notes if it fails now.
    fn guarded<T>(
        &mut self,
        writes: bool,
        work: impl FnOnce(&mut R, &mut dyn CryptoRng) -> Result<T, StoreFailure>,
    ) -> Result<T, StoreFailure> {
        // [SPEC 6.5]
        if let Some(what) = self.broken.filter(|_| writes) {
            return Err(StoreFailure::Broken(what));
        }
        let outcome = work(&mut self.rows, &mut *self.rng);
        if let Err(StoreFailure::Broken(what)) = outcome {
            self.broken = Some(what);
        }
        outcome
    }
}

impl<R: Rows> Store for Ledger<R> {
    fn apply(&mut self, now: Wall, ops: Vec<StoreOp>) -> Result<Vec<StoreReply>, StoreFailure> {
        self.apply_to(now, &ops)
    }

    fn expire(&mut self, now: Wall) -> Result<(), StoreFailure> {
        self.guarded(true, |rows, _| rows.expire(now.day()))
    }
}

/// Decides a batch on the rows as they are now, and commits it.
fn attempt<R: Rows>(
    rows: &mut R,
    rng: &mut dyn CryptoRng,
    now: Wall,
    (access, ops): (Access, &[StoreOp]),
) -> Result<Vec<StoreReply>, StoreFailure> {
    rows.begin(access, now)?;
    match decide(rows, rng, now, ops) {
        Ok((replies, changes)) if changes.is_empty() => {
            rows.end();
            Ok(replies)
        }
        Ok((replies, changes)) => rows.commit(changes).map(|()| replies),
        Err(failure) => {
            rows.end();
            Err(failure)
        }
    }
}

fn decide<R: Rows>(
    rows: &mut R,
    rng: &mut dyn CryptoRng,
    now: Wall,
    ops: &[StoreOp],
) -> Result<(Vec<StoreReply>, Changes), StoreFailure> {
    let is_distant = rows.are_distant();
    let mut decision = Decision::new(rows, rng, now);
    if is_distant {
        decision.look_ahead(ops)?;
    }
    let replies = ops.iter().map(|op| decision.decide(op));
    let replies = replies.collect::<Result<Vec<_>, _>>()?;
    Ok((replies, decision.into_changes()?))
}
