//! Sealing under the keys of a day, a segment or a journal: nonce (24, random) ‖ XChaCha20-Poly1305. Both kinds of store use it.

use emptyroom_relay::store::{RowKey, StoreFailure};
use emptyroom_wire::aead::{Once, TAG_LEN};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::Day;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

pub(crate) const NONCE_LEN: usize = 24;
/// What a row's additional data begins with.
const ROW_LABEL: &[u8; 20] = b"emptyroom v1 day row";
const ROW_AAD_LEN: usize = ROW_LABEL.len() + 1 + 4 + 32;

/// Which rows: one of a kind cannot be passed off as one of the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    Lasting,
    Entries,
}

impl Table {
    pub(crate) fn code(self) -> u8 {
        match self {
            Table::Lasting => 0,
            Table::Entries => 1,
        }
    }

    pub(crate) fn of(code: u8) -> Option<Self> {
        match code {
            0 => Some(Table::Lasting),
            1 => Some(Table::Entries),
            _ => None,
        }
    }
}

/// The additional data of a row.
// [SPEC 6.65]
pub(crate) fn row_aad(table: Table, day: Day, key: &RowKey) -> [u8; ROW_AAD_LEN] {
    let mut aad = [0; ROW_AAD_LEN];
    let (label, rest) = aad.split_at_mut(ROW_LABEL.len());
    let (code, rest) = rest.split_at_mut(1);
    let (at, row) = rest.split_at_mut(4);
    label.copy_from_slice(ROW_LABEL);
    code.fill(table.code());
    at.copy_from_slice(&day.0.to_be_bytes());
    row.copy_from_slice(&key.0);
    aad
}

pub(crate) fn seal(
    key: &Secret32,
    aad: &[u8],
    plain: &[u8],
    rng: &mut ChaCha20Rng,
) -> Result<Vec<u8>, StoreFailure> {
    let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + TAG_LEN);
    sealed.resize(NONCE_LEN, 0);
    sealed.extend_from_slice(plain);
    seal_from(&mut sealed, 0, key, aad, rng)?;
    Ok(sealed)
}

/// Seals what stands behind `from` and room for a nonce, where it stands.
pub(crate) fn seal_from(
    bytes: &mut Vec<u8>,
    from: usize,
    key: &Secret32,
    aad: &[u8],
    rng: &mut ChaCha20Rng,
) -> Result<(), StoreFailure> {
    let failed = StoreFailure::Broken("sealing");
    let (nonce, plain) = bytes
        .get_mut(from..)
        .and_then(|part| part.split_first_chunk_mut::<NONCE_LEN>())
        .ok_or(failed)?;
    rng.fill_bytes(nonce);
    let tag = Once::extended(key.expose(), nonce)
        .seal(aad, plain)
        .map_err(|_| failed)?;
    bytes.extend_from_slice(&tag);
    Ok(())
}

/// Opens where it stands; `None` if it was not sealed so.
pub(crate) fn open(key: &Secret32, aad: &[u8], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
    let (nonce, body) = sealed.split_first_chunk_mut::<NONCE_LEN>()?;
    let len = Once::extended(key.expose(), nonce).open(aad, body)?.len();
    sealed.truncate(NONCE_LEN + len);
    sealed.drain(..NONCE_LEN);
    Some(sealed)
}
