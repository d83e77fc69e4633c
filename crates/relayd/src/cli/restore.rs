//! `emptyroom-relay restore`: a relay from a backup.

use std::path::PathBuf;

use super::{Exit, Failure};
use crate::clock;
use crate::console;
use crate::data::DataDir;
use crate::data::backup::{Manifest, is_taken};

/// Make a data directory from a backup.
///
/// The relay that starts on it is the same for its users. Conversations of which the backup has an older state go on by
/// themselves, and say so. Of a backup without entries the relay knows none: each needs a new link.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  emptyroom-relay restore --from ./relay-backup --data /var/lib/emptyroom-relay

Never run two relays from one backup: their users would see two histories.")]
pub(super) struct Arguments {
    /// The backup.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The new data directory: not there yet, or empty.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Leave the backup's entries out.
    #[arg(long)]
    without_entries: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let manifest = Manifest::load(&arguments.from)?;
    let entries = manifest.entries_until_s.is_some() && !arguments.without_entries;
    let now_s = clock::wall().0 / 1_000;
    // [SPEC 6.133]
    if entries && manifest.entries_until_s.is_some_and(|until| until < now_s) {
        return Err(Failure::new(
            Exit::Data,
            "the entries of this backup are no longer to be restored",
        )
        .hint("add --without-entries, and destroy the backup afterwards"));
    }
    manifest.check(&arguments.from, entries)?;
    // [SPEC 6.134] [SPEC 6.136]
    drop(DataDir::look(&arguments.data)?);
    if is_taken(&arguments.data) {
        return Err(Failure::new(
            Exit::Data,
            "there is a relay in this data directory already",
        )
        .hint("move it away, or give another directory; nothing was changed"));
    }
    let data = DataDir::take(&arguments.data)?;
    manifest.restore(&arguments.from, &data, entries)?;
    let what = if entries {
        "with its entries"
    } else {
        "without entries"
    };
    console::result(&format!("{}: restored {what}", arguments.data.display()))?;
    Ok(())
}
