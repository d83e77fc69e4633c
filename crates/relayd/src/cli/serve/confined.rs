//! What a relay that serves may still do: write its data directory, and read what its user may.

use std::path::Path;

use emptyroom_sandbox::{Allowed, InForce, Reads, confine};

use super::settings::Settings;
use crate::cli::Failure;
use crate::data::make_directory;
use crate::log::{Event, log};
use crate::server::Server;

/// Confines the process, before it has threads, listens or reads anything of others.
// [SPEC 11.94]
pub(super) fn begin(settings: &Settings) -> Result<(), Failure> {
    Server::check(&settings.options)?;
    // What is not there cannot be allowed.
    make_directory(&settings.options.data)?;
    let reached = confine(&allowed(&settings.options.data));
    if reached != InForce::Full {
        log(&Event::NotConfined(reached));
    }
    Ok(())
}

fn allowed(data: &Path) -> Allowed {
    Allowed {
        written: vec![data.to_owned()],
        // Configuration, certificates and passwords lie anywhere, and are put anew by whoever administers the machine.
        read: Reads::All,
        serves: true,
    }
}
