//! `emptyroom guard`: kill code and dead-man time of a vault that is locked.

use clap::Args;
use emptyroom_node::api::Failure;
use emptyroom_node::{GuardNews, Guarded};
use serde_json::json;

use crate::room::Room;
use crate::{terminal, words};

/// Watch the kill code and the dead-man time while the vault is locked
///
/// It needs no PIN and holds nothing of the vault. It stays in the foreground until the vault is destroyed, which ends it with
/// exit code 5, or SIGTERM comes. While a daemon or a command has the vault open, that one watches, and the guard waits. What is set later is
/// watched, too, within a minute.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom guard &      for as long as the machine runs; better as a service of your session")]
pub(crate) struct Guard {}

impl Guard {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        let ready = |guarded: Guarded| {
            let Guarded {
                killcode,
                deadman,
                tpm_away,
            } = guarded;
            if let Some(why) = tpm_away {
                let text = format!(
                    "{why}: an order or the dead-man time would leave the vault's key there, and a copy of the disk would open with it and the PIN; see to that, then start the guard again"
                );
                room.out.warn("tpm_away", &text);
            }
            let value = json!({ "killcode": killcode, "deadman": deadman });
            room.out.result("guarding", &value, || {
                let what = match (killcode, deadman) {
                    (true, true) => "kill code and dead-man time",
                    (true, false) => "kill code",
                    (false, true) => "dead-man time",
                    (false, false) => "nothing is set yet",
                };
                Some(format!("watching: {what}"))
            })
        };
        emptyroom_node::guard(&room.home, ready, |news| match news {
            GuardNews::Deadman(deadman) => room.warn_of(Some(deadman)),
            GuardNews::SwitchGone(relay) => {
                let text = words::switch_gone(&terminal::line(&relay));
                room.out.warn("switch_gone", &text);
            }
            GuardNews::SwitchFilled(relay) => {
                let text = words::switch_filled(&terminal::line(&relay));
                room.out.warn("switch_filled", &text);
            }
            GuardNews::Failed(failure) => room.out.warn(&failure.error, &failure.text),
        })
    }
}
