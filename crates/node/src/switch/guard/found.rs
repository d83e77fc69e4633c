//! What a guard finds of a vault that is locked.

use std::io;
use std::path::Path;

use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{is_there, mode_of};

use crate::factors;
use crate::outside::Outside;
use crate::switch::{Ordered, Untold};

/// Why the key that the vault has in the TPM could not be destroyed now, if it has one.
// [SPEC 12.61]
pub(super) fn tpm_away(home: &Path) -> Option<String> {
    mode_of(&OsDirectory::at(home)).filter(|mode| mode.asks_tpm())?;
    Some(factors::tpm_away()?.text)
}

/// Whether there is neither a vault nor an order that is to be carried out.
pub(super) fn is_over(home: &Path, outside: &Outside) -> bool {
    *outside == Outside::default() && !is_there(&OsDirectory::at(home))
}

/// Whether something is to be carried out, or to be told.
pub(super) fn is_noted(outside: &Outside) -> bool {
    Ordered::left(outside).is_some() || Untold::left(outside).is_some()
}

/// What lies outside. What cannot be read is as if there was nothing.
pub(super) fn read(home: &Path) -> Outside {
    readable(home).unwrap_or_default()
}

pub(super) fn readable(home: &Path) -> io::Result<Outside> {
    let outside = Outside::read(&OsDirectory::at(home))?;
    Ok(outside.unwrap_or_default())
}
