//! Sealing under one of the store's own keys: nonce (24, random) ‖ XChaCha20-Poly1305.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use emptyroom_relay::store::StoreFailure;
use emptyroom_wire::secret::Secret32;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

const NONCE_LEN: usize = 24;

pub(super) fn seal(
    key: &Secret32,
    aad: &[u8],
    plain: &[u8],
    rng: &mut ChaCha20Rng,
) -> Result<Vec<u8>, StoreFailure> {
    let mut nonce = [0; NONCE_LEN];
    rng.fill_bytes(&mut nonce);
    let body = cipher(key)
        .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad })
        .map_err(|_| StoreFailure::Broken("sealing"))?;
    let mut sealed = Vec::with_capacity(NONCE_LEN + body.len());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&body);
    Ok(sealed)
}

/// `None` if it was not sealed so.
pub(super) fn open(key: &Secret32, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, msg) = sealed.split_first_chunk::<NONCE_LEN>()?;
    cipher(key)
        .decrypt(&XNonce::from(*nonce), Payload { msg, aad })
        .ok()
}

fn cipher(key: &Secret32) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(<&Key>::from(key.expose()))
}
