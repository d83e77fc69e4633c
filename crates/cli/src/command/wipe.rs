//! `emptyroom wipe`: destroying a vault from anywhere, and showing that destroying works.

use std::time::Duration;

use clap::Args;
use emptyroom_node::api::{Answer, Call, DrillStep, Failure};
use serde_json::json;

use super::{killcode, status};
use crate::room::{self, Room};
use crate::{secret, span};

/// Destroy a vault from anywhere, by its kill code
///
/// Needs no account and no vault here. The order goes to the relay that the code names; the device carries it out as soon as it
/// reads it, and says so, for which this waits. `emptyroom killcode receipts` tells later. Giving it again does no harm.
///
/// With --drill nothing is ordered: a vault with 200 marked messages is made in the home, beside the real one, destroyed by a
/// panic PIN, and its files are searched with everything that its owner knew: no key and no message may be left. Then the same
/// without a PIN, and, while it is open, as `panic` does and as an order and the dead-man time do. The real vault is not touched.
/// `status` shows when it was done last, and how it ended.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom wipe -                           asks for the code, or reads it from standard input
  emptyroom wipe - --at relay.example:443/abc…    a code in words needs the address beside it
  emptyroom wipe --drill           once a month, and after every change of the machine
  emptyroom wipe --drill --json    ends with exit code 1 where destroying does not work")]
pub(crate) struct Wipe {
    /// The kill code, as text or as words; from standard input, or asked for, for `-`
    #[arg(value_name = "CODE", conflicts_with = "drill")]
    code: Vec<String>,
    /// The relay's address, which belongs to words
    #[arg(long, value_name = "ADDRESS", conflicts_with = "drill")]
    at: Option<String>,
    /// How long the order holds, for a device that is off
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = span::whole_days, conflicts_with = "drill")]
    valid: u32,
    /// How long to wait for the device's receipt
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = span::seconds, conflicts_with = "drill")]
    wait: u64,
    /// Destroy nothing but a throw-away vault; takes the PIN
    #[arg(long)]
    drill: bool,
}

impl Wipe {
    /// An order goes from anywhere.
    // [SPEC 12.43]
    pub(crate) fn needs_home(&self) -> bool {
        self.drill
    }

    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        if self.drill {
            return drill(room);
        }
        room::note(
            room.out,
            "this orders the vault of a kill code to be destroyed, which cannot be taken back",
        );
        let code = secret::kill_code(&self.code, room.out)?;
        let valid = Duration::from_secs(u64::from(self.valid) * 86_400);
        let wait = Duration::from_secs(self.wait);
        let wiped = emptyroom_node::wipe(&code, self.at.as_deref(), valid, wait)?;
        killcode::warn(room.out, wiped);
        let value = killcode::value(wiped);
        // [SPEC 12.43]
        room.out.result("wiped", &value, || {
            let until = wiped.until.map(span::local).unwrap_or_default();
            Some(format!(
                "the order is at the relay, and holds until {until}\n{}",
                killcode::text(wiped)
            ))
        })
    }
}

fn drill(room: &Room) -> Result<(), Failure> {
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
        "panic_pin" | "copy_after_panic_pin" => "by a panic PIN",
        "without_pin" | "copy_after_wipe" => "without a PIN",
        "open_panic" => "by `panic` while it was open",
        "open_order" => "by an order while it was open",
        other => other,
    };
    if step.records == 0 {
        return format!(
            "destroyed {way} in {} ms, in the mode of this vault; whoever copied the disk before asks in vain, with the right PIN",
            step.destroyed_ms
        );
    }
    format!(
        "destroyed {way} in {} ms; of {} messages {} were found",
        step.destroyed_ms, step.records, step.found
    )
}
