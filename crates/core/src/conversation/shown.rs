//! Which messages were shown: the random ids of the last ones, so that a message sent again is shown once.

use std::collections::{BTreeSet, VecDeque};

use crate::content::IntentId;
use crate::store::key::ConversationId;
use crate::store::{Store, Value};

/// Ids that are remembered. A sender repeats at most what the relay keeps of one log.
// [SPEC 9.20]
const IDS_MAX: usize = 8_192;
const CHUNK_LEN: usize = 64;

/// The ids of the messages shown last.
#[derive(Default)]
pub(crate) struct Shown {
    ids: BTreeSet<[u8; 16]>,
    chunks: VecDeque<(u32, Vec<[u8; 16]>)>,
}

impl Shown {
    /// Reads them back.
    pub(crate) fn load(store: &Store<'_>, id: ConversationId) -> Self {
        let prefix_len = id.shown_ids(0).len() - 4;
        let prefix = id.shown_ids(0);
        let prefix = prefix.get(..prefix_len).unwrap_or_default();
        let mut shown = Self::default();
        for (key, value) in store.scan(prefix, None, IDS_MAX / CHUNK_LEN + 2, false) {
            let Some(number) = key.last_chunk().map(|bytes| u32::from_be_bytes(*bytes)) else {
                continue;
            };
            let ids: Vec<[u8; 16]> = value.as_chunks().0.to_vec();
            shown.ids.extend(&ids);
            shown.chunks.push_back((number, ids));
        }
        shown
    }

    /// Notes an id; false if it was noted before.
    pub(crate) fn insert(
        &mut self,
        store: &mut Store<'_>,
        id: ConversationId,
        intent: IntentId,
    ) -> bool {
        if !self.ids.insert(intent.0) {
            return false;
        }
        match self.chunks.back_mut() {
            Some((_, ids)) if ids.len() < CHUNK_LEN => ids.push(intent.0),
            last => {
                let number = last.map_or(0, |(number, _)| number.wrapping_add(1));
                self.chunks.push_back((number, vec![intent.0]));
            }
        }
        if let Some((number, ids)) = self.chunks.back() {
            store.put(id.shown_ids(*number), Value::new(ids.concat()));
        }
        if self.ids.len() > IDS_MAX
            && let Some((number, ids)) = self.chunks.pop_front()
        {
            for old in ids {
                self.ids.remove(&old);
            }
            store.delete(&id.shown_ids(number));
        }
        true
    }
}
