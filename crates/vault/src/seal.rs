//! The one cipher of the vault: XChaCha20-Poly1305 under a fresh random nonce.
//!
//! A sealed value is nonce (24 bytes) ‖ ciphertext ‖ tag (16 bytes).

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};

use crate::memory::KEY_LEN;
use crate::random::Random;

pub(crate) const NONCE_LEN: usize = 24;
pub(crate) const TAG_LEN: usize = 16;
/// How much longer a sealed value is than what it holds.
pub(crate) const OVERHEAD: usize = NONCE_LEN + TAG_LEN;

/// The sealed bytes are not what was sealed under this key and context.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotAuthentic;

/// Seals `plain` into `out`, which is exactly [`OVERHEAD`] longer.
pub(crate) fn seal_into(
    key: &[u8; KEY_LEN],
    context: &[u8],
    random: &Random,
    plain: &[u8],
    out: &mut [u8],
) {
    // [SPEC 11.2]
    let (nonce, rest) = out
        .split_first_chunk_mut::<NONCE_LEN>()
        .expect("the caller's buffer is longer by the overhead");
    let (body, tag) = rest
        .split_last_chunk_mut::<TAG_LEN>()
        .expect("the caller's buffer is longer by the overhead");
    random.fill(nonce);
    let buffer = InOutBuf::new(plain, body).expect("the caller's buffer has the right length");
    let made = XChaCha20Poly1305::new(key.into())
        .encrypt_inout_detached(&XNonce::from(*nonce), context, buffer)
        .expect("far below the cipher's limit of 256 GiB");
    tag.copy_from_slice(&made);
}

/// Opens `sealed` into `out`, which is exactly [`OVERHEAD`] shorter. On error `out` holds nothing.
pub(crate) fn open_into(
    key: &[u8; KEY_LEN],
    context: &[u8],
    sealed: &[u8],
    out: &mut [u8],
) -> Result<(), NotAuthentic> {
    #[cfg(test)]
    OPENINGS.set(OPENINGS.get() + 1);
    let (nonce, rest) = sealed
        .split_first_chunk::<NONCE_LEN>()
        .ok_or(NotAuthentic)?;
    let (body, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(NotAuthentic)?;
    let buffer = InOutBuf::new(body, out).map_err(|_| NotAuthentic)?;
    XChaCha20Poly1305::new(key.into())
        .decrypt_inout_detached(&XNonce::from(*nonce), context, buffer, &Tag::from(*tag))
        .map_err(|_| NotAuthentic)
}

#[cfg(test)]
thread_local! {
    /// How often something was opened, or tried to.
    pub(crate) static OPENINGS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
