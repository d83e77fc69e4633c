//! What protects the vault now, what this machine could do, and what is recommended.

use emptyroom_vault::Mode;

use super::change::{Access, Ways, with};
use super::chip;
use super::noted::{Noted, area_of, hosts_text};
use crate::api::{Answer, Call, Exit, Failure, ModeInfo, ModeName};
use crate::engine::own::read_failure;

/// What `vault mode` shows.
pub(crate) fn vault_mode(access: &dyn Access) -> Result<Answer, Failure> {
    let (status, area, noted) = with(access, |vault| {
        let status = vault.status().map_err(read_failure)?;
        Ok((status, area_of(vault), Noted::read(vault)?))
    })?;
    let chip = Ways::of_machine()?.chip;
    // Asked for its primary key as an enrolment does: one that can be opened may still refuse. (Whether it is full, only an
    // enrolment tells.)
    let why = chip.open().and_then(|mut tpm| chip::probe(&mut tpm)).err();
    let tries = match (&why, &area.enrolment) {
        (None, Some(enrolment)) => Some(chip.tries(enrolment)),
        _ => None,
    };
    let (attempts_left, gone) = match tries {
        None => (None, None),
        Some(Ok(0)) => (Some(0), Some(chip::used_up().text)),
        Some(Ok(left)) => (Some(left), None),
        Some(Err(failure)) => (None, Some(failure.text)),
    };
    let why = why.map(|failure| failure.text);
    let recommended = match why {
        None => ModeName::Tpm,
        Some(_) => ModeName::Passphrase,
    };
    let now = ModeName::of(status.mode);
    let modes = [
        ModeName::Passphrase,
        ModeName::Tpm,
        ModeName::Relays,
        ModeName::TpmAndRelays,
    ];
    Ok(Answer::VaultMode {
        mode: now,
        recovery: status.recovery,
        attempts_left,
        relays: area.shares.iter().map(|at| hosts_text(&at.hosts)).collect(),
        needed: area.needed,
        left: noted.left(&area),
        refreshed_at: (status.mode != Mode::Passphrase).then_some(noted.refreshed_ms),
        recommended,
        modes: modes
            .into_iter()
            .filter(|mode| mode.is_offered() || *mode == now)
            .map(|mode| ModeInfo {
                mode,
                // Of the mode that is, also what keeps it from opening the vault.
                why_not: why
                    .clone()
                    .or_else(|| gone.clone().filter(|_| mode == now))
                    .filter(|_| mode.mode().asks_tpm()),
            })
            .collect(),
    })
}

impl Call {
    /// Refuses what programs are not offered.
    // [SPEC 12.50]
    pub(crate) fn check_offered(&self) -> Result<(), Failure> {
        match self {
            Call::SetMode { mode, .. }
            | Call::ChangeSecret {
                mode: Some(mode), ..
            } => mode.check_offered(),
            _ => Ok(()),
        }
    }
}

impl ModeName {
    /// Relays are not: there are ways in which they lock an owner out who did nothing wrong. Who takes this crate as a library can try
    /// them.
    fn is_offered(self) -> bool {
        matches!(self, Self::Passphrase | Self::Tpm)
    }

    /// Refuses a mode that programs are not offered.
    ///
    /// # Errors
    /// For the modes with relays.
    // [SPEC 12.50]
    pub fn check_offered(self) -> Result<(), Failure> {
        if self.is_offered() {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Usage,
            "mode_not_offered",
            "relays cannot be needed to open a vault yet: there are ways in which they lock its owner out for good",
        )
        .hint("choose `passphrase` or `tpm`; nothing was changed"))
    }

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
