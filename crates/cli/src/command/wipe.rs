//! `emptyroom wipe --drill`: showing that destroying works.

use clap::Args;
use emptyroom_node::api::{Answer, Call, DrillStep, Failure};
use serde_json::json;

use super::status;
use crate::room::{self, Room};

/// Try out, on a throw-away vault, whether destroying works here
///
/// Makes a vault with 200 marked messages in the home, beside the real one, destroys it as `panic` and a panic PIN do, and
/// searches its files with everything that its owner knew: no key and no message may be left. Then the same without a PIN.
/// (`panic` on an open vault and the dead-man time go one of these two ways.) The real vault is not touched. `status` shows when it was done last, and how it ended.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom wipe --drill           once a month, and after every change of the machine
  emptyroom wipe --drill --json    ends with exit code 1 where destroying does not work")]
pub(crate) struct Wipe {
    /// Destroy nothing but a throw-away vault
    #[arg(long, required = true)]
    drill: bool,
}

impl Wipe {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        let Self { drill: _ } = self;
        let session = room.open()?;
        room::note(
            room.out,
            "destroying throw-away vaults and searching for them",
        );
        let storage = room::status(&session).map(|status| status::storage(&status.vault));
        let drilled = session.call(Call::Drill {});
        // A drill that failed is the news, whatever closing says.
        let closed = session.close();
        let Answer::Drill { steps } = drilled? else {
            return Err(room::unexpected());
        };
        closed?;
        let storage = storage?;
        let value = json!({ "passed": true, "steps": &steps });
        room.out
            .result("drill", &value, || Some(text(&steps, storage)))
    }
}

fn text(steps: &[DrillStep], storage: &str) -> String {
    let mut lines: Vec<String> = steps.iter().map(line).collect();
    // [SPEC 11.92]
    lines.push(format!(
        "passed: by the files as they are nothing of it opens. What the storage below keeps no drill can see: {storage}"
    ));
    lines.join("\n")
}

fn line(step: &DrillStep) -> String {
    let way = match step.way.as_str() {
        "panic_pin" => "by a panic PIN",
        "without_pin" => "without a PIN",
        other => other,
    };
    format!(
        "destroyed {way} in {} ms; of {} messages {} were found",
        step.destroyed_ms, step.records, step.found
    )
}
