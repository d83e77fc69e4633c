//! What protects the vault now, what this machine could do, and what is recommended.

use emptyroom_vault::Mode;

use super::change::{Access, Ways, with};
use super::noted::{Noted, area_of, hosts_text};
use crate::api::{Answer, Failure, ModeInfo, ModeName};
use crate::engine::own::read_failure;

/// From so many relays on they are recommended: with fewer, one that is gone locks the owner out.
const RELAYS_RECOMMENDED: usize = 3;

/// What `vault mode` shows.
pub(crate) fn vault_mode(access: &dyn Access) -> Result<Answer, Failure> {
    let (status, area, noted) = with(access, |vault| {
        let status = vault.status().map_err(read_failure)?;
        Ok((status, area_of(vault), Noted::read(vault)?))
    })?;
    let mut tpm = Ways::of_machine()?.chip.open();
    let attempts_left = match (&mut tpm, area.enrolment) {
        (Ok(tpm), Some(enrolment)) => tpm.tries(&enrolment).ok().map(|tries| tries.left()),
        _ => None,
    };
    let why = tpm.err().map(|failure| failure.text);
    let recommended = match (why.is_none(), noted.relays.len() >= RELAYS_RECOMMENDED) {
        (true, true) => ModeName::TpmAndRelays,
        (true, false) => ModeName::Tpm,
        (false, true) => ModeName::Relays,
        (false, false) => ModeName::Passphrase,
    };
    let modes = [
        ModeName::Passphrase,
        ModeName::Tpm,
        ModeName::Relays,
        ModeName::TpmAndRelays,
    ];
    Ok(Answer::VaultMode {
        mode: ModeName::of(status.mode),
        recovery: status.recovery,
        attempts_left,
        relays: area.shares.iter().map(|at| hosts_text(&at.hosts)).collect(),
        needed: area.needed,
        refreshed_at: (status.mode != Mode::Passphrase).then_some(noted.refreshed_ms),
        recommended,
        modes: modes
            .into_iter()
            .map(|mode| ModeInfo {
                mode,
                why_not: why.clone().filter(|_| mode.mode().asks_tpm()),
            })
            .collect(),
    })
}

impl ModeName {
    pub(crate) fn of(mode: Mode) -> Self {
        match mode {
            Mode::Passphrase => Self::Passphrase,
            Mode::Tpm => Self::Tpm,
            Mode::Relays => Self::Relays,
            Mode::TpmAndRelays => Self::TpmAndRelays,
        }
    }

    pub(crate) fn mode(self) -> Mode {
        match self {
            Self::Passphrase => Mode::Passphrase,
            Self::Tpm => Mode::Tpm,
            Self::Relays => Mode::Relays,
            Self::TpmAndRelays => Mode::TpmAndRelays,
        }
    }
}
