//! Short words for what the checks do with a store.

use std::sync::Arc;

use emptyroom_wire::entry::{Aad, RunningHash, Ttl};
use emptyroom_wire::log::{Flags, Header};
use emptyroom_wire::op::{First, RefusalCode, View};
use emptyroom_wire::secret::Private;
use emptyroom_wire::sign::VerifyKey;
use emptyroom_wire::time::{DAY_MS, Wall};
use emptyroom_wire::wipe::OrderHash;

use super::Subject;
use crate::store::{
    Append, Batch, NewEntry, NewPlace, Place, ShareReply, StoreFailure, StoreOp, StoreReply,
};

/// A day far enough from 1970 that 400 days before it exist.
const FIRST_DAY: u64 = 20_000;

/// A store and its clock.
pub(super) struct Driver<'a> {
    pub(super) subject: &'a mut dyn Subject,
    pub(super) now: Wall,
    nonces: u64,
}

/// A reply in a form that can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Created,
    Looked(View),
    Read(Vec<Got>, u64, bool),
    Appended(u64, RunningHash, RunningHash),
    Already(u64, RunningHash),
    Stale(View),
    Done,
    Owner(VerifyKey, bool),
    Gone(Option<OrderHash>),
    Used(Vec<u8>, u8),
    Refused(RefusalCode),
}

/// An entry that was read.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) seq: u64,
    pub(super) before: RunningHash,
    pub(super) aad: Aad,
    pub(super) body: Arc<[u8]>,
}

impl std::fmt::Debug for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "entry {} of {} bytes", self.seq, self.body.len())
    }
}

impl<'a> Driver<'a> {
    pub(super) fn new(subject: &'a mut dyn Subject) -> Driver<'a> {
        Driver {
            subject,
            now: Wall(FIRST_DAY * DAY_MS + DAY_MS / 3),
            nonces: 0,
        }
    }

    pub(super) fn apply(&mut self, ops: Vec<StoreOp>) -> Vec<Outcome> {
        let count = ops.len();
        let replies = self.subject.store().apply(self.now, ops);
        let replies = replies.unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(replies.len(), count, "one reply for each operation");
        replies.into_iter().map(outcome).collect()
    }

    pub(super) fn one(&mut self, op: StoreOp) -> Outcome {
        self.apply(vec![op]).remove(0)
    }

    /// Time goes on, and the store removes what has run out.
    pub(super) fn days_later(&mut self, days: u64) {
        self.now = self.now.plus_ms(days * DAY_MS);
        let expired = self.subject.store().expire(self.now);
        expired.unwrap_or_else(|failure: StoreFailure| panic!("{failure}"));
    }

    pub(super) fn create(&mut self, header: &Header, first: Option<First>) -> Outcome {
        self.one(StoreOp::Create(NewPlace::new(header, first)))
    }

    pub(super) fn look(&mut self, place: &Place) -> Outcome {
        let place = place.clone();
        self.one(StoreOp::Look { place })
    }

    pub(super) fn view(&mut self, place: &Place) -> View {
        match self.look(place) {
            Outcome::Looked(view) => view,
            other => panic!("no view but {other:?}"),
        }
    }

    /// Everything that is stored from `from` on.
    pub(super) fn read(&mut self, place: &Place, from: u64) -> Vec<Got> {
        let place = place.clone();
        let bytes_max = usize::MAX;
        match self.one(StoreOp::Read {
            place,
            from,
            bytes_max,
        }) {
            Outcome::Read(entries, _, true) => entries,
            other => panic!("not read to the end but {other:?}"),
        }
    }

    pub(super) fn seqs(&mut self, place: &Place) -> Vec<u64> {
        self.read(place, 0).iter().map(|got| got.seq).collect()
    }

    pub(super) fn nonce(&mut self) -> [u8; 16] {
        self.nonces += 1;
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(
            &self
                .nonces
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_le_bytes(),
        );
        nonce[8..].copy_from_slice(&self.nonces.to_be_bytes());
        nonce
    }

    /// A message: small, 30 days, to a log with `slots` slots.
    pub(super) fn message(&mut self, place: &Place, slots: u64) -> Append {
        let aad = Aad {
            log_id: place.log_id(),
            expect_slots: slots,
            commit: false,
            close: false,
            ttl: Ttl::Day30,
            nonce: self.nonce(),
            next_hash: [0; 32],
        };
        Append {
            place: place.clone(),
            entry: NewEntry {
                aad,
                body: Arc::from(&b"a small body"[..]),
            },
            next: Vec::new(),
        }
    }

    pub(super) fn commit(&mut self, place: &Place, slots: u64) -> Append {
        let mut append = self.message(place, slots);
        append.entry.aad.commit = true;
        append
    }

    pub(super) fn append(&mut self, append: Append) -> Outcome {
        self.one(StoreOp::Append(append))
    }

    /// Appends a message that must be taken, and gives its number.
    pub(super) fn add(&mut self, place: &Place, ttl: Ttl) -> u64 {
        let slots = self.view(place).slots;
        let mut message = self.message(place, slots);
        message.entry.aad.ttl = ttl;
        match self.append(message) {
            Outcome::Appended(seq, ..) => seq,
            other => panic!("not appended but {other:?}"),
        }
    }
}

/// A header unlike others, with all keys.
pub(super) fn header(number: u8, flags: Flags) -> Header {
    Header {
        salt: Private([number; 32]),
        append_key: Some(VerifyKey([1; 32])),
        read_key: None,
        owner_key: Some(VerifyKey([2; 32])),
        flags,
    }
}

pub(super) fn place(header: &Header) -> Place {
    Place::of(&header.capability())
}

pub(super) fn first(number: u8) -> First {
    First {
        ttl: Ttl::Day30,
        nonce: [number; 16],
        body: vec![number; 100],
    }
}

/// The same append once more: what a client sends that has no answer.
pub(super) fn again(append: &Append) -> Append {
    Append {
        place: append.place.clone(),
        entry: NewEntry {
            aad: append.entry.aad.clone(),
            body: Arc::clone(&append.entry.body),
        },
        next: Vec::new(),
    }
}

fn outcome(reply: StoreReply) -> Outcome {
    match reply {
        StoreReply::Created => Outcome::Created,
        StoreReply::Looked(looked) => Outcome::Looked(looked.view),
        StoreReply::Read(Batch {
            entries,
            cursor,
            end,
        }) => {
            let got = entries.into_iter().map(|entry| Got {
                seq: entry.seq,
                before: entry.before,
                aad: entry.aad,
                body: entry.body,
            });
            Outcome::Read(got.collect(), cursor, end)
        }
        StoreReply::Appended(placed) => Outcome::Appended(placed.seq, placed.before, placed.after),
        StoreReply::Already(appended) => Outcome::Already(appended.seq, appended.running_hash),
        StoreReply::Stale(view) => Outcome::Stale(view),
        StoreReply::Done => Outcome::Done,
        StoreReply::Share(ShareReply::Looked(owner, policy)) => {
            Outcome::Owner(owner, policy.is_some())
        }
        StoreReply::Share(ShareReply::Gone(order)) => Outcome::Gone(order),
        StoreReply::Share(ShareReply::Used(key, left)) => {
            Outcome::Used(super::shares::key_bytes(&key), left)
        }
        StoreReply::Refused(refusal) => Outcome::Refused(refusal.code),
        // No check expects it.
        StoreReply::Lost => Outcome::Refused(RefusalCode::StoreFailed),
    }
}
