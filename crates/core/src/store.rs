//! What a client keeps: records under short keys, and the changes of them that are on their way to the disk.
//!
//! One input is one transaction: everything a step changes (group state, plaintext, position, queue) leaves in one
//! `Persist` or not at all. Until the shell says that it is durable, reads go through the changes handed out.

pub(crate) mod key;
mod memory;
pub(crate) mod value;

use std::collections::BTreeMap;
use std::ops::Bound;

use zeroize::Zeroizing;

use crate::api::{Change, Ticket};

pub use memory::MemoryRecords;

/// What a shell must be able to keep under one key. Whatever others say is bounded before it gets here, so nothing longer is
/// ever handed out.
// [SPEC 11.19]
pub const VALUE_LEN_MAX: usize = 1024 * 1024;

/// A record's value. It may be a secret, so every copy is erased when dropped.
pub type Value = Zeroizing<Vec<u8>>;

/// The stored records, read by the client whenever it needs one. A shell whose disk fails stops; it does not pretend that
/// a record is missing.
pub trait Records {
    /// The value under a key.
    fn get(&self, key: &[u8]) -> Option<Value>;

    /// At most `limit` records whose keys begin with `prefix`, in ascending order of their keys (descending if `reverse`),
    /// those beyond `after` (exclusive, in the direction of reading).
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Vec<(Vec<u8>, Value)>;
}

/// The changes of this step and of those that are not durable yet.
#[derive(Default)]
pub(crate) struct Overlay {
    step: BTreeMap<Vec<u8>, Option<Value>>,
    handed_out: BTreeMap<Vec<u8>, (Ticket, Option<Value>)>,
    last: u64,
}

impl Overlay {
    /// Reading and writing over the stored records.
    pub(crate) fn over<'a>(&'a mut self, records: &'a dyn Records) -> Store<'a> {
        Store {
            overlay: self,
            records,
        }
    }

    /// Ends the step: its changes become one transaction, if there are any.
    pub(crate) fn finish(&mut self) -> Option<(Ticket, Vec<Change>)> {
        if self.step.is_empty() {
            return None;
        }
        self.last += 1;
        let ticket = Ticket(self.last);
        let step = std::mem::take(&mut self.step);
        let changes = step
            .iter()
            .map(|(key, value)| Change {
                key: key.clone(),
                value: value.as_ref().map(|value| value.to_vec()),
            })
            .collect();
        for (key, value) in step {
            self.handed_out.insert(key, (ticket, value));
        }
        Some((ticket, changes))
    }

    /// Everything up to `ticket` is durable: reads find it in the records.
    pub(crate) fn durable(&mut self, ticket: Ticket) {
        self.handed_out.retain(|_, (needed, _)| *needed > ticket);
    }

    /// The last transaction handed out, durable or not.
    pub(crate) fn last_ticket(&self) -> Ticket {
        Ticket(self.last)
    }

    fn changed(&self, key: &[u8]) -> Option<Option<&Value>> {
        let handed_out = || self.handed_out.get(key).map(|(_, value)| value.as_ref());
        self.step.get(key).map(Option::as_ref).or_else(handed_out)
    }
}

/// The records as they will be once everything handed out, and this step, is durable.
pub(crate) struct Store<'a> {
    overlay: &'a mut Overlay,
    records: &'a dyn Records,
}

impl Store<'_> {
    /// The value under a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Value> {
        match self.overlay.changed(key) {
            Some(value) => value.cloned(),
            None => self.records.get(key),
        }
    }

    /// Writes a record.
    pub(crate) fn put(&mut self, key: Vec<u8>, value: Value) {
        self.overlay.step.insert(key, Some(value));
    }

    /// Deletes a record (and with it its key in the vault).
    pub(crate) fn delete(&mut self, key: &[u8]) {
        if self.get(key).is_some() {
            self.overlay.step.insert(key.to_vec(), None);
        }
    }

    /// Deletes every record whose key begins with `prefix`.
    pub(crate) fn delete_all(&mut self, prefix: &[u8]) {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.scan(prefix, after.as_deref(), PAGE_LEN, false);
            for (key, _) in &page {
                self.delete(key);
            }
            match page.last() {
                Some((key, _)) if page.len() == PAGE_LEN => after = Some(key.clone()),
                _ => return,
            }
        }
    }

    /// Like [`Records::scan`], with the changes that are on their way.
    pub(crate) fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        reverse: bool,
    ) -> Vec<(Vec<u8>, Value)> {
        let mut found: Vec<(Vec<u8>, Value)> = Vec::new();
        let mut after = after.map(<[u8]>::to_vec);
        while found.len() < limit {
            let wanted = limit - found.len();
            let page = self.records.scan(prefix, after.as_deref(), wanted, reverse);
            let last_page = page.len() < wanted;
            let page_end = page.last().map(|(key, _)| key.clone());
            let range = Range {
                prefix,
                after: after.as_deref(),
                until: page_end.as_deref().filter(|_| !last_page),
                reverse,
            };
            found.extend(self.merged(&range, page));
            if last_page {
                break;
            }
            after = page_end;
        }
        found.truncate(limit);
        found
    }

    /// One page of stored records together with the changed ones in the same range.
    fn merged(&self, range: &Range<'_>, page: Vec<(Vec<u8>, Value)>) -> Vec<(Vec<u8>, Value)> {
        let unchanged = |(key, _): &(Vec<u8>, Value)| self.overlay.changed(key).is_none();
        let mut all: BTreeMap<Vec<u8>, Value> = page.into_iter().filter(unchanged).collect();
        let from = (Bound::Included(range.prefix.to_vec()), Bound::Unbounded);
        let handed_out = self.overlay.handed_out.range(from.clone());
        let handed_out = handed_out.map(|(key, (_, value))| (key, value));
        let handed_out = handed_out.take_while(|(key, _)| key.starts_with(range.prefix));
        let step = self.overlay.step.range(from);
        let step = step.take_while(|(key, _)| key.starts_with(range.prefix));
        for (key, value) in handed_out
            .chain(step)
            .filter(|(key, _)| range.contains(key))
        {
            match value {
                Some(value) => all.insert(key.clone(), value.clone()),
                None => all.remove(key),
            };
        }
        if range.reverse {
            all.into_iter().rev().collect()
        } else {
            all.into_iter().collect()
        }
    }
}

const PAGE_LEN: usize = 256;

/// The part of the keys that one page speaks about.
struct Range<'a> {
    prefix: &'a [u8],
    after: Option<&'a [u8]>,
    until: Option<&'a [u8]>,
    reverse: bool,
}

impl Range<'_> {
    fn contains(&self, key: &[u8]) -> bool {
        let beyond_after = match self.after {
            None => true,
            Some(after) if self.reverse => key < after,
            Some(after) => key > after,
        };
        let within_until = match self.until {
            None => true,
            Some(until) if self.reverse => key >= until,
            Some(until) => key <= until,
        };
        beyond_after && within_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(byte: u8) -> Value {
        Zeroizing::new(vec![byte])
    }

    fn keys(found: &[(Vec<u8>, Value)]) -> Vec<u8> {
        found.iter().map(|(key, _)| *key.last().unwrap()).collect()
    }

    #[test]
    fn a_scan_sees_what_is_on_its_way() {
        let stored = [2u8, 4, 6, 8].map(|n| (vec![b'x', n], value(n)));
        let records = MemoryRecords(stored.into_iter().collect());
        let mut overlay = Overlay::default();
        let mut store = overlay.over(&records);
        store.put(vec![b'x', 5], value(5));
        store.delete(&[b'x', 4]);
        let (first, _) = overlay.finish().unwrap();
        let mut store = overlay.over(&records);
        store.put(vec![b'x', 9], value(9));
        store.put(vec![b'y', 1], value(1));
        store.delete(&[b'x', 5]);
        store.put(vec![b'x', 1], value(1));
        for limit in 1..6 {
            let found = store.scan(b"x", None, limit, false);
            assert_eq!(keys(&found), [1, 2, 6, 8, 9][..limit.min(5)]);
            let found = store.scan(b"x", None, limit, true);
            assert_eq!(keys(&found), [9, 8, 6, 2, 1][..limit.min(5)]);
        }
        assert_eq!(keys(&store.scan(b"x", Some(&[b'x', 2]), 2, false)), [6, 8]);
        assert_eq!(
            keys(&store.scan(b"x", Some(&[b'x', 8]), 9, true)),
            [6, 2, 1]
        );
        assert!(store.get(&[b'x', 4]).is_none());
        let (second, changes) = overlay.finish().unwrap();
        assert_eq!(changes.len(), 4);
        assert!(first < second && second == overlay.last_ticket());
        overlay.durable(first);
        let store = overlay.over(&records);
        assert!(
            store.get(&[b'x', 4]).is_some(),
            "the first one is read from the records"
        );
        assert!(store.get(&[b'x', 9]).is_some());
    }
}
