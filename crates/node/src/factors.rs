//! The factors besides the PIN: asking them before a vault is opened, changing them, ending them.
//!
//! The vault takes what they gave as bytes and knows nothing of chips; here is who asks. What is noted of them, and where,
//! is in [`noted`]; the order of the steps, which is what makes a cut at any moment harmless, in [`change`].

pub(crate) mod change;
mod chip;
mod mode;
mod noted;
#[cfg(test)]
mod tests;

use emptyroom_tpm::{Enrolment, Place};
use emptyroom_vault::{Answers, Locked, Stretched, Vault};

use crate::api::Failure;
pub(crate) use change::{Access, Work};
pub(crate) use chip::Chip;
pub(crate) use mode::vault_mode;

/// From so many wrong PINs on it is said how many may follow.
// [SPEC 11.48]
const WRONG_TOLD_FROM: u32 = 5;

/// What came of asking the factors of a locked vault.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) answers: Answers,
    /// What stood in the way.
    pub(crate) trouble: Option<Failure>,
    tries: Option<emptyroom_tpm::Tries>,
    enrolment: Option<Enrolment>,
}

/// Asks the factors that a locked vault names, each once; none, where what was typed is a recovery phrase.
// [SPEC 11.40]
// [SPEC 11.47]
pub(crate) fn ask(locked: &Locked, stretched: &Stretched, chip: &Chip, is_phrase: bool) -> Asked {
    let mut asked = Asked::default();
    if !locked.mode().asks_tpm() {
        return asked;
    }
    asked.enrolment = noted::in_area(locked.area());
    if is_phrase {
        return asked;
    }
    asked.trouble = asked.ask_tpm(stretched, chip).err();
    asked
}

impl Asked {
    fn ask_tpm(&mut self, stretched: &Stretched, chip: &Chip) -> Result<(), Failure> {
        let enrolment = self.enrolment.as_ref().ok_or_else(chip::gone)?;
        let mut tpm = chip.open()?;
        // Before the question: it is for showing, and a refusal of it says the same as one of the question.
        self.tries = tpm.tries(enrolment).ok();
        let input = emptyroom_tpm::Stretched::new(&stretched.tpm_input());
        let share = tpm.share(enrolment, &input).map_err(chip::no_share)?;
        self.answers.tpm = Some(emptyroom_vault::Share::new(*share.expose()));
        Ok(())
    }

    /// What the vault has in the TPM.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.enrolment.iter().map(Enrolment::place).collect()
    }

    /// After a wrong PIN: how many may follow, once there were some.
    pub(crate) fn left(&self) -> Option<u32> {
        let tries = self.tries?;
        let used = tries.used.saturating_add(1);
        (used >= WRONG_TOLD_FROM).then(|| tries.limit.saturating_sub(used))
    }

    /// After the right one: how many wrong ones came before, if there were some, and how many would have been left.
    pub(crate) fn wrong_before(&self) -> Option<WrongBefore> {
        let tries = self.tries?;
        (tries.used >= WRONG_TOLD_FROM).then(|| WrongBefore {
            wrong: tries.used,
            left: tries.left(),
        })
    }
}

/// Wrong PINs that were entered before the right one.
#[derive(Clone, Copy)]
pub struct WrongBefore {
    /// So many. (A program that was killed after the right one counts, too.)
    pub wrong: u32,
    /// So many could have followed.
    pub left: u32,
}

/// Ends what a vault has elsewhere whose header named it in `area`.
pub(crate) fn destroy_named(area: &[u8]) {
    let place = noted::in_area(area).map(|enrolment| enrolment.place());
    destroy(place.as_slice());
}

/// All places in the TPM that an open vault may have.
pub(crate) fn places(vault: &Vault) -> Vec<Place> {
    let mut places = noted::places_of_errands(vault.errands());
    if vault.mode().asks_tpm() {
        places.extend(noted::in_area(vault.area()).map(|enrolment| enrolment.place()));
    }
    // What cannot be read cannot be ended, and must not stop the rest.
    let noted = noted::read(vault).unwrap_or_default();
    for place in noted.iter().map(|noted| noted.place) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// Ends what is at these places of the TPM; what cannot be reached is an errand.
pub(crate) fn destroy(places: &[Place]) {
    Chip::of_machine().destroy(places);
}

/// The same for an empty vault to remember.
pub(crate) fn errands(places: &[Place]) -> Vec<u8> {
    noted::errands(places)
}
