//! The sealing of rows: XChaCha20-Poly1305 under the log's row secret, bound to the row's key.

use std::ops::{Deref, Range};

use emptyroom_wire::aead::{Once, TAG_LEN};
use emptyroom_wire::derive::Source;
use emptyroom_wire::rng::{self, CryptoRng};
use emptyroom_wire::secret::Secret32;

use super::{RowKey, StoreFailure};

const NONCE_BYTES: usize = 24;
/// What sealing adds to a row.
pub(crate) const OVERHEAD_BYTES: usize = NONCE_BYTES + LEN_BYTES + TAG_LEN;
/// The length before the padding.
const LEN_BYTES: usize = 4;
/// Lasting rows are padded to a multiple of this, so that headers, nonces, budgets and tombstones look the same.
const PAD_BYTES: usize = 512;

/// What a row is padded to before it is sealed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
    /// Entries: their bodies have size classes already.
    Exact,
    /// Lasting rows.
    Block,
}

/// Seals, opens and finds the rows of one log. Derived once for all that a batch does to the log, and forgotten with the batch.
pub(crate) struct RowSeal {
    key: Secret32,
    source: Source,
}

/// What a row holds, in the buffer that it was read into.
pub(crate) struct Content {
    bytes: Vec<u8>,
    at: Range<usize>,
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.at.clone()).unwrap_or_default()
    }
}

impl RowSeal {
    /// That of the log (or account) with this row secret.
    pub(crate) fn of(secret: &[u8; 32]) -> RowSeal {
        let source = Source::of(secret);
        RowSeal {
            key: source.secret("emptyroom v1 row seal", &[]),
            source,
        }
    }

    /// The key of the row of entry `seq`.
    pub(crate) fn entry_key(&self, seq: u64) -> RowKey {
        // [SPEC 6.2]
        RowKey(
            self.source
                .bytes("emptyroom v1 row entry", &seq.to_be_bytes()),
        )
    }

    /// The key of the row of nonce page `page`.
    pub(crate) fn nonce_page_key(&self, page: u8) -> RowKey {
        // [SPEC 6.2]
        RowKey(self.source.bytes("emptyroom v1 row nonces", &[page]))
    }

    /// A row ready for the disk: nonce ‖ sealed (length ‖ content ‖ zeros). The content comes in parts, so that a long one is copied once.
    pub(crate) fn seal(
        &self,
        row_key: &RowKey,
        content: &[&[u8]],
        padding: Padding,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, StoreFailure> {
        // [SPEC 6.3]
        let content_len = content.iter().map(|part| part.len()).sum::<usize>();
        let len = u32::try_from(content_len).map_err(|_| StoreFailure::Broken("row too long"))?;
        let whole = match padding {
            Padding::Exact => content_len + OVERHEAD_BYTES,
            Padding::Block => (content_len + OVERHEAD_BYTES).next_multiple_of(PAD_BYTES),
        };
        let nonce: [u8; NONCE_BYTES] = rng::bytes(rng);
        let mut row = Vec::with_capacity(whole);
        row.extend_from_slice(&nonce);
        row.extend_from_slice(&len.to_be_bytes());
        for part in content {
            row.extend_from_slice(part);
        }
        row.resize(whole - TAG_LEN, 0);
        let plain = row.get_mut(NONCE_BYTES..).unwrap_or_default();
        let tag = Once::extended(self.key.expose(), &nonce)
            .seal(&row_key.0, plain)
            .map_err(|_| StoreFailure::Broken("row not sealed"))?;
        row.extend_from_slice(&tag);
        Ok(row)
    }

    /// The content of a row. One that does not open is damage, and damage stops the relay.
    pub(crate) fn open(&self, row_key: &RowKey, mut row: Vec<u8>) -> Result<Content, StoreFailure> {
        // [SPEC 6.3]
        let damaged = StoreFailure::Broken("a row does not open");
        let (nonce, sealed) = row.split_first_chunk_mut::<NONCE_BYTES>().ok_or(damaged)?;
        let plain = Once::extended(self.key.expose(), nonce)
            .open(&row_key.0, sealed)
            .ok_or(damaged)?;
        let (len, rest) = plain.split_first_chunk::<LEN_BYTES>().ok_or(damaged)?;
        let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| damaged)?;
        if len > rest.len() {
            return Err(damaged);
        }
        let from = NONCE_BYTES + LEN_BYTES;
        Ok(Content {
            bytes: row,
            at: from..from + len,
        })
    }

    /// For the vectors.
    #[cfg(test)]
    pub(crate) fn key(&self) -> &Secret32 {
        &self.key
    }
}
