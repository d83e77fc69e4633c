//! The address line of the last start, so that an operator can ask for it while the relay runs.

use std::path::Path;

use emptyroom_wire::address::RelayAddress;
use zeroize::Zeroizing;

use super::{DataDir, DataError, read_small, write_private};

const FILE: &str = "address";

/// Stores the line, with its access code. Writes nothing if it is there already, so that a relay starts on a
/// full disk.
///
/// # Errors
/// The file cannot be written.
pub fn store(data: &DataDir, address: &RelayAddress) -> Result<(), DataError> {
    let mut line = Zeroizing::new(address.with_code());
    line.push('\n');
    let path = data.join(FILE);
    if read_small(&path)?.is_some_and(|old| *old == line.as_bytes()) {
        return Ok(());
    }
    write_private(&path, line.as_bytes())
}

/// Reads the line of a data directory that may be in use.
///
/// # Errors
/// No relay was ever started on it, or the file cannot be read.
pub fn load(directory: &Path) -> Result<RelayAddress, DataError> {
    let path = directory.join(FILE);
    let line = read_small(&path)?.ok_or(DataError::NeverServed)?;
    std::str::from_utf8(&line)
        .ok()
        .and_then(|line| RelayAddress::parse(line).ok())
        .ok_or(DataError::Damaged {
            path,
            what: "it holds no address",
        })
}
