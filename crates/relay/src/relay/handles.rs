//! What is open, and by whom: most of what a relay keeps for clients that do nothing.
//!
//! An open log is kept once, however many handles are on it; a handle itself is 24 bytes. Keys of logs stand apart: many have none.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use emptyroom_wire::op::Handle;
use emptyroom_wire::sign::VerifyKey;

use super::conn::OpenLog;
use crate::io::ConnId;
use crate::limits::HANDLES_PER_LOG_MAX;
use crate::store::{Place, RowKey, Rules};

/// A handle of a connection.
pub(crate) type Reader = (ConnId, Handle);

/// So many handles on a log are kept as a list, more as a tree.
const FEW: usize = HANDLES_PER_LOG_MAX;

/// All logs that are open.
#[derive(Default)]
pub(crate) struct OpenLogs {
    all: BTreeMap<ByKey, Readers>,
    /// Of those that have any.
    keys: BTreeMap<ByKey, Box<Keys>>,
    handles: usize,
}

/// The keys that requests are checked against.
struct Keys {
    append: Option<VerifyKey>,
    owner: Option<VerifyKey>,
}

/// The handles that are on a log. No more than 16 bytes, which is what most logs need.
enum Readers {
    One(ConnId, Handle),
    More(Box<More>),
}

enum More {
    /// In order.
    Few(Vec<Reader>),
    Many(BTreeSet<Reader>),
}

impl OpenLogs {
    /// How many logs there are.
    pub(crate) fn logs(&self) -> usize {
        self.all.len()
    }

    /// How many handles there are on all logs.
    pub(crate) fn handles(&self) -> usize {
        self.handles
    }

    /// Adds a handle, unless its connection has as many on this log as it may. The place that comes back is the one
    /// that all handles share.
    ///
    /// One search: of a million logs each is as many misses of the cache as the tree is deep.
    pub(crate) fn open(&mut self, place: Place, rules: &Rules, reader: Reader) -> Option<Place> {
        match self.all.entry(ByKey(place)) {
            Entry::Occupied(mut open) => {
                // [SPEC 6.147]
                if open.get().of_conn(reader.0) >= HANDLES_PER_LOG_MAX {
                    return None;
                }
                self.handles += usize::from(open.get_mut().insert(reader));
                Some(open.key().0.clone())
            }
            Entry::Vacant(new) => {
                let place = new.key().0.clone();
                new.insert(Readers::One(reader.0, reader.1));
                self.handles += 1;
                let (append, owner) = (rules.append_key, rules.owner_key);
                if append.is_some() || owner.is_some() {
                    let keys = Box::new(Keys { append, owner });
                    self.keys.insert(ByKey(place.clone()), keys);
                }
                Some(place)
            }
        }
    }

    /// Takes a handle away. Says whether it was the log's last one.
    pub(crate) fn close(&mut self, log: RowKey, reader: Reader) -> bool {
        let Some(open) = self.all.get_mut(&log) else {
            return false;
        };
        match open.remove(reader) {
            Left::All => false,
            Left::Some => {
                self.handles -= 1;
                false
            }
            Left::None => {
                self.handles -= 1;
                self.all.remove(&log);
                self.keys.remove(&log);
                true
            }
        }
    }

    /// The place of a log, if it is open.
    pub(crate) fn place(&self, log: RowKey) -> Option<Place> {
        let (known, _) = self.all.get_key_value(&log)?;
        Some(known.0.clone())
    }

    /// So many logs, in order, after this one.
    pub(crate) fn places_after(&self, after: Option<RowKey>, count: usize) -> Vec<Place> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let logs = self.all.range::<RowKey, _>((from, Bound::Unbounded));
        logs.take(count).map(|(log, _)| log.0.clone()).collect()
    }

    /// All handles on a log, in order.
    pub(crate) fn readers(&self, log: RowKey) -> Vec<Reader> {
        match self.all.get(&log) {
            None => Vec::new(),
            Some(Readers::One(conn, handle)) => vec![(*conn, *handle)],
            Some(Readers::More(more)) => more.all(),
        }
    }

    /// What appends to an open log are proved with, if they must be.
    pub(crate) fn append_key(&self, log: RowKey) -> Option<VerifyKey> {
        self.keys.get(&log)?.append
    }

    /// What the owner of an open log signs with, if it has one.
    pub(crate) fn owner_key(&self, log: RowKey) -> Option<VerifyKey> {
        self.keys.get(&log)?.owner
    }
}

impl Readers {
    /// How many are of one connection, as far as it matters.
    fn of_conn(&self, conn: ConnId) -> usize {
        match self {
            Readers::One(at, _) => usize::from(*at == conn),
            Readers::More(more) => more.of_conn(conn),
        }
    }

    fn insert(&mut self, reader: Reader) -> bool {
        match self {
            Readers::One(conn, handle) if (*conn, *handle) == reader => false,
            Readers::One(conn, handle) => {
                let mut few = vec![(*conn, *handle), reader];
                few.sort_unstable();
                *self = Readers::More(Box::new(More::Few(few)));
                true
            }
            Readers::More(more) => more.insert(reader),
        }
    }

    fn remove(&mut self, reader: Reader) -> Left {
        let (removed, left) = match self {
            Readers::One(conn, handle) => ((*conn, *handle) == reader, 0),
            Readers::More(more) => (more.remove(reader), more.len()),
        };
        match (removed, left) {
            (false, _) => Left::All,
            (true, 0) => Left::None,
            (true, _) => Left::Some,
        }
    }
}

impl More {
    fn insert(&mut self, reader: Reader) -> bool {
        match self {
            More::Many(many) => many.insert(reader),
            More::Few(few) => {
                let Err(at) = few.binary_search(&reader) else {
                    return false;
                };
                if few.len() < FEW {
                    few.reserve_exact(1);
                    few.insert(at, reader);
                } else {
                    let mut many: BTreeSet<Reader> = few.drain(..).collect();
                    many.insert(reader);
                    *self = More::Many(many);
                }
                true
            }
        }
    }

    fn remove(&mut self, reader: Reader) -> bool {
        match self {
            More::Many(many) => many.remove(&reader),
            More::Few(few) => few.binary_search(&reader).map(|at| few.remove(at)).is_ok(),
        }
    }

    fn len(&self) -> usize {
        match self {
            More::Few(few) => few.len(),
            More::Many(many) => many.len(),
        }
    }

    fn all(&self) -> Vec<Reader> {
        match self {
            More::Few(few) => few.clone(),
            More::Many(many) => many.iter().copied().collect(),
        }
    }

    /// How many are of one connection, as far as it matters.
    fn of_conn(&self, conn: ConnId) -> usize {
        let of_conn = (conn, Handle(0))..=(conn, Handle(u32::MAX));
        match self {
            More::Few(few) => few.iter().filter(|at| of_conn.contains(at)).count(),
            More::Many(many) => many.range(of_conn).take(HANDLES_PER_LOG_MAX).count(),
        }
    }
}

/// What is left of a log's handles after one was to go.
enum Left {
    All,
    Some,
    None,
}

/// A place that is found by its key.
struct ByKey(Place);

impl Borrow<RowKey> for ByKey {
    fn borrow(&self) -> &RowKey {
        self.0.key_ref()
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &ByKey) -> bool {
        self.0.key() == other.0.key()
    }
}

impl Eq for ByKey {}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &ByKey) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &ByKey) -> Ordering {
        self.0.key_ref().cmp(other.0.key_ref())
    }
}

/// The handles of one stream, in order: new ones have higher numbers.
#[derive(Default)]
pub(crate) struct Handles(Vec<OpenLog>);

impl Handles {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Makes room for so many more, and for no others.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.0.reserve_exact(more);
    }

    /// Adds a handle with a higher number than all before.
    pub(crate) fn push(&mut self, log: OpenLog) {
        debug_assert!(self.0.last().is_none_or(|last| last.handle < log.handle));
        self.0.push(log);
    }

    pub(crate) fn contains(&self, handle: Handle) -> bool {
        self.at(handle).is_some()
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<&OpenLog> {
        self.0.get(self.at(handle)?)
    }

    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut OpenLog> {
        let at = self.at(handle)?;
        self.0.get_mut(at)
    }

    pub(crate) fn remove(&mut self, handle: Handle) -> Option<OpenLog> {
        let at = self.at(handle)?;
        let log = self.0.remove(at);
        if self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to_fit();
        }
        Some(log)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &OpenLog> {
        self.0.iter()
    }

    fn at(&self, handle: Handle) -> Option<usize> {
        self.0.binary_search_by_key(&handle, |log| log.handle).ok()
    }
}

#[cfg(test)]
mod tests {
    use emptyroom_wire::log::{Capability, Flags};

    use super::*;

    fn rules() -> Rules {
        Rules {
            append_key: None,
            read_key: None,
            owner_key: Some(VerifyKey([7; 32])),
            flags: Flags::NONE,
        }
    }

    #[test]
    fn a_log_is_there_as_long_as_somebody_has_it_open() {
        let mut logs = OpenLogs::default();
        let place = || Place::of(&Capability::new([1; 32]));
        let key = place().key();
        let reader = |number: u32| (ConnId(u64::from(number % 7)), Handle(number));
        for number in (0..100).rev() {
            logs.open(place(), &rules(), reader(number));
            logs.open(place(), &rules(), reader(number));
        }
        let mut all: Vec<Reader> = (0..100).map(reader).collect();
        all.sort_unstable();
        assert_eq!((logs.handles(), logs.readers(key)), (100, all));
        assert!(logs.owner_key(key).is_some() && logs.append_key(key).is_none());
        for number in 0..100 {
            assert_eq!(logs.handles(), 100 - usize::try_from(number).unwrap());
            logs.close(key, reader(number));
            logs.close(key, reader(number));
        }
        assert!(logs.all.is_empty() && logs.keys.is_empty() && logs.readers(key).is_empty());
    }

    /// What the handles of 60,000 clients cost is said to operators.
    #[test]
    fn a_handle_is_small() {
        assert_eq!((size_of::<OpenLog>(), size_of::<Readers>()), (24, 16));
    }
}
