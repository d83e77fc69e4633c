//! The vault itself: opening, reading, changing, locking.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::directory::Directory;
use crate::error::{CreateError, OpenError, ReadError, WriteError};
use crate::secret::Passphrase;

/// An open vault. Dropping it closes it without the last rotation; [`Vault::lock`] is the right way.
pub struct Vault {
    _private: (),
}

/// One record's new value, or its deletion.
pub struct Change {
    /// The record's key, its name in the table: 1 to 128 bytes. Deletion does not erase names as it
    /// erases values, so they hold ids, never content.
    pub key: Vec<u8>,
    /// The new value (at most 1 MiB), or `None` to delete.
    pub value: Option<Vec<u8>>,
}

/// A record as [`Vault::scan`] gives it: name and value.
pub type Record = (Vec<u8>, Zeroizing<Vec<u8>>);

/// Cost of Argon2id. It is stored in the header, so that a vault opens with what it was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfParams {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl KdfParams {
    /// For use: 256 MiB and three passes, about one second of one CPU.
    #[must_use]
    pub const fn recommended() -> Self {
        KdfParams {
            memory_kib: 256 * 1024,
            passes: 3,
            lanes: 1,
        }
    }

    /// For small devices: 64 MiB and three passes, about a quarter of a second.
    #[must_use]
    pub const fn small() -> Self {
        KdfParams {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 1,
        }
    }

    /// The least the format allows, for tests: no protection for a secret that can be guessed.
    #[must_use]
    pub const fn minimum() -> Self {
        KdfParams {
            memory_kib: 8,
            passes: 1,
            lanes: 1,
        }
    }
}

/// What besides the passphrase a vault needs to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: a copied disk can be attacked by guessing the passphrase.
    PassphraseOnly,
}

/// What `status` shows.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// What protects it.
    pub mode: Mode,
    /// Format version.
    pub version: u16,
    /// Cost of trying one secret.
    pub kdf: KdfParams,
    /// Number of records.
    pub records: u64,
    /// Record keys in the key file, assigned or not.
    pub keys: u64,
    /// Whether keys were killed since the root was last rotated.
    pub rotation_due: bool,
    /// Whether the operating system keeps the root keys out of the swap file.
    pub memory_locked: bool,
}

impl Vault {
    /// Makes a new vault.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub fn create(
        _dir: Box<dyn Directory>,
        _secret: &Passphrase,
        _kdf: KdfParams,
        _rng: Box<dyn CryptoRng + Send>,
    ) -> Result<Vault, CreateError> {
        Err(CreateError::Io(std::io::ErrorKind::Unsupported))
    }

    /// Opens a vault. The root of its keys is rotated.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        _dir: Box<dyn Directory>,
        _secret: &Passphrase,
        _rng: Box<dyn CryptoRng + Send>,
    ) -> Result<Vault, OpenError> {
        Err(OpenError::Io(std::io::ErrorKind::Unsupported))
    }

    /// The value of a record.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn get(&self, _name: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, ReadError> {
        Err(ReadError::Io(std::io::ErrorKind::Unsupported))
    }

    /// The records whose names begin with `prefix`, in the order of their names (or backwards):
    /// those beyond `after`, which is excluded, at most `limit`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn scan(
        &self,
        _prefix: &[u8],
        _after: Option<&[u8]>,
        _limit: usize,
        _reverse: bool,
    ) -> Result<Vec<Record>, ReadError> {
        Err(ReadError::Io(std::io::ErrorKind::Unsupported))
    }

    /// Makes all changes in one durable transaction: when it returns they are on the disk, and the
    /// keys of deleted and replaced values are not. The last change to a name counts.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn apply(&mut self, _changes: Vec<Change>) -> Result<(), WriteError> {
        Err(WriteError::Io(std::io::ErrorKind::Unsupported))
    }

    /// Replaces the root of the record keys and overwrites the old one.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn rotate(&mut self) -> Result<(), WriteError> {
        Err(WriteError::Io(std::io::ErrorKind::Unsupported))
    }

    /// [`Vault::rotate`] if a key was killed and an hour has passed since the last time (on any
    /// clock that does not go back, in milliseconds). Says whether it did.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn rotate_if_due(&mut self, _now_mono_ms: u64) -> Result<bool, WriteError> {
        Err(WriteError::Io(std::io::ErrorKind::Unsupported))
    }

    /// Whether `secret` opens this vault. Costs one key derivation.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn check_secret(&self, _secret: &Passphrase) -> Result<bool, ReadError> {
        Err(ReadError::Io(std::io::ErrorKind::Unsupported))
    }

    /// From now on `secret` opens this vault, and the old one does not. Records stay as they are.
    ///
    /// # Errors
    /// See [`WriteError`]. After an error one of both secrets opens it.
    pub fn change_secret(
        &mut self,
        _secret: &Passphrase,
        _kdf: KdfParams,
    ) -> Result<(), WriteError> {
        Err(WriteError::Io(std::io::ErrorKind::Unsupported))
    }

    /// Rotates the root if a key was killed, closes everything and forgets all keys.
    ///
    /// # Errors
    /// See [`WriteError`]. The vault is closed and its keys are forgotten all the same.
    pub fn lock(self) -> Result<(), WriteError> {
        Err(WriteError::Io(std::io::ErrorKind::Unsupported))
    }

    /// How the vault stands.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            mode: Mode::PassphraseOnly,
            version: 1,
            kdf: KdfParams::minimum(),
            records: 0,
            keys: 0,
            rotation_due: false,
            memory_locked: false,
        }
    }
}
