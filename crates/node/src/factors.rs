//! The factors besides the PIN: asking them before a vault is opened, changing them, ending them.
//!
//! The vault takes what they gave as bytes and knows nothing of chips and relays; here is who asks. What is noted of them, and
//! where, is in [`noted`]; the order of the steps, which is what makes a cut at any moment harmless, in [`change`].

pub(crate) mod change;
mod chip;
mod mode;
mod noted;
mod relays;
#[cfg(test)]
mod tests;

use emptyroom_tpm::Place;
use emptyroom_vault::{Answers, Locked, Stretched, Vault};

use crate::api::{Exit, Failure};
use crate::shares::USES;
pub(crate) use change::{Access, To, Ways, Work};
pub(crate) use mode::vault_mode;
use noted::{Area, Errands};

/// From so many wrong PINs on it is said how many may follow.
// [SPEC 11.48]
const WRONG_TOLD_FROM: u32 = 5;

/// The device of the TPM that this program asks.
pub fn tpm_device() -> std::path::PathBuf {
    chip::Chip::of_machine().path()
}

/// What came of asking the factors of a locked vault.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) answers: Answers,
    /// What stood in the way.
    pub(crate) trouble: Option<Failure>,
    /// Questions before this one, and how many may follow, by who counts the most.
    counted: Option<(u32, u32)>,
    area: Area,
}

/// Asks the factors that a locked vault names, each once; none, where what was typed is a recovery phrase.
// [SPEC 11.40]
// [SPEC 11.47]
pub(crate) fn ask(locked: &Locked, stretched: &Stretched, ways: &Ways, is_phrase: bool) -> Asked {
    let mut asked = Asked::default();
    let mode = locked.mode();
    if !mode.asks_tpm() && !mode.asks_relays() {
        return asked;
    }
    let area = Area::decode(locked.area());
    let mut outcome = area.is_some().then_some(()).ok_or_else(damaged);
    asked.area = area.unwrap_or_default();
    if is_phrase {
        return asked;
    }
    if outcome.is_ok() && mode.asks_tpm() {
        outcome = asked.ask_tpm(stretched, ways);
    }
    // Where one factor is missing nothing opens: no use of the other's is spent.
    if outcome.is_ok() && mode.asks_relays() {
        outcome = asked.ask_relays(stretched, ways);
    }
    asked.trouble = outcome.err();
    asked
}

impl Asked {
    fn ask_tpm(&mut self, stretched: &Stretched, ways: &Ways) -> Result<(), Failure> {
        let enrolment = self.area.enrolment.as_ref().ok_or_else(chip::gone)?;
        let mut tpm = ways.chip.open()?;
        // Before the question: it is for showing, and a refusal of it says the same as one of the question.
        let tries = tpm.tries(enrolment).ok();
        let input = emptyroom_tpm::Stretched::new(&stretched.tpm_input());
        let share = tpm.share(enrolment, &input).map_err(chip::no_share)?;
        self.answers.tpm = Some(emptyroom_vault::Share::new(*share.expose()));
        if let Some(tries) = tries {
            self.count(tries.used, tries.left().saturating_sub(1));
        }
        Ok(())
    }

    fn ask_relays(&mut self, stretched: &Stretched, ways: &Ways) -> Result<(), Failure> {
        let unlock = relays::ask(&ways.carrier, &self.area, &stretched.relays_input())?;
        let all = self.area.shares.len();
        self.answers.relays = unlock
            .candidates()
            .map_err(|why| relays::too_few(why, all))?;
        if let Some(left) = unlock.attempts_left() {
            let before = u32::from(USES).saturating_sub(left).saturating_sub(1);
            self.count(before, left);
        }
        Ok(())
    }

    fn count(&mut self, before: u32, left: u32) {
        let (most, least) = self.counted.unwrap_or((before, left));
        self.counted = Some((before.max(most), left.min(least)));
    }

    /// What an empty vault in this one's place has to remember, by the panic secret.
    pub(crate) fn errands(&self, panic_secret: &[u8; 32]) -> Vec<u8> {
        let shares = self.area.shares.iter();
        let errands = Errands {
            places: self.area.place().into_iter().collect(),
            deletes: shares.map(|at| relays::order(panic_secret, at)).collect(),
        };
        errands.encode()
    }

    /// Ends what the vault has in the TPM.
    pub(crate) fn destroy(&self, ways: &Ways) {
        ways.chip.destroy(self.area.place().as_slice());
    }

    /// After a wrong PIN: how many may follow, once there were some.
    pub(crate) fn left(&self) -> Option<u32> {
        let (before, left) = self.counted?;
        (before + 1 >= WRONG_TOLD_FROM).then_some(left)
    }

    /// After the right one: how many came before, if there were some, and how many would have been left. Told from the first on:
    /// else somebody with whom the machine is shared could try a few between two openings, for ever.
    pub(crate) fn wrong_before(&self) -> Option<WrongBefore> {
        let (wrong, left) = self.counted?;
        (wrong > 0).then(|| WrongBefore {
            wrong,
            left: left + 1,
        })
    }
}

/// Only the recovery words open a vault whose header does not say whom to ask.
fn damaged() -> Failure {
    Failure::new(
        Exit::Vault,
        "vault_corrupt",
        "the vault is damaged: its header does not say whom to ask",
    )
    .hint("enter the recovery words, or restore the vault from a backup")
}

/// Attempts that came before the right PIN.
#[derive(Clone, Copy)]
pub struct WrongBefore {
    /// So many: wrong PINs, or programs that were killed just after the right one.
    pub wrong: u32,
    /// So many could have followed.
    pub left: u32,
}

/// Ends what a vault has in the TPM whose header named it in `area`; gives what could not be ended, in words. (Without the
/// vault's key nobody can delete shares.)
pub(crate) fn destroy_named(area: &[u8]) -> Vec<String> {
    let place = Area::decode(area).and_then(|area| area.place());
    in_words(&chip::Chip::of_machine().end(place.as_slice()))
}

fn in_words(places: &[Place]) -> Vec<String> {
    places.iter().map(noted::in_words).collect()
}

/// What an open vault has elsewhere.
pub(crate) struct Elsewhere(Errands);

impl Elsewhere {
    pub(crate) fn of(vault: &Vault) -> Self {
        Self(change::all(vault))
    }

    /// For an empty vault to remember.
    pub(crate) fn errands(&self) -> Vec<u8> {
        // What does not fit is left out from the end, where the oldest is.
        let mut errands = self.0.clone();
        let mut encoded = errands.encode();
        while encoded.len() > ERRANDS_LEN_MAX && errands.deletes.pop().is_some() {
            encoded = errands.encode();
        }
        encoded
    }

    /// Ends what is in the TPM; gives what could not be ended, in words.
    pub(crate) fn destroy_in_tpm(&self) -> Vec<String> {
        in_words(&chip::Chip::of_machine().end(&self.0.places))
    }

    /// Has the shares deleted, as far as their relays can be reached now: for a vault of which nothing is left.
    pub(crate) fn delete_shares(self) {
        if self.0.deletes.is_empty() {
            return;
        }
        // On a thread of its own: the engine's waits for timers.
        let deleting = std::thread::spawn(|| {
            let _ = Ways::of_machine().map(|ways| relays::delete(&ways.carrier, self.0.deletes));
        });
        let _ = deleting.join();
    }
}

/// What an empty vault's header has room for.
const ERRANDS_LEN_MAX: usize = 2_700;

/// An area, as a locked device reads it: any bytes.
pub(crate) use noted::fuzz_area;
