//! What says in a data directory that its rows are on the move: files that `serve` looks for.

use std::path::Path;

use zeroize::Zeroizing;

use super::MediumError;
use crate::data::{DataDir, DataError, open_failure, read_small, sync_directory, write_private};

/// Rows come: the hash of the file that they come from.
const COMING: &str = "importing";
/// They went.
const GONE: &str = "exported";

/// Whether the directory may be served, as far as it knows: rows that come from the file with this hash may all be there.
// [SPEC 6.213]
pub(super) fn check(data: &DataDir) -> Result<Option<Zeroizing<Vec<u8>>>, MediumError> {
    const LOOKING: &str = "looking for what is on the move";
    let gone = data.join(GONE).try_exists();
    if gone.map_err(|e| MediumError::Store(open_failure(&e, LOOKING)))? {
        return Err(MediumError::Exported);
    }
    coming(data).map_err(|e| MediumError::Store(e.failure(LOOKING)))
}

/// Whether a data directory has one of them. What cannot be looked at is not absent.
pub(crate) fn is_there(data: &Path) -> Result<bool, DataError> {
    let at = |name| {
        let path = data.join(name);
        let there = path.try_exists();
        there.map_err(|e| DataError::io("look for", &path, e))
    };
    Ok(at(COMING)? || at(GONE)?)
}

/// The file whose rows are coming, if they are.
pub(crate) fn coming(data: &DataDir) -> Result<Option<Zeroizing<Vec<u8>>>, DataError> {
    read_small(&data.join(COMING))
}

/// Rows come from the file with this hash.
pub(crate) fn come(data: &DataDir, hash: &[u8; 32]) -> Result<(), DataError> {
    write_private(&data.join(COMING), hash)
}

/// All of them are there.
pub(crate) fn came(data: &DataDir) -> Result<(), DataError> {
    remove(data, COMING)
}

/// Rows go.
pub(crate) fn go(data: &DataDir) -> Result<(), DataError> {
    write_private(&data.join(GONE), b"")
}

/// They did not.
pub(crate) fn stay(data: &DataDir) -> Result<(), DataError> {
    remove(data, GONE)
}

fn remove(data: &DataDir, name: &str) -> Result<(), DataError> {
    let path = data.join(name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(DataError::io("remove", &path, error))
        }
        _ => sync_directory(&path),
    }
}
