//! Destroying a vault without any secret.

use std::io;

use rand_core::CryptoRng;

use super::Place;
use super::open::RECORDS_NAME;
use crate::directory::Directory;
use crate::error::WipeError;
use crate::factors::Mode;
use crate::header::{self, Header, HeaderFile, HeaderOpenFault, ReplaceError};
use crate::keys::{self, scrub_files};
use crate::os::LOCK_NAME;
use crate::outside;
use crate::random::Random;

/// Destroys the vault in a directory: no secret is needed, and none opens it afterwards. One that was
/// cut off is finished by the next, also where the header is gone already.
///
/// Where factors are used, `besides` is called with the area that names them, when the header is
/// overwritten and before it is removed; with nothing, where there is a header and nobody can say what it names.
///
/// # Errors
/// See [`WipeError`].
pub fn wipe(
    dir: Box<dyn Directory>,
    rng: Box<dyn CryptoRng + Send>,
    besides: &mut dyn FnMut(&[u8]),
) -> Result<(), WipeError> {
    // No lock is made in a directory that is none of a vault's.
    if is_empty(&*dir) {
        return Err(WipeError::Missing);
    }
    let lock = dir.lock().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => WipeError::Missing,
        io::ErrorKind::WouldBlock => WipeError::InUse,
        kind => WipeError::Io(kind),
    })?;
    wipe_held(dir, lock, rng, besides, OutsideFile::Goes)
}

/// What becomes of what lies outside of a vault that was destroyed whole ([`crate::outside`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutsideFile {
    /// It goes last: where the wipe was cut off or failed, what ordered it is still there.
    Goes,
    /// It stays: whoever ordered it is to be told first.
    Stays,
}

/// The same by who holds the directory's lock already, and so knows that what he saw there still is so.
///
/// # Errors
/// See [`WipeError`].
pub fn wipe_held(
    dir: Box<dyn Directory>,
    lock: Box<dyn Send + Sync>,
    rng: Box<dyn CryptoRng + Send>,
    besides: &mut dyn FnMut(&[u8]),
    outside: OutsideFile,
) -> Result<(), WipeError> {
    if is_empty(&*dir) {
        return Err(WipeError::Missing);
    }
    let random = Random::new(rng);
    let destroyed = match HeaderFile::open_to_destroy(&*dir) {
        Ok(header) => {
            let place = Place {
                header,
                random,
                dir,
                lock,
            };
            let (mode, area) = (place.header.current().mode, place.header.current().area);
            destroy(
                place,
                &mut || {
                    if mode != Mode::Passphrase {
                        besides(&area);
                    }
                },
                outside,
            )
        }
        Err(HeaderOpenFault::Io(e)) if e.kind() == io::ErrorKind::NotFound => {
            remove(&*dir, &random, outside)
        }
        // [SPEC 11.110]
        Err(_) => match HeaderFile::exists(&*dir) {
            // It was not even opened, as where there are no descriptors: all stays for the next try, which may learn what it names,
            // and overwrite what cannot be overwritten now.
            Err(e) if e.kind() != io::ErrorKind::PermissionDenied => {
                let _ = scrub_files(&*dir, &random);
                Err(e)
            }
            // Nobody can say which copy counts, nor what it names.
            _ => {
                let scrubbed = HeaderFile::scrub(&*dir, &random);
                besides(&[]);
                scrubbed.and(remove(&*dir, &random, outside))
            }
        },
    };
    destroyed.map_err(|e| WipeError::Io(e.kind()))
}

/// Whether any file of a vault is there, but for the lock and what lies outside. One that cannot be opened is.
pub fn is_there(dir: &dyn Directory) -> bool {
    names().any(|name| !is_absent(dir, name))
}

/// The mode of the vault in a directory, whoever has it open; nothing where no header can be read now.
pub fn mode_of(dir: &dyn Directory) -> Option<Mode> {
    let header = HeaderFile::open(dir).ok()?;
    Some(header.current().mode)
}

fn is_empty(dir: &dyn Directory) -> bool {
    !is_there(dir) && is_absent(dir, outside::NAME)
}

fn is_absent(dir: &dyn Directory, name: &str) -> bool {
    matches!(dir.open(name), Err(e) if e.kind() == io::ErrorKind::NotFound)
}

/// Replaces the header by one that no secret opens, and removes everything.
pub(super) fn destroy(
    mut place: Place,
    besides: &mut dyn FnMut(),
    outside: OutsideFile,
) -> io::Result<()> {
    // [SPEC 11.59]
    let old = place.header.current();
    let mut nothing = Header::new(&place.random, old.kdf);
    if old.mode != Mode::Passphrase {
        // What is done next takes it, also when this is cut off and done again.
        (nothing.mode, nothing.area) = (old.mode, old.area);
    }
    let replaced = place.header.replace(nothing, |_| {});
    // A step that fails does not keep the next ones from being done. What is elsewhere may take seconds: the keys go before.
    let _ = scrub_files(&*place.dir, &place.random);
    besides();
    if replaced.is_err() {
        // A copy of the old one may be left. What it names is done.
        let _ = HeaderFile::scrub(&*place.dir, &place.random);
    }
    let removed = remove(&*place.dir, &place.random, outside);
    match replaced {
        // What failed above was done once more.
        Ok(()) => removed,
        Err(ReplaceError::NotReplaced(e) | ReplaceError::OldRemains(e)) => Err(e),
    }
}

/// Overwrites the record keys, and removes all files, the header first.
fn remove(dir: &dyn Directory, random: &Random, outside: OutsideFile) -> io::Result<()> {
    let scrubbed = scrub_files(dir, random);
    let removed = names().map(|name| match dir.remove(name) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    });
    let removed = removed.fold(Ok(()), io::Result::and);
    scrubbed.and(removed).and(dir.sync())?;
    match outside {
        OutsideFile::Goes => outside::remove(dir),
        OutsideFile::Stays => Ok(()),
    }
}

/// All files that a vault's directory may hold.
pub fn file_names() -> impl Iterator<Item = &'static str> {
    names().chain([outside::NAME, LOCK_NAME])
}

/// The files of a vault, but for the lock and what lies outside.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let keys = keys::NAMES.into_iter();
    header::NAMES.into_iter().chain(keys).chain([RECORDS_NAME])
}
