//! Records in memory: what tests, simulator, benchmarks and fuzz targets have in a vault's place.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{Records, Value};
use crate::api::Change;

/// Records in a map. A clone is a copy of the vault.
#[derive(Clone, Default)]
pub struct MemoryRecords(pub BTreeMap<Vec<u8>, Value>);

impl MemoryRecords {
    /// A transaction becomes durable.
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match &change.value {
                Some(value) => self.0.insert(change.key.clone(), Value::new(value.clone())),
                None => self.0.remove(&change.key),
            };
        }
    }
}

impl Records for MemoryRecords {
    fn get(&self, key: &[u8]) -> Option<Value> {
        self.0.get(key).cloned()
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Vec<(Vec<u8>, Value)> {
        let own = |(key, value): (&Vec<u8>, &Value)| (key.clone(), value.clone());
        let inside = |(key, _): &(&Vec<u8>, &Value)| key.starts_with(prefix);
        if reverse {
            let end = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_vec()));
            let range = self.0.range((Bound::Unbounded, end)).rev();
            // Keys with the prefix are neighbours: skip those above it, stop below it.
            let from =
                range.skip_while(|(key, _)| !key.starts_with(prefix) && key.as_slice() > prefix);
            return from.take_while(inside).take(limit).map(own).collect();
        }
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
            _ => Bound::Included(prefix.to_vec()),
        };
        let range = self.0.range((start, Bound::Unbounded));
        range.take_while(inside).take(limit).map(own).collect()
    }
}
