//! Changing what opens the vault: the secret, the panic PIN, the recovery phrase, the factors.
//!
//! A change is made in two steps, as the factors are to be asked in between: a [`Rewrapping`] is
//! begun, which takes the present secret, and [`Vault::rewrap`] makes it.

use std::io;
use std::sync::atomic::Ordering;

use subtle::ConstantTimeEq;

use super::Vault;
use super::open::input;
use crate::derive::{LABEL_CHECK, LABEL_PANIC, LABEL_RELAYS, LABEL_TPM, stretch, subkey};
use crate::error::{SecretError, WriteError};
use crate::factors::{Answers, Factors, Mode, Share};
use crate::header::{Found, Others, Places, VERSION, Wrapping, draw_places, fits_area, try_all};
use crate::memory::LockedKey;
use crate::secret::Passphrase;

/// A change that is begun: which secrets will open the vault.
pub struct Rewrapping {
    opens: LockedKey,
    others: Others,
    /// What the factors are asked in place of a panic PIN where there is none.
    stand_in: LockedKey,
    places: Places,
}

impl Rewrapping {
    /// What the TPM is to be asked: for the secret, and for the panic PIN, or for something that stands
    /// for it, so that nobody sees whether there is one.
    #[must_use]
    pub fn tpm_inputs(&self) -> [Share; 2] {
        [&self.opens, self.panics()].map(|key| input(key, LABEL_TPM))
    }

    /// What relays are to be asked, for which slot: of the same two.
    #[must_use]
    pub fn relays_inputs(&self) -> [(u8, Share); 2] {
        let [opens, panics, ..] = self.places;
        [(opens, &self.opens), (panics, self.panics())]
            .map(|(place, key)| (place, input(key, LABEL_RELAYS)))
    }

    fn panics(&self) -> &LockedKey {
        self.others.panic.as_ref().unwrap_or(&self.stand_in)
    }
}

impl Vault {
    /// Begins the change to another secret. The recovery phrase may be given in place of the present
    /// one. Costs two key derivations.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn with_secret(
        &self,
        present: &Passphrase,
        new: &Passphrase,
    ) -> Result<Rewrapping, SecretError> {
        self.is_present(present, true)?;
        let new = self.stretch(new)?;
        // [SPEC 11.55]
        if same_as(&new, self.others.panic.as_ref()) {
            return Err(SecretError::Same);
        }
        Ok(self.rewrapping(new, self.others.copy()))
    }

    /// Begins the change to this panic PIN: entered where the secret goes, it destroys the vault and
    /// opens an empty one in its place. It replaces the one there is. Costs two key derivations.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn with_panic(
        &self,
        present: &Passphrase,
        panic: &Passphrase,
    ) -> Result<Rewrapping, SecretError> {
        let opens = self.is_present(present, false)?;
        let panic = self.stretch(panic)?;
        // [SPEC 11.55]
        if same_as(&panic, Some(&opens)) {
            return Err(SecretError::Same);
        }
        Ok(self.with_others(opens, |others| others.panic = Some(panic)))
    }

    /// Begins the change to no panic PIN. Does the same where there was none.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn without_panic(&self, present: &Passphrase) -> Result<Rewrapping, SecretError> {
        let opens = self.is_present(present, false)?;
        Ok(self.with_others(opens, |others| others.panic = None))
    }

    /// Begins the change to a phrase, which must be impossible to guess, that opens this vault, too,
    /// whatever its factors are. It replaces the one there is. Costs two key derivations.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn with_recovery(
        &self,
        present: &Passphrase,
        phrase: &Passphrase,
    ) -> Result<Rewrapping, SecretError> {
        // [SPEC 11.47]
        let opens = self.is_present(present, false)?;
        let phrase = self.stretch(phrase)?;
        Ok(self.with_others(opens, |others| others.recovery = Some(phrase)))
    }

    /// Whether this is the present secret; the recovery phrase is not. Costs a key derivation.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn expect_present(&self, secret: &Passphrase) -> Result<(), SecretError> {
        self.is_present(secret, false).map(drop)
    }

    /// How many times in a row what was given as the present secret was not, since the vault was opened: nobody else counts that.
    #[must_use]
    pub fn wrong_in_row(&self) -> u32 {
        self.wrong_in_row.load(Ordering::Relaxed)
    }

    /// Begins the change to no recovery phrase. Does the same where there was none.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn without_recovery(&self, present: &Passphrase) -> Result<Rewrapping, SecretError> {
        let opens = self.is_present(present, false)?;
        Ok(self.with_others(opens, |others| others.recovery = None))
    }

    /// Begins a change of the factors alone.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn with_same(&self, present: &Passphrase) -> Result<Rewrapping, SecretError> {
        let opens = self.is_present(present, false)?;
        Ok(self.with_others(opens, |_| {}))
    }

    /// Begins the change to new factors of the same kind after an opening, for which no secret is
    /// needed once more. None where that was done already, or there is nothing to be made anew.
    #[must_use]
    pub fn refreshed(&self) -> Option<Rewrapping> {
        let opens = self.secret.as_ref()?.copy();
        Some(self.with_others(opens, |_| {}))
    }

    /// Forgets the secret that [`Vault::refreshed`] takes.
    pub fn forget_secret(&mut self) {
        self.secret = None;
    }

    /// Makes the change: all slots anew, in one replacement of the header with a rotation. From then on
    /// other secrets than those of the change, and other factors than these, open nothing that is
    /// on the disk. Records stay as they are.
    ///
    /// # Errors
    /// See [`WriteError`]. After a failed write it was made or was not.
    pub fn rewrap(&mut self, change: Rewrapping, factors: &Factors) -> Result<(), WriteError> {
        // [SPEC 11.43]
        if !fits_area(&factors.area) {
            return Err(WriteError::TooLong);
        }
        self.settle_header()?;
        let mut header = self.header.current().clone();
        header.version = VERSION;
        let slots = Wrapping {
            opens: &change.opens,
            vault: &self.unlocked.vault,
            others: &change.others,
            factors,
        };
        slots.seal_slots(&mut header, &self.random, change.places);
        let slots = header.slots;
        let made = self.rotate_with(header, self.keys.table.sectors(), change.others);
        // It may count although a step after it failed.
        if self.header.current().slots == slots {
            self.check = Some(subkey(&change.opens, LABEL_CHECK));
            self.secret = None;
        }
        made
    }

    /// Gives the orders to destroy what this vault has elsewhere. The panic slot holds it, too.
    #[must_use]
    pub fn panic_secret(&self) -> Share {
        // [SPEC 11.41]
        Share::new(*subkey(&self.unlocked.vault, LABEL_PANIC).expose())
    }

    /// What was left to be destroyed has been.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn errands_done(&mut self) -> Result<(), WriteError> {
        self.set_errands(Vec::new())
    }

    /// This is still left to be destroyed; what the header has no room for is not taken.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn set_errands(&mut self, errands: Vec<u8>) -> Result<(), WriteError> {
        if fits_area(&errands) {
            self.errands = errands;
        }
        self.rotate()
    }

    pub(super) fn rewrapping(&self, opens: LockedKey, others: Others) -> Rewrapping {
        Rewrapping {
            opens,
            others,
            stand_in: LockedKey::new(|out| self.random.fill(out)),
            places: draw_places(&self.random),
        }
    }

    fn with_others(&self, opens: LockedKey, change: impl FnOnce(&mut Others)) -> Rewrapping {
        let mut others = self.others.copy();
        change(&mut others);
        self.rewrapping(opens, others)
    }

    /// The present secret, stretched, if it is that; or the recovery phrase, where that will do. No
    /// factor is asked.
    fn is_present(&self, secret: &Passphrase, or_phrase: bool) -> Result<LockedKey, SecretError> {
        // [SPEC 12.40]
        let stretched = self.stretch(secret)?;
        let opens = match &self.check {
            Some(check) => same_as(&subkey(&stretched, LABEL_CHECK), Some(check)),
            // Opened by the phrase: only the slots can tell, and only where there are no factors.
            None => {
                let header = self.header.current();
                let found = try_all(header, &stretched, &Answers::default()).found();
                matches!(found, Found::Vault(key) if same_as(&key, Some(&self.unlocked.vault)))
            }
        };
        let recovers = or_phrase && same_as(&stretched, self.others.recovery.as_ref());
        if opens || recovers {
            self.wrong_in_row.store(0, Ordering::Relaxed);
            Ok(stretched)
        } else {
            // Without either nothing can tell a right one, so there is nothing to guess.
            if self.check.is_some() || self.mode() == Mode::Passphrase {
                self.wrong_in_row.fetch_add(1, Ordering::Relaxed);
            }
            Err(SecretError::WrongSecret)
        }
    }

    fn stretch(&self, secret: &Passphrase) -> Result<LockedKey, SecretError> {
        let header = self.header.current();
        stretch(secret, &header.salt, header.kdf)
            .map_err(|_| SecretError::Write(WriteError::Io(io::ErrorKind::OutOfMemory)))
    }
}

fn same_as(one: &LockedKey, other: Option<&LockedKey>) -> bool {
    other.is_some_and(|other| one.expose().ct_eq(other.expose()).into())
}
