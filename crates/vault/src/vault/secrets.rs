//! Changing the secrets: the one that opens the vault, the panic PIN, the recovery phrase.

use std::io;

use subtle::ConstantTimeEq;

use super::Vault;
use crate::derive::stretch;
use crate::error::{SecretError, WriteError};
use crate::header::{Found, Others, VERSION, seal_slots, try_all};
use crate::memory::LockedKey;
use crate::secret::Passphrase;

impl Vault {
    /// From now on `new` opens this vault, and `present` does not, unless it is the recovery phrase,
    /// which may be given in its place. Records stay as they are; the root is rotated, so that the old
    /// secret and an old copy of the header are worth nothing for what was deleted. Costs two key
    /// derivations.
    ///
    /// # Errors
    /// See [`SecretError`]. After a failed write one of both secrets opens it.
    pub fn change_secret(
        &mut self,
        present: &Passphrase,
        new: &Passphrase,
    ) -> Result<(), SecretError> {
        self.is_present(present, true)?;
        let new = self.stretch(new)?;
        // [SPEC 11.55]
        if same_as(&new, self.others.panic.as_ref()) {
            return Err(SecretError::Same);
        }
        self.rewrap(&new, self.others.copy())
            .map_err(SecretError::Write)
    }

    /// From now on `panic`, entered where the secret goes, destroys this vault and opens an empty one
    /// in its place. Replaces the panic PIN there is. Costs two key derivations.
    ///
    /// # Errors
    /// See [`SecretError`]. After a failed write it was set or was not.
    pub fn set_panic(
        &mut self,
        present: &Passphrase,
        panic: &Passphrase,
    ) -> Result<(), SecretError> {
        let opens = self.is_present(present, false)?;
        let panic = self.stretch(panic)?;
        // [SPEC 11.55]
        if same_as(&panic, Some(&opens)) {
            return Err(SecretError::Same);
        }
        self.change_others(&opens, |others| others.panic = Some(panic))
    }

    /// From now on there is no panic PIN. Does the same where there was none.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn unset_panic(&mut self, present: &Passphrase) -> Result<(), SecretError> {
        let opens = self.is_present(present, false)?;
        self.change_others(&opens, |others| others.panic = None)
    }

    /// From now on `phrase`, which must be impossible to guess, opens this vault, too. Replaces the
    /// one there is. Costs two key derivations.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn set_recovery(
        &mut self,
        present: &Passphrase,
        phrase: &Passphrase,
    ) -> Result<(), SecretError> {
        // [SPEC 11.47]
        let opens = self.is_present(present, false)?;
        let phrase = self.stretch(phrase)?;
        self.change_others(&opens, |others| others.recovery = Some(phrase))
    }

    /// Whether this is the present secret; the recovery phrase is not. Costs a key derivation.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn expect_present(&self, secret: &Passphrase) -> Result<(), SecretError> {
        self.is_present(secret, false).map(drop)
    }

    /// From now on there is no recovery phrase. Does the same where there was none.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn unset_recovery(&mut self, present: &Passphrase) -> Result<(), SecretError> {
        let opens = self.is_present(present, false)?;
        self.change_others(&opens, |others| others.recovery = None)
    }

    fn change_others(
        &mut self,
        opens: &LockedKey,
        change: impl FnOnce(&mut Others),
    ) -> Result<(), SecretError> {
        let mut others = self.others.copy();
        change(&mut others);
        self.rewrap(opens, others).map_err(SecretError::Write)
    }

    /// The present secret, stretched, if it is that; or the recovery phrase, where that will do.
    fn is_present(&self, secret: &Passphrase, or_phrase: bool) -> Result<LockedKey, SecretError> {
        let stretched = self.stretch(secret)?;
        let key = match try_all(self.header.current(), &stretched).found() {
            Found::Vault(key) => Some(key),
            Found::Recovery(key) if or_phrase => Some(key),
            _ => None,
        };
        if same_as(&self.unlocked.vault, key.as_ref()) {
            Ok(stretched)
        } else {
            Err(SecretError::WrongSecret)
        }
    }

    fn stretch(&self, secret: &Passphrase) -> Result<LockedKey, SecretError> {
        let header = self.header.current();
        stretch(secret, &header.salt, header.kdf)
            .map_err(|_| SecretError::Write(WriteError::Io(io::ErrorKind::OutOfMemory)))
    }

    /// Makes all slots anew, in one replacement of the header with a rotation.
    pub(super) fn rewrap(&mut self, opens: &LockedKey, others: Others) -> Result<(), WriteError> {
        // [SPEC 11.43]
        self.settle_header()?;
        let mut header = self.header.current().clone();
        header.version = VERSION;
        let vault = &self.unlocked.vault;
        seal_slots(&mut header, &self.random, opens, vault, &others);
        self.rotate_with(header, self.keys.table.sectors(), others)
    }
}

fn same_as(one: &LockedKey, other: Option<&LockedKey>) -> bool {
    other.is_some_and(|other| one.expose().ct_eq(other.expose()).into())
}
