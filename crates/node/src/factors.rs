//! The factors besides the PIN: asking them before a vault is opened, changing them, ending them.
//!
//! The vault takes what they gave as bytes and knows nothing of chips and relays; here is who asks. What is noted of them, and
//! where, is in [`noted`]; the order of the steps, which is what makes a cut at any moment harmless, in [`change`].

pub(crate) mod change;
mod chip;
mod elsewhere;
mod mode;
mod noted;
mod relays;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod tidy;

use std::cell::RefCell;

use emptyroom_tpm::{Place, Tpm, Tries, TriesError};
use emptyroom_vault::{Answers, Locked, Mode, Stretched, Vault};
use emptyroom_wire::address::RelayAddress;

use crate::api::{Exit, Failure, NotRenewed};
use crate::engine::own::write_failure;
use crate::shares::USES;
pub(crate) use change::{Access, To, Ways, Work};
pub(crate) use elsewhere::Elsewhere;
pub(crate) use mode::vault_mode;
use noted::{Area, Begin, Errands, Noted};
use relays::Streams;

/// From so many wrong PINs on it is said how many may follow.
// [SPEC 11.48]
const WRONG_TOLD_FROM: u32 = 5;

/// Where relays allow fewer attempts than this it is told, whatever came in the way of new shares.
// [SPEC 11.53]
const FEW_ATTEMPTS: u32 = 6;

/// The device of the TPM that this program asks.
pub fn tpm_device() -> std::path::PathBuf {
    chip::Chip::of_machine().path()
}

/// Why the TPM of this machine can be asked nothing now, if so.
pub(crate) fn tpm_away() -> Option<Failure> {
    chip::Chip::of_machine().open().err()
}

/// What came of asking the factors of a locked vault.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) answers: Answers,
    /// What stood in the way.
    pub(crate) trouble: Option<Failure>,
    /// Questions to the TPM before this one, and how many may follow.
    counted: Option<(u32, u32)>,
    /// The same of the relays.
    counted_by_relays: Option<(u32, u32)>,
    /// How the relays' answers begin, by their number in the area, and how many more they give.
    heard: Vec<(usize, Begin, u8)>,
    /// Why what they count could not be noted.
    unnoted: Option<Failure>,
    area: Area,
}

/// Asks the factors that a locked vault names, each once; none, where what was typed is a recovery phrase.
// [SPEC 11.40]
// [SPEC 11.47]
pub(crate) fn ask(locked: &Locked, stretched: &Stretched, ways: &Ways, is_phrase: bool) -> Asked {
    match locked.mode() {
        Mode::Passphrase => Asked::default(),
        _ if is_phrase => Asked {
            area: Area::decode(locked.area()).unwrap_or_default(),
            ..Asked::default()
        },
        mode => ask_area(mode, locked.area(), stretched, ways),
    }
}

/// Asks those of a mode that an area names.
pub(crate) fn ask_area(mode: Mode, area: &[u8], stretched: &Stretched, ways: &Ways) -> Asked {
    let mut asked = Asked::default();
    let outcome = match Area::decode(area) {
        Some(area) => {
            asked.area = area;
            asked.ask_all(mode, stretched, ways)
        }
        None => Err(damaged()),
    };
    asked.trouble = outcome.err();
    asked
}

impl Asked {
    /// First of all it is made sure that everybody is there: no try and no use is spent where one that is needed is missing.
    fn ask_all(&mut self, mode: Mode, stretched: &Stretched, ways: &Ways) -> Result<(), Failure> {
        let tpm = if mode.asks_tpm() {
            Some(self.look_at_tpm(ways, mode)?)
        } else {
            None
        };
        let streams = if mode.asks_relays() {
            let reached = relays::reach(&ways.carrier, &self.area);
            Some(reached.map_err(|failure| self.with_tries(failure, &tpm))?)
        } else {
            None
        };
        // Relays first: one whose share is used up may be left out, and the TPM's tries may not.
        if let Some(streams) = streams {
            let asked = self.ask_relays(streams, stretched);
            asked.map_err(|failure| self.with_tries(failure, &tpm))?;
        }
        match tpm {
            Some((tpm, tries)) => {
                let asked = self.ask_tpm(tpm, tries, stretched);
                asked.map_err(|failure| self.with_uses(failure))
            }
            None => Ok(()),
        }
    }

    /// The TPM, and how many tries its key has. It is for showing, but where none is left nobody else needs to be asked.
    fn look_at_tpm(&self, ways: &Ways, mode: Mode) -> Result<(Tpm, Option<Tries>), Failure> {
        let enrolment = self.area.enrolment.as_ref().ok_or_else(chip::gone)?;
        let mut tpm = ways.chip.open()?;
        let tries = match tpm.tries(enrolment) {
            Ok(tries) if tries.left() == 0 => return Err(chip::used_up()),
            Ok(tries) => Some(tries),
            Err(TriesError::Gone) => return Err(chip::gone()),
            // Relays are asked first: so much the more it must be sure that the TPM does what an answer takes.
            Err(TriesError::Fault(fault)) if mode.asks_relays() => {
                return Err(chip::failure(fault));
            }
            // The question will tell.
            Err(TriesError::Fault(_)) => None,
        };
        if mode.asks_relays() && tpm.identity().map_err(chip::failure)? != enrolment.identity() {
            return Err(chip::gone());
        }
        Ok((tpm, tries))
    }

    /// A failure when the relays were asked, with what is left of their uses.
    // [SPEC 11.48]
    fn with_uses(&self, mut failure: Failure) -> Failure {
        if let Some((_, left)) = self.counted_by_relays {
            failure.text = format!("{}; the relays answer {left} times more", failure.text);
        }
        failure
    }

    /// A failure before the TPM was asked, with what is left of its tries.
    // [SPEC 11.48]
    fn with_tries(&self, mut failure: Failure, tpm: &Option<(Tpm, Option<Tries>)>) -> Failure {
        if let Some((_, Some(tries))) = tpm {
            failure.text = format!(
                "{}; the TPM answers {} times more",
                failure.text,
                tries.left()
            );
        }
        failure
    }

    fn ask_tpm(
        &mut self,
        mut tpm: Tpm,
        tries: Option<Tries>,
        stretched: &Stretched,
    ) -> Result<(), Failure> {
        let enrolment = self.area.enrolment.as_ref().ok_or_else(chip::gone)?;
        let input = emptyroom_tpm::Stretched::new(&stretched.tpm_input());
        let share = tpm.share(enrolment, &input).map_err(chip::no_share)?;
        self.answers.tpm = Some(emptyroom_vault::Share::new(*share.expose()));
        if let Some(tries) = tries {
            self.counted = Some((tries.used, tries.left().saturating_sub(1)));
        }
        Ok(())
    }

    fn ask_relays(&mut self, streams: Streams, stretched: &Stretched) -> Result<(), Failure> {
        let unlock = relays::ask(streams, &self.area, &stretched.relays_input())?;
        self.heard = unlock.heard_from().collect();
        if let Some(left) = unlock.attempts_left() {
            let before = u32::from(USES).saturating_sub(left).saturating_sub(1);
            self.counted_by_relays = Some((before, left));
        }
        let candidates = unlock.candidates();
        self.answers.relays =
            candidates.map_err(|why| relays::too_few(why, &unlock, &self.area))?;
        Ok(())
    }

    /// After the right PIN: notes which relays answered wrongly, by what the vault knows of their shares, and how many more attempts
    /// they allow. Those that the vault knows of are not told as somebody's.
    // [SPEC 11.53]
    pub(crate) fn settle(&mut self, vault: &mut Vault) {
        if self.heard.is_empty() {
            return;
        }
        // Where it cannot be noted that is told, as nothing is made anew then.
        let mut noted = match Noted::read(vault) {
            Ok(noted) => noted,
            Err(failure) => {
                self.counted_by_relays = Some((0, self.left_at_relays()));
                self.unnoted = Some(failure);
                return;
            }
        };
        // The most that one of them counted: whoever tries may choose whom he asks.
        let mut others = 0;
        let mut wrong = Vec::new();
        for (number, begin, left) in &self.heard {
            let Some(at) = self.area.shares.get(*number) else {
                continue;
            };
            let mut shares = noted.shares.iter_mut();
            let Some(share) = shares.find(|share| share.at.id == at.id) else {
                continue;
            };
            others = others.max(share.left.saturating_sub(*left).saturating_sub(1));
            share.left = *left;
            if share.answers != *begin {
                wrong.push(noted::hosts_text(&at.hosts));
            }
        }
        self.counted_by_relays = Some((u32::from(others), noted.attempts(&self.area)));
        noted.wrong = wrong;
        self.unnoted = noted.write(vault).err().map(write_failure);
    }

    /// How many more attempts the relays allow, by those that answered alone.
    fn left_at_relays(&self) -> u32 {
        let mut left: Vec<u8> = self.heard.iter().map(|(.., left)| *left).collect();
        left.sort_unstable_by(|a, b| b.cmp(a));
        let least = left.get(self.area.needed.saturating_sub(1));
        u32::from(least.copied().unwrap_or(0))
    }

    /// By who counts the most.
    fn counted(&self) -> Option<(u32, u32)> {
        let both = self.counted.into_iter().chain(self.counted_by_relays);
        both.reduce(|(most, least), (before, left)| (most.max(before), least.min(left)))
    }

    /// What an empty vault in this one's place has to remember, by the panic secret.
    pub(crate) fn errands(&self, panic_secret: &[u8; 32]) -> Vec<u8> {
        let shares = self.area.shares.iter();
        let errands = Errands {
            places: self.area.place().into_iter().collect(),
            deletes: shares.map(|at| relays::order(panic_secret, at)).collect(),
            ..Errands::default()
        };
        errands.encode()
    }

    /// Ends what the vault has in the TPM.
    pub(crate) fn destroy(&self, ways: &Ways) {
        ways.chip.destroy(self.area.place_of().as_slice());
    }

    /// What else than a wrong PIN it may be where the relays' answers open nothing: with some of them missing, or few, one that lies is not
    /// outvoted.
    // [SPEC 11.49]
    pub(crate) fn doubt(&self) -> Option<String> {
        let shares = self.area.shares.iter().enumerate();
        let names = |heard: bool| {
            let was_heard = |at: usize| self.heard.iter().any(|(number, ..)| *number == at);
            let those = shares.clone().filter(|(at, _)| was_heard(*at) == heard);
            let names: Vec<String> = those.map(|(_, at)| noted::hosts_text(&at.hosts)).collect();
            names.join(", ")
        };
        match (self.heard.len(), self.area.shares.len()) {
            (0, _) => None,
            (heard, all) if heard < all => Some(format!(
                "if it is the right one, one of these relays may have answered wrongly: {}; before you try other PINs wait until these answer, too: {}; or enter the recovery words",
                names(true),
                names(false)
            )),
            (_, 1 | 2) => Some(format!(
                "if it is the right one, a relay may have answered wrongly: {}; then the recovery words open it",
                names(true)
            )),
            _ => None,
        }
    }

    /// After a wrong PIN: how many may follow, once there were some.
    pub(crate) fn left(&self) -> Option<u32> {
        let (before, left) = self.counted()?;
        (before + 1 >= WRONG_TOLD_FROM).then_some(left)
    }

    /// A failure to open a vault after its factors were asked, with how often they may be asked again.
    // [SPEC 11.48]
    pub(crate) fn with_left(&self, mut failure: Failure) -> Failure {
        if let Some((_, left)) = self.counted() {
            failure.text = format!("{}; {}", failure.text, attempts(left));
        }
        failure
    }

    /// They belong to a vault that was not there.
    pub(crate) fn forget_counts(&mut self) {
        (self.counted, self.counted_by_relays) = (None, None);
        self.heard.clear();
    }

    /// After the right one: how many came before, if there were some, and how many would have been left. Told from the first on:
    /// else somebody with whom the machine is shared could try a few between two openings, for ever. So it is told where the count could
    /// not be noted.
    pub(crate) fn wrong_before(&self) -> Option<WrongBefore> {
        let (wrong, left) = self.counted()?;
        (wrong > 0 || self.unnoted.is_some()).then(|| WrongBefore {
            wrong,
            left: left + 1,
            unnoted: self.unnoted.clone(),
        })
    }
}

/// How many attempts are left, in words.
pub(crate) fn attempts(left: u32) -> String {
    match left {
        0 => "no attempt is left: from now on only the recovery words open this vault".to_owned(),
        1 => "1 attempt is left".to_owned(),
        left => format!("{left} attempts are left"),
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
#[derive(Clone)]
pub struct WrongBefore {
    /// So many: wrong PINs, or programs that were killed just after the right one.
    pub wrong: u32,
    /// So many could have followed.
    pub left: u32,
    /// Why what the relays count could not be noted: then nothing can be made anew, and this opening was one of those.
    pub unnoted: Option<Failure>,
}

/// Ends what a locked vault has elsewhere whose header named it in `area`; gives what could not be ended, in words.
pub(crate) fn destroy_named(area: &[u8]) -> Vec<String> {
    match Ways::of_machine() {
        Ok(ways) => ways.destroy_named(area),
        Err(failure) => vec![format!(
            "what its header named elsewhere ({})",
            failure.text
        )],
    }
}

impl Ways {
    /// The same by these ways.
    // [SPEC 11.59]
    pub(crate) fn destroy_named(&self, area: &[u8]) -> Vec<String> {
        let Some(area) = Area::decode(area) else {
            return vec!["what its damaged header named".to_owned()];
        };
        let mut left = in_words(&self.chip.end(area.place_of().as_slice()));
        let needs_tpm = area.enrolment.is_some() && left.is_empty();
        let carrier = self.carrier.clone();
        // On a thread of its own: who destroys may wait for timers.
        let shares = beside(move || {
            let gone = relays::use_up(&carrier, &area.shares).unwrap_or_default();
            area.left(&gone)
        });
        // Of what fell nothing is known.
        let fell = || Some("its shares at the relays".to_owned());
        let shares = shares.unwrap_or_else(fell);
        // Where the TPM is needed, too, and its key is gone, nothing opens with them.
        left.extend(shares.filter(|_| !needs_tpm));
        left
    }
}

/// Has it done on a thread of its own; nothing where there is none, or it fell.
fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let thread = std::thread::Builder::new().spawn(work).ok()?;
    thread.join().ok()
}

fn in_words(places: &[Place]) -> Vec<String> {
    places.iter().map(noted::in_words).collect()
}

/// A vault that was opened cannot be used: what the opening spent is given back before that is told.
// [SPEC 11.120]
pub(crate) fn give_back(vault: Vault) {
    /// Nobody else has it.
    struct Alone(RefCell<Vault>);

    impl Access for Alone {
        fn send(&self, work: Work) -> bool {
            work(&mut self.0.borrow_mut());
            true
        }

        fn is_hurried(&self) -> bool {
            true
        }
    }

    if !change::is_due(&vault) {
        return;
    }
    let alone = Alone(RefCell::new(vault));
    // What it does not come to is told by the failure that led here, with what is left.
    let _ = Ways::of_machine().and_then(|ways| change::refresh(&alone, &ways));
    let _ = alone.0.into_inner().lock();
}

/// The mode of a vault, and the relays that were chosen for it.
pub(crate) fn in_use(vault: &Vault) -> (Mode, Vec<RelayAddress>) {
    let noted = Noted::read(vault).unwrap_or_default();
    let relays = noted.relays_of(&noted::area_of(vault)).to_vec();
    (vault.mode(), relays)
}

/// What every command tells of the factors.
pub(crate) struct Told {
    pub(crate) not_renewed: Option<NotRenewed>,
    pub(crate) wrong_relays: Vec<String>,
    pub(crate) missing_relays: Vec<String>,
    pub(crate) old_shares: Vec<String>,
}

// [SPEC 11.53]
pub(crate) fn told(vault: &Vault) -> Told {
    // What cannot be read is told by whatever changes it.
    let noted = Noted::read(vault).unwrap_or_default();
    let area = noted::area_of(vault);
    let chosen = noted.relays_of(&area).iter();
    let missing = chosen.filter(|address| {
        let mut shares = area.shares.iter();
        shares.all(|at| at.relay != address.identity)
    });
    let attempts = noted.attempts(&area);
    let answers = |text: &str| {
        if area.shares.is_empty() {
            return text.to_owned();
        }
        format!("{text}; the relays answer {attempts} attempts more")
    };
    let cut_off = vault.mode().asks_relays() && attempts < FEW_ATTEMPTS;
    let not_renewed = match &noted.failed {
        Some(failed) => Some(NotRenewed {
            since: failed.since_ms,
            error: failed.error.clone(),
            text: answers(&failed.text),
        }),
        None => cut_off.then(|| NotRenewed {
            since: noted.refreshed_ms,
            error: "vault_relays_needed".to_owned(),
            text: answers("it was cut off each time, or PINs were wrong"),
        }),
    };
    Told {
        missing_relays: missing.map(relays::name).collect(),
        old_shares: noted.old_shares(&area, noted.is_left_in_tpm(&area)),
        not_renewed,
        wrong_relays: noted.wrong,
    }
}

/// An area, as a locked device reads it: any bytes.
pub(crate) use noted::fuzz_area;
