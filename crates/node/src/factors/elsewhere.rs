//! What an open vault has elsewhere, for whoever destroys it.

use emptyroom_vault::Vault;

use super::noted::{self, Area, Errands, Noted};
use super::{Ways, beside, chip, in_words, relays, tidy};

/// What an open vault has elsewhere.
pub(crate) struct Elsewhere {
    errands: Errands,
    places: Vec<chip::Of>,
    area: Area,
    noted: Noted,
}

impl Elsewhere {
    pub(crate) fn of(vault: &Vault) -> Self {
        Self {
            errands: tidy::all(vault),
            places: tidy::places(vault),
            area: noted::area_of(vault),
            noted: Noted::read(vault).unwrap_or_default(),
        }
    }

    /// For an empty vault to remember.
    pub(crate) fn errands(&self) -> Vec<u8> {
        // What does not fit is left out from the end, where the oldest is.
        let mut errands = self.errands.clone();
        let mut encoded = errands.encode();
        while encoded.len() > ERRANDS_LEN_MAX && errands.deletes.pop().is_some() {
            encoded = errands.encode();
        }
        encoded
    }

    /// Ends what is in the TPM; gives what could not be ended, in words.
    pub(crate) fn destroy_in_tpm(&self) -> Vec<String> {
        in_words(&chip::Chip::of_machine().end(&self.places))
    }

    /// Has the shares deleted, as far as their relays can be reached now; gives what could not be, in words, where it is enough to open a
    /// copy: not where the TPM is needed, too, and nothing is left in it.
    pub(crate) fn delete_shares(&self, left_in_tpm: &[String]) -> Vec<String> {
        let (deletes, area) = (self.errands.deletes.clone(), &self.area);
        if deletes.is_empty() {
            return Vec::new();
        }
        let named: Vec<_> = area.shares.iter().map(|at| at.relay).collect();
        // On a thread of its own: the engine's waits for timers.
        let gone = beside(move || {
            let ways = Ways::of_machine()?;
            relays::delete(&ways.carrier, (deletes, &named), None, &|| true)
        });
        let gone = gone.and_then(Result::ok).unwrap_or_default();
        let needs_tpm = area.enrolment.is_some() && left_in_tpm.is_empty();
        let mut noted = self.noted.clone();
        noted.shares.retain(|share| !gone.contains(&share.at.id));
        let old = noted.old_shares(area, !left_in_tpm.is_empty());
        let old = old.join(", ");
        let old = (!old.is_empty()).then(|| format!("older shares at the relays {old}"));
        let present = area.left(&gone).filter(|_| !needs_tpm);
        present.into_iter().chain(old).collect()
    }
}

/// What an empty vault's header has room for.
const ERRANDS_LEN_MAX: usize = 2_700;
