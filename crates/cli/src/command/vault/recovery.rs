//! `emptyroom vault recovery`: words on paper that open the vault, too.

use clap::{Args, Subcommand};
use emptyroom_node::Session;
use emptyroom_node::api::{Answer, Call, Exit, Failure, ModeName, SecretText};
use serde_json::json;

use super::changed;
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
    Remove {
        /// Also where nothing else opens the vault when the TPM is gone
        #[arg(long)]
        yes: bool,
    },
}

impl Recovery {
    pub(super) fn run(self, room: &Room) -> Result<(), Failure> {
        let (session, secret) = room.open_with_pin_that_stays()?;
        match self.what {
            Words::New {} => new(room, &session, secret)?,
            Words::Remove { yes } => {
                if !yes {
                    expect_passphrase(&session)?;
                }
                session.call(Call::SetRecovery {
                    secret,
                    words: None,
                })?;
                room.out.done()?;
            }
        }
        changed(session, room.out);
        Ok(())
    }
}

/// Shown before they count: whatever cuts this off, somebody has what opens the vault.
// [SPEC 11.47]
fn new(room: &Room, session: &Session, secret: SecretText) -> Result<(), Failure> {
    let words = emptyroom_node::new_recovery_words()?;
    room::note(
        room.out,
        "write these words on paper, and keep it where nobody finds it; they are shown once, and count when this command ends without an error",
    );
    let value = json!({ "words": words.expose() });
    room.out
        .result("recovery", &value, || Some(words.expose().to_owned()))?;
    let words = Some(words);
    let set = session.call(Call::SetRecovery { secret, words });
    set.map(drop).map_err(|failure| {
        let text = format!("{}; the words that were shown may not count", failure.text);
        Failure { text, ..failure }
    })
}

/// In a mode with factors the words are what opens the vault when those are gone.
// [SPEC 12.50]
fn expect_passphrase(session: &Session) -> Result<(), Failure> {
    match session.call(Call::VaultMode { relays: Vec::new() })? {
        Answer::VaultMode {
            mode: ModeName::Passphrase,
            ..
        } => Ok(()),
        Answer::VaultMode { .. } => Err(Failure::new(
            Exit::Usage,
            "no_recovery",
            "without recovery words nothing opens this vault when what it needs besides the PIN is gone",
        )
        .hint("give --yes, or choose `emptyroom vault mode passphrase` first; `vault recovery new` replaces the words")),
        _ => Err(room::unexpected()),
    }
}
