//! What OpenMLS is given to work with: one group's store, RustCrypto, the caller's randomness, the device's signature.

use std::sync::Mutex;

use emptyroom_wire::rng::CryptoRng;
use hpke::kem::XWing;
use hpke::{Deserializable as _, Kem as _, Serializable as _};
use hpke_rs::hpke_types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm};
use hpke_rs::rustcrypto::HpkeRustCrypto;
use hpke_rs::{Context, Hpke, Mode};
use openmls_rust_crypto::RustCrypto;
use openmls_traits::OpenMlsProvider;
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::random::OpenMlsRand;
use openmls_traits::signatures::{Signer, SignerError};
use openmls_traits::types::{
    AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeAeadType, HpkeCiphertext,
    HpkeConfig, HpkeKdfType, HpkeKemType, HpkeKeyPair, KemOutput, SignatureScheme,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use tls_codec::SecretVLBytes;

use super::store::Store;
use crate::account::OwnKeys;

/// One call's provider.
pub(super) struct Provider<'a> {
    store: &'a Store,
    crypto: Crypto<'a>,
}

impl<'a> Provider<'a> {
    /// For a step that needs randomness.
    pub(super) fn new(store: &'a Store, crypto: &'a RustCrypto, rng: &mut dyn CryptoRng) -> Self {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        let rng = Mutex::new(Some(ChaCha20Rng::from_seed(*seed)));
        let crypto = Crypto { rust: crypto, rng };
        Self { store, crypto }
    }

    /// For a step that takes none: what is read depends on bytes and state only.
    pub(super) fn without_randomness(store: &'a Store, crypto: &'a RustCrypto) -> Self {
        let rng = Mutex::new(None);
        let crypto = Crypto { rust: crypto, rng };
        Self { store, crypto }
    }

    /// Cryptography and randomness, for the calls that take no provider.
    pub(super) fn crypto(&self) -> &Crypto<'a> {
        &self.crypto
    }
}

impl<'a> OpenMlsProvider for Provider<'a> {
    type CryptoProvider = Crypto<'a>;
    type RandProvider = Crypto<'a>;
    type StorageProvider = Store;

    fn storage(&self) -> &Store {
        self.store
    }

    fn crypto(&self) -> &Crypto<'a> {
        &self.crypto
    }

    fn rand(&self) -> &Crypto<'a> {
        &self.crypto
    }
}

/// RustCrypto with the randomness of one call: a generator seeded from the caller's, because OpenMLS draws through a shared
/// reference.
pub(super) struct Crypto<'a> {
    rust: &'a RustCrypto,
    rng: Mutex<Option<ChaCha20Rng>>,
}

/// Randomness was asked for where none may be needed.
#[derive(Debug)]
pub(super) struct NoRandomness;

type Tried<T> = Result<T, CryptoError>;

impl Crypto<'_> {
    fn draw<T>(&self, from: impl FnOnce(&mut ChaCha20Rng) -> T) -> Result<T, NoRandomness> {
        let mut rng = self.rng.lock().map_err(|_| NoRandomness)?;
        rng.as_mut().map(from).ok_or(NoRandomness)
    }

    /// `SetupBaseS` of RFC 9180: an encapsulation with the caller's randomness (which hpke-rs takes from nobody), then its key
    /// schedule.
    fn set_up_sender(
        &self,
        config: &HpkeConfig,
        pk: &[u8],
        info: &[u8],
    ) -> Tried<(Vec<u8>, Context<HpkeRustCrypto>)> {
        let HpkeConfig(
            HpkeKemType::XWingKemDraft6,
            HpkeKdfType::HkdfSha256,
            HpkeAeadType::AesGcm128,
        ) = config
        else {
            return Err(CryptoError::UnsupportedCiphersuite);
        };
        let pk = <XWing as hpke::Kem>::PublicKey::from_bytes(pk)
            .map_err(|_| CryptoError::CryptoLibraryError)?;
        let (secret, encapsulated) = self
            .draw(|rng| XWing::encap_with_rng(&pk, None, rng))
            .map_err(|NoRandomness| CryptoError::InsufficientRandomness)?
            .map_err(|_| CryptoError::SenderSetupError)?;
        let hpke = Hpke::<HpkeRustCrypto>::new(
            Mode::Base,
            KemAlgorithm::XWingDraft06,
            KdfAlgorithm::HkdfSha256,
            AeadAlgorithm::Aes128Gcm,
        );
        let context = hpke
            .key_schedule(&secret.0, info, &[], &[])
            .map_err(|_| CryptoError::SenderSetupError)?;
        Ok((encapsulated.to_bytes().to_vec(), context))
    }
}

/// Methods that RustCrypto carries out as it does.
macro_rules! as_rust_crypto {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {
        $(fn $name(&self, $($argument: $type),*) -> $output {
            self.rust.$name($($argument),*)
        })*
    };
}

#[rustfmt::skip] // One line each.
impl OpenMlsCrypto for Crypto<'_> {
    as_rust_crypto! {
        fn supports(suite: Ciphersuite) -> Tried<()>;
        fn supported_ciphersuites() -> Vec<Ciphersuite>;
        fn hkdf_extract(hash: HashType, salt: &[u8], ikm: &[u8]) -> Tried<SecretVLBytes>;
        fn hkdf_expand(hash: HashType, prk: &[u8], info: &[u8], len: usize) -> Tried<SecretVLBytes>;
        fn hmac(hash: HashType, key: &[u8], message: &[u8]) -> Tried<SecretVLBytes>;
        fn hash(hash: HashType, data: &[u8]) -> Tried<Vec<u8>>;
        fn aead_encrypt(alg: AeadType, key: &[u8], data: &[u8], nonce: &[u8], aad: &[u8]) -> Tried<Vec<u8>>;
        fn aead_decrypt(alg: AeadType, key: &[u8], data: &[u8], nonce: &[u8], aad: &[u8]) -> Tried<Vec<u8>>;
        fn signature_key_gen(alg: SignatureScheme) -> Tried<(Vec<u8>, Vec<u8>)>;
        fn verify_signature(alg: SignatureScheme, data: &[u8], pk: &[u8], signature: &[u8]) -> Tried<()>;
        fn sign(alg: SignatureScheme, data: &[u8], key: &[u8]) -> Tried<Vec<u8>>;
        fn hpke_open(config: HpkeConfig, input: &HpkeCiphertext, sk: &[u8], info: &[u8], aad: &[u8]) -> Tried<Vec<u8>>;
        fn hpke_setup_receiver_and_export(config: HpkeConfig, enc: &[u8], sk: &[u8], info: &[u8], context: &[u8], len: usize) -> Tried<ExporterSecret>;
        fn derive_hpke_keypair(config: HpkeConfig, ikm: &[u8]) -> Tried<HpkeKeyPair>;
    }

    fn hpke_seal(&self, config: HpkeConfig, pk: &[u8], info: &[u8], aad: &[u8], text: &[u8]) -> Tried<HpkeCiphertext> {
        let (kem_output, mut context) = self.set_up_sender(&config, pk, info)?;
        let ciphertext = context.seal(aad, text).map_err(|_| CryptoError::CryptoLibraryError)?;
        Ok(HpkeCiphertext { kem_output: kem_output.into(), ciphertext: ciphertext.into() })
    }

    fn hpke_setup_sender_and_export(&self, config: HpkeConfig, pk: &[u8], info: &[u8], label: &[u8], len: usize) -> Tried<(KemOutput, ExporterSecret)> {
        let (kem_output, context) = self.set_up_sender(&config, pk, info)?;
        let exported = context.export(label, len).map_err(|_| CryptoError::ExporterError)?;
        Ok((kem_output, exported.into()))
    }
}

impl OpenMlsRand for Crypto<'_> {
    type Error = NoRandomness;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], NoRandomness> {
        let mut out = [0; N];
        self.draw(|rng| rng.fill_bytes(&mut out))?;
        Ok(out)
    }

    fn random_vec(&self, len: usize) -> Result<Vec<u8>, NoRandomness> {
        let mut out = vec![0; len];
        self.draw(|rng| rng.fill_bytes(&mut out))?;
        Ok(out)
    }
}

impl std::fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this step takes no randomness")
    }
}

impl std::error::Error for NoRandomness {}

/// Signs as the device.
pub(super) struct DeviceSigner<'a>(pub(super) &'a OwnKeys);

impl Signer for DeviceSigner<'_> {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.0.sign_for_mls(payload).to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}
