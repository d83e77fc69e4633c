//! What protects the vault now, what this machine could do, and what is recommended.

use emptyroom_vault::Mode;

use super::change::{Access, with};
use super::chip::Chip;
use super::noted;
use crate::api::{Answer, Failure, ModeInfo, ModeName};
use crate::engine::own::read_failure;

/// What `vault mode` shows.
pub(crate) fn vault_mode(access: &dyn Access, chip: &Chip) -> Result<Answer, Failure> {
    let (status, enrolment) = with(access, |vault| {
        let status = vault.status().map_err(read_failure)?;
        Ok((status, noted::in_area(vault.area())))
    })?;
    let mut tpm = chip.open();
    let attempts_left = match (&mut tpm, enrolment) {
        (Ok(tpm), Some(enrolment)) if status.mode.asks_tpm() => {
            tpm.tries(&enrolment).ok().map(|tries| tries.left())
        }
        _ => None,
    };
    let why = tpm.err().map(|failure| failure.text);
    let recommended = if why.is_none() {
        ModeName::Tpm
    } else {
        ModeName::Passphrase
    };
    Ok(Answer::VaultMode {
        mode: ModeName::of(status.mode),
        recovery: status.recovery,
        attempts_left,
        recommended,
        modes: vec![
            ModeInfo {
                mode: ModeName::Passphrase,
                why_not: None,
            },
            ModeInfo {
                mode: ModeName::Tpm,
                why_not: why,
            },
        ],
    })
}

impl ModeName {
    pub(crate) fn of(mode: Mode) -> Self {
        match mode {
            Mode::Passphrase => Self::Passphrase,
            Mode::Tpm => Self::Tpm,
        }
    }

    pub(crate) fn mode(self) -> Mode {
        match self {
            Self::Passphrase => Mode::Passphrase,
            Self::Tpm => Mode::Tpm,
        }
    }
}
