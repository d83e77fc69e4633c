//! Changing what opens a vault, and making it anew after an opening: the one order of steps for both.
//!
//! 1. What is going to be made, in the TPM and at relays, is noted in the vault. 2. It is made, and gives what the new slots
//!    need. 3. The header is replaced. 4. What is noted and not in the header is destroyed.
//!
//! Cut off after any of them, the vault opens by what its header names, and whatever else there is is noted, so that the
//! next opening destroys it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use emptyroom_tpm::{Enrolment, Place};
use emptyroom_vault::{Factors, Mode, Rewrapping, Share, Vault};
use emptyroom_wire::address::RelayAddress;
use zeroize::Zeroizing;

use super::chip::{self, Chip, NotEnrolled};
use super::noted::{
    Area, Errands, Failed, HOSTS_LEN_MAX, LEASE_DAYS, Noted, NotedPlace, TPM_TOO, area_of,
    hosts_text,
};
use super::relays::{self, Open};
use super::tidy::{errands, tidy_by, tidy_tpm};
use crate::api::{Exit, Failure};
use crate::carrier::Carrier;
use crate::clock;
use crate::engine::own::write_failure;
use crate::shares::RELAYS_MAX;
use crate::shares::refresh::Input;

/// Something to be done with the vault, where it is.
pub(crate) type Work = Box<dyn FnOnce(&mut Vault) + Send>;

/// The way to an open vault for whoever must not hold it while the factors are asked.
pub(crate) trait Access {
    /// Has it done; says no where the vault is locked.
    fn send(&self, work: Work) -> bool;

    /// Whether somebody waits for the end, so that nobody is waited for any more who is not needed.
    fn is_hurried(&self) -> bool {
        false
    }
}

/// The ways to the factors.
#[derive(Clone)]
pub(crate) struct Ways {
    pub(super) chip: Chip,
    pub(super) carrier: Arc<dyn Carrier>,
}

impl Ways {
    /// Those of this machine.
    pub(crate) fn of_machine() -> Result<Self, Failure> {
        Ok(Self {
            chip: Chip::of_machine(),
            carrier: Arc::new(crate::session::direct()?),
        })
    }
}

/// The factors that are to be from now on; those that there are where nothing is said.
#[derive(Default)]
pub(crate) struct To {
    pub(crate) mode: Option<Mode>,
    /// None: those that were chosen before.
    pub(crate) relays: Vec<RelayAddress>,
}

pub(crate) fn with<T: Send + 'static>(
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

/// Makes a change that `begin` begins, with these factors. What is over then, [`tidy`](super::tidy::tidy) destroys.
pub(crate) fn rewrap(
    access: &dyn Access,
    ways: &Ways,
    to: To,
    begin: impl FnOnce(&Vault) -> Result<Rewrapping, Failure> + Send + 'static,
) -> Result<(), Failure> {
    check(&to.relays)?;
    let (change, mode) = with(access, move |vault| {
        let mode = to.mode.unwrap_or_else(|| vault.mode());
        Ok((begin(vault)?, mode))
    })?;
    let made = make(access, ways, (mode, to.relays, Spare::MayGo), change);
    made.map(drop)
        .map_err(|failure| unchanged(failure, to.mode.is_none()))
}

/// What stands in the way of a change is no reason to enter the recovery words, which may just have been.
fn unchanged(failure: Failure, same_mode: bool) -> Failure {
    if !failure.error.starts_with("vault_tpm_") || failure.error == "vault_tpm_full" {
        return failure;
    }
    let hint = if same_mode {
        "nothing was changed; `emptyroom pin change --mode passphrase` sets a new PIN that does without the TPM"
    } else {
        "nothing was changed; the mode `passphrase` does without a TPM"
    };
    failure.hint(hint)
}

/// Whether these are relays that can be asked together.
pub(super) fn check(addresses: &[RelayAddress]) -> Result<(), Failure> {
    let usage = |text: &str| Failure::new(Exit::Usage, "usage", text);
    if addresses.len() > RELAYS_MAX {
        return Err(relays::needs_relays());
    }
    for (number, address) in addresses.iter().enumerate() {
        let hosts: Vec<_> = address.hosts().cloned().collect();
        if hosts_text(&hosts).len() > HOSTS_LEN_MAX {
            return Err(usage("a relay's hosts are longer than 110 characters"));
        }
        let before = addresses.iter().take(number);
        if before
            .into_iter()
            .any(|other| other.identity == address.identity)
        {
            return Err(usage("a relay is named twice")
                .hint("each must be another one, run by somebody else"));
        }
    }
    Ok(())
}

/// Everything that a new header needs.
struct Made {
    area: Area,
    factors: Factors,
    reset: Option<(Place, Zeroizing<[u8; 32]>)>,
}

/// What becomes of relays that the header names and that are chosen, and do not take a new share.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spare {
    /// They are left out.
    MayGo,
    /// While the relays allow enough attempts they are waited for, over some openings: a relay that is restarted, or slow, must not
    /// leave a vault that hangs on each of the others.
    Stays,
}

/// How many attempts are enough for that.
// [SPEC 11.52]
const SPARE_ATTEMPTS: u32 = 7;

/// Gives the streams on which relays have taken their shares.
fn make(
    access: &dyn Access,
    ways: &Ways,
    (mode, to, spare): (Mode, Vec<RelayAddress>, Spare),
    change: Rewrapping,
) -> Result<Option<Open>, Failure> {
    let mut made = Made {
        area: Area::default(),
        factors: Factors::default(),
        reset: None,
    };
    let (mut chosen, mut open) = (Vec::new(), None);
    if mode.asks_relays() {
        let put = put(access, ways, (to, spare), &change, &mut made)?;
        (chosen, open) = (put.0, Some(put.1));
    }
    if mode.asks_tpm() {
        enrol(access, &ways.chip, &change, &mut made)?;
    }
    if mode != Mode::Passphrase {
        made.factors.area = made.area.encode();
    }
    let place = made.reset.as_ref().map(|(place, _)| *place);
    let begun = Arc::new(AtomicBool::new(false));
    let begins = begun.clone();
    let replaced = with(access, move |vault| {
        begins.store(true, Ordering::Relaxed);
        replace(vault, (change, made), chosen)
    });
    // Locked or destroyed meanwhile: no header names it, and who destroyed the vault may have come before it was made.
    if let Some(place) = place
        && !begun.load(Ordering::Relaxed)
    {
        ways.chip.destroy(&[(place, None)]);
    }
    replaced.map(|()| open)
}

/// Notes what was made, and has the header name it.
// [SPEC 11.52]
fn replace(
    vault: &mut Vault,
    (change, made): (Rewrapping, Made),
    chosen: Vec<RelayAddress>,
) -> Result<(), Failure> {
    let mut noted = keep_errands(vault)?;
    if let Some((place, reset)) = &made.reset {
        let mut places = noted.places.iter_mut();
        if let Some(entry) = places.find(|entry| entry.place == *place) {
            entry.reset = Some(reset.clone());
        }
    }
    // Until the header counts, the relays that were chosen before it are: whatever fails here, the next refresh asks those
    // that its header's shares are at.
    noted.relays = noted.relays_of(&area_of(vault)).to_vec();
    // From here on a header may name them.
    let tpm_too = made.area.enrolment.as_ref().map_or(0, |_| TPM_TOO);
    for share in &mut noted.shares {
        if made.area.names(&share.at.id) {
            share.needed = u8::try_from(made.area.needed).unwrap_or(TPM_TOO - 1) | tpm_too;
        }
    }
    let first = made.area.shares.first();
    noted.chosen = first.map(|at| (at.id.clone(), chosen.clone()));
    noted.write(vault).map_err(write_failure)?;
    let before = vault.header_number();
    match vault.rewrap(change, &made.factors) {
        // It counts: what is not written after it is told by whatever is written next, and the vault's end.
        Err(_) if vault.header_number() != before => {}
        made => made.map_err(write_failure)?,
    }
    (noted.relays, noted.chosen, noted.failed) = (chosen, None, None);
    noted.refreshed_ms = clock::now().wall.0;
    // The change was made: what is not written here is only for showing.
    let _ = noted.write(vault);
    Ok(())
}

fn enrol(
    access: &dyn Access,
    chip: &Chip,
    change: &Rewrapping,
    made: &mut Made,
) -> Result<(), Failure> {
    let mut tpm = chip.open()?;
    let place = chip::free_place(&mut tpm)?;
    let identity = tpm.identity().ok();
    // [SPEC 11.35]
    with(access, move |vault| {
        let mut noted = Noted::read(vault)?;
        noted.places.push(NotedPlace {
            place,
            reset: None,
            tpm: identity,
        });
        noted.write(vault).map_err(write_failure)
    })?;
    let enrolled = match chip::enrol(&mut tpm, place, change.tpm_inputs()) {
        Ok(enrolled) => enrolled,
        Err(NotEnrolled::Perhaps(failure)) => {
            drop(tpm);
            chip.destroy(&[(place, None)]);
            return Err(failure);
        }
        // What is there belongs to somebody else.
        Err(NotEnrolled::Not(failure)) => {
            with(access, move |vault| {
                let mut noted = Noted::read(vault)?;
                noted.places.retain(|entry| entry.place != place);
                noted.write(vault).map_err(write_failure)
            })?;
            return Err(failure);
        }
    };
    made.reset = Some((place, Zeroizing::new(*enrolled.reset.expose())));
    made.area.enrolment = Some(enrolled.enrolment);
    made.factors.tpm = Some(enrolled.shares);
    Ok(())
}

/// Puts new shares at these relays, or at those that were chosen before; gives which, and the streams.
fn put(
    access: &dyn Access,
    ways: &Ways,
    (to, spare): (Vec<RelayAddress>, Spare),
    change: &Rewrapping,
    made: &mut Made,
) -> Result<(Vec<RelayAddress>, Open), Failure> {
    let (chosen, known, seen, panic_secret, (days, keep)) = with(access, move |vault| {
        let (noted, area) = (Noted::read(vault)?, area_of(vault));
        let chosen = if to.is_empty() {
            noted.relays_of(&area).to_vec()
        } else {
            to
        };
        let keep = spare == Spare::Stays && noted.attempts(&area) >= SPARE_ATTEMPTS;
        let (secret, terms) = (vault.panic_secret(), (lease(vault), keep));
        let seen = noted.shares.into_iter().map(|share| share.at);
        Ok((chosen, area.shares, seen.collect::<Vec<_>>(), secret, terms))
    })?;
    let inputs = change.relays_inputs();
    let slots = inputs.each_ref().map(|(slot, _)| *slot);
    let inputs = inputs.map(|(slot, bytes)| Input { slot, bytes });
    let new = relays::New {
        relays: &chosen,
        known: &known,
        seen: &seen,
        keep,
        panic_secret: &panic_secret,
        days,
        inputs: inputs.into(),
    };
    let put = relays::put(access, &ways.carrier, new)?;
    let secret = |slot| {
        let found = put.area.secrets.iter().find(|(of, _)| *of == slot);
        found.map(|(_, secret)| secret.clone())
    };
    let [opens, panics] = slots.map(secret);
    let both: Option<[Share; 2]> = opens.zip(panics).map(|(opens, panics)| [opens, panics]);
    made.factors.relays = Some(both.ok_or_else(|| Failure::fault("a slot was not shared"))?);
    made.area.needed = put.area.needed;
    made.area.shares = put.shares;
    made.area.masked = put.area.masked;
    Ok((chosen, put.open))
}

/// For how long shares are kept: where there is a dead-man time they end with it, also where the device is off. A day more, since the PIN
/// sets back a time that is over for a day.
// [SPEC 11.54]
fn lease(vault: &Vault) -> u16 {
    let limit = crate::engine::deadman_days(vault);
    let days = limit.and_then(|days| u16::try_from(days + 1).ok());
    days.map_or(LEASE_DAYS, |days| days.min(LEASE_DAYS))
}

/// The leases are to be as long as the time that was set, from now on. What was noted of them before is over by it.
// [SPEC 11.54]
pub(crate) fn renew(access: &dyn Access, ways: &Ways) -> Result<(), Failure> {
    let (area, secret, days) = with(access, |vault| {
        Ok((area_of(vault), vault.panic_secret(), lease(vault)))
    })?;
    let is_hurried = || access.is_hurried();
    let not = relays::renew(&ways.carrier, (&secret, days), &area.shares, &is_hurried)?;
    if !not.is_empty() {
        let not: Vec<String> = not.iter().map(|at| hosts_text(&at.hosts)).collect();
        let text = format!("{NO_LEASE}: {}", not.join(", "));
        return Err(Failure::new(Exit::Vault, "vault_relays_needed", text));
    }
    with(access, |vault| {
        let of_leases = |failed: &Failed| failed.text.starts_with(NO_LEASE);
        // They are renewed: what is noted is only for telling.
        if let Ok(mut noted) = Noted::read(vault)
            && noted.failed.as_ref().is_some_and(of_leases)
        {
            noted.failed = None;
            let _ = noted.write(vault);
        }
        Ok(())
    })
}

/// How what is noted of leases begins.
const NO_LEASE: &str = "relays did not renew their share";

/// Notes that leases are to be renewed, before that is begun: where it is cut off, whoever opens the vault next is told, and it is done.
// [SPEC 11.54]
pub(crate) fn note_due(vault: &mut Vault) -> Result<(), Failure> {
    let mut noted = Noted::read(vault)?;
    if noted.failed.is_some() {
        return Ok(());
    }
    noted.failed = Some(Failed {
        since_ms: clock::now().wall.0,
        error: "vault_relays_needed".to_owned(),
        text: format!("{NO_LEASE} for the time that was set"),
    });
    noted.write(vault).map_err(write_failure)
}

/// Notes why the factors are not as they should be, so that every command can tell.
// [SPEC 11.53]
pub(crate) fn note_failed(access: &dyn Access, failure: &Failure) -> Result<(), Failure> {
    let (error, text) = (failure.error.clone(), failure.text.clone());
    with(access, move |vault| {
        let mut noted = Noted::read(vault)?;
        let before = noted.failed.take().map(|failed| failed.since_ms);
        noted.failed = Some(Failed {
            since_ms: before.unwrap_or_else(|| clock::now().wall.0),
            error,
            text,
        });
        noted.write(vault).map_err(write_failure)
    })
}

/// What an empty vault remembers of the one before goes where it outlives a change of the header. Gives what is noted then,
/// not written yet.
fn keep_errands(vault: &mut Vault) -> Result<Noted, Failure> {
    let mut noted = Noted::read_or_new(vault)?;
    if let Some(errands) = Errands::decode(vault.errands())
        && !errands.is_empty()
    {
        noted.add_errands(errands);
        noted.write(vault).map_err(write_failure)?;
        vault.errands_done().map_err(write_failure)?;
    }
    Ok(noted)
}

/// Whether there is something to be done after an opening.
pub(crate) fn is_due(vault: &Vault) -> bool {
    vault.mode() != Mode::Passphrase
        || !vault.errands().is_empty()
        || Noted::read(vault).is_ok_and(|noted| noted.has_something())
}

/// After an opening: what was left to be destroyed is, and the factors are made anew; where that fails now, they are at
/// least given all tries back.
// [SPEC 11.52]
pub(crate) fn refresh(access: &dyn Access, ways: &Ways) -> Result<(), Failure> {
    let is_new = with(access, |vault| Ok(vault.refreshed().is_some()))?;
    // [SPEC 11.53] Before any network. Where it fails, only what is made anew has all its tries.
    let set_back = if is_new {
        set_back(access, ways)
    } else {
        Ok(())
    };
    // What is left in the TPM may be what a new index has no room for. It must not stand in the way of what follows.
    let before = tidy_tpm(access, ways);
    let made = if is_new { anew(access, ways) } else { Ok(None) };
    forget(access)?;
    if let Err(failure) = &made {
        // No use comes back by it, but the shares stay. They have a year where there is no dead-man time and the last renewal did not
        // fail: then nobody waits for it.
        let have_a_year = with(access, |vault| {
            Ok(lease(vault) >= LEASE_DAYS && Noted::read(vault)?.failed.is_none())
        });
        // What cannot be written is at least not in the way.
        let _ = note_failed(access, failure);
        if !access.is_hurried() || !have_a_year.is_ok_and(|have| have) {
            let _ = renew(access, ways);
        }
    }
    let (made, open) = match made {
        Ok(open) => (Ok(()), open),
        Err(failure) => (Err(failure), None),
    };
    let after = tidy_by(access, ways, open).and(errands(access, ways));
    made.map_err(|failure| set_back.err().unwrap_or(failure))
        .and(before)
        .and(after)
}

/// The secret that a refresh takes is not kept for longer.
pub(crate) fn forget(access: &dyn Access) -> Result<(), Failure> {
    with(access, |vault| {
        vault.forget_secret();
        Ok(())
    })
}

fn anew(access: &dyn Access, ways: &Ways) -> Result<Option<Open>, Failure> {
    let begun = with(access, |vault| {
        Ok(vault.refreshed().map(|change| (change, vault.mode())))
    })?;
    match begun {
        Some((change, mode)) => make(access, ways, (mode, Vec::new(), Spare::Stays), change),
        None => Ok(None),
    }
}

/// The TPM gives all tries back.
fn set_back(access: &dyn Access, ways: &Ways) -> Result<(), Failure> {
    let (area, reset) = with(access, |vault| {
        let (area, noted) = (area_of(vault), Noted::read(vault)?);
        let mut places = noted.places.into_iter();
        let present = places.find(|entry| Some(entry.place) == area.place());
        Ok((area, present.and_then(|entry| entry.reset_secret())))
    })?;
    let present: Option<(Enrolment, _)> = area.enrolment.zip(reset);
    match present {
        Some((enrolment, reset)) => chip::set_back(&mut ways.chip.open()?, &enrolment, &reset),
        None => Ok(()),
    }
}
