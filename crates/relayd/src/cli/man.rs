//! `emptyroom-relay man`: man pages.

use std::io;
use std::path::PathBuf;

use clap::CommandFactory;

use super::Failure;

/// Print the man page, or write all pages into a directory.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  emptyroom-relay man | man -l -\n  emptyroom-relay man --dir /usr/local/share/man/man1"
)]
pub(super) struct Arguments {
    /// Write a page for every command into this directory instead.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let command = super::Arguments::command();
    match &arguments.dir {
        Some(dir) => clap_mangen::generate_to(command, dir)?,
        None => clap_mangen::Man::new(command).render(&mut io::stdout().lock())?,
    }
    Ok(())
}
