//! `emptyroom vault`: what besides the PIN opens the vault, and words on paper that do, too.

mod mode;
mod recovery;

use std::path::Path;

use clap::{Args, Subcommand};
use emptyroom_node::api::Failure;

pub(crate) use mode::{ModeArgument, changed, check_ready, name};

use crate::room::Room;

/// What opens the vault, besides the PIN and in its place
#[derive(Args)]
#[command(
    arg_required_else_help = true,
    after_long_help = "\
Examples:
  emptyroom vault mode               what protects this vault, and what could
  emptyroom vault mode tpm           a copied disk is worthless without this machine
  emptyroom vault recovery new       twelve words that open this vault, too
  emptyroom vault recovery remove    the words open it no longer"
)]
pub(crate) struct Vault {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Mode(mode::Mode),
    Recovery(recovery::Recovery),
}

impl Vault {
    /// The file that relays are read from.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.what {
            What::Mode(command) => command.file(),
            What::Recovery(_) => None,
        }
    }

    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        match self.what {
            What::Mode(command) => command.run(room),
            What::Recovery(command) => command.run(room),
        }
    }
}
