//! `emptyroom completions`: for shells, from the same definitions as the help.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use emptyroom_node::api::Failure;

use crate::args::Arguments;

/// Print completions for a shell
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom completions bash > ~/.local/share/bash-completion/completions/emptyroom
  emptyroom completions zsh > ~/.zfunc/_emptyroom
  emptyroom completions fish > ~/.config/fish/completions/emptyroom.fish")]
pub(crate) struct Completions {
    /// Which shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut text = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut Arguments::command(),
            "emptyroom",
            &mut text,
        );
        std::io::Write::write_all(&mut std::io::stdout().lock(), &text)
            .map_err(|e| crate::failure::io("standard output", &e))
    }
}
