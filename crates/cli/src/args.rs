//! The command line: what can be typed. `--help`, completions and man pages come from here and from nowhere else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::command;

/// The widest that help is.
const WIDTH: usize = 100;

/// Two people having a conversation in an empty room.
///
/// Emptyroom sends end-to-end encrypted messages that destroy themselves, through a relay that knows neither who talks
/// nor what is said. Start with `emptyroom init`, then `invite` somebody, or `join` with a link that you were given.
#[derive(Parser)]
#[command(
    name = "emptyroom",
    version,
    max_term_width = WIDTH,
    disable_help_subcommand = true,
    after_long_help = "\
Examples:
  emptyroom init --relay -            make a vault; the relay's address is asked for
  emptyroom invite bob                print a link for bob, to be given to him in private
  emptyroom join --as alice           take alice's link; the link is asked for
  emptyroom send alice                type a message and send it
  emptyroom chat alice                talk

Exit codes:
  0  done; for `send`: the relay has the message
  1  a fault of this program or machine
  2  wrong use
  3  kept, and tried again with the next command or by the daemon
  4  refused
  5  the vault: wrong PIN, missing, damaged, locked, in use, full, destroyed

Only the result goes to standard output; all else goes to standard error. With --json both are JSON, one object per line."
)]
pub(crate) struct Arguments {
    /// What holds for every command.
    #[command(flatten)]
    pub(crate) common: Common,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Args)]
#[command(next_help_heading = "Options for every command")]
pub(crate) struct Common {
    /// Where the vault is
    ///
    /// Without it: $EMPTYROOM_HOME, else emptyroom in $XDG_DATA_HOME, else ~/.local/share/emptyroom.
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) home: Option<PathBuf>,
    /// Print JSON, one object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Read the PIN or passphrase from the first line of a file
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "pin_fd", value_hint = clap::ValueHint::FilePath)]
    pub(crate) pin_file: Option<PathBuf>,
    /// Read the PIN or passphrase from the first line of an open file descriptor
    #[arg(long, global = true, value_name = "N")]
    pub(crate) pin_fd: Option<i32>,
}

/// The commands, one file each.
#[derive(Subcommand)]
pub(crate) enum Command {
    Init(command::init::Init),
    Invite(command::invite::Invite),
    Invites(command::invites::Invites),
    Join(command::join::Join),
    Contacts(command::contacts::Contacts),
    Rename(command::rename::Rename),
    Forget(command::forget::Forget),
    Send(command::send::Send),
    Receive(command::receive::Receive),
    History(command::history::History),
    Delete(command::delete::Delete),
    Chat(command::chat::Chat),
    Timer(command::timer::TimerCommand),
    Receipts(command::receipts::Receipts),
    Verify(command::verify::Verify),
    Block(command::block::Block),
    AllowRestart(command::allow_restart::AllowRestart),
    Status(command::status::Status),
    Relay(command::relay::Relay),
    Lock(command::lock::Lock),
    Pin(command::pin::Pin),
    Vault(command::vault::Vault),
    Panic(command::panic::Panic),
    Wipe(command::wipe::Wipe),
    Killcode(command::killcode::Killcode),
    Deadman(command::deadman::Deadman),
    Guard(command::guard::Guard),
    Daemon(command::daemon::Daemon),
    #[command(hide = true)]
    Desktop(command::desktop::Desktop),
    Completions(command::completions::Completions),
    Man(command::man::Man),
}

impl Command {
    /// Whether there has to be a home.
    pub(crate) fn needs_home(&self) -> bool {
        match self {
            Self::Wipe(wipe) => wipe.needs_home(),
            Self::Killcode(killcode) => killcode.needs_home(),
            Self::Desktop(_) => false,
            _ => true,
        }
    }

    /// Whether it may open a vault.
    pub(crate) fn opens(&self) -> bool {
        match self {
            Self::Completions(_) | Self::Man(_) | Self::Desktop(_) => false,
            Self::Guard(_) | Self::Lock(_) => false,
            _ => self.needs_home(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// One that is broken is none to be copied.
    #[test]
    fn every_example_has_place_in_its_line() {
        let mut commands = vec![Arguments::command()];
        while let Some(command) = commands.pop() {
            let help = command.get_after_long_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            for line in help.lines().filter(|line| line.starts_with(' ')) {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }
}
