//! What an open vault has elsewhere, for whoever destroys it.

use emptyroom_vault::Vault;
use emptyroom_wire::share::ShareId;

use super::noted::{self, Area, Errands, Noted};
use super::{Ways, beside, chip, in_words, relays, tidy};

/// What an open vault has elsewhere.
pub(crate) struct Elsewhere {
    errands: Errands,
    places: Vec<chip::Of>,
    area: Area,
    noted: Noted,
    /// What this named is not known.
    is_damaged: bool,
}

impl Elsewhere {
    pub(crate) fn of(vault: &Vault) -> Self {
        let (area, noted) = (noted::area_known(vault), Noted::read(vault));
        Self {
            errands: tidy::all(vault),
            places: tidy::places(vault),
            is_damaged: area.is_err() || noted.is_err(),
            area: area.unwrap_or_default(),
            noted: noted.unwrap_or_default(),
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
        let left = in_words(&chip::Chip::of_machine().end(&self.places));
        let unknown = "what its damaged record of keys and shares named";
        let unknown = self.is_damaged.then(|| unknown.to_owned());
        left.into_iter().chain(unknown).collect()
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
        let earlier = self.earlier_shares(&gone);
        let mut noted = self.noted.clone();
        noted.shares.retain(|share| !gone.contains(&share.at.id));
        let mut old = noted.old_shares(area, !left_in_tpm.is_empty());
        old.extend(earlier);
        old.sort_unstable();
        old.dedup();
        let old = old.join(", ");
        let old = (!old.is_empty()).then(|| format!("older shares at the relays {old}"));
        let present = area.left(&gone).filter(|_| !needs_tpm);
        present.into_iter().chain(old).collect()
    }

    /// The relays of earlier vaults' shares that are not gone: whether those are enough to open a copy nobody knows any more.
    fn earlier_shares(&self, gone: &[ShareId]) -> Vec<String> {
        let own = |id: &ShareId| {
            let mut shares = self.noted.shares.iter();
            self.area.names(id) || shares.any(|share| share.at.id == *id)
        };
        let deletes = self.errands.deletes.iter().map(|delete| &delete.at);
        let earlier = deletes.filter(|at| !own(&at.id) && !gone.contains(&at.id));
        earlier.map(|at| noted::hosts_text(&at.hosts)).collect()
    }
}

/// What an empty vault's header has room for.
const ERRANDS_LEN_MAX: usize = 2_700;
