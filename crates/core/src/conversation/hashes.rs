//! The running hashes of the current log, by sequence number: what messages say about the history is compared with them.

use emptyroom_wire::entry::RunningHash;

use crate::store::key::ConversationId;
use crate::store::{Store, Value};

const PER_CHUNK: u64 = 64;
const LEN: usize = 32;
/// Chunks that are kept: more than a log of 4,096 entries needs.
const CHUNKS_MAX: usize = 72;

/// Notes the running hash before entry `seq`.
pub(crate) fn put(store: &mut Store<'_>, id: ConversationId, seq: u64, hash: RunningHash) {
    let key = id.hash_chunk(seq / PER_CHUNK);
    let mut chunk = store.get(&key).unwrap_or_else(|| {
        forget_first(store, id);
        Value::default()
    });
    let Some(at) = offset(seq) else {
        return;
    };
    if chunk.len() < at + LEN {
        chunk.resize(at + LEN, 0);
    }
    if let Some(place) = chunk.get_mut(at..at + LEN) {
        place.copy_from_slice(&hash.0);
        store.put(key, Value::new(chunk.to_vec()));
    }
}

/// Makes room for a chunk: a relay that leaves out numbers does not fill the vault.
fn forget_first(store: &mut Store<'_>, id: ConversationId) {
    let chunks = store.scan(&id.hashes(), None, CHUNKS_MAX, false);
    if let Some((first, _)) = chunks.first().filter(|_| chunks.len() >= CHUNKS_MAX) {
        store.delete(first);
    }
}

/// The running hash before entry `seq`, if it is known. Before the first entry it is zero.
pub(crate) fn get(store: &Store<'_>, id: ConversationId, seq: u64) -> Option<RunningHash> {
    if seq == 0 {
        return Some(RunningHash::default());
    }
    let chunk = store.get(&id.hash_chunk(seq / PER_CHUNK))?;
    let at = offset(seq)?;
    let hash: [u8; LEN] = chunk.get(at..at + LEN)?.try_into().ok()?;
    (hash != [0; LEN]).then_some(RunningHash(hash))
}

/// Forgets them: the log is left.
pub(crate) fn clear(store: &mut Store<'_>, id: ConversationId) {
    store.delete_all(&id.hashes());
}

fn offset(seq: u64) -> Option<usize> {
    usize::try_from(seq % PER_CHUNK)
        .ok()
        .map(|place| place * LEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryRecords;
    use crate::store::Overlay;

    #[test]
    fn a_relay_that_leaves_out_numbers_does_not_fill_the_vault() {
        let mut overlay = Overlay::default();
        let records = MemoryRecords::default();
        let mut store = overlay.over(&records);
        let id = ConversationId(1);
        let hash = |n: u64| RunningHash([u8::try_from(n % 255 + 1).expect("small"); 32]);
        let last = 1_000;
        for n in 1..=last {
            put(&mut store, id, n * PER_CHUNK, hash(n));
        }
        let kept = store.scan(&id.hashes(), None, usize::MAX, false).len();
        assert_eq!(kept, CHUNKS_MAX);
        assert_eq!(get(&store, id, last * PER_CHUNK), Some(hash(last)));
        assert_eq!(get(&store, id, PER_CHUNK), None, "the oldest are gone");
        assert_eq!(get(&store, id, 0), Some(RunningHash::default()));
        clear(&mut store, id);
        assert!(store.scan(&id.hashes(), None, 1, false).is_empty());
    }
}
