//! `emptyroom vault recovery`: words on paper that open the vault, too.

use clap::{Args, Subcommand};
use emptyroom_node::api::{Answer, Call, Failure};
use serde_json::json;

use crate::room::{self, Room};

/// Words on paper that open the vault when the PIN is forgotten
///
/// They are entered where the PIN goes. docs/vault.md says what they protect from, and what not.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Recovery {
    #[command(subcommand)]
    what: Words,
}

#[derive(Subcommand)]
enum Words {
    /// Print twelve new words; earlier ones open the vault no longer
    ///
    /// They are shown once and kept nowhere: write them on paper. Whoever finds or is given the paper is in, also in every
    /// copy of the disk that is made from now on. The present PIN is always asked for, also when a daemon runs.
    New {},
    /// The words open the vault no longer; it does the same where there are none
    Remove {},
}

impl Recovery {
    pub(super) fn run(self, room: &Room) -> Result<(), Failure> {
        let on = matches!(self.what, Words::New {});
        let (session, secret) = room.open_with_pin_that_stays()?;
        let answer = session.call(Call::SetRecovery { secret, on })?;
        // Shown whatever comes: they count already.
        let shown = match &answer {
            Answer::Recovery { words } => {
                room::note(
                    room.out,
                    "write these words on paper, and keep it where nobody finds it; they are shown once",
                );
                let value = json!({ "words": words });
                room.out.result("recovery", &value, || Some(words.clone()))
            }
            _ => room.out.done(),
        };
        session.close()?;
        shown
    }
}
