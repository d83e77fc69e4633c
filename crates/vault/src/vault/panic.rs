//! The panic PIN: a vault is destroyed by making an empty one in its place.
//!
//! The header is replaced by that of a vault that is still to be made. That one replacement destroys
//! the old vault, as nothing else holds its key, and gives birth to the new one; so there is no moment
//! at which there is neither or both. What follows makes sure of what the disk may have kept, and can
//! be done again and again: the next opening goes on with it.

use super::open::{RECORDS_NAME, first_body, make};
use super::wipe::{OutsideFile, destroy};
use super::{Known, Place, Vault, write_error};
use crate::derive::{LABEL_CHECK, LABEL_PANIC, subkey};
use crate::error::WriteError;
use crate::factors::{Besides, Factors};
use crate::header::{Header, Others, ReplaceError, Unlocked, Wrapping, draw_places, fits_area};
use crate::keys::{Keys, scrub_files};
use crate::memory::LockedKey;
use crate::outside;
use crate::store::{Fault, Store};

impl Vault {
    /// Whether there is a panic PIN. It shows nowhere while the vault is locked, and is nobody's business.
    #[must_use]
    pub fn has_panic(&self) -> bool {
        self.others.panic.is_some()
    }

    /// Destroys this vault, and what is its elsewhere. Where there is a panic PIN, what is left is an
    /// empty vault that it opens; else nothing is left.
    ///
    /// # Errors
    /// See [`WriteError`]. Whatever could be destroyed has been, and the vault is closed.
    pub fn panic(mut self, besides: Besides<'_>) -> Result<Option<Vault>, WriteError> {
        let Some(panic) = self.others.panic.take() else {
            return self.wipe(besides.destroy, OutsideFile::Goes).map(|()| None);
        };
        let (place, secrets) = self.apart();
        let secret = subkey(&secrets.0.vault, LABEL_PANIC);
        let emptied = Emptied::begin(place, (&panic, &secret), besides);
        drop(secrets);
        emptied
            .and_then(Emptied::finish)
            .map(Some)
            .map_err(write_error)
    }

    /// Destroys this vault, and leaves nothing. `besides` destroys what is its elsewhere.
    ///
    /// # Errors
    /// See [`WriteError`]. Whatever could be destroyed has been, and the vault is closed.
    pub fn wipe(self, besides: &mut dyn FnMut(), outside: OutsideFile) -> Result<(), WriteError> {
        let (place, secrets) = self.apart();
        drop(secrets);
        destroy(place, besides, outside).map_err(|e| write_error(e.into()))
    }

    fn apart(self) -> (Place, (Unlocked, Keys, Store)) {
        let place = Place {
            header: self.header,
            random: self.random,
            dir: self.dir,
            lock: self.lock,
        };
        (place, (self.unlocked, self.keys, self.store))
    }
}

/// A vault whose header is the new one's, and whose files are still the old one's.
pub(super) struct Emptied {
    place: Place,
    unlocked: Unlocked,
    root: LockedKey,
    check: LockedKey,
}

impl Emptied {
    /// Replaces the header by that of an empty vault that `opens` opens.
    pub(super) fn begin(
        mut place: Place,
        (opens, secret): (&LockedKey, &LockedKey),
        besides: Besides<'_>,
    ) -> Result<Emptied, Fault> {
        // [SPEC 11.56]
        let random = &place.random;
        let unlocked = Unlocked::new(LockedKey::new(|out| random.fill(out)));
        let root = LockedKey::new(|out| random.fill(out));
        let old = place.header.current();
        let mut header = Header::new(random, old.kdf);
        header.salt = old.salt;
        let slots = Wrapping {
            opens,
            vault: &unlocked.vault,
            others: &Others::default(),
            factors: &Factors::default(),
        };
        slots.seal_slots(&mut header, random, draw_places(random));
        let mut errands = (besides.errands)(secret.expose());
        if !fits_area(&errands) {
            errands.clear();
        }
        let mut replace = || {
            place.header.replace(header.clone(), |header| {
                header.seal(&unlocked, random, &first_body(&root, true), &errands);
            })
        };
        let replaced = replace();
        // What is elsewhere may take seconds: the keys go before. What fails is done again.
        let _ = scrub_files(&*place.dir, random);
        (besides.destroy)();
        let replaced = replaced.or_else(|error| match error {
            // What remains of the old one is overwritten by the next steps.
            ReplaceError::OldRemains(_) => Ok(()),
            // The record keys can still be destroyed, and on a disk that is full and writes changes
            // elsewhere there is space then.
            ReplaceError::NotReplaced(_) => {
                let _ = place.dir.create(RECORDS_NAME);
                replace()
            }
        });
        match replaced {
            Ok(()) | Err(ReplaceError::OldRemains(_)) => {
                Ok(Emptied::again(place, unlocked, root, opens))
            }
            Err(ReplaceError::NotReplaced(e)) => Err(e.into()),
        }
    }

    /// One that an earlier process began.
    pub(super) fn again(
        place: Place,
        unlocked: Unlocked,
        root: LockedKey,
        opens: &LockedKey,
    ) -> Self {
        Emptied {
            place,
            unlocked,
            root,
            check: subkey(opens, LABEL_CHECK),
        }
    }

    /// Overwrites what the old vault's header had the keys for, and makes the new one whole.
    pub(super) fn finish(self) -> Result<Vault, Fault> {
        let Emptied {
            mut place,
            unlocked,
            root,
            check,
        } = self;
        let body = first_body(&root, false);
        let random = &place.random;
        // A step that fails does not keep the next ones from being done.
        let mirrored = place.header.mirror();
        let scrubbed = scrub_files(&*place.dir, random);
        let removed = outside::remove(&*place.dir);
        let made = make(&*place.dir, &unlocked, root, random);
        mirrored?;
        scrubbed?;
        removed?;
        let (keys, store) = made?;
        let header = place.header.current().clone();
        let corrupt = |_| Fault::Corrupt;
        let errands = header.open_errands(&unlocked.vault).map_err(corrupt)?;
        place
            .header
            .replace(header, |header| {
                header.seal(&unlocked, random, &body, &errands);
            })
            .map_err(|fault| match fault {
                ReplaceError::NotReplaced(e) | ReplaceError::OldRemains(e) => Fault::from(e),
            })?;
        let known = Known {
            unlocked,
            others: body.others,
            check: Some(check),
            secret: None,
            errands,
        };
        Ok(Vault::new(place, known, keys, store))
    }
}
