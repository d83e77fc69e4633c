//! `emptyroom-relay completions`: the shell's completion script.

use std::io;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Failure;

/// Print a completion script for a shell, made from the same definitions as this help.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  emptyroom-relay completions bash > /etc/bash_completion.d/emptyroom-relay"
)]
pub(super) struct Arguments {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut command = super::Arguments::command();
    clap_complete::generate(
        arguments.shell,
        &mut command,
        "emptyroom-relay",
        &mut io::stdout().lock(),
    );
    Ok(())
}
