//! Changing what opens a vault, and making it anew after an opening: the one order of steps for both.
//!
//! 1. A place in the TPM is noted in the vault. 2. It is enrolled, and asked for what the new slots need. 3. Its reset
//!    secret is noted, and the header replaced. 4. What is noted and not in the header is destroyed.
//!
//! Cut off after any of them, the vault opens by the enrolment that its header names, and whatever else is in the TPM
//! is noted, so that the next opening destroys it.

use std::sync::mpsc::sync_channel;

use emptyroom_vault::{Factors, Mode, Rewrapping, Vault};
use zeroize::Zeroizing;

use super::chip::{self, Chip};
use super::noted::{self, Noted};
use crate::api::Failure;
use crate::engine::own::write_failure;

/// Something to be done with the vault, where it is.
pub(crate) type Work = Box<dyn FnOnce(&mut Vault) + Send>;

/// The way to an open vault for whoever must not hold it while the factors are asked.
pub(crate) trait Access {
    /// Has it done; says no where the vault is locked.
    fn send(&self, work: Work) -> bool;
}

pub(super) fn with<T: Send + 'static>(
    access: &dyn Access,
    work: impl FnOnce(&mut Vault) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (done, result) = sync_channel(1);
    // Nobody waits any more where sending fails.
    let sent = access.send(Box::new(move |vault| drop(done.send(work(vault)))));
    if !sent {
        return Err(Failure::locked());
    }
    result.recv().unwrap_or_else(|_| Err(Failure::locked()))
}

/// Makes a change that `begin` begins, with the factors of `mode`, or of the mode that there is.
pub(crate) fn rewrap(
    access: &dyn Access,
    chip: &Chip,
    mode: Option<Mode>,
    begin: impl FnOnce(&Vault) -> Result<Rewrapping, Failure> + Send + 'static,
) -> Result<(), Failure> {
    let (change, mode) = with(access, move |vault| {
        let mode = mode.unwrap_or_else(|| vault.mode());
        Ok((begin(vault)?, mode))
    })?;
    let made = match mode {
        Mode::Passphrase => with(access, move |vault| {
            // From now on the area is for them no longer.
            keep_errands(vault)?;
            vault
                .rewrap(change, &Factors::default())
                .map_err(write_failure)
        }),
        Mode::Tpm => rewrap_with_tpm(access, chip, change),
    };
    // After a failure, too: something may have been made.
    let tidied = tidy(access, chip);
    made.and(tidied)
}

fn rewrap_with_tpm(access: &dyn Access, chip: &Chip, change: Rewrapping) -> Result<(), Failure> {
    let mut tpm = chip.open()?;
    let place = chip::free_place(&mut tpm)?;
    // [SPEC 11.35]
    with(access, move |vault| {
        keep_errands(vault)?;
        let mut noted = noted::read(vault)?;
        noted.push(Noted { place, reset: None });
        noted::write(vault, &noted).map_err(write_failure)
    })?;
    let enrolled = chip::enrol(&mut tpm, place, change.tpm_inputs())?;
    let factors = Factors {
        area: noted::area(&enrolled.enrolment),
        tpm: Some(enrolled.shares),
    };
    let reset = Zeroizing::new(*enrolled.reset.expose());
    // [SPEC 11.52]
    with(access, move |vault| {
        let mut noted = noted::read(vault)?;
        for entry in noted.iter_mut().filter(|entry| entry.place == place) {
            entry.reset = Some(reset.clone());
        }
        noted::write(vault, &noted).map_err(write_failure)?;
        vault.rewrap(change, &factors).map_err(write_failure)
    })
}

/// What an empty vault remembers of the one before goes where it outlives a change of the header.
fn keep_errands(vault: &mut Vault) -> Result<(), Failure> {
    let places = noted::places_of_errands(vault.errands());
    if places.is_empty() {
        return Ok(());
    }
    let mut noted = noted::read(vault)?;
    let is_new = |place| !noted.iter().any(|entry| entry.place == place);
    let new: Vec<_> = places.into_iter().filter(|place| is_new(*place)).collect();
    noted.extend(new.into_iter().map(|place| Noted { place, reset: None }));
    noted::write(vault, &noted)
        .and_then(|()| vault.errands_done())
        .map_err(write_failure)
}

/// Destroys what is noted and not in the header. What cannot be reached stays noted.
fn tidy(access: &dyn Access, chip: &Chip) -> Result<(), Failure> {
    let unused = with(access, |vault| {
        let used = used(vault);
        let noted = noted::read(vault)?;
        let places = noted.iter().map(|entry| entry.place);
        Ok(places
            .filter(|place| Some(*place) != used)
            .collect::<Vec<_>>())
    })?;
    let ended = chip.destroy(&unused);
    if ended.is_empty() {
        return Ok(());
    }
    with(access, move |vault| {
        let mut noted = noted::read(vault)?;
        noted.retain(|entry| !ended.contains(&entry.place));
        noted::write(vault, &noted).map_err(write_failure)
    })
}

/// The place that the header names.
fn used(vault: &Vault) -> Option<emptyroom_tpm::Place> {
    let enrolment = vault
        .mode()
        .asks_tpm()
        .then(|| noted::in_area(vault.area()));
    enrolment.flatten().map(|enrolment| enrolment.place())
}

/// Whether there is something to be done after an opening.
pub(crate) fn is_due(vault: &Vault) -> bool {
    vault.mode().asks_tpm() || !vault.errands().is_empty()
}

/// After an opening: what was left to be destroyed is, and the factors are made anew; where that fails now, they are at
/// least given all tries back.
// [SPEC 11.52]
pub(crate) fn refresh(access: &dyn Access, chip: &Chip) -> Result<(), Failure> {
    errands(access, chip)?;
    tidy(access, chip)?;
    let change = with(access, |vault| Ok(vault.refreshed()))?;
    let Some(change) = change else {
        return Ok(());
    };
    let made = rewrap_with_tpm(access, chip, change);
    let made = made.and_then(|()| tidy(access, chip));
    if made.is_err() {
        // [SPEC 11.53]
        let set_back = set_back(access, chip);
        with(access, |vault| {
            vault.forget_secret();
            Ok(())
        })?;
        set_back?;
    }
    made
}

fn set_back(access: &dyn Access, chip: &Chip) -> Result<(), Failure> {
    let present = with(access, |vault| {
        let used = used(vault);
        let mut noted = noted::read(vault)?.into_iter();
        let reset = noted.find(|entry| Some(entry.place) == used);
        let reset = reset.and_then(|entry| entry.reset_secret());
        Ok(noted::in_area(vault.area()).zip(reset))
    })?;
    match present {
        Some((enrolment, reset)) => chip::set_back(&mut chip.open()?, &enrolment, &reset),
        None => Ok(()),
    }
}

/// Ends what an empty vault remembers of the one that was in its place.
// [SPEC 11.57]
fn errands(access: &dyn Access, chip: &Chip) -> Result<(), Failure> {
    let places = with(access, |vault| {
        Ok(noted::places_of_errands(vault.errands()))
    })?;
    if places.is_empty() || chip.destroy(&places).len() < places.len() {
        return Ok(());
    }
    with(access, |vault| vault.errands_done().map_err(write_failure))
}
