//! Entries: content sealed under the log's outer key, padded to a size class, chained by a hash.
//!
//! `version ‖ class ‖ nonce 24 ‖ XChaCha20-Poly1305(length ‖ kind ‖ content ‖ zeros)`. What the
//! relay needs to know beside it is the [`Aad`], so that no relay can change it unnoticed.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use rand_core::CryptoRng;
use tls_codec::{Serialize, TlsDeserializeBytes, TlsSerialize, TlsSize};

use crate::codec::{self, Boolean, TooLong};
use crate::hash;
use crate::limits::{ENTRY_CLASSES, ENTRY_OVERHEAD};
use crate::log::LogId;
use crate::op::NewLog;
use crate::rng;
use crate::secret::Secret32;

const AAD: &str = "emptyroom v1 entry aad";
const NEXT: &str = "emptyroom v1 next";
const RUNNING: &str = "emptyroom v1 running hash";

/// Version byte of an entry.
const VERSION: u8 = 1;
const NONCE_AT: usize = 2;
const SEALED_AT: usize = NONCE_AT + 24;
const TAG_LEN: usize = 16;

/// Seals and opens the entries of one log.
pub struct OuterKey(Secret32);

/// How long the relay keeps an entry; days since its append.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, TlsSize, TlsSerialize, TlsDeserializeBytes,
)]
#[repr(u8)]
pub enum Ttl {
    /// One day.
    Day1 = 1,
    /// Seven days.
    Day7 = 2,
    /// Thirty days.
    Day30 = 3,
    /// As long as the header: only in logs with `RECOVERY_LIFE`.
    Life = 4,
}

/// Everything about an entry that is not in its bytes; authenticated by them.
#[derive(Clone, Debug, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Aad {
    /// The log it is for.
    pub log_id: LogId,
    /// How many commits the log must hold before it.
    pub expect_slots: u64,
    /// It is a commit: the slot counter moves on.
    #[tls_codec(with = "Boolean")]
    pub commit: bool,
    /// It is the log's last.
    #[tls_codec(with = "Boolean")]
    pub close: bool,
    /// How long the relay keeps it.
    pub ttl: Ttl,
    /// Makes a retry idempotent.
    pub nonce: [u8; 16],
    /// Hash over the logs created with it, see [`next_hash`]; zero when there is none.
    pub next_hash: [u8; 32],
}

/// Why an entry was not opened; its writer's (or the relay's) fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryFault {
    /// The version byte is not one this code knows.
    Version,
    /// Its length is not that of its class, or the class is unknown.
    Class,
    /// It was not sealed under this key and AAD.
    Seal,
    /// The sealed length does not fit, or the padding is not zero.
    Padding,
}

/// The hash over all entries of a log so far; zero before the first.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, TlsSize, TlsSerialize, TlsDeserializeBytes,
)]
pub struct RunningHash(pub [u8; 32]);

impl Aad {
    /// That of a log's first entry, made by `create` or `next`.
    #[must_use]
    pub fn first(log_id: LogId, ttl: Ttl, nonce: [u8; 16]) -> Self {
        // [SPEC 3.9]
        Aad {
            log_id,
            expect_slots: 0,
            commit: false,
            close: false,
            ttl,
            nonce,
            next_hash: [0; 32],
        }
    }
}

impl OuterKey {
    /// A key as derived in [`crate::log_keys`].
    #[must_use]
    pub fn new(key: Secret32) -> Self {
        OuterKey(key)
    }
}

/// Seals `content` of type `kind` in the smallest class it fits.
///
/// # Errors
/// [`TooLong`] above 4 MiB less [`ENTRY_OVERHEAD`].
pub fn seal(
    key: &OuterKey,
    aad: &Aad,
    kind: u8,
    content: &[u8],
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, TooLong> {
    seal_with_nonce(key, aad, kind, content, rng::bytes(rng))
}

/// Opens an entry: its kind and content.
///
/// # Errors
/// An [`EntryFault`]; hostile bytes give nothing else.
pub fn open(key: &OuterKey, aad: &Aad, body: &[u8]) -> Result<(u8, Vec<u8>), EntryFault> {
    let (class, nonce) = split_head(body)?;
    let mut plain = body.get(SEALED_AT..).ok_or(EntryFault::Class)?.to_vec();
    // [SPEC 3.4]
    cipher(key)
        .decrypt_in_place(nonce, &sealed_aad(class, aad), &mut plain)
        .map_err(|_| EntryFault::Seal)?;
    unpad(&plain)
}

/// Whether `len` is the length of some class; what a relay checks before it stores an entry.
#[must_use]
pub fn is_class_len(len: usize) -> bool {
    ENTRY_CLASSES.contains(&len)
}

/// The hash over the logs that an append creates; zero for none.
///
/// # Errors
/// [`TooLong`] if one of them cannot be encoded.
pub fn next_hash(next: &[NewLog]) -> Result<[u8; 32], TooLong> {
    // [SPEC 3.6]
    if next.is_empty() {
        return Ok([0; 32]);
    }
    let mut bytes = Vec::new();
    for log in next {
        bytes.extend_from_slice(&codec::encode(log)?);
    }
    Ok(hash::labelled(NEXT, &[&bytes]))
}

impl RunningHash {
    /// The hash after the entry with number `seq`.
    #[must_use]
    pub fn next(&self, seq: u64, aad: &Aad, body: &[u8]) -> RunningHash {
        // [SPEC 3.7]
        let aad = aad_bytes(aad);
        RunningHash(hash::labelled(
            RUNNING,
            &[&self.0, &seq.to_be_bytes(), &aad, body],
        ))
    }
}

fn seal_with_nonce(
    key: &OuterKey,
    aad: &Aad,
    kind: u8,
    content: &[u8],
    nonce: [u8; 24],
) -> Result<Vec<u8>, TooLong> {
    let whole = content.len().checked_add(ENTRY_OVERHEAD).ok_or(TooLong)?;
    // [SPEC 3.3]
    let (class, size) = (0u8..)
        .zip(ENTRY_CLASSES)
        .find(|(_, size)| whole <= *size)
        .ok_or(TooLong)?;
    let len = u32::try_from(content.len()).map_err(|_| TooLong)?;
    let mut body = Vec::with_capacity(size);
    body.extend_from_slice(&[VERSION, class]);
    body.extend_from_slice(&nonce);
    let mut plain = Vec::with_capacity(size - SEALED_AT);
    plain.extend_from_slice(&len.to_be_bytes());
    plain.push(kind);
    plain.extend_from_slice(content);
    plain.resize(size - SEALED_AT - TAG_LEN, 0);
    cipher(key)
        .encrypt_in_place(&XNonce::from(nonce), &sealed_aad(class, aad), &mut plain)
        .map_err(|_| TooLong)?;
    body.extend_from_slice(&plain);
    Ok(body)
}

/// Class and nonce of an entry whose length fits its class.
fn split_head(body: &[u8]) -> Result<(u8, &XNonce), EntryFault> {
    let (Some(version), Some(class), Some(nonce)) =
        (body.first(), body.get(1), body.get(NONCE_AT..SEALED_AT))
    else {
        return Err(EntryFault::Class);
    };
    // [SPEC 3.1]
    if *version != VERSION {
        return Err(EntryFault::Version);
    }
    // [SPEC 3.2]
    if ENTRY_CLASSES.get(usize::from(*class)) != Some(&body.len()) {
        return Err(EntryFault::Class);
    }
    let nonce = nonce.try_into().map_err(|_| EntryFault::Class)?;
    Ok((*class, nonce))
}

/// Kind and content out of `length ‖ kind ‖ content ‖ zeros`.
pub(crate) fn unpad(plain: &[u8]) -> Result<(u8, Vec<u8>), EntryFault> {
    let (len, rest) = plain.split_first_chunk::<4>().ok_or(EntryFault::Padding)?;
    let (kind, rest) = rest.split_first().ok_or(EntryFault::Padding)?;
    let len = usize::try_from(u32::from_be_bytes(*len)).map_err(|_| EntryFault::Padding)?;
    // [SPEC 3.5]
    let (content, zeros) = rest.split_at_checked(len).ok_or(EntryFault::Padding)?;
    if zeros.iter().any(|byte| *byte != 0) {
        return Err(EntryFault::Padding);
    }
    Ok((*kind, content.to_vec()))
}

fn cipher(key: &OuterKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.0.expose().into())
}

/// AAD under the outer key: version, class and every field.
fn sealed_aad(class: u8, aad: &Aad) -> Vec<u8> {
    hash::labelled_bytes(AAD, &[&[VERSION, class], &aad_bytes(aad)])
}

fn aad_bytes(aad: &Aad) -> Vec<u8> {
    aad.tls_serialize_detached()
        .expect("an AAD has no part that could be too long")
}

impl core::fmt::Debug for RunningHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("RunningHash(private)")
    }
}

impl core::fmt::Display for EntryFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            EntryFault::Version => "unknown version of an entry",
            EntryFault::Class => "an entry's length is not that of its class",
            EntryFault::Seal => "an entry was not sealed for this place in this log",
            EntryFault::Padding => "an entry's padding is wrong",
        })
    }
}

impl std::error::Error for EntryFault {}
