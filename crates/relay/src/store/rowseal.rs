//! The sealing of rows: XChaCha20-Poly1305 under the log's row secret, bound to the row's key.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use emptyroom_wire::derive::expand;
use emptyroom_wire::rng::{self, CryptoRng};
use emptyroom_wire::secret::Secret32;
use zeroize::Zeroizing;

use super::{RowKey, StoreFailure};

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// What sealing adds to a row.
pub(crate) const OVERHEAD_BYTES: usize = NONCE_BYTES + LEN_BYTES + TAG_BYTES;
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

/// A row ready for the disk: nonce ‖ sealed (length ‖ content ‖ zeros).
pub(crate) fn seal(
    secret: &Secret32,
    row_key: &RowKey,
    content: &[u8],
    padding: Padding,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, StoreFailure> {
    // [SPEC 6.3]
    let len = u32::try_from(content.len()).map_err(|_| StoreFailure::Broken("row too long"))?;
    let mut plain = Zeroizing::new(Vec::with_capacity(content.len() + LEN_BYTES + PAD_BYTES));
    plain.extend_from_slice(&len.to_be_bytes());
    plain.extend_from_slice(content);
    if padding == Padding::Block {
        let padded = (plain.len() + OVERHEAD_BYTES - LEN_BYTES).next_multiple_of(PAD_BYTES);
        plain.resize(padded + LEN_BYTES - OVERHEAD_BYTES, 0);
    }
    let nonce: [u8; NONCE_BYTES] = rng::bytes(rng);
    let sealed = cipher(secret)
        .encrypt(
            &XNonce::from(nonce),
            Payload {
                msg: &plain,
                aad: &row_key.0,
            },
        )
        .map_err(|_| StoreFailure::Broken("row not sealed"))?;
    let mut row = Vec::with_capacity(NONCE_BYTES + sealed.len());
    row.extend_from_slice(&nonce);
    row.extend_from_slice(&sealed);
    Ok(row)
}

/// The content of a row. One that does not open is damage, and damage stops the relay.
pub(crate) fn open(
    secret: &Secret32,
    row_key: &RowKey,
    row: &[u8],
) -> Result<Zeroizing<Vec<u8>>, StoreFailure> {
    // [SPEC 6.3]
    let damaged = StoreFailure::Broken("a row does not open");
    let (nonce, sealed) = row.split_first_chunk::<NONCE_BYTES>().ok_or(damaged)?;
    let plain = cipher(secret)
        .decrypt(
            &XNonce::from(*nonce),
            Payload {
                msg: sealed,
                aad: &row_key.0,
            },
        )
        .map_err(|_| damaged)?;
    let mut plain = Zeroizing::new(plain);
    let len = plain.first_chunk::<LEN_BYTES>().ok_or(damaged)?;
    let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| damaged)?;
    if plain.len() < len + LEN_BYTES {
        return Err(damaged);
    }
    plain.truncate(len + LEN_BYTES);
    plain.drain(..LEN_BYTES);
    Ok(plain)
}

/// The key of a log's rows.
pub(crate) fn key(secret: &Secret32) -> Secret32 {
    expand(secret.expose(), "emptyroom v1 row seal", &[])
}

fn cipher(secret: &Secret32) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key(secret).expose().into())
}
