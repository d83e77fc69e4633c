//! Destroying what is elsewhere and not needed any more: indexes in the TPM, shares at relays.

use emptyroom_tpm::Place;
use emptyroom_vault::Vault;
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::share::ShareId;

use super::change::{Access, Ways, with};
use super::chip::Of;
use super::noted::{At, Delete, Errands, Noted, area_known, area_of};
use super::relays;
use crate::api::Failure;
use crate::clock;
use crate::engine::own::write_failure;

/// Destroys what is noted and not in the header. What cannot be reached stays noted.
pub(crate) fn tidy(access: &dyn Access, ways: &Ways) -> Result<(), Failure> {
    tidy_tpm(access, ways).and(tidy_relays(access, ways))
}

pub(super) fn tidy_tpm(access: &dyn Access, ways: &Ways) -> Result<(), Failure> {
    let places = with(access, |vault| {
        // [SPEC 11.52] Where it is not sure which header counts, the other one may be it.
        vault.settle_header().map_err(write_failure)?;
        let (used, noted) = (area_known(vault)?.place(), Noted::read(vault)?);
        let places = noted.places.iter().map(|entry| (entry.place, entry.tpm));
        Ok(places
            .filter(|(place, _)| Some(*place) != used)
            .collect::<Vec<_>>())
    })?;
    let ended = ways.chip.destroy(&places);
    if ended.is_empty() {
        return Ok(());
    }
    with(access, move |vault| {
        let mut noted = Noted::read(vault)?;
        noted.places.retain(|entry| !ended.contains(&entry.place));
        noted.write(vault).map_err(write_failure)
    })
}

fn tidy_relays(access: &dyn Access, ways: &Ways) -> Result<(), Failure> {
    let now = clock::now().wall.0;
    let (orders, over, named) = with(access, move |vault| {
        vault.settle_header().map_err(write_failure)?;
        let (used, noted) = (area_known(vault)?, Noted::read(vault)?);
        let secret = vault.panic_secret();
        let is_over = |id: &ShareId| {
            let mut shares = noted.shares.iter();
            shares.any(|share| share.at.id == *id && share.is_over(now))
        };
        let (over, unused): (Vec<&At>, Vec<&At>) =
            noted.unused(&used).partition(|at| is_over(&at.id));
        // The newest first: copies of the disk are likelier of then.
        let orders: Vec<Delete> = unused
            .into_iter()
            .rev()
            .map(|at| relays::order(&secret, at))
            .collect();
        let over: Vec<ShareId> = over.into_iter().map(|at| at.id.clone()).collect();
        let named: Vec<IdentityHash> = used.shares.iter().map(|at| at.relay).collect();
        Ok((orders, over, named))
    })?;
    let orders = (orders, &named[..]);
    let mut gone = relays::delete(&ways.carrier, orders, &|| access.is_hurried())?;
    // Nobody has to be asked whether these are there.
    gone.extend(over);
    if gone.is_empty() {
        return Ok(());
    }
    with(access, move |vault| {
        let mut noted = Noted::read(vault)?;
        noted.shares.retain(|share| !gone.contains(&share.at.id));
        noted.write(vault).map_err(write_failure)
    })
}

/// Ends what a vault remembers of the one that was in its place.
// [SPEC 11.57]
pub(crate) fn errands(access: &dyn Access, ways: &Ways) -> Result<(), Failure> {
    let (of_header, noted) = with(access, |vault| {
        let errands = Errands::decode(vault.errands()).unwrap_or_default();
        Ok((errands, Noted::read(vault)?.errands))
    })?;
    if !of_header.is_empty() && run(access, ways, &of_header)? {
        with(access, |vault| vault.errands_done().map_err(write_failure))?;
    }
    if !noted.is_empty() && run(access, ways, &noted)? {
        with(access, move |vault| {
            let mut now = Noted::read(vault)?;
            // Others may have come meanwhile.
            now.errands
                .places
                .retain(|place| !noted.places.contains(place));
            now.errands
                .deletes
                .retain(|delete| !noted.deletes.contains(delete));
            now.write(vault).map_err(write_failure)
        })?;
    }
    Ok(())
}

/// Strikes what is noted to be destroyed in a TPM, by the owner's word that it was cleared: nobody else can tell that from another TPM.
/// What the header names stays, and so do shares.
// [SPEC 12.62]
pub(crate) fn forget_places(access: &dyn Access) -> Result<(), Failure> {
    with(access, |vault| {
        // Where it is not sure which header counts, the other one may be it.
        vault.settle_header().map_err(write_failure)?;
        let (used, mut noted) = (area_known(vault)?.place(), Noted::read(vault)?);
        noted.places.retain(|entry| Some(entry.place) == used);
        noted.errands.places.clear();
        noted.write(vault).map_err(write_failure)
    })
}

/// Notes in one vault what another one may have elsewhere, so that it is ended whatever becomes of that.
pub(crate) fn remember(access: &dyn Access, other: &Vault) -> Result<(), Failure> {
    let errands = all(other);
    with(access, move |vault| {
        let mut noted = Noted::read(vault)?;
        let Errands { places, deletes } = &mut noted.errands;
        let (places_before, deletes_before) = (places.len(), deletes.len());
        for place in errands.places {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        for delete in errands.deletes {
            if !deletes.contains(&delete) {
                deletes.push(delete);
            }
        }
        if places.len() == places_before && deletes.len() == deletes_before {
            return Ok(());
        }
        noted.write(vault).map_err(write_failure)
    })
}

/// Whether all of it is done.
fn run(access: &dyn Access, ways: &Ways, errands: &Errands) -> Result<bool, Failure> {
    let places: Vec<Of> = errands.places.iter().map(|place| (*place, None)).collect();
    let ended = ways.chip.destroy(&places).len();
    let orders = errands.deletes.clone();
    // All are looked for as long: nobody knows which of these relays are there.
    let all: Vec<IdentityHash> = orders.iter().map(|order| order.at.relay).collect();
    let gone = relays::delete(&ways.carrier, (orders, &all), &|| access.is_hurried())?.len();
    Ok(ended == errands.places.len() && gone == errands.deletes.len())
}

/// The places that an open vault may have, each with the TPM that it is one of, as far as that is known.
pub(super) fn places(vault: &Vault) -> Vec<Of> {
    let noted = Noted::read(vault).unwrap_or_default();
    let known = noted.places.iter().map(|entry| (entry.place, entry.tpm));
    let known: Vec<Of> = area_of(vault).place_of().into_iter().chain(known).collect();
    let of = |place: Place| {
        let found = known.iter().find(|(known, _)| *known == place);
        found.copied().unwrap_or((place, None))
    };
    all(vault).places.into_iter().map(of).collect()
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
    shares.extend(noted.unused(&area));
    errands
        .deletes
        .extend(shares.into_iter().map(|at| relays::order(&secret, at)));
    errands.places.extend(noted.errands.places);
    errands.deletes.extend(noted.errands.deletes);
    errands
}
