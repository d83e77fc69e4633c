//! Which database a log's or share's rows go to, and the keys that all databases of a relay have in common.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use emptyroom_relay::store::RowKey;
use emptyroom_wire::derive::{Source, expand};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::Day;

use super::ratchet::{DayKeys, Turn};
use crate::data::DataError;

/// So many pointers are remembered; who is not among them is looked up again.
const REMEMBERED_MAX: usize = 1 << 16;

/// By row key, and a secret of the relay: nobody else can tell which logs lie together.
#[derive(Clone)]
pub(super) struct Homes {
    source: Arc<Source>,
    shards: u16,
}

impl Homes {
    /// For so many databases of the relay with this identity's seed.
    // [SPEC 6.209]
    #[must_use]
    pub(super) fn new(seed: &Secret32, shards: u16) -> Self {
        let secret: Secret32 = expand(seed.expose(), "emptyroom v1 shards", &[]);
        Self {
            source: Arc::new(Source::of(secret.expose())),
            shards: shards.max(1),
        }
    }

    /// How many databases there are.
    #[must_use]
    pub(super) fn shards(&self) -> u16 {
        self.shards
    }

    /// The number of a key's home, from 0.
    // [SPEC 6.209]
    #[must_use]
    pub(super) fn of(&self, key: &RowKey) -> u16 {
        let bytes = self.source.bytes::<8>("emptyroom v1 shard", &key.0);
        let number = u64::from_be_bytes(bytes) % u64::from(self.shards);
        u16::try_from(number).unwrap_or(0)
    }
}

/// Where logs are that are not in their homes, as far as it was seen: under a hash whose key is gone with the program, so that nothing here names
/// a log that nobody has open any more. Two with the same hash are looked for once more than needed.
// [SPEC 6.80]
#[derive(Default)]
pub(super) struct Remembered {
    hash: RandomState,
    at: BTreeMap<u64, u16>,
}

impl Remembered {
    pub(super) fn get(&self, key: &RowKey) -> Option<u16> {
        self.at.get(&self.hash.hash_one(key.0)).copied()
    }

    pub(super) fn forget(&mut self, key: &RowKey) {
        self.at.remove(&self.hash.hash_one(key.0));
    }

    pub(super) fn extend(&mut self, found: impl IntoIterator<Item = (RowKey, u16)>) {
        if self.at.len() > REMEMBERED_MAX {
            self.at.clear();
        }
        for (key, shard) in found {
            self.at.insert(self.hash.hash_one(key.0), shard);
        }
    }
}

/// The day keys, for all threads that work with a database.
#[derive(Clone)]
pub(super) struct SharedKeys(Arc<Shared>);

struct Shared {
    keys: Mutex<DayKeys>,
    /// The oldest turn in each database, as far as they were asked.
    oldest: Mutex<Vec<Option<Turn>>>,
}

impl SharedKeys {
    pub(super) fn new(keys: DayKeys, shards: u16) -> Self {
        Self(Arc::new(Shared {
            keys: Mutex::new(keys),
            oldest: Mutex::new(vec![None; usize::from(shards)]),
        }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, DayKeys> {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the days before today, and no turn.
    pub(super) fn advance_days(&self, today: Day) -> Result<(), DataError> {
        let mut keys = self.lock();
        let turn = keys.turn();
        keys.advance(today, turn)
    }

    /// Goes on to today, and to the oldest turn that any database has rows of.
    pub(super) fn advance(&self, shard: u16, today: Day, oldest: Turn) -> Result<(), DataError> {
        let mut all = self.0.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = all.get_mut(usize::from(shard)) {
            *place = Some(oldest);
        }
        let least = all.iter().copied().min().flatten();
        let turn = least.map_or(Turn(0), |turn| turn.min(Turn::of(today).before()));
        self.lock().advance(today, turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 6.209]
    #[test]
    fn homes_are_even_and_only_the_relay_knows_them() {
        let homes = |seed| Homes::new(&Secret32::new([seed; 32]), 3);
        let (ours, others) = (homes(1), homes(2));
        let mut counts = [0_u32; 3];
        let mut same = 0;
        for number in 0..3_000_u16 {
            let mut key = [0; 32];
            key[..2].copy_from_slice(&number.to_be_bytes());
            let home = ours.of(&RowKey(key));
            counts[usize::from(home)] += 1;
            same += u32::from(home == others.of(&RowKey(key)));
            assert_eq!(home, homes(1).of(&RowKey(key)));
        }
        assert!(counts.iter().all(|count| (900..1_100).contains(count)));
        assert!((900..1_100).contains(&same));
    }
}
