//! What a hostile relay does: the real relay, over a store whose answers are changed on their way.

use std::collections::BTreeMap;
use std::sync::Arc;

use emptyroom_relay::store::{
    Append, Batch, NewEntry, Place, RowKey, Store as _, StoreOp, StoreReply, StoredEntry,
};
use emptyroom_wire::entry::{Aad, RunningHash, Ttl};
use emptyroom_wire::op::{Appended, Refusal, RefusalCode, View};
use emptyroom_wire::time::Wall;

use crate::memory_store::{Disk, MemoryStore};

/// A way to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// An entry of another log in place of the right one.
    AnotherLogsEntry,
    /// The entry before once more, in place of the right one.
    Replay,
    /// Entries are left out in the middle.
    Drop,
    /// Entries are acknowledged and never delivered, though the view counts them.
    Withhold,
    /// Numbers that are too high by one.
    WrongSequence,
    /// Acknowledgements with another running hash.
    WrongHash,
    /// Logs that are there are unknown.
    DenyLogs,
    /// A bit of each entry is another.
    Damage,
    /// Appends are answered as stale, by a commit that nobody made.
    FalseStale,
    /// Appends are answered as stale, by commits that are still to be read and that nobody made.
    StaleAhead,
    /// Appends are refused as if the log were closed.
    FalseClosed,
    /// Appends are refused as too large.
    FalseRefusal,
    /// Restarts are acknowledged, and nowhere.
    FalseRestart,
    /// Messages are stored twice, nonce and all, in one right chain.
    Twice,
    /// So, and the second one is acknowledged.
    SecondOfTwo,
    /// Rubbish is stored before a message, under its nonce.
    RubbishFirst,
}

/// All of them.
pub const LIES: &[Lie] = &[
    Lie::AnotherLogsEntry,
    Lie::Replay,
    Lie::Drop,
    Lie::Withhold,
    Lie::WrongSequence,
    Lie::WrongHash,
    Lie::DenyLogs,
    Lie::Damage,
    Lie::FalseStale,
    Lie::StaleAhead,
    Lie::FalseClosed,
    Lie::FalseRefusal,
    Lie::FalseRestart,
    Lie::Twice,
    Lie::SecondOfTwo,
    Lie::RubbishFirst,
];

/// Those after which messages may be missing for good; their reader sees that. What is answered as stale and stored all the
/// same is not pushed to whoever has the log open.
pub(crate) const LEAVE_GAPS: &[Lie] = &[
    Lie::Drop,
    Lie::Withhold,
    Lie::WrongSequence,
    Lie::FalseStale,
];

/// What an operation was about.
pub(crate) enum Asked {
    Read(RowKey),
    Append(Place, Aad, Arc<[u8]>),
    Look,
    Other,
}

/// What an operation is about, before it is handed to the store.
pub(crate) fn asked(op: &StoreOp) -> Asked {
    match op {
        StoreOp::Read { place, .. } => Asked::Read(place.key()),
        StoreOp::Append(append) => Asked::Append(
            append.place.clone(),
            append.entry.aad.clone(),
            append.entry.body.clone(),
        ),
        StoreOp::Look { .. } => Asked::Look,
        _ => Asked::Other,
    }
}

/// Stores rubbish under the nonce of what is to be stored. False: it is none of the entries that a liar does this to.
pub(crate) fn store_rubbish(store: &mut MemoryStore, now: Wall, asked: &Asked) -> bool {
    let Asked::Append(place, aad, body) = asked else {
        return false;
    };
    if aad.commit {
        return false;
    }
    let before = store.rows().clone();
    let rubbish = StoreOp::Append(Append {
        place: place.clone(),
        entry: NewEntry {
            aad: aad.clone(),
            body: vec![7; body.len()].into(),
        },
        next: Vec::new(),
    });
    let reply = store
        .apply(now, vec![rubbish])
        .ok()
        .and_then(|mut all| all.pop());
    store.rows().forget_nonces(&before, &place.key());
    matches!(reply, Some(StoreReply::Appended(_)))
}

/// Stores what was just stored once more, under the next number. Gives where; nothing for entries that a liar does not repeat.
pub(crate) fn store_again(
    store: &mut MemoryStore,
    now: Wall,
    before: &Disk,
    asked: &Asked,
) -> Option<Appended> {
    let Asked::Append(place, aad, body) = asked else {
        return None;
    };
    // The slots that a commit expects are filled.
    if aad.commit {
        return None;
    }
    store.rows().forget_nonces(before, &place.key());
    let again = StoreOp::Append(Append {
        place: place.clone(),
        entry: NewEntry {
            aad: aad.clone(),
            body: body.clone(),
        },
        next: Vec::new(),
    });
    match store.apply(now, vec![again]).ok()?.pop()? {
        StoreReply::Appended(placed) => Some(Appended {
            seq: placed.seq,
            running_hash: placed.after,
        }),
        _ => None,
    }
}

/// The answer to an append that a liar does not store.
pub(crate) fn instead(lie: Option<Lie>, op: &StoreOp) -> Option<StoreReply> {
    let StoreOp::Append(append) = op else {
        return None;
    };
    match lie? {
        Lie::StaleAhead => Some(StoreReply::Stale(View {
            first_seq: 0,
            next_seq: 1 << 20,
            slots: append.entry.aad.expect_slots + 1,
            running_hash: RunningHash([9; 32]),
            closed: false,
        })),
        Lie::FalseClosed => Some(StoreReply::Refused(Refusal::now(RefusalCode::Closed))),
        Lie::FalseRefusal => Some(StoreReply::Refused(Refusal::now(RefusalCode::TooLarge))),
        // Only restarts live as long as their log.
        Lie::FalseRestart if append.entry.aad.ttl == Ttl::Life => {
            Some(StoreReply::Already(Appended {
                seq: 0,
                running_hash: RunningHash([9; 32]),
            }))
        }
        _ => None,
    }
}

/// Entries that a liar saw: the newest of each log.
#[derive(Default)]
pub(crate) struct Kept(BTreeMap<RowKey, StoredEntry>);

impl Kept {
    /// Keeps what is read honestly.
    pub(crate) fn remember(&mut self, asked: &[Asked], replies: &[StoreReply]) {
        for pair in asked.iter().zip(replies) {
            match pair {
                (Asked::Read(log), StoreReply::Read(batch)) => {
                    if let Some(entry) = batch.entries.last() {
                        self.0.insert(*log, copy(entry));
                    }
                }
                (Asked::Append(log, aad, body), StoreReply::Appended(placed)) => {
                    let entry = StoredEntry {
                        seq: placed.seq,
                        before: placed.before,
                        aad: aad.clone(),
                        body: body.clone(),
                    };
                    self.0.insert(log.key(), entry);
                }
                _ => {}
            }
        }
    }

    /// Changes replies. False: there was nothing to change.
    pub(crate) fn twist(&mut self, lie: Lie, asked: &[Asked], replies: &mut [StoreReply]) -> bool {
        let mut told = false;
        for (asked, reply) in asked.iter().zip(replies) {
            told |= self.twist_one(lie, asked, reply);
        }
        told
    }

    fn twist_one(&mut self, lie: Lie, asked: &Asked, reply: &mut StoreReply) -> bool {
        match (lie, asked, reply) {
            (Lie::DenyLogs, Asked::Look, reply @ StoreReply::Looked(_)) => {
                *reply = StoreReply::Refused(Refusal::now(RefusalCode::Unknown));
                true
            }
            (Lie::Withhold, Asked::Append(..), reply @ StoreReply::Appended(_)) => {
                let StoreReply::Appended(placed) = &*reply else {
                    return false;
                };
                *reply = StoreReply::Already(Appended {
                    seq: placed.seq,
                    running_hash: placed.after,
                });
                true
            }
            (Lie::FalseStale, Asked::Append(_, aad, _), reply @ StoreReply::Appended(_)) => {
                let StoreReply::Appended(placed) = &*reply else {
                    return false;
                };
                *reply = StoreReply::Stale(View {
                    first_seq: 0,
                    next_seq: placed.seq,
                    slots: aad.expect_slots + 1,
                    running_hash: placed.before,
                    closed: false,
                });
                true
            }
            (Lie::WrongHash, Asked::Append(..), StoreReply::Appended(placed)) => {
                placed.after = RunningHash([9; 32]);
                true
            }
            (Lie::WrongSequence, Asked::Append(..), StoreReply::Appended(placed)) => {
                placed.seq += 1;
                true
            }
            (_, Asked::Read(log), StoreReply::Read(batch)) => self.twist_batch(lie, *log, batch),
            _ => false,
        }
    }

    fn twist_batch(&self, lie: Lie, log: RowKey, batch: &mut Batch) -> bool {
        let len = batch.entries.len();
        match lie {
            Lie::AnotherLogsEntry => {
                let other = self.0.iter().find(|(key, _)| **key != log);
                if let (Some((_, other)), Some(last)) = (other, batch.entries.last_mut()) {
                    last.aad = other.aad.clone();
                    last.aad.expect_slots = 0;
                    last.body = other.body.clone();
                    return true;
                }
                false
            }
            Lie::Replay => {
                let old = self.0.get(&log).map(copy);
                if let (Some(old), Some(last)) = (old, batch.entries.last_mut())
                    && old.seq < last.seq
                {
                    *last = old;
                    return true;
                }
                false
            }
            Lie::Drop if len > 1 => {
                batch.entries.remove(len - 2);
                true
            }
            Lie::Withhold if len > 0 => {
                batch.entries.clear();
                true
            }
            Lie::WrongSequence if len > 0 => {
                for entry in &mut batch.entries {
                    entry.seq += 1;
                }
                true
            }
            Lie::Damage if len > 0 => {
                for entry in &mut batch.entries {
                    let mut body = entry.body.to_vec();
                    if let Some(byte) = body.last_mut() {
                        *byte ^= 1;
                    }
                    entry.body = body.into();
                }
                true
            }
            _ => false,
        }
    }
}

fn copy(entry: &StoredEntry) -> StoredEntry {
    StoredEntry {
        seq: entry.seq,
        before: entry.before,
        aad: entry.aad.clone(),
        body: entry.body.clone(),
    }
}
