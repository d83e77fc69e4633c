//! X-Wing (ML-KEM-768 and X25519) through HPKE: keys, and sealing to a key.
//!
//! Two users: the opening of a stream (only the exporter is used) and secrets that are sealed to one
//! member's recovery key. RFC 9180 base mode, KEM 0x647a, HKDF-SHA256, ChaCha20-Poly1305.

use hpke::aead::{ChaCha20Poly1305, ExportOnlyAead};
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand_core::CryptoRng;

use crate::secret::Secret32;

/// Bytes of a public key.
pub const PUBLIC_KEY_LEN: usize = 1216;
/// Bytes of an encapsulated key.
pub const ENCAPSULATED_LEN: usize = 1120;
/// What [`seal_to`] adds to the length of a message.
pub const SEAL_OVERHEAD: usize = ENCAPSULATED_LEN + 16;

/// An X-Wing public key; every value is known to be one.
#[derive(Clone, PartialEq, Eq)]
pub struct KemPublicKey(Box<[u8; PUBLIC_KEY_LEN]>);

/// An X-Wing private key: a seed of 32 bytes.
pub struct KemSecretKey(Secret32);

/// A private key that is used often: expanded once. Zeroed when dropped, by the crate that made it.
pub(crate) struct ReadyKey(Box<<XWing as Kem>::PrivateKey>);

/// Bytes that are no X-Wing public key; whoever sent them is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKey;

/// Not sealed to this key, for this purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotForUs;

impl KemSecretKey {
    /// A fresh key.
    #[must_use]
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        KemSecretKey(crate::rng::secret(rng))
    }

    /// The key of a seed.
    #[must_use]
    pub fn from_seed(seed: Secret32) -> Self {
        KemSecretKey(seed)
    }

    /// The seed, to be kept in a vault.
    #[must_use]
    pub fn seed(&self) -> &Secret32 {
        &self.0
    }

    /// The public half. Costs about as much as a decapsulation.
    #[must_use]
    pub fn public_key(&self) -> KemPublicKey {
        self.ready().public_key()
    }

    pub(crate) fn ready(&self) -> ReadyKey {
        ReadyKey(Box::new(self.expand()))
    }

    fn expand(&self) -> <XWing as Kem>::PrivateKey {
        <XWing as Kem>::PrivateKey::from_bytes(self.0.expose()).expect("any 32 bytes are a seed")
    }
}

impl ReadyKey {
    pub(crate) fn public_key(&self) -> KemPublicKey {
        let mut bytes = Box::new([0; PUBLIC_KEY_LEN]);
        XWing::sk_to_pk(&self.0).write_exact(bytes.as_mut_slice());
        KemPublicKey(bytes)
    }
}

impl KemPublicKey {
    /// Checks that the bytes are a key.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn new(bytes: &[u8]) -> Result<Self, BadKey> {
        <XWing as Kem>::PublicKey::from_bytes(bytes).map_err(|_| BadKey)?;
        let bytes: Box<[u8]> = bytes.into();
        Ok(KemPublicKey(bytes.try_into().map_err(|_| BadKey)?))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; PUBLIC_KEY_LEN] {
        &self.0
    }

    fn expand(&self) -> <XWing as Kem>::PublicKey {
        <XWing as Kem>::PublicKey::from_bytes(self.0.as_slice()).expect("checked when it was made")
    }
}

/// Seals `message` to `key` for the purpose that `info` states: encapsulated key ‖ ciphertext.
///
/// `info` must be shorter than 64 KiB.
#[must_use]
pub fn seal_to(
    key: &KemPublicKey,
    info: &[u8],
    message: &[u8],
    mut rng: &mut dyn CryptoRng,
) -> Vec<u8> {
    // [SPEC 2.11]
    let (encapsulated, mut context) = hpke::setup_sender_with_rng::<
        ChaCha20Poly1305,
        HkdfSha256,
        XWing,
    >(&OpModeS::Base, &key.expand(), info, &mut rng)
    .expect("encapsulating to a checked key cannot fail");
    let sealed = context
        .seal(message, &[])
        .expect("the first message of a context is always sealed");
    let mut out = encapsulated.to_bytes().to_vec();
    out.extend_from_slice(&sealed);
    out
}

/// Opens what [`seal_to`] made for this key and `info`.
///
/// # Errors
/// [`NotForUs`] for anything else.
pub fn open_from(key: &KemSecretKey, info: &[u8], sealed: &[u8]) -> Result<Vec<u8>, NotForUs> {
    // [SPEC 2.11]
    let (encapsulated, sealed) = sealed.split_at_checked(ENCAPSULATED_LEN).ok_or(NotForUs)?;
    let encapsulated =
        <XWing as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| NotForUs)?;
    let mut context = hpke::setup_receiver::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeR::Base,
        &key.expand(),
        &encapsulated,
        info,
    )
    .map_err(|_| NotForUs)?;
    context.open(sealed, &[]).map_err(|_| NotForUs)
}

/// Encapsulates to `key` and exports a secret: the client's part of an opening.
pub(crate) fn encapsulate(
    key: &KemPublicKey,
    info: &[u8],
    label: &'static str,
    mut rng: &mut dyn CryptoRng,
) -> ([u8; ENCAPSULATED_LEN], Secret32) {
    let (encapsulated, context) = hpke::setup_sender_with_rng::<ExportOnlyAead, HkdfSha256, XWing>(
        &OpModeS::Base,
        &key.expand(),
        info,
        &mut rng,
    )
    .expect("encapsulating to a checked key cannot fail");
    let mut bytes = [0; ENCAPSULATED_LEN];
    encapsulated.write_exact(&mut bytes);
    let mut secret = Secret32::zero();
    context
        .export(label.as_bytes(), secret.expose_mut())
        .expect("32 bytes are not too many");
    (bytes, secret)
}

/// The relay's part of an opening.
pub(crate) fn decapsulate(
    key: &ReadyKey,
    encapsulated: &[u8; ENCAPSULATED_LEN],
    info: &[u8],
    label: &'static str,
) -> Result<Secret32, NotForUs> {
    let encapsulated =
        <XWing as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| NotForUs)?;
    let context = hpke::setup_receiver::<ExportOnlyAead, HkdfSha256, XWing>(
        &OpModeR::Base,
        &key.0,
        &encapsulated,
        info,
    )
    .map_err(|_| NotForUs)?;
    let mut secret = Secret32::zero();
    context
        .export(label.as_bytes(), secret.expose_mut())
        .expect("32 bytes are not too many");
    Ok(secret)
}

impl core::fmt::Debug for KemPublicKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KemPublicKey(private)")
    }
}

impl core::fmt::Display for BadKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("not an X-Wing public key")
    }
}

impl std::error::Error for BadKey {}

impl core::fmt::Display for NotForUs {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("not sealed to this key for this purpose")
    }
}

impl std::error::Error for NotForUs {}
