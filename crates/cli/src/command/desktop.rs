//! `emptyroom desktop`: a process that listens to the desktop for one that has the vault open, and is begun by it.

use std::process::Command;

use clap::Args;

use crate::platform;

/// What D-Bus is reached by where it is not at its usual place, and what the sandbox goes by.
const VARIABLES: [&str; 3] = ["DBUS_SYSTEM_BUS_ADDRESS", "EMPTYROOM_SANDBOX", "HOME"];

/// Tell a program that has the vault open when to lock it
///
/// Begun by that program, for as long as it has a vault open. It holds nothing secret: it listens to logind and writes what it hears.
#[derive(Args)]
pub(crate) struct Desktop {}

impl Desktop {
    pub(crate) fn run(self) {
        emptyroom_desktop::listen();
    }
}

/// Begins it, before this process gives up beginning any. Without one the vault is locked after a suspend only.
// [SPEC 11.91, 11.130]
pub(crate) fn begin() -> Option<emptyroom_node::Desktop> {
    let mut command = Command::new(std::env::current_exe().ok()?);
    let variables = VARIABLES.map(|name| Some((name, std::env::var_os(name)?)));
    command
        .arg("desktop")
        .env_clear()
        .envs(variables.into_iter().flatten());
    platform::stands_alone(&mut command);
    emptyroom_node::Desktop::begin(&mut command).ok()
}
