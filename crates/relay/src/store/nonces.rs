//! Which appends a log has seen: nonce to place, so that a retry gets the same answer.
//!
//! A log's nonces stand in 64 pages, so that an append looks at and rewrites one small row. On which page, only the relay knows:
//! whoever could choose nonces for one page would have it rewritten with each of his appends. They live as long as the log's own
//! row and leave only when as many entries as a log can hold came after them.

use emptyroom_wire::derive::expand;
use emptyroom_wire::entry::RunningHash;
use emptyroom_wire::limits::LOG_ENTRIES_MAX;
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use super::{NewEntry, RowKey};

/// How many pages a log has.
pub(crate) const PAGES: u8 = 64;

/// The page on which this nonce would stand in the log with this birth mark.
pub(crate) fn page_of(birth: &[u8; 8], nonce: &[u8; 16]) -> u8 {
    // [SPEC 6.2]
    let [byte] = *expand(birth, "emptyroom v1 nonce page", nonce).expose();
    byte % PAGES
}

/// A page and the key of its row.
pub(crate) struct Nonces {
    pub(crate) key: RowKey,
    pub(crate) page: NoncePage,
}

impl Nonces {
    /// The page that is there, unless it is another log's, or a new one.
    pub(crate) fn of(key: RowKey, birth: [u8; 8], page: Option<NoncePage>) -> Nonces {
        let page = page.filter(|page| page.birth == birth);
        let page = page.unwrap_or(NoncePage {
            birth,
            seen: Vec::new(),
        });
        Nonces { key, page }
    }
}

/// One page of a log's nonces.
#[derive(Clone, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct NoncePage {
    /// The log's birth mark: a page left over from an earlier log under the same capability says nothing.
    birth: [u8; 8],
    seen: Vec<Seen>,
}

/// An append that was answered.
#[derive(Clone, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub(crate) struct Seen {
    nonce: [u8; 16],
    pub(crate) seq: u64,
    before: RunningHash,
    pub(crate) after: RunningHash,
}

impl Seen {
    pub(crate) fn new(nonce: [u8; 16], seq: u64, before: RunningHash, after: RunningHash) -> Seen {
        Seen {
            nonce,
            seq,
            before,
            after,
        }
    }

    /// Whether this is the same entry, and not another under its nonce.
    pub(crate) fn is(&self, entry: &NewEntry) -> bool {
        self.before.next(self.seq, &entry.aad, &entry.body) == self.after
    }
}

impl NoncePage {
    pub(crate) fn find(&self, nonce: &[u8; 16]) -> Option<&Seen> {
        self.seen.iter().find(|seen| seen.nonce == *nonce)
    }

    /// Remembers an append and forgets what lies a whole log behind it.
    pub(crate) fn add(&mut self, seen: Seen) {
        // [SPEC 6.22]
        self.seen
            .retain(|old| old.seq.saturating_add(LOG_ENTRIES_MAX) > seen.seq);
        self.seen.push(seen);
    }
}

impl core::fmt::Debug for Seen {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seen(private)")
    }
}
