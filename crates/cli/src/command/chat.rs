//! `emptyroom chat`: talking.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use emptyroom_node::api::Failure;

use crate::chat::idle::Idle;
use crate::chat::{full, plain};
use crate::room::{self, Room};
use crate::span::{self, Timer};

/// Talk: lines in, messages live
///
/// On a terminal the whole screen shows the conversation: states and timers run, and what burns is gone from the screen as
/// well. In a pipe every line of standard input is a message, and what arrives goes to standard output. Where nothing is typed
/// for the idle time, the conversation is closed, and with it the vault if no daemon has it open.
#[derive(Args)]
#[command(after_long_help = "\
In the conversation (on a terminal):
  /burn TIME TEXT     send a message with a timer of its own
  /timer TIME         set the conversation's timer; off, read or a time
  /delete NUMBER      delete a message here
  /quit               or Ctrl-D: leave
  //TEXT              a message that begins with a slash

Examples:
  emptyroom chat bob
  printf 'on my way\\n' | emptyroom chat bob")]
pub(crate) struct Chat {
    /// The contact
    name: String,
    /// Close it after so long without a key or a line; `off` for never
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = span::idle)]
    idle: Timer,
}

impl Chat {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        let session = room.open()?;
        room::contact(&session, &self.name)?;
        let whole_screen =
            !room.out.json && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let idle = Idle::after(self.idle.0.map(Duration::from_secs));
        let outcome = if whole_screen {
            full::run(&session, &self.name, idle)
        } else {
            plain::run(&session, &self.name, room.out, idle)
        };
        match outcome {
            Ok(()) => room.leave(session),
            Err(failure) => {
                // The first failure is what is told.
                let _ = session.close();
                Err(failure)
            }
        }
    }
}
