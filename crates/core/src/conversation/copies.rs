//! What was read in the current log, so that a copy of it is known: the relay's, who stores an entry twice, or a writer's, who
//! seals again what somebody wrote before. Neither is a message, and nobody's device went back to an older state.

use std::collections::BTreeSet;

use emptyroom_wire::hash::labelled;

use crate::kind;
use crate::store::key::ConversationId;
use crate::store::{Store, key};

const NONCE_LEN: usize = 16;
const PRINT_LEN: usize = 16;
const PER_CHUNK: usize = 64;
const CHUNK_LEN: usize = PER_CHUNK * (NONCE_LEN + PRINT_LEN);
/// Chunks that are kept: more than a log of 4,096 entries needs.
const CHUNKS_MAX: u64 = 72;
/// Only in this client's records, so no part of the specification.
const PRINT_LABEL: &str = "emptyroom v1 read content";

type Nonce = [u8; NONCE_LEN];
type Print = [u8; PRINT_LEN];

/// Nonces and contents of the entries that were read in the current log.
pub(super) struct Copies {
    nonces: BTreeSet<Nonce>,
    prints: BTreeSet<Print>,
    last_chunk: u64,
}

impl Copies {
    /// As they were noted.
    pub(super) fn load(store: &Store<'_>, id: ConversationId) -> Self {
        let mut copies = Self {
            nonces: BTreeSet::new(),
            prints: BTreeSet::new(),
            last_chunk: 0,
        };
        for (key, chunk) in store.scan(&id.copies(), None, usize::MAX, false) {
            copies.last_chunk = key::last_number(&key).unwrap_or(0);
            for item in chunk.chunks_exact(NONCE_LEN + PRINT_LEN) {
                let (nonce, print) = item.split_at(NONCE_LEN);
                copies.nonces.extend(Nonce::try_from(nonce));
                copies.prints.extend(Print::try_from(print));
            }
        }
        copies
    }

    /// An entry under this nonce was read before.
    pub(super) fn has_nonce(&self, nonce: &Nonce) -> bool {
        self.nonces.contains(nonce)
    }

    /// An entry that says this was read before.
    pub(super) fn has_content(&self, print: Option<&Print>) -> bool {
        print.is_some_and(|print| self.prints.contains(print))
    }

    /// Notes an entry that was read; without a print its content may come again.
    pub(super) fn note(
        &mut self,
        store: &mut Store<'_>,
        id: ConversationId,
        nonce: Nonce,
        print: Option<Print>,
    ) {
        self.nonces.insert(nonce);
        self.prints.extend(print);
        let mut chunk = store
            .get(&id.copies_chunk(self.last_chunk))
            .unwrap_or_default();
        chunk.extend_from_slice(&nonce);
        chunk.extend_from_slice(&print.unwrap_or_default());
        let full = chunk.len() >= CHUNK_LEN;
        store.put(id.copies_chunk(self.last_chunk), chunk);
        if full {
            self.last_chunk = self.last_chunk.saturating_add(1);
            self.forget_first(store, id);
        }
    }

    /// Makes room for a chunk: a relay that leaves out numbers fills neither vault nor memory.
    fn forget_first(&mut self, store: &mut Store<'_>, id: ConversationId) {
        let Some(first) = self.last_chunk.checked_sub(CHUNKS_MAX) else {
            return;
        };
        store.delete(&id.copies_chunk(first));
        let last_chunk = self.last_chunk;
        *self = Self {
            last_chunk,
            ..Self::load(store, id)
        };
    }
}

/// Forgets them: the log is left.
pub(super) fn clear(store: &mut Store<'_>, id: ConversationId) {
    store.delete_all(&id.copies());
}

/// What stands for a content. Others than MLS messages may come again.
pub(super) fn print(kind: u8, content: &[u8]) -> Option<Print> {
    let hash = labelled(PRINT_LABEL, &[content]);
    hash.first_chunk().copied().filter(|_| kind == kind::MLS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryRecords;
    use crate::store::Overlay;

    #[test]
    fn they_are_known_after_a_start_and_the_oldest_go() {
        let mut overlay = Overlay::default();
        let records = MemoryRecords::default();
        let mut store = overlay.over(&records);
        let id = ConversationId(1);
        let nonce = |n: u32| {
            let mut nonce = [0; NONCE_LEN];
            nonce[..4].copy_from_slice(&n.to_be_bytes());
            nonce
        };
        let mut copies = Copies::load(&store, id);
        let last: u32 = 5_000;
        for n in 0..last {
            let print = print(kind::MLS, &n.to_be_bytes());
            copies.note(&mut store, id, nonce(n), print);
        }
        let chunks = store.scan(&id.copies(), None, usize::MAX, false).len();
        assert!((64..=72).contains(&chunks), "{chunks}");
        let mut again = Copies::load(&store, id);
        for n in [last - 4_096, last - 1] {
            let print = print(kind::MLS, &n.to_be_bytes());
            assert!(again.has_nonce(&nonce(n)) && again.has_content(print.as_ref()));
        }
        assert!(!again.has_nonce(&nonce(0)));
        again.note(&mut store, id, nonce(last), None);
        assert!(Copies::load(&store, id).has_nonce(&nonce(last)));
        assert!(!again.has_content(print(kind::LOOK, b"").as_ref()));
        clear(&mut store, id);
        assert!(store.scan(&id.copies(), None, 1, false).is_empty());
    }
}
