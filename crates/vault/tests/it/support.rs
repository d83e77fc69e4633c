//! Vaults and randomness for the tests.

use std::cell::Cell;

use emptyroom_vault::{
    Besides, Change, CreateError, Factors, KdfParams, OpenError, Passphrase, SecretError, Vault,
    WriteError,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng};

use crate::disk::Disk;

pub const SECRET: &str = "correct horse battery staple orbit lamp";

pub const PANIC: &str = "a panic pin of these tests";

pub fn panic_pin() -> Passphrase {
    Passphrase::from(PANIC.to_owned())
}

pub fn secret() -> Passphrase {
    Passphrase::from(SECRET.to_owned())
}

pub fn rng(seed: u64) -> Box<dyn CryptoRng + Send> {
    Box::new(ChaCha20Rng::seed_from_u64(seed))
}

thread_local! {
    static OPENED: Cell<u64> = const { Cell::new(1000) };
}

/// Randomness that no vault of this test had before: a repeated root would open old journals.
pub fn fresh_rng() -> Box<dyn CryptoRng + Send> {
    OPENED.set(OPENED.get() + 1);
    rng(OPENED.get())
}

/// Changes without factors, each in one step.
pub trait Changes: Sized {
    fn change_secret(&mut self, present: &Passphrase, new: &Passphrase) -> Result<(), SecretError>;
    fn set_panic(&mut self, present: &Passphrase, panic: &Passphrase) -> Result<(), SecretError>;
    fn unset_panic(&mut self, present: &Passphrase) -> Result<(), SecretError>;
    fn set_recovery(&mut self, present: &Passphrase, new: &Passphrase) -> Result<(), SecretError>;
    fn unset_recovery(&mut self, present: &Passphrase) -> Result<(), SecretError>;
    fn panicked(self) -> Result<Option<Vault>, WriteError>;
}

impl Changes for Vault {
    fn change_secret(&mut self, present: &Passphrase, new: &Passphrase) -> Result<(), SecretError> {
        let change = self.with_secret(present, new)?;
        let made = self.rewrap(change, &Factors::default());
        made.map_err(SecretError::Write)
    }

    fn set_panic(&mut self, present: &Passphrase, panic: &Passphrase) -> Result<(), SecretError> {
        let change = self.with_panic(present, panic)?;
        let made = self.rewrap(change, &Factors::default());
        made.map_err(SecretError::Write)
    }

    fn unset_panic(&mut self, present: &Passphrase) -> Result<(), SecretError> {
        let change = self.without_panic(present)?;
        let made = self.rewrap(change, &Factors::default());
        made.map_err(SecretError::Write)
    }

    fn set_recovery(&mut self, present: &Passphrase, new: &Passphrase) -> Result<(), SecretError> {
        let change = self.with_recovery(present, new)?;
        let made = self.rewrap(change, &Factors::default());
        made.map_err(SecretError::Write)
    }

    fn unset_recovery(&mut self, present: &Passphrase) -> Result<(), SecretError> {
        let change = self.without_recovery(present)?;
        let made = self.rewrap(change, &Factors::default());
        made.map_err(SecretError::Write)
    }

    fn panicked(self) -> Result<Option<Vault>, WriteError> {
        self.panic(Besides {
            errands: &mut |_| Vec::new(),
            destroy: &mut || {},
        })
    }
}

pub fn create(disk: &Disk) -> Result<Vault, CreateError> {
    Vault::create(disk.boxed(), &secret(), KdfParams::minimum(), fresh_rng())
}

pub fn open(disk: &Disk) -> Result<Vault, OpenError> {
    Vault::open(disk.boxed(), &secret(), fresh_rng())
}

pub fn open_with(disk: &Disk, secret: &str) -> Result<Vault, OpenError> {
    let secret = Passphrase::from(secret.to_owned());
    Vault::open(disk.boxed(), &secret, fresh_rng())
}

/// A locked vault with records and a panic PIN.
pub fn with_panic_pin() -> Disk {
    let disk = Disk::new();
    let mut vault = create(&disk).unwrap();
    vault.set_panic(&secret(), &panic_pin()).unwrap();
    vault.apply(vec![put("a", b"1"), put("b", b"2")]).unwrap();
    let many = (0..600u32).map(|n| put(&format!("many/{n}"), &[n as u8; 300]));
    vault.apply(many.collect()).unwrap();
    vault.apply(vec![delete("b")]).unwrap();
    vault.lock().unwrap();
    disk
}

/// Names and sizes of all files.
pub fn sizes(disk: &Disk) -> Vec<(String, usize)> {
    let size = |name: String| {
        let len = disk.bytes(&name).len();
        (name, len)
    };
    disk.names().into_iter().map(size).collect()
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
