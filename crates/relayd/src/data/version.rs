//! Which version of its layout a data directory has, so that a program never writes into what it does not understand.
//!
//! The number is raised when something in the directory changes that an older program would misread. Each step from one
//! number to the next stands here, and leaves a directory that is whole whenever it is cut off.

use std::path::Path;

use super::{DataDir, DataError, read_small, write_private};
use crate::log::{Event, log};

const FILE: &str = "version";
/// What this program writes.
pub(crate) const CURRENT: u32 = 1;
/// Directories from before there was a number.
const UNNUMBERED: u32 = 0;

/// Brings a directory to [`CURRENT`], step by step.
// [SPEC 6.131]
pub(super) fn bring_up(data: &DataDir) -> Result<(), DataError> {
    let found = check(&data.path)?;
    if found == CURRENT {
        return Ok(());
    }
    // From 0 to 1 only the number itself is new. Later steps go here, each before the number that says it was done.
    write_private(&data.join(FILE), format!("{CURRENT}\n").as_bytes())?;
    if is_used(data) {
        log(&Event::Migrated(found, CURRENT));
    }
    Ok(())
}

/// The version of a directory; nothing is changed.
pub(super) fn check(directory: &Path) -> Result<u32, DataError> {
    let found = read(directory)?;
    if found > CURRENT {
        return Err(DataError::Newer { found });
    }
    Ok(found)
}

fn read(directory: &Path) -> Result<u32, DataError> {
    let path = directory.join(FILE);
    let Some(bytes) = read_small(&path)? else {
        return Ok(UNNUMBERED);
    };
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    text.trim_ascii()
        .parse::<u32>()
        .ok()
        .filter(|number| *number > UNNUMBERED)
        .ok_or(DataError::Damaged {
            path,
            what: "it holds no version",
        })
}

/// A relay ran on it before.
fn is_used(data: &DataDir) -> bool {
    data.join(super::identity::FILE).exists()
}
