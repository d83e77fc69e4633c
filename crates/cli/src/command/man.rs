//! `emptyroom man`: man pages, from the same definitions as the help.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use emptyroom_node::api::Failure;

use crate::args::Arguments;
use crate::out::Out;
use crate::{failure, platform};

/// Write man pages
///
/// One page for the program and one for each command.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom man ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// The directory to write them to; it is made if needed
    #[arg(value_hint = clap::ValueHint::DirPath)]
    directory: PathBuf,
}

impl Man {
    pub(crate) fn run(self, out: Out) -> Result<(), Failure> {
        platform::make_public_files();
        std::fs::create_dir_all(&self.directory)
            .map_err(|e| failure::io("the directory for man pages", &e))?;
        clap_mangen::generate_to(Arguments::command(), &self.directory)
            .map_err(|e| failure::io("man pages", &e))?;
        out.done()
    }
}
