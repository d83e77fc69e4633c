//! Changing what opens a vault, and making it anew after an opening: the one order of steps for both.
//!
//! 1. What is going to be made, in the TPM and at relays, is noted in the vault. 2. It is made, and gives what the new slots
//!    need. 3. The header is replaced. 4. What is noted and not in the header is destroyed.
//!
//! Cut off after any of them, the vault opens by what its header names, and whatever else there is is noted, so that the
//! next opening destroys it.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use emptyroom_tpm::{Enrolment, Place};
use emptyroom_vault::{Factors, Mode, Rewrapping, Share, Vault};
use emptyroom_wire::address::RelayAddress;
use zeroize::Zeroizing;

use super::chip::{self, Chip};
use super::noted::{
    Area, At, Delete, Errands, HOSTS_LEN_MAX, Noted, NotedPlace, area_of, hosts_text,
};
use super::relays;
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

/// Makes a change that `begin` begins, with these factors. What is over then, [`tidy`] destroys.
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
    make(access, ways, (mode, to.relays), change)
}

/// Whether these are relays that can be asked together.
fn check(addresses: &[RelayAddress]) -> Result<(), Failure> {
    let usage = |text: &str| Failure::new(Exit::Usage, "usage", text);
    if addresses.len() > RELAYS_MAX {
        return Err(relays::needs_relays());
    }
    for (number, address) in addresses.iter().enumerate() {
        let hosts: Vec<_> = address.hosts().cloned().collect();
        if hosts_text(&hosts).len() > HOSTS_LEN_MAX {
            return Err(usage("a relay's hosts are longer than 150 characters"));
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

fn make(
    access: &dyn Access,
    ways: &Ways,
    (mode, chosen): (Mode, Vec<RelayAddress>),
    change: Rewrapping,
) -> Result<(), Failure> {
    let mut made = Made {
        area: Area::default(),
        factors: Factors::default(),
        reset: None,
    };
    let mut relays_used = Vec::new();
    if mode.asks_relays() {
        relays_used = chosen;
        if relays_used.is_empty() {
            relays_used = with(access, |vault| Ok(Noted::read(vault)?.relays))?;
        }
        put(access, ways, &relays_used, &change, &mut made)?;
    }
    if mode.asks_tpm() {
        enrol(access, &ways.chip, &change, &mut made)?;
    }
    if mode != Mode::Passphrase {
        made.factors.area = made.area.encode();
    }
    let place = made.reset.as_ref().map(|(place, _)| *place);
    // [SPEC 11.52]
    let replaced = with(access, move |vault| {
        let mut noted = keep_errands(vault)?;
        if let Some((place, reset)) = &made.reset {
            for entry in noted
                .places
                .iter_mut()
                .filter(|entry| entry.place == *place)
            {
                entry.reset = Some(reset.clone());
            }
        }
        noted.relays = relays_used;
        noted.refreshed_ms = clock::now().wall.0;
        noted.write(vault).map_err(write_failure)?;
        vault.rewrap(change, &made.factors).map_err(write_failure)
    });
    // Locked or destroyed meanwhile: no header names it, and who destroyed the vault may have come before it was made.
    if let Some(place) = place
        && replaced.as_ref() == Err(&Failure::locked())
    {
        ways.chip.destroy(&[place]);
    }
    replaced
}

fn enrol(
    access: &dyn Access,
    chip: &Chip,
    change: &Rewrapping,
    made: &mut Made,
) -> Result<(), Failure> {
    let mut tpm = chip.open()?;
    let place = chip::free_place(&mut tpm)?;
    // [SPEC 11.35]
    with(access, move |vault| {
        let mut noted = Noted::read(vault)?;
        noted.places.push(NotedPlace { place, reset: None });
        noted.write(vault).map_err(write_failure)
    })?;
    let enrolled = chip::enrol(&mut tpm, place, change.tpm_inputs());
    drop(tpm);
    if enrolled.is_err() {
        chip.destroy(&[place]);
    }
    let enrolled = enrolled?;
    made.reset = Some((place, Zeroizing::new(*enrolled.reset.expose())));
    made.area.enrolment = Some(enrolled.enrolment);
    made.factors.tpm = Some(enrolled.shares);
    Ok(())
}

fn put(
    access: &dyn Access,
    ways: &Ways,
    chosen: &[RelayAddress],
    change: &Rewrapping,
    made: &mut Made,
) -> Result<(), Failure> {
    let panic_secret = with(access, |vault| Ok(vault.panic_secret()))?;
    let inputs = change.relays_inputs();
    let slots = inputs.each_ref().map(|(slot, _)| *slot);
    let inputs = inputs.map(|(slot, bytes)| Input { slot, bytes });
    let (new, shares) = relays::put(
        access,
        &ways.carrier,
        chosen,
        (&panic_secret, inputs.into()),
    )?;
    let secret = |slot| {
        let found = new.secrets.iter().find(|(of, _)| *of == slot);
        found.map(|(_, secret)| secret.clone())
    };
    let [opens, panics] = slots.map(secret);
    let both: Option<[Share; 2]> = opens.zip(panics).map(|(opens, panics)| [opens, panics]);
    made.factors.relays = Some(both.ok_or_else(|| Failure::fault("a slot was not shared"))?);
    made.area.needed = new.needed;
    made.area.shares = shares;
    made.area.masked = new.masked;
    Ok(())
}

/// What an empty vault remembers of the one before goes where it outlives a change of the header. Gives what is noted then,
/// not written yet.
fn keep_errands(vault: &mut Vault) -> Result<Noted, Failure> {
    let mut noted = Noted::read(vault)?;
    if let Some(errands) = Errands::decode(vault.errands())
        && !errands.is_empty()
    {
        noted.errands.places.extend(errands.places);
        noted.errands.deletes.extend(errands.deletes);
        noted.write(vault).map_err(write_failure)?;
        vault.errands_done().map_err(write_failure)?;
    }
    Ok(noted)
}

/// Destroys what is noted and not in the header. What cannot be reached stays noted.
pub(crate) fn tidy(access: &dyn Access, ways: &Ways) -> Result<(), Failure> {
    let (places, orders) = with(access, |vault| {
        // [SPEC 11.52] Where it is not sure which header counts, the other one may be it.
        vault.settle_header().map_err(write_failure)?;
        let (used, noted) = (area_of(vault), Noted::read(vault)?);
        let places = noted.places.iter().map(|entry| entry.place);
        let places: Vec<Place> = places
            .filter(|place| Some(*place) != used.place())
            .collect();
        let secret = vault.panic_secret();
        let unused = noted.shares.iter().filter(|at| !used.shares.contains(at));
        let orders: Vec<Delete> = unused.map(|at| relays::order(&secret, at)).collect();
        Ok((places, orders))
    })?;
    let ended = ways.chip.destroy(&places);
    let gone = relays::delete(&ways.carrier, orders)?;
    if ended.is_empty() && gone.is_empty() {
        return Ok(());
    }
    with(access, move |vault| {
        let mut noted = Noted::read(vault)?;
        noted.places.retain(|entry| !ended.contains(&entry.place));
        noted.shares.retain(|at| !gone.contains(&at.id));
        noted.write(vault).map_err(write_failure)
    })
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
    // What is left of before must not stand in the way of what follows; it stays noted.
    let before = errands(access, ways).and_then(|()| tidy(access, ways));
    let made = if is_new { anew(access, ways) } else { Ok(()) };
    forget(access)?;
    let kept = match &made {
        Ok(()) => tidy(access, ways),
        Err(_) => renew(access, ways).and(tidy(access, ways)),
    };
    before
        .and(made.map_err(|failure| set_back.err().unwrap_or(failure)))
        .and(kept)
}

/// The secret that a refresh takes is not kept for longer.
pub(crate) fn forget(access: &dyn Access) -> Result<(), Failure> {
    with(access, |vault| {
        vault.forget_secret();
        Ok(())
    })
}

fn anew(access: &dyn Access, ways: &Ways) -> Result<(), Failure> {
    let begun = with(access, |vault| {
        Ok(vault.refreshed().map(|change| (change, vault.mode())))
    })?;
    match begun {
        Some((change, mode)) => make(access, ways, (mode, Vec::new()), change),
        None => Ok(()),
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

/// The relays keep their shares.
fn renew(access: &dyn Access, ways: &Ways) -> Result<(), Failure> {
    let (area, secret) = with(access, |vault| Ok((area_of(vault), vault.panic_secret())))?;
    relays::renew(&ways.carrier, &secret, &area.shares)
}

/// Ends what a vault remembers of the one that was in its place.
// [SPEC 11.57]
fn errands(access: &dyn Access, ways: &Ways) -> Result<(), Failure> {
    let (of_header, noted) = with(access, |vault| {
        let errands = Errands::decode(vault.errands()).unwrap_or_default();
        Ok((errands, Noted::read(vault)?.errands))
    })?;
    if !of_header.is_empty() && run(ways, &of_header)? {
        with(access, |vault| vault.errands_done().map_err(write_failure))?;
    }
    if !noted.is_empty() && run(ways, &noted)? {
        with(access, |vault| {
            let mut noted = Noted::read(vault)?;
            noted.errands = Errands::default();
            noted.write(vault).map_err(write_failure)
        })?;
    }
    Ok(())
}

/// Whether all of it is done.
fn run(ways: &Ways, errands: &Errands) -> Result<bool, Failure> {
    let ended = ways.chip.destroy(&errands.places).len();
    let gone = relays::delete(&ways.carrier, errands.deletes.clone())?.len();
    Ok(ended == errands.places.len() && gone == errands.deletes.len())
}

/// All that an open vault may have elsewhere, and the orders to end it: what its header names first.
pub(super) fn all(vault: &Vault) -> Errands {
    let area = area_of(vault);
    let mut errands = Errands::decode(vault.errands()).unwrap_or_default();
    // What cannot be read cannot be ended, and must not stop the rest.
    let noted = Noted::read(vault).unwrap_or_default();
    let places = noted.places.iter().map(|entry| entry.place);
    for place in area.place().into_iter().chain(places) {
        if !errands.places.contains(&place) {
            errands.places.push(place);
        }
    }
    let secret = vault.panic_secret();
    let mut shares: Vec<&At> = area.shares.iter().collect();
    shares.extend(noted.shares.iter().filter(|at| !area.shares.contains(at)));
    errands
        .deletes
        .extend(shares.into_iter().map(|at| relays::order(&secret, at)));
    errands.places.extend(noted.errands.places);
    errands.deletes.extend(noted.errands.deletes);
    errands
}
