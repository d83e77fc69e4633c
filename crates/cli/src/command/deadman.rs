//! `emptyroom deadman`: the vault destroys itself when nobody opens it.

use clap::{Args, Subcommand};
use emptyroom_node::Session;
use emptyroom_node::api::{Call, DeadmanInfo, Failure};
use serde_json::json;

use crate::command::panic::LEGAL_HOLD;
use crate::room::{self, Room};
use crate::span::{self, Days};

const WHEN: &str = "a vault whose time has passed is destroyed when this program has seen it unopened for a day more: a daemon that has it open sees it, \
     and every start of this program; a machine that is off, or on which nobody starts it, destroys nothing";

const UNSURE: &str = "none that shows without the PIN: `emptyroom status` tells whether one is set";

/// Let the vault destroy itself when it is not opened for so many days
///
/// Every opening with the PIN begins the time anew, also that of a daemon. When it has passed, every command says so, and the
/// PIN still opens the vault; when this program has seen it unopened for a day more, or for all of the time, it is destroyed.
/// Without TIME it is shown, for which no PIN is needed. The present PIN is asked for to change it, also when a daemon runs.
/// docs/vault.md says what this protects from, and what not.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "\
Examples:
  emptyroom deadman                 show it
  emptyroom deadman 14d             from 1d to 365d; the time begins now
  emptyroom deadman suspend 30d     before a journey: 30 days from now, until the next opening
  emptyroom deadman off"
)]
pub(crate) struct Deadman {
    /// A time in whole days, from 1d to 365d, or `off`
    #[arg(value_name = "TIME", value_parser = span::days)]
    time: Option<Days>,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    Suspend(Suspend),
}

/// Give it more time, once
///
/// So much is left from now on, if that is more than the time itself. The next opening ends it, so this is the last thing to
/// do before a journey.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom deadman suspend 30d")]
struct Suspend {
    /// A time in whole days, from 1d to 90d
    #[arg(value_name = "TIME", value_parser = span::whole_days)]
    time: u32,
}

impl Deadman {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        match (self.what, self.time) {
            (Some(What::Suspend(Suspend { time })), _) => {
                let (session, secret) = room.open_with_pin_that_stays()?;
                session.call(Call::SuspendDeadman { secret, days: time })?;
                room.warn_of_leases(&session, true);
                session.close()?;
            }
            (None, Some(Days(days))) => {
                if days.is_some() {
                    // [SPEC 12.41]
                    room.out.warn("legal_hold", LEGAL_HOLD);
                    room::note(room.out, WHEN);
                }
                let (session, secret) = room.open_with_pin_that_stays()?;
                session.call(Call::SetDeadman { secret, days })?;
                room.warn_of_leases(&session, days.is_some());
                session.close()?;
            }
            (None, None) => return show(room),
        }
        told(room, Session::deadman(&room.home)?.as_ref(), true)
    }
}

/// Only whoever has the vault open knows for sure that no time is set.
// [SPEC 12.46]
fn show(room: &Room) -> Result<(), Failure> {
    if let Some(session) = Session::of_daemon(&room.home)? {
        let status = room::status(&session)?;
        return told(room, status.vault.deadman.as_ref(), true);
    }
    room.expect_vault()?;
    let shown = Session::deadman(&room.home)?;
    told(room, shown.as_ref(), shown.is_some())
}

fn told(room: &Room, deadman: Option<&DeadmanInfo>, sure: bool) -> Result<(), Failure> {
    let value = json!({
        "days": deadman.map(|deadman| deadman.days),
        "counted_s": deadman.map(|deadman| deadman.counted_s),
        "left_s": deadman.map(|deadman| deadman.left_s),
        "destroyed_after_s": deadman.map(|deadman| deadman.destroyed_after_s),
        "suspended": deadman.is_some_and(|deadman| deadman.suspended),
        "synchronised": deadman.map(|deadman| deadman.synchronised),
        "sure": sure,
    });
    room.out.result("deadman", &value, || {
        Some(match (deadman, sure) {
            (None, false) => UNSURE.to_owned(),
            _ => text(deadman),
        })
    })
}

/// What is set, and what is left of it.
pub(super) fn text(deadman: Option<&DeadmanInfo>) -> String {
    let Some(deadman) = deadman else {
        return "off".to_owned();
    };
    let suspended = if deadman.suspended { ", suspended" } else { "" };
    let left = match deadman.left_s {
        0 => format!(
            "passed: {} were counted. The PIN still opens the vault and sets the time back; it is destroyed when this program has seen it unopened for {} more",
            span::left(deadman.counted_s),
            span::left(deadman.destroyed_after_s)
        ),
        left_s => format!("{} left", span::left(left_s)),
    };
    // [SPEC 12.46]
    let clock = if deadman.synchronised {
        ""
    } else {
        " (nothing keeps this machine's clock right, so time for which it is off or asleep does not count)"
    };
    format!("{}d{suspended}, {left}{clock}", deadman.days)
}
