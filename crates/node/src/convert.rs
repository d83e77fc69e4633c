//! Between the interface's types and the core's: names become checked ones, units change, enums become words.
//!
//! Every word of the JSON interface that stands for a core enum is written here and nowhere else.

mod from_core;
mod words;

use emptyroom_core::api::{Burn, Command, LineId, Name, Refused, RelayLife, Text};
use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::time::Wall;

use crate::api::{Call, Exit, Failure};

pub(crate) use from_core::{answer, event, refused};

/// A call that the core carries out, as its command. The others (`flush`, `lock`, …) are the engine's own.
///
/// # Errors
/// When an argument cannot be meant.
pub(crate) fn command(call: Call) -> Result<Option<Command>, Failure> {
    Ok(Some(match call {
        Call::SetRelay { address } => Command::SetRelay {
            address: Text::new(address),
        },
        Call::Invite {
            name: given,
            expires_in_s,
        } => Command::Invite {
            name: name(&given)?,
            expires_in_ms: expires_in_s.map(|s| s.saturating_mul(1_000)),
        },
        Call::CancelInvite { name: given } => Command::CancelInvite {
            name: name(&given)?,
        },
        Call::Invites {} => Command::Invites,
        Call::Join { link, name: given } => Command::Join {
            link: Text::new(link),
            name: name(&given)?,
        },
        Call::Contacts {} => Command::Contacts,
        Call::Rename { name: from, to } => Command::Rename {
            from: name(&from)?,
            to: name(&to)?,
        },
        Call::Forget { name: given } => Command::Forget {
            name: name(&given)?,
        },
        Call::Send {
            to,
            text,
            burn_s,
            relay_days,
        } => Command::Send {
            to: name(&to)?,
            text: Text::new(text),
            burn: burn_s.map(burn).transpose()?,
            life: relay_life(relay_days)?,
        },
        Call::Unread { name: given, limit } => Command::Unread {
            name: given.as_deref().map(name).transpose()?,
            limit,
        },
        Call::Shown { name: given, up_to } => Command::Read {
            name: name(&given)?,
            up_to: LineId(up_to),
        },
        Call::History {
            name: given,
            before,
            limit,
        } => Command::History {
            name: name(&given)?,
            before: before.map(LineId),
            limit,
        },
        Call::Delete { name: given, id } => Command::Delete {
            name: name(&given)?,
            id: LineId(id),
        },
        Call::SetTimer {
            name: given,
            timer_s,
        } => Command::SetTimer {
            name: name(&given)?,
            burn: timer_s.map_or(Ok(Burn::Never), burn)?,
        },
        Call::SetReceipts {
            name: given,
            delivered,
            read,
        } => Command::SetReceipts {
            name: name(&given)?,
            delivered,
            read,
        },
        Call::Fingerprint { name: given } => Command::Fingerprint {
            name: name(&given)?,
        },
        Call::ConfirmVerified { name: given } => Command::ConfirmVerified {
            name: name(&given)?,
        },
        Call::Block { name: given, on } => Command::Block {
            name: name(&given)?,
            on,
        },
        Call::AllowRestart { name: given } => Command::AllowRestart {
            name: name(&given)?,
        },
        Call::Status {} => Command::Status,
        Call::AlarmsTold { until } => Command::AlarmsTold { until: Wall(until) },
        Call::Flush { .. } => Command::Flush,
        Call::ChangeSecret { .. }
        | Call::SetPanic { .. }
        | Call::UnsetPanic { .. }
        | Call::ForgetLeft { .. }
        | Call::SetRecovery { .. }
        | Call::Drill {}
        | Call::VaultMode { .. }
        | Call::SetMode { .. }
        | Call::Panic {}
        | Call::SetDeadman { .. }
        | Call::SuspendDeadman { .. }
        | Call::SetSwitch { .. }
        | Call::UnsetSwitch { .. }
        | Call::Lock {}
        | Call::Subscribe {} => return Ok(None),
    }))
}

/// Whether a text is a relay's address.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_address(text: &str) -> Result<(), Failure> {
    RelayAddress::parse(text)
        .map(|_| ())
        .map_err(|fault| refused(Refused::BadAddress(fault.to_string())))
}

fn name(text: &str) -> Result<Name, Failure> {
    Name::parse(text).map_err(|fault| Failure::new(Exit::Usage, "bad_name", fault.to_string()))
}

/// 0 burns on read.
fn burn(seconds: u64) -> Result<Burn, Failure> {
    if seconds == 0 {
        return Ok(Burn::OnRead);
    }
    Burn::after_ms(seconds.saturating_mul(1_000)).map_err(|_| {
        Failure::new(
            Exit::Usage,
            "bad_timer",
            "a timer is from 5 seconds to 4 weeks, or burns on read",
        )
        .hint("for example 30s, 1h, 7d or read")
    })
}

/// Seconds, rounded up; 0 burns on read.
fn timer_s(burn: Burn) -> Option<u64> {
    match burn {
        Burn::Never => None,
        Burn::OnRead => Some(0),
        Burn::After(time) => Some(time.ms().div_ceil(1_000)),
    }
}

fn relay_life(days: Option<u8>) -> Result<RelayLife, Failure> {
    match days {
        None | Some(30) => Ok(RelayLife::Day30),
        Some(7) => Ok(RelayLife::Day7),
        Some(1) => Ok(RelayLife::Day1),
        Some(_) => Err(Failure::new(
            Exit::Usage,
            "usage",
            "the relay keeps its copy for 1, 7 or 30 days",
        )),
    }
}
