//! All databases of a relay as one store: which log lies where.
//!
//! Rows of a log lie together, with those of the logs it makes and the account that pays for them: so every operation is one transaction in one
//! database. A log that is made with a code, and a share, go to their *home*, which a keyed hash of the row key gives; a log that an append makes goes
//! where that append is, and a **pointer** in its home says so (see `peers`).
//!
//! A log is looked for where its pointer said last, or in its home; only who finds none there looks for a pointer. Each database has a thread of its
//! own, so that one waits for as long as the slowest of them takes, not for all in turn. One that is away is not waited for: its thread tries to reach
//! it, and what is asked of it meanwhile is refused (see [`super::standing`]).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use emptyroom_relay::limits::{AWAY_RETRY_S, FULL_RETRY_S};
use emptyroom_relay::store::{Ledger, RowKey, ShareOp, Store, StoreFailure, StoreOp, StoreReply};
use emptyroom_wire::op::{Refusal, RefusalCode};
use emptyroom_wire::time::Wall;

use super::homes::{Homes, Remembered};
use super::pieces::{Piece, pieces};
use super::standing::Standing;
use super::upkeep::Slice;
use super::{PostgresRows, Unusable};
use crate::entropy;

pub(super) use opening::NOT_BEGUN;
pub use opening::Purpose;

mod opening;

const THREAD_ENDED: StoreFailure = StoreFailure::Broken("the thread of a database has ended");

/// A database that cannot be used.
#[derive(Debug)]
pub struct Refused {
    /// Which one; neither user nor password.
    pub address: String,
    /// Why.
    pub why: Unusable,
}

/// The databases of a relay.
pub struct Cluster {
    shards: Vec<Shard>,
    homes: Homes,
    standing: Standing,
    remembered: Remembered,
}

type Work = Box<dyn FnOnce(&mut Ledger<PostgresRows>) + Send>;

/// One database, and the thread that works with it, which ends with this.
struct Shard(Sender<Work>);

/// The operations of a piece by database.
type Parts = BTreeMap<u16, Piece>;

/// What is answered, as far as it is known.
type Replies = [Option<StoreReply>];

/// An operation that found no log, and the database where it looked.
struct Stray {
    tried: u16,
    at: usize,
    op: StoreOp,
}

impl Cluster {
    /// Which databases are away.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// A slice of what is to be done in each database.
    ///
    /// # Errors
    /// In one of them it failed, and in no other there is more to do.
    pub fn upkeep(&mut self) -> Result<Slice, StoreFailure> {
        self.try_again();
        let ask = |shard: &Shard| shard.ask(|ledger| ledger.rows().upkeep());
        let asked: Vec<_> = self.there().map(ask).collect();
        let mut outcome = Ok(Slice::Done);
        for answer in asked {
            outcome = match (outcome, received(&answer)) {
                (Err(one), Err(other)) => Err(worse(one, other)),
                (Err(failure), _) | (_, Err(failure)) if !failure.passes() => Err(failure),
                (Ok(Slice::More), _) | (_, Ok(Slice::More)) => Ok(Slice::More),
                (one, other) => one.and(other),
            };
        }
        outcome
    }

    /// Does something with the rows of each database, in turn.
    ///
    /// # Errors
    /// What came of the first that failed.
    pub fn each<T: Send + 'static>(
        &mut self,
        work: impl Fn(&mut PostgresRows) -> Result<T, StoreFailure> + Clone + Send + 'static,
    ) -> Result<Vec<T>, StoreFailure> {
        let ask = |shard: &Shard| {
            let work = work.clone();
            received(&shard.ask(move |ledger| work(ledger.rows())))
        };
        self.shards.iter().map(ask).collect()
    }

    /// Lets the threads of databases that are away try to reach them.
    // [SPEC 6.211]
    pub(super) fn try_again(&self) {
        if self.shards.len() > 1 {
            for shard in self.standing.to_be_tried() {
                if let Ok(shard) = self.shard(shard) {
                    shard.ask(|ledger| ledger.rows().try_again());
                }
            }
        }
    }

    /// How many databases there are.
    pub(super) fn shards(&self) -> u16 {
        self.homes.shards()
    }

    /// The home of a key.
    pub(super) fn home(&self, key: &RowKey) -> u16 {
        self.homes.of(key)
    }

    /// Does something with the rows of one database.
    pub(super) fn on<T: Send + 'static>(
        &self,
        shard: u16,
        work: impl FnOnce(&mut PostgresRows) -> Result<T, StoreFailure> + Send + 'static,
    ) -> Result<T, StoreFailure> {
        received(&self.shard(shard)?.ask(move |ledger| work(ledger.rows())))
    }

    /// The databases that are not away; all, if all are.
    fn there(&self) -> impl Iterator<Item = &Shard> {
        let is_away = |shard: u16| self.standing.is_away(shard);
        let all = (0..self.homes.shards()).all(is_away);
        let numbered = (0..).zip(&self.shards);
        numbered
            .filter(move |(number, _)| all || !is_away(*number))
            .map(|(_, shard)| shard)
    }

    fn shard_of(&self, key: &RowKey) -> u16 {
        let known = self.remembered.get(key);
        known.unwrap_or_else(|| self.homes.of(key))
    }

    /// Asks the homes of these logs whether they are elsewhere. Gives the homes that could not be asked.
    fn locate(
        &mut self,
        keys: impl Iterator<Item = RowKey>,
    ) -> Result<BTreeSet<u16>, StoreFailure> {
        let mut by_home: BTreeMap<u16, Vec<RowKey>> = BTreeMap::new();
        for key in keys {
            self.remembered.forget(&key);
            by_home.entry(self.homes.of(&key)).or_default().push(key);
        }
        let mut asked = Vec::new();
        let mut silent = BTreeSet::new();
        for (home, keys) in by_home {
            // [SPEC 6.211]
            if self.standing.is_away(home) {
                silent.insert(home);
                continue;
            }
            let ask = move |ledger: &mut Ledger<PostgresRows>| ledger.rows().pointers(&keys);
            asked.push((home, self.shard(home)?.ask(ask)));
        }
        for (home, answer) in asked {
            match received(&answer) {
                Ok(found) => self.remembered.extend(found),
                Err(failure) if failure.passes() || failure == StoreFailure::Conflict => {
                    silent.insert(home);
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(silent)
    }

    fn shard(&self, number: u16) -> Result<&Shard, StoreFailure> {
        self.shards.get(usize::from(number)).ok_or(THREAD_ENDED)
    }

    /// By where each operation is to be decided. Where that is away, it is refused: nothing else is to wait for it.
    // [SPEC 6.211]
    fn parted(&self, piece: Piece, replies: &mut Replies) -> Parts {
        let mut parts = Parts::new();
        for (at, op) in piece {
            let shard = self.shard_of(&op.key());
            if self.standing.is_away(shard) {
                answer(replies, at, refusal(RefusalCode::StoreFailed, AWAY_RETRY_S));
            } else {
                parts.entry(shard).or_default().push((at, op));
            }
        }
        parts
    }

    /// Decides a piece of a batch: where each log is thought to be, and once more for those that are not there.
    // [SPEC 6.210]
    fn apply_piece(
        &mut self,
        now: Wall,
        piece: Piece,
        replies: &mut Replies,
    ) -> Result<(), StoreFailure> {
        let creates = piece.iter().map(|(_, op)| op);
        let creates = creates
            .filter(|op| matches!(op, StoreOp::Create(_) | StoreOp::Share(_, ShareOp::Put(_))));
        let creates: Vec<RowKey> = creates.map(StoreOp::key).collect();
        // Where a home is silent, it is asked again in the transaction that makes the log.
        self.locate(creates.into_iter())?;
        let parts = self.parted(piece, replies);
        let strays = self.apply_parts(now, parts, replies)?;
        if strays.is_empty() {
            return Ok(());
        }
        let silent = self.locate(strays.iter().map(|stray| stray.op.key()))?;
        let mut elsewhere = Piece::new();
        for Stray { tried, at, op } in strays {
            let key = op.key();
            if silent.contains(&self.homes.of(&key)) {
                answer(replies, at, refusal(RefusalCode::StoreFailed, AWAY_RETRY_S));
            } else if self.shard_of(&key) != tried {
                elsewhere.push((at, op));
            }
        }
        let parts = self.parted(elsewhere, replies);
        self.apply_parts(now, parts, replies).map(drop)
    }

    /// Lets all databases decide on their parts at the same time.
    fn apply_parts(
        &mut self,
        now: Wall,
        parts: Parts,
        replies: &mut Replies,
    ) -> Result<Vec<Stray>, StoreFailure> {
        let mut asked = Vec::new();
        for (number, part) in parts {
            let (at, ops): (Vec<usize>, Vec<StoreOp>) = part.into_iter().unzip();
            let answer = self.shard(number)?.ask(move |ledger| {
                let outcome = apply_part(ledger, now, &ops);
                (ops, outcome)
            });
            asked.push((number, at, answer));
        }
        let mut strays = Vec::new();
        let mut failure = None;
        for (tried, at, answered) in asked {
            let (ops, outcome) = answered.recv().map_err(|_| THREAD_ENDED)?;
            match outcome {
                // [SPEC 6.211]
                Err(StoreFailure::Lost(_)) => {
                    for at in at {
                        answer(replies, at, StoreReply::Lost);
                    }
                }
                Err(failed) => failure = Some(failure.map_or(failed, |other| worse(other, failed))),
                Ok(got) => {
                    for ((at, op), reply) in at.into_iter().zip(ops).zip(got) {
                        // Those that it made are where it is.
                        if matches!(reply, StoreReply::Appended(_)) {
                            let made = op.makes().map(|key| (key, tried));
                            self.remembered.extend(made);
                        }
                        if is_stray(&reply) {
                            strays.push(Stray { tried, at, op });
                        }
                        answer(replies, at, reply);
                    }
                }
            }
        }
        failure.map_or(Ok(strays), Err)
    }
}

/// A part on its database. What that cannot do for now is refused, operation by operation: others did theirs. Only damage is a failure of the
/// whole batch.
// [SPEC 6.211]
fn apply_part(
    ledger: &mut Ledger<PostgresRows>,
    now: Wall,
    ops: &[StoreOp],
) -> Result<Vec<StoreReply>, StoreFailure> {
    let all = |code, retry_s| Ok(ops.iter().map(|_| refusal(code, retry_s)).collect());
    let outcome = ledger.apply_to(now, ops);
    // Only a new entry shows that there is space: reading needs none.
    // [SPEC 6.218]
    let stored = |reply: &StoreReply| matches!(reply, StoreReply::Appended(_));
    match &outcome {
        Err(StoreFailure::Full) => ledger.rows().notice_full(true),
        Ok(replies) if replies.iter().any(stored) => ledger.rows().notice_full(false),
        _ => {}
    }
    match outcome {
        Err(StoreFailure::Away(_) | StoreFailure::Conflict) => {
            all(RefusalCode::StoreFailed, AWAY_RETRY_S)
        }
        Err(StoreFailure::Full) if !ops.iter().any(StoreOp::grows) => {
            all(RefusalCode::StorageFull, FULL_RETRY_S)
        }
        // What reads and makes space is done.
        Err(StoreFailure::Full) => {
            let mut replies = Vec::with_capacity(ops.len());
            for run in ops.chunk_by(|one, next| one.grows() == next.grows()) {
                if run.iter().any(StoreOp::grows) {
                    let full = || refusal(RefusalCode::StorageFull, FULL_RETRY_S);
                    replies.extend(run.iter().map(|_| full()));
                } else {
                    replies.extend(apply_part(ledger, now, run)?);
                }
            }
            Ok(replies)
        }
        outcome => outcome,
    }
}

/// Nothing was found, and it may be elsewhere.
fn is_stray(reply: &StoreReply) -> bool {
    matches!(reply, StoreReply::Refused(refusal) if refusal.code == RefusalCode::Unknown)
}

fn refusal(code: RefusalCode, retry_s: u32) -> StoreReply {
    StoreReply::Refused(Refusal::later(code, retry_s))
}

fn answer(replies: &mut Replies, at: usize, reply: StoreReply) {
    if let Some(place) = replies.get_mut(at) {
        *place = Some(reply);
    }
}

fn worse(one: StoreFailure, other: StoreFailure) -> StoreFailure {
    match (one, other) {
        (broken @ StoreFailure::Broken(_), _) | (_, broken @ StoreFailure::Broken(_)) => broken,
        (one, _) => one,
    }
}

fn received<T>(answer: &Receiver<Result<T, StoreFailure>>) -> Result<T, StoreFailure> {
    answer.recv().unwrap_or(Err(THREAD_ENDED))
}

impl Store for Cluster {
    fn apply(&mut self, now: Wall, ops: Vec<StoreOp>) -> Result<Vec<StoreReply>, StoreFailure> {
        if let [only] = self.shards.as_slice() {
            return received(&only.ask(move |ledger| ledger.apply(now, ops)));
        }
        self.try_again();
        let mut replies: Vec<Option<StoreReply>> = ops.iter().map(|_| None).collect();
        for piece in pieces(ops) {
            self.apply_piece(now, piece, &mut replies)?;
        }
        let replies = replies.into_iter().map(|reply| reply.ok_or(THREAD_ENDED));
        replies.collect()
    }

    fn expire(&mut self, now: Wall) -> Result<(), StoreFailure> {
        self.try_again();
        let ask = |shard: &Shard| shard.ask(move |ledger| ledger.expire(now));
        let asked: Vec<_> = self.there().map(ask).collect();
        let mut outcome = Ok(());
        for answer in asked {
            outcome = match (outcome, received(&answer)) {
                (Err(one), Err(other)) => Err(worse(one, other)),
                (one, other) => one.and(other),
            };
        }
        outcome
    }
}

impl Shard {
    fn begin(rows: PostgresRows) -> io::Result<Self> {
        let (work, to_do) = mpsc::channel::<Work>();
        let mut ledger = Ledger::new(rows, Box::new(entropy::generator()));
        let run = move || {
            for work in to_do {
                work(&mut ledger);
                crate::stack::wipe();
            }
        };
        thread::Builder::new()
            .name("database".to_owned())
            .spawn(run)?;
        Ok(Self(work))
    }

    /// What comes of it, later.
    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Ledger<PostgresRows>) -> T + Send + 'static,
    ) -> Receiver<T> {
        let (answer, answered) = mpsc::channel();
        // If the thread has ended, no answer comes, and that is seen.
        let _ = self.0.send(Box::new(move |ledger| {
            let _ = answer.send(work(ledger));
        }));
        answered
    }
}
