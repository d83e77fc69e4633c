//! What protects the vault now, what this machine could do, and what is recommended.

use emptyroom_vault::Mode;
use emptyroom_wire::address::RelayAddress;

use super::change::{Access, Ways, check, with};
use super::noted::{Area, Noted, area_of, hosts_text};
use super::{chip, relays};
use crate::api::{Answer, Failure, ModeInfo, ModeName};
use crate::engine::own::read_failure;

/// So many relays are the least of which one may fail.
const RELAYS_GOOD: usize = 3;

/// What `vault mode` shows; of relays that are named it is looked what they offer.
pub(crate) fn vault_mode(access: &dyn Access, named: &[RelayAddress]) -> Result<Answer, Failure> {
    check(named)?;
    let (status, area, noted, is_settled) = with(access, |vault| {
        // [SPEC 12.50] A write that failed after the new header counted leaves the one before on the disk.
        let is_settled = vault.settle_header().is_ok();
        let status = vault.status().map_err(read_failure)?;
        Ok((status, area_of(vault), Noted::read(vault)?, is_settled))
    })?;
    let mut left = noted.left(&area);
    if !is_settled {
        left.push("a copy of the header, which could not be overwritten: the secrets of before may open the vault as it lies on the disk".to_owned());
    }
    let ways = Ways::of_machine()?;
    let here = TpmHere::look(&ways.chip, &area);
    let useless = relays::useless(&ways.carrier, named)?;
    let chosen = match named {
        [] => noted.relays_of(&area).len(),
        named => named.len(),
    };
    let attempts = status.mode.asks_relays().then(|| noted.attempts(&area));
    let why_no_relays = match (chosen, &useless[..]) {
        (0, _) => Some("no relays are chosen; `--relays FILE` names some".to_owned()),
        (_, []) => None,
        (_, useless) => Some(format!(
            "these relays cannot be reached, or keep no shares: {}",
            useless.join(", ")
        )),
    };
    let now = ModeName::of(status.mode);
    let info = |mode: ModeName| {
        let why_no_tpm = here
            .why
            .as_ref()
            .or(here.gone.as_ref().filter(|_| mode == now));
        let why_no_tpm = why_no_tpm.filter(|_| mode.mode().asks_tpm());
        let why_no_relays = why_no_relays.as_ref().filter(|_| mode.mode().asks_relays());
        ModeInfo {
            mode,
            why_not: why_no_tpm.or(why_no_relays).cloned(),
        }
    };
    let modes = [
        ModeName::Passphrase,
        ModeName::Tpm,
        ModeName::Relays,
        ModeName::TpmAndRelays,
    ];
    Ok(Answer::VaultMode {
        mode: now,
        recovery: status.recovery,
        attempts_left: here.attempts.into_iter().chain(attempts).min(),
        relays: area.shares.iter().map(|at| hosts_text(&at.hosts)).collect(),
        needed: area.needed,
        left,
        refreshed_at: (status.mode != Mode::Passphrase).then_some(noted.refreshed_ms),
        recommended: recommended(here.why.is_none(), chosen.saturating_sub(useless.len())),
        modes: modes.map(info).into(),
    })
}

/// What is best with a TPM or without, and with so many relays.
// [SPEC 12.50]
fn recommended(has_tpm: bool, relays: usize) -> ModeName {
    match (has_tpm, relays >= RELAYS_GOOD) {
        (true, true) => ModeName::TpmAndRelays,
        (true, false) => ModeName::Tpm,
        (false, true) => ModeName::Relays,
        (false, false) => ModeName::Passphrase,
    }
}

/// What the machine's TPM offers a vault.
struct TpmHere {
    /// What is missing, for any vault.
    why: Option<String>,
    /// What keeps it from opening this one.
    gone: Option<String>,
    attempts: Option<u32>,
}

impl TpmHere {
    fn look(chip: &chip::Chip, area: &Area) -> Self {
        // Asked for its primary key as an enrolment does: one that can be opened may still refuse. (Whether it is full, only an
        // enrolment tells.)
        let why = chip.open().and_then(|mut tpm| chip::probe(&mut tpm)).err();
        let tries = match (&why, &area.enrolment) {
            (None, Some(enrolment)) => Some(chip.tries(enrolment)),
            _ => None,
        };
        let (attempts, gone) = match tries {
            None => (None, None),
            Some(Ok(0)) => (Some(0), Some(chip::used_up().text)),
            Some(Ok(left)) => (Some(left), None),
            Some(Err(failure)) => (None, Some(failure.text)),
        };
        Self {
            why: why.map(|failure| failure.text),
            gone,
            attempts,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::{ModeName, recommended};

    // [SPEC 12.50]
    #[test]
    fn both_are_recommended_where_there_are_both() {
        assert!(recommended(true, 3) == ModeName::TpmAndRelays);
        assert!(recommended(true, 2) == ModeName::Tpm);
        assert!(recommended(false, 5) == ModeName::Relays);
        assert!(recommended(false, 2) == ModeName::Passphrase);
    }
}
