//! What OpenMLS is given to work with: one group's store, RustCrypto, the caller's randomness, the device's signature.

use std::cell::RefCell;

use emptyroom_wire::rng::CryptoRng;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::OpenMlsProvider;
use openmls_traits::random::OpenMlsRand;
use openmls_traits::signatures::{Signer, SignerError};
use openmls_traits::types::SignatureScheme;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::store::Store;
use crate::account::OwnKeys;

/// One call's provider.
pub(super) struct Provider<'a> {
    store: &'a Store,
    crypto: &'a RustCrypto,
    rand: Rand,
}

impl<'a> Provider<'a> {
    pub(super) fn new(store: &'a Store, crypto: &'a RustCrypto, rand: Rand) -> Self {
        Self {
            store,
            crypto,
            rand,
        }
    }

    /// The randomness, for the calls that take no provider.
    pub(super) fn random(&self) -> &Rand {
        &self.rand
    }
}

impl OpenMlsProvider for Provider<'_> {
    type CryptoProvider = RustCrypto;
    type RandProvider = Rand;
    type StorageProvider = Store;

    fn storage(&self) -> &Store {
        self.store
    }

    fn crypto(&self) -> &RustCrypto {
        self.crypto
    }

    fn rand(&self) -> &Rand {
        &self.rand
    }
}

/// Randomness of one call: a generator seeded from the caller's, because OpenMLS draws through a shared reference.
/// Reading an entry draws none, so that what is read depends on bytes and state only.
pub(super) struct Rand(Option<RefCell<ChaCha20Rng>>);

/// Randomness was asked for where none may be needed.
#[derive(Debug)]
pub(super) struct NoRandomness;

impl Rand {
    pub(super) fn from(rng: &mut dyn CryptoRng) -> Self {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        Self(Some(RefCell::new(ChaCha20Rng::from_seed(*seed))))
    }

    pub(super) fn none() -> Self {
        Self(None)
    }

    fn fill(&self, out: &mut [u8]) -> Result<(), NoRandomness> {
        let rng = self.0.as_ref().ok_or(NoRandomness)?;
        rng.borrow_mut().fill_bytes(out);
        Ok(())
    }
}

impl OpenMlsRand for Rand {
    type Error = NoRandomness;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], NoRandomness> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }

    fn random_vec(&self, len: usize) -> Result<Vec<u8>, NoRandomness> {
        let mut out = vec![0; len];
        self.fill(&mut out)?;
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
