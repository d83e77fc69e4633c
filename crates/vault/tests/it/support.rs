//! Vaults and randomness for the tests.

use emptyroom_vault::{Change, CreateError, KdfParams, OpenError, Passphrase, Vault};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng};

use crate::disk::Disk;

pub const SECRET: &str = "correct horse battery staple orbit lamp";

pub fn secret() -> Passphrase {
    Passphrase::from(SECRET.to_owned())
}

pub fn rng(seed: u64) -> Box<dyn CryptoRng + Send> {
    Box::new(ChaCha20Rng::seed_from_u64(seed))
}

pub fn create(disk: &Disk) -> Result<Vault, CreateError> {
    Vault::create(disk.boxed(), &secret(), KdfParams::minimum(), rng(1))
}

pub fn open(disk: &Disk) -> Result<Vault, OpenError> {
    Vault::open(disk.boxed(), &secret(), rng(2))
}

pub fn put(key: &str, value: &[u8]) -> Change {
    Change {
        key: key.as_bytes().to_vec(),
        value: Some(value.to_vec()),
    }
}

pub fn delete(key: &str) -> Change {
    Change {
        key: key.as_bytes().to_vec(),
        value: None,
    }
}

pub fn value(vault: &Vault, key: &str) -> Option<Vec<u8>> {
    vault.get(key.as_bytes()).unwrap().map(|v| v.to_vec())
}
