//! The root of the record keys, the secret, and the end.

use std::io;

use subtle::ConstantTimeEq;

use super::{Vault, write_error};
use crate::derive::stretch;
use crate::error::{Part, SecretError, WriteError};
use crate::header::{Body, Found, Header, ReplaceError, VERSION, seal_slots, try_all};
use crate::memory::LockedKey;
use crate::secret::Passphrase;
use crate::store::Fault;

/// From the last moment at which no key had been killed to the rotation, in milliseconds: an hour less the minute within which
/// [`Vault::rotate_if_due`] is to be called.
pub const ROTATION_PERIOD_MS: u64 = 59 * 60 * 1000;

impl Vault {
    /// Replaces the root of the record keys and overwrites the old one.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn rotate(&mut self) -> Result<(), WriteError> {
        self.rotate_to(self.keys.table.sectors())
    }

    /// [`Vault::rotate`] if a key was killed nearly an hour ago (on any clock that does not go back,
    /// in milliseconds). To be called at least every minute. Says whether it did.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn rotate_if_due(&mut self, now_mono_ms: u64) -> Result<bool, WriteError> {
        let since = *self.untouched_at_ms.get_or_insert(now_mono_ms);
        let due = self.rotation_due && now_mono_ms.saturating_sub(since) >= ROTATION_PERIOD_MS;
        if due {
            // [SPEC 11.22]
            self.rotate()?;
        }
        if due || !self.rotation_due {
            self.untouched_at_ms = Some(now_mono_ms);
        }
        Ok(due)
    }

    /// From now on `new` opens this vault, and `present` does not. Records stay as they are; the root
    /// is rotated, so that the old secret and an old copy of the header are worth nothing for what was
    /// deleted. Costs two key derivations.
    ///
    /// # Errors
    /// See [`SecretError`]. After a failed write one of both secrets opens it.
    pub fn change_secret(
        &mut self,
        present: &Passphrase,
        new: &Passphrase,
    ) -> Result<(), SecretError> {
        self.present(present)?;
        let new = self.stretch(new)?;
        let panic = self.panic.as_ref().map(LockedKey::copy);
        // [SPEC 11.55]
        if panic.as_ref().is_some_and(|panic| same(panic, &new)) {
            return Err(SecretError::Same);
        }
        self.rewrap(&new, panic).map_err(SecretError::Write)
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
        let present = self.present(present)?;
        let panic = self.stretch(panic)?;
        // [SPEC 11.55]
        if same(&panic, &present) {
            return Err(SecretError::Same);
        }
        let rewrapped = self.rewrap(&present, Some(panic));
        rewrapped.map_err(SecretError::Write)
    }

    /// From now on there is no panic PIN. Does the same where there was none.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn unset_panic(&mut self, present: &Passphrase) -> Result<(), SecretError> {
        let present = self.present(present)?;
        self.rewrap(&present, None).map_err(SecretError::Write)
    }

    /// The present secret, stretched, if it is that.
    fn present(&self, secret: &Passphrase) -> Result<LockedKey, SecretError> {
        let stretched = self.stretch(secret)?;
        match try_all(self.header.current(), &stretched) {
            Found::Vault(key) if same(&key, &self.unlocked.vault) => Ok(stretched),
            _ => Err(SecretError::WrongSecret),
        }
    }

    fn stretch(&self, secret: &Passphrase) -> Result<LockedKey, SecretError> {
        let header = self.header.current();
        stretch(secret, &header.salt, header.kdf)
            .map_err(|_| SecretError::Write(WriteError::Io(io::ErrorKind::OutOfMemory)))
    }

    /// Rotates the root if a key was killed, closes everything and forgets all keys.
    ///
    /// # Errors
    /// See [`WriteError`]. The vault is closed and its keys are forgotten all the same.
    pub fn lock(mut self) -> Result<(), WriteError> {
        let settled = self.settle();
        if settled.is_ok() {
            self.remove_dead_rows();
        }
        let rotated = match settled {
            Ok(()) if self.rotation_due => self.rotate(),
            other => other,
        };
        let closed = self.store.close().map_err(write_error);
        let synced = self.keys.sync_journal();
        rotated?;
        closed?;
        synced.map_err(|e| write_error(e.into()))
    }

    /// Rotates, with room for at least `sectors` sectors of keys.
    pub(super) fn rotate_to(&mut self, sectors: u32) -> Result<(), WriteError> {
        if let Some(kind) = self.broken {
            return Err(WriteError::Io(kind));
        }
        self.settle_header()?;
        let header = self.header.current().clone();
        let panic = self.panic.as_ref().map(LockedKey::copy);
        self.rotate_with(header, sectors, panic)
    }

    /// Makes all slots anew, in one replacement of the header with a rotation.
    pub(super) fn rewrap(
        &mut self,
        opens: &LockedKey,
        panic: Option<LockedKey>,
    ) -> Result<(), WriteError> {
        // [SPEC 11.43]
        self.settle_header()?;
        let mut header = self.header.current().clone();
        header.version = VERSION;
        let vault = &self.unlocked.vault;
        seal_slots(&mut header, &self.random, opens, vault, panic.as_ref());
        self.rotate_with(header, self.keys.table.sectors(), panic)
    }

    fn rotate_with(
        &mut self,
        header: Header,
        sectors: u32,
        panic: Option<LockedKey>,
    ) -> Result<(), WriteError> {
        if let Some(kind) = self.broken {
            return Err(WriteError::Io(kind));
        }
        let rotation = self
            .keys
            .begin_rotation(&self.unlocked.vault, sectors)
            .map_err(|e| self.key_file_error(e.into()))?;
        let body = Body {
            root: rotation.root.root.copy(),
            active: rotation.active,
            sectors: rotation.sectors(),
            sweep: !self.dead_rows.is_empty(),
            to_be_made: false,
            panic,
        };
        match self.write_header(header, &body) {
            Ok(()) => {
                self.keys.finish_rotation(rotation);
                self.panic = body.panic;
                self.rotation_due = false;
                self.keys
                    .scrub_idle()
                    .map_err(|e| self.key_file_error(e.into()))
            }
            Err(ReplaceError::OldRemains(e)) => {
                // The new root counts; the old one is overwritten before the next change.
                self.keys.finish_rotation(rotation);
                self.panic = body.panic;
                Err(self.key_file_error(e.into()))
            }
            Err(ReplaceError::NotReplaced(e)) => Err(self.key_file_error(e.into())),
        }
    }

    /// Makes both copies of the header the one in memory, after a failure.
    pub(super) fn settle_header(&mut self) -> Result<(), WriteError> {
        self.header
            .mirror()
            .map_err(|e| self.key_file_error(e.into()))
    }

    fn write_header(&mut self, header: Header, body: &Body) -> Result<(), ReplaceError> {
        let (key, random) = (&self.unlocked.header, &self.random);
        self.header
            .replace(header, |header| header.seal_body(key, random, body))
    }

    /// A failed write of header, key file or journal. A full disk passes; after any other fault
    /// nothing more is written.
    pub(super) fn key_file_error(&mut self, fault: Fault) -> WriteError {
        match fault {
            Fault::Full => WriteError::Full,
            Fault::Corrupt => WriteError::Corrupt(Part::Keys),
            Fault::Io(kind) => {
                self.broken = Some(kind);
                WriteError::Io(kind)
            }
        }
    }
}

fn same(one: &LockedKey, other: &LockedKey) -> bool {
    one.expose().ct_eq(other.expose()).into()
}
