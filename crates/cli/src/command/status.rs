//! `emptyroom status`: the state of everything.

use clap::Args;
use emptyroom_node::api::{Answer, Call, Failure, ModeName, StatusInfo, VaultInfo};

use crate::room::{self, Room};
use crate::{alarms, span, terminal, words};

/// Show vault, relays and what is waiting
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  emptyroom status
  emptyroom status --json | jq .waiting")]
pub(crate) struct Status {}

impl Status {
    pub(crate) fn run(self, room: &Room) -> Result<(), Failure> {
        let session = room.open()?;
        // A relay that can be reached is then shown so.
        room::flush(&session, std::time::Duration::from_secs(3))?;
        let Answer::Status(status) = session.call(Call::Status {})? else {
            return Err(room::unexpected());
        };
        let shown = room.out.result("status", &status, || Some(text(&status)));
        let untold = status.alarms.iter().filter(|alarm| !alarm.told);
        if let (Ok(()), Some(until)) = (&shown, untold.map(|alarm| alarm.at).max()) {
            // It was shown; a vault that cannot be written says so again.
            let _ = session.call(Call::AlarmsTold { until });
        }
        session.close()?;
        shown
    }
}

fn text(status: &StatusInfo) -> String {
    let mut lines = vec![
        format!("version: {}", status.version),
        format!("vault: {}", vault(&status.vault)),
        format!("storage: {}", storage(&status.vault)),
        format!("last drill: {}", drill(&status.vault)),
        format!(
            "dead-man time: {}",
            super::deadman::text(status.vault.deadman.as_ref())
        ),
        format!(
            "daemon: {}",
            if status.daemon {
                "running"
            } else {
                "not running"
            }
        ),
        format!("sandbox: {}", sandbox(status)),
        format!("suspend and screen: {}", desktop(status)),
        format!(
            "relay for invites: {}",
            status
                .relay
                .as_deref()
                .map_or("none".to_owned(), terminal::line)
        ),
    ];
    let killcode = status.vault.killcode.as_ref();
    lines.push(format!(
        "kill code: {}",
        killcode.map_or("none".to_owned(), |code| {
            let relay = terminal::line(&code.relay);
            match code.heard_at {
                Some(at) => format!(
                    "set, its switch is at {relay}, which was heard last at {}",
                    span::local(at)
                ),
                None => format!("set, its switch is at {relay}, which was not heard yet"),
            }
        })
    ));
    if let Some(code) = killcode.filter(|code| code.gone_at.is_some()) {
        lines.push(crate::words::switch_gone(&terminal::line(&code.relay)));
    }
    if let Some(code) = killcode.filter(|code| code.filled_at.is_some()) {
        lines.push(crate::words::switch_filled(&terminal::line(&code.relay)));
    }
    if let Some(at) = killcode.and_then(|code| code.changed_at) {
        lines.push(format!(
            "the kill code's switch outside of the vault was not as it was left; found so and put back at {}",
            span::local(at)
        ));
    }
    if let Some(at) = status
        .vault
        .deadman
        .as_ref()
        .and_then(|deadman| deadman.changed_at)
    {
        lines.push(format!(
            "the dead-man time outside of the vault was not as it was left; found so and put back at {}",
            span::local(at)
        ));
    }
    for relay in &status.relays {
        let mut state = if relay.up {
            "connected"
        } else if status.conversations == 0 {
            "not connected, as nothing needs it yet"
        } else {
            "not connected"
        }
        .to_owned();
        if relay.update_needed {
            state.push_str(", it needs a newer version of this program");
        }
        if let Some(kind) = &relay.trouble {
            state.push_str(&format!(", trouble: {}", words::relay_trouble(kind)));
        }
        lines.push(format!("relay {}: {state}", terminal::line(&relay.relay)));
    }
    lines.push(format!("conversations: {}", status.conversations));
    lines.push(format!("waiting to go out: {}", status.waiting));
    lines.extend(status.alarms.iter().map(alarms::text));
    let waiting = status.restarts_waiting.iter();
    lines.extend(waiting.map(|name| alarms::restart_waits(name)));
    lines.extend(status.damaged.iter().map(alarms::damaged));
    lines.extend(status.clock_ahead_s.map(words::clock_ahead));
    lines.join("\n")
}

/// What protects it, said plainly.
fn vault(vault: &VaultInfo) -> String {
    let mode = match vault.mode {
        ModeName::Passphrase => "passphrase alone: whoever copies the disk may guess it",
        ModeName::Tpm => "PIN and this machine's TPM",
        ModeName::Relays => "PIN and relays",
        ModeName::TpmAndRelays => "PIN, this machine's TPM and relays",
    };
    let memory = if vault.kdf_memory_kib >= 1_024 {
        format!("{} MiB", vault.kdf_memory_kib / 1_024)
    } else {
        format!("{} KiB", vault.kdf_memory_kib)
    };
    let swap = if vault.memory_locked {
        ""
    } else {
        "; root keys may be swapped out"
    };
    format!(
        "{mode}; one guess costs {memory}, {} passes; {} records{swap}",
        vault.kdf_passes, vault.records
    )
}

/// What becomes there of what is overwritten, and what holds all the same.
// [SPEC 11.93]
pub(super) fn storage(vault: &VaultInfo) -> &'static str {
    match (vault.storage.as_str(), vault.medium.as_str()) {
        ("in_place", "rotating") => {
            "overwritten in place, on a disk that rotates as far as the system tells (virtual disks say so, too): then what was erased is gone"
        }
        ("in_place", "flash") => {
            "overwritten in place, but on flash, which may keep old sectors where a laboratory finds them; they open only with the PIN of their time"
        }
        ("in_place", _) => {
            "overwritten in place; whether the medium below keeps old sectors is not known, they open only with the PIN of their time"
        }
        ("copy_on_write", _) => {
            "the file system writes changes elsewhere: what was erased stays in old blocks and snapshots until their space is used again, and opens with the PIN of its time. What still holds: roots are rotated, so that by the files as they are nothing of it opens"
        }
        ("network", _) => {
            "on another machine or behind a program (fuse), which may keep what is overwritten, in snapshots and backups, and that opens with the PIN of its time. What still holds: roots are rotated, so that by the files as they are nothing of it opens"
        }
        ("memory", _) => {
            "in memory: all of it is gone when this machine is switched off, but for what was swapped out to a disk"
        }
        _ => {
            "on a file system that this program does not know: what is overwritten may stay, and opens with the PIN of its time. What still holds: roots are rotated, so that by the files as they are nothing of it opens"
        }
    }
}

/// Whether destroying was shown to work.
// [SPEC 11.92]
fn drill(vault: &VaultInfo) -> String {
    match &vault.last_drill {
        None => "never; `emptyroom wipe --drill` shows whether destroying works here".to_owned(),
        Some(drill) if drill.passed => format!("{}, passed", span::local(drill.ended_at)),
        Some(drill) => format!(
            "{}, FAILED: do not rely on destroying this vault",
            span::local(drill.ended_at)
        ),
    }
}

/// Whether keys are gone before nobody is there any more.
// [SPEC 11.91]
fn desktop(status: &StatusInfo) -> &'static str {
    match (status.daemon, status.desktop) {
        (false, _) => "no daemon has the vault open",
        (true, true) => "the daemon locks before a suspend, and with the screen",
        (true, false) => {
            "not heard of (logind does not answer, or lets no suspend be delayed): the daemon locks when the machine has woken; `emptyroom lock` locks before"
        }
    }
}

/// What whoever takes the program over has not got.
// [SPEC 11.94]
fn sandbox(status: &StatusInfo) -> &'static str {
    match status.sandbox.as_str() {
        "full" => {
            "on: this program opens its own files and the system's, and runs no other one; it can still ask others by their sockets"
        }
        "files" => {
            "in part: this program opens its own files and the system's; system calls are not confined (no seccomp)"
        }
        "calls" => {
            "in part: this program runs no other one, but may open all of your files (no Landlock before Linux 5.19, and not on every file system)"
        }
        _ => "off: whoever takes this program over has all of your files",
    }
}
