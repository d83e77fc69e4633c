//! The relay's stream keys: one at a time, an hour each, in memory only; their records in a chain on disk.

use std::collections::VecDeque;

use emptyroom_wire::limits::{KEY_RECORD_LIFE_MS, KEY_RECORDS_PER_ANSWER_MAX, STREAM_KEY_LIFE_MS};
use emptyroom_wire::relay_key::{IdentityHash, KeyRecord, RelayIdentity, StreamKey};
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::time::{MINUTE_MS, Mono, Now, SECOND_MS, Wall};

use crate::io::Ticket;

/// When a record could not be stored for want of space, it is tried again after this.
const RETRY_MS: u64 = MINUTE_MS;

pub(crate) struct Keys {
    identity: RelayIdentity,
    hash: IdentityHash,
    /// Oldest first.
    records: VecDeque<KeyRecord>,
    current: Option<StreamKey>,
    /// Made, its record not durable yet.
    next: Option<(Ticket, StreamKey)>,
    turn_at: Mono,
}

impl Keys {
    /// Continues the chain of `records`, oldest first.
    pub(crate) fn new(now: Now, identity: RelayIdentity, records: Vec<KeyRecord>) -> Keys {
        let hash = identity.hash();
        Keys {
            identity,
            hash,
            records: records.into(),
            current: None,
            next: None,
            turn_at: now.mono,
        }
    }

    pub(crate) fn identity(&self) -> &RelayIdentity {
        &self.identity
    }

    pub(crate) fn hash(&self) -> IdentityHash {
        self.hash
    }

    /// The key that openings may use. None until the first record is durable.
    pub(crate) fn current(&self) -> Option<&StreamKey> {
        self.current.as_ref()
    }

    /// When [`Keys::turn`] has something to do.
    pub(crate) fn wake_at(&self) -> Option<Mono> {
        self.next.is_none().then_some(self.turn_at)
    }

    /// Makes the next key if it is time; its record is to be made durable under this ticket.
    pub(crate) fn turn(
        &mut self,
        now: Now,
        ticket: Ticket,
        rng: &mut dyn CryptoRng,
    ) -> Option<KeyRecord> {
        if self.next.is_some() || now.mono < self.turn_at {
            return None;
        }
        let key = self
            .identity
            .next_stream_key(self.records.back(), now.wall, rng);
        let record = key.signed().record.clone();
        self.next = Some((ticket, key));
        Some(record)
    }

    /// The record is durable: from now on the key is used, and the one before is erased.
    pub(crate) fn stored(&mut self, now: Now, ticket: Ticket) {
        // [SPEC 6.40]
        if let Some((at, key)) = self.next.take_if(|(at, _)| *at == ticket) {
            debug_assert!(at == ticket);
            self.records.push_back(key.signed().record.clone());
            self.current = Some(key);
            self.turn_at = now.mono.plus_ms(STREAM_KEY_LIFE_MS);
            self.forget_old(now.wall);
        }
    }

    /// The record could not be stored for want of space: the key was never used.
    pub(crate) fn not_stored(&mut self, now: Now, ticket: Ticket) {
        if self.next.take_if(|(at, _)| *at == ticket).is_some() {
            self.turn_at = now.mono.plus_ms(RETRY_MS);
        }
    }

    /// Records with numbers above `after`, oldest first.
    pub(crate) fn records_after(&self, after: u64) -> Vec<KeyRecord> {
        // [SPEC 6.41]
        let above = self.records.iter().filter(|record| record.number > after);
        above.take(KEY_RECORDS_PER_ANSWER_MAX).cloned().collect()
    }

    /// Numbers are times in seconds where the clock ran forward.
    fn forget_old(&mut self, now: Wall) {
        // [SPEC 6.41]
        let oldest = now.0.saturating_sub(KEY_RECORD_LIFE_MS) / SECOND_MS;
        while self.records.len() > 1 && self.records.front().is_some_and(|r| r.number < oldest) {
            self.records.pop_front();
        }
    }
}
