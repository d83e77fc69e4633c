//! The relay's stream keys: one at a time, an hour each, in memory only; their records in a chain on disk, or in a store that this
//! node shares with others, who append theirs to it.

use emptyroom_wire::limits::{KEY_RECORD_LIFE_MS, KEY_RECORDS_PER_ANSWER_MAX, STREAM_KEY_LIFE_MS};
use emptyroom_wire::relay_key::{IdentityHash, KeyRecord, RelayIdentity, StreamKey};
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::time::{MINUTE_MS, Mono, Now, SECOND_MS, Wall};

use crate::io::Ticket;
use crate::limits::KEY_RECORDS_MAX;

/// When a record could not be stored for want of space, it is tried again after this.
pub(crate) const RETRY_MS: u64 = MINUTE_MS;

pub(crate) struct Keys {
    identity: RelayIdentity,
    hash: IdentityHash,
    /// Oldest first.
    records: Vec<KeyRecord>,
    current: Option<StreamKey>,
    /// Made, its record not durable yet.
    next: Option<(Ticket, StreamKey)>,
    turn_at: Mono,
    /// After a record that could not be stored.
    retry_ms: u64,
}

impl Keys {
    /// Continues the chain of `records`, oldest first.
    pub(crate) fn new(
        now: Now,
        identity: RelayIdentity,
        records: Vec<KeyRecord>,
        retry_ms: u64,
    ) -> Keys {
        let hash = identity.hash();
        Keys {
            retry_ms,
            identity,
            hash,
            records,
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
            .next_stream_key(self.records.last(), now.wall, rng);
        let record = key.signed().record.clone();
        self.next = Some((ticket, key));
        Some(record)
    }

    /// The record is durable: from now on the key is used, and the one before is erased.
    pub(crate) fn stored(&mut self, now: Now, ticket: Ticket) {
        // [SPEC 6.40]
        if let Some((at, key)) = self.next.take_if(|(at, _)| *at == ticket) {
            debug_assert!(at == ticket);
            let record = key.signed().record.clone();
            self.current = Some(key);
            self.turn_at = now.mono.plus_ms(STREAM_KEY_LIFE_MS);
            self.learn(now, vec![record]);
        }
    }

    /// Others' records, which come after those that are known here.
    pub(crate) fn learn(&mut self, now: Now, records: Vec<KeyRecord>) {
        for record in records {
            let last = self.records.last();
            if last.is_none_or(|last| last.number < record.number) {
                self.records.push(record);
            }
        }
        let kept = kept_records(now.wall, &self.records).len();
        self.records.drain(..self.records.len() - kept);
    }

    /// Another node was faster: the record is made again, to follow these.
    pub(crate) fn overtaken(&mut self, now: Now, ticket: Ticket, records: Vec<KeyRecord>) {
        // [SPEC 6.231]
        if self.next.take_if(|(at, _)| *at == ticket).is_some() {
            // Who was told of none would ask the same again, without end.
            let pause_ms = if records.is_empty() { self.retry_ms } else { 0 };
            self.learn(now, records);
            self.turn_at = now.mono.plus_ms(pause_ms);
        }
    }

    /// The number of the newest record known here.
    pub(crate) fn newest(&self) -> u64 {
        self.records.last().map_or(0, |record| record.number)
    }

    /// The record could not be stored for want of space: the key was never used.
    pub(crate) fn not_stored(&mut self, now: Now, ticket: Ticket) {
        if self.next.take_if(|(at, _)| *at == ticket).is_some() {
            self.turn_at = now.mono.plus_ms(self.retry_ms);
        }
    }

    /// Records with numbers above `after`, oldest first.
    pub(crate) fn records_after(&self, after: u64) -> Vec<KeyRecord> {
        // [SPEC 6.41]
        let above = self.records.iter().filter(|record| record.number > after);
        above.take(KEY_RECORDS_PER_ANSWER_MAX).cloned().collect()
    }
}

/// The records that are still served and kept on disk, of all in a row, oldest first.
#[must_use]
pub fn kept_records(now: Wall, records: &[KeyRecord]) -> &[KeyRecord] {
    // [SPEC 6.41]
    // Numbers are times in seconds where the clock ran forward.
    let oldest = now.0.saturating_sub(KEY_RECORD_LIFE_MS) / SECOND_MS;
    let over = records.partition_point(|record| record.number < oldest);
    // [SPEC 6.42]
    let beyond = records.len().saturating_sub(KEY_RECORDS_MAX);
    let newest = records.len().saturating_sub(1);
    records
        .get(over.max(beyond).min(newest)..)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use emptyroom_wire::sign::Signature;
    use emptyroom_wire::time::{DAY_MS, HOUR_MS};

    use super::*;

    fn numbered(numbers: impl Iterator<Item = u64>) -> Vec<KeyRecord> {
        let record = |number| KeyRecord {
            number,
            previous: [0; 32],
            key_hash: [0; 32],
            signature: Signature([0; 64]),
        };
        numbers.map(record).collect()
    }

    fn kept(now_ms: u64, records: &[KeyRecord]) -> (usize, u64) {
        let kept = kept_records(Wall(now_ms), records);
        (kept.len(), kept[0].number)
    }

    // [SPEC 6.41] [SPEC 6.42]
    #[test]
    fn records_go_by_age_and_by_number() {
        let hour = HOUR_MS / SECOND_MS;
        let hourly = numbered((0..2_000).map(|n| n * hour));
        assert_eq!(kept(2_000 * HOUR_MS, &hourly), (720, 1_280 * hour));
        assert_eq!(kept(4_000 * HOUR_MS, &hourly), (1, 1_999 * hour));
        // Numbers far ahead of the clock do not grow old.
        let ahead = numbered(1_000_000_000..1_000_020_000);
        assert_eq!(kept(DAY_MS, &ahead), (16_384, 1_000_003_616));
        assert!(kept_records(Wall(DAY_MS), &[]).is_empty());
    }
}
