//! `emptyroom completions`: for shells, from the same definitions as the help.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use emptyroom_node::api::Failure;

use crate::args::Arguments;
use crate::failure;
use crate::out::Out;

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
    pub(crate) fn run(self, out: Out) -> Result<(), Failure> {
        // [SPEC 12.2]
        if out.json {
            return Err(failure::usage(
                "completions are no JSON",
                "leave --json out",
            ));
        }
        let mut text = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut Arguments::command(),
            "emptyroom",
            &mut text,
        );
        std::io::Write::write_all(&mut std::io::stdout().lock(), &text)
            .map_err(|e| failure::io("standard output", &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 12.2]
    #[test]
    fn nothing_but_json_is_printed_where_json_was_asked_for() {
        let refused = Completions { shell: Shell::Bash }.run(Out { json: true });
        assert!(refused.is_err_and(|failure| failure.error == "usage"));
    }
}
