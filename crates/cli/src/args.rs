//! The command line: what can be typed. `--help`, completions and man pages come from here and from nowhere else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::command;

/// Two people having a conversation in an empty room.
///
/// Emptyroom sends end-to-end encrypted messages that destroy themselves, through a relay that knows neither who talks
/// nor what is said. Start with `emptyroom init`, then `invite` somebody, or `join` with a link that you were given.
#[derive(Parser)]
#[command(
    name = "emptyroom",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_long_help = "\
Examples:
  emptyroom init --relay -            make a vault; the relay's address is asked for
  emptyroom invite bob                print a link for bob, to be given to him in private
  emptyroom join --as alice           take alice's link; the link is asked for
  emptyroom send alice \"I am there\"   send a message
  emptyroom chat alice                talk

Exit codes:
  0  done; for `send`: the relay has the message
  1  a fault of this program or machine
  2  wrong use
  3  kept, and tried again with the next command or by the daemon
  4  refused
  5  the vault: wrong PIN, missing, damaged, locked, in use, full

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
    /// Make a new vault and account
    Init(command::init::Init),
    /// Print a link for one person
    Invite(command::invite::Invite),
    /// List the open invites, or cancel one
    Invites(command::invites::Invites),
    /// Take a link that somebody gave you
    Join(command::join::Join),
    /// List the people you can talk to
    Contacts(command::contacts::Contacts),
    /// Call a contact something else
    Rename(command::rename::Rename),
    /// Delete a contact and the whole conversation
    Forget(command::forget::Forget),
    /// Send a message
    Send(command::send::Send),
    /// Print the messages that have arrived
    Receive(command::receive::Receive),
    /// Print a conversation
    History(command::history::History),
    /// Delete one message here
    Delete(command::delete::Delete),
    /// Talk: lines in, messages live
    Chat(command::chat::Chat),
    /// Set how long the messages of a conversation live
    Timer(command::timer::TimerCommand),
    /// Turn the receipts of a conversation on or off
    Receipts(command::receipts::Receipts),
    /// Compare keys with a contact
    Verify(command::verify::Verify),
    /// Read and send nothing for a contact
    Block(command::block::Block),
    /// Let a conversation be restarted once more
    AllowRestart(command::allow_restart::AllowRestart),
    /// Show vault, relays and what is waiting
    Status(command::status::Status),
    /// Show or set the relay for new invites
    Relay(command::relay::Relay),
    /// Lock the vault of a running daemon
    Lock(command::lock::Lock),
    /// Change the PIN or passphrase
    Pin(command::pin::Pin),
    /// Keep the vault open and connected, and serve the other commands
    Daemon(command::daemon::Daemon),
    /// Print completions for a shell
    Completions(command::completions::Completions),
    /// Write man pages
    Man(command::man::Man),
}
