//! A row of the table: which key it is sealed under, and the sealed value.

use zeroize::Zeroizing;

use crate::keys::KeyRef;
use crate::memory::KEY_LEN;
use crate::random::Random;
use crate::seal::{NotAuthentic, OVERHEAD, open_into, seal_into};

/// Longest name of a record.
pub const NAME_LEN_MAX: usize = 128;
/// Longest value of a record.
pub const VALUE_LEN_MAX: usize = 1024 * 1024;

/// Slot and generation (4 bytes each), before the sealed value.
const REF_LEN: usize = 8;

/// Seals a value under its own key, bound to its name.
pub(crate) fn seal_row(
    key: &[u8; KEY_LEN],
    key_ref: KeyRef,
    name: &[u8],
    value: &[u8],
    random: &Random,
) -> Vec<u8> {
    // [SPEC 11.18]
    let mut row = vec![0; REF_LEN + OVERHEAD + value.len()];
    let (head, sealed) = row.split_at_mut(REF_LEN);
    head.copy_from_slice(&encode_ref(key_ref));
    with_context(key_ref, name, |context| {
        seal_into(key, context, random, value, sealed);
    });
    row
}

/// Opens the value of a row.
pub(crate) fn open_row(
    key: &[u8; KEY_LEN],
    name: &[u8],
    row: &[u8],
) -> Result<Zeroizing<Vec<u8>>, NotAuthentic> {
    let key_ref = row_key(row).ok_or(NotAuthentic)?;
    let sealed = row.get(REF_LEN..).ok_or(NotAuthentic)?;
    let len = sealed.len().checked_sub(OVERHEAD).ok_or(NotAuthentic)?;
    let mut value = Zeroizing::new(vec![0; len]);
    with_context(key_ref, name, |context| {
        open_into(key, context, sealed, &mut value)
    })?;
    Ok(value)
}

/// Which key a row is sealed under.
pub(crate) fn row_key(row: &[u8]) -> Option<KeyRef> {
    row.first_chunk::<REF_LEN>().map(decode_ref)
}

fn encode_ref(key: KeyRef) -> [u8; REF_LEN] {
    let mut out = [0; REF_LEN];
    let parts = [key.slot.to_be_bytes(), key.generation.to_be_bytes()];
    for (out, byte) in out.iter_mut().zip(parts.iter().flatten()) {
        *out = *byte;
    }
    out
}

fn decode_ref(bytes: &[u8; REF_LEN]) -> KeyRef {
    let [a, b, c, d, e, f, g, h] = *bytes;
    KeyRef {
        slot: u32::from_be_bytes([a, b, c, d]),
        generation: u32::from_be_bytes([e, f, g, h]),
    }
}

/// Calls `with` with the context of a row: slot, generation, name.
fn with_context<T>(key: KeyRef, name: &[u8], with: impl FnOnce(&[u8]) -> T) -> T {
    // On the stack: every row that is read or written needs one.
    let mut context = [0; REF_LEN + NAME_LEN_MAX];
    let len = REF_LEN + name.len().min(NAME_LEN_MAX);
    let fields = encode_ref(key);
    for (out, byte) in context.iter_mut().zip(fields.iter().chain(name)) {
        *out = *byte;
    }
    with(context.get(..len).unwrap_or_default())
}
