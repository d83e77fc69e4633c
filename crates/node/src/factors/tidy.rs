//! Destroying what is elsewhere and not needed any more: indexes in the TPM, shares at relays.

use emptyroom_tpm::Place;
use emptyroom_vault::Vault;
use emptyroom_wire::relay_key::IdentityHash;

use super::change::{Access, Ways, with};
use super::chip::Of;
use super::noted::{Area, At, Delete, Errands, Noted, Pause, area_known, area_of, in_words};
use super::relays::{self, Open};
use crate::api::Failure;
use crate::clock;
use crate::engine::own::write_failure;

/// Destroys what is noted and not in the header. What cannot be reached stays noted.
pub(crate) fn tidy(access: &dyn Access, ways: &Ways) -> Result<(), Failure> {
    tidy_by(access, ways, None)
}

/// The same by the streams on which the new shares were put: whoever lets that through does not know when the old ones are deleted.
// [SPEC 11.52]
pub(super) fn tidy_by(access: &dyn Access, ways: &Ways, open: Option<Open>) -> Result<(), Failure> {
    tidy_tpm(access, ways).and(tidy_relays(access, ways, open))
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

fn tidy_relays(access: &dyn Access, ways: &Ways, open: Option<Open>) -> Result<(), Failure> {
    let (orders, over, named) = with(access, move |vault| {
        vault.settle_header().map_err(write_failure)?;
        let (used, noted) = (area_known(vault)?, Noted::read(vault)?);
        let secret = vault.panic_secret();
        // The newest first: copies of the disk are likelier of then.
        let unused: Vec<&At> = noted.unused(&used).collect();
        let orders = unused.into_iter().rev();
        let orders: Vec<Delete> = orders.map(|at| relays::order(&secret, at)).collect();
        Ok((orders, noted.over(certain_ms()), named(&used)))
    })?;
    let orders = (orders, &named[..]);
    let mut gone = relays::delete(&ways.carrier, orders, open, &|| access.is_hurried())?;
    // Their relays were asked all the same: a clock may be wrong.
    gone.extend(over);
    if gone.is_empty() {
        return Ok(());
    }
    with(access, move |vault| {
        let (used, mut noted) = (area_known(vault)?, Noted::read(vault)?);
        noted
            .shares
            .retain(|share| used.names(&share.at.id) || !gone.contains(&share.at.id));
        noted.write(vault).map_err(write_failure)
    })
}

/// The time, where something keeps the clock right: what is forgotten by one that went ahead once is not deleted by anybody any more.
// [SPEC 11.121]
fn certain_ms() -> Option<u64> {
    clock::here().synchronised.map(|wall| wall.0)
}

/// The relays that a header names, which were just reached.
fn named(area: &Area) -> Vec<IdentityHash> {
    area.shares.iter().map(|at| at.relay).collect()
}

/// Ends what a vault remembers of the one that was in its place.
// [SPEC 11.57]
pub(crate) fn errands(access: &dyn Access, ways: &Ways) -> Result<(), Failure> {
    let (of_header, noted, named) = with(access, |vault| {
        let errands = Errands::decode(vault.errands()).unwrap_or_default();
        Ok((errands, Noted::read(vault)?, named(&area_of(vault))))
    })?;
    // Those of the header are of a vault that was destroyed: none of its relays is left out of waiting.
    let all: Vec<IdentityHash> = of_header.deletes.iter().map(|of| of.at.relay).collect();
    if !of_header.is_empty() {
        let mut left = of_header.clone();
        let (done, tried_ms) = run(access, ways, (&of_header, &all))?;
        left.tried(&done, tried_ms);
        if left != of_header {
            keep_in_header(access, left)?;
        }
    }
    if noted.errands.is_empty() {
        return Ok(());
    }
    let (mut done, tried_ms) = run(access, ways, (&noted.errands, &named))?;
    if tried_ms.is_some() && noted.are_errands_over(certain_ms()) {
        done.deletes.clone_from(&noted.errands.deletes);
    }
    if done.is_empty() && tried_ms.is_none() {
        return Ok(());
    }
    with(access, move |vault| {
        let mut now = Noted::read(vault)?;
        // Others may have come meanwhile.
        now.errands.tried(&done, tried_ms);
        now.write(vault).map_err(write_failure)
    })
}

fn keep_in_header(access: &dyn Access, left: Errands) -> Result<(), Failure> {
    with(access, move |vault| {
        let kept = match left.is_empty() {
            true => vault.errands_done(),
            false => vault.set_errands(left.encode()),
        };
        kept.map_err(write_failure)
    })
}

/// Strikes what is noted to be destroyed in another TPM than the one that is here, by the owner's word that it was cleared: nobody else
/// can tell that. What this one has it is made to destroy first. Gives what was struck, in words. What the header names stays, and so do
/// shares.
// [SPEC 12.62]
pub(crate) fn forget_places(access: &dyn Access, ways: &Ways) -> Result<Vec<String>, Failure> {
    let here = ways.chip.identity()?;
    tidy_tpm(access, ways)?;
    with(access, move |vault| {
        // Where it is not sure which header counts, the other one may be it.
        vault.settle_header().map_err(write_failure)?;
        let (used, mut noted) = (area_known(vault)?.place(), Noted::read(vault)?);
        let mut struck = Vec::new();
        noted.places.retain(|entry| {
            let is_elsewhere = entry.tpm.is_some_and(|tpm| tpm != here);
            let goes = is_elsewhere && Some(entry.place) != used;
            struck.extend(goes.then(|| in_words(&entry.place)));
            !goes
        });
        noted.write(vault).map_err(write_failure)?;
        Ok(struck)
    })
}

/// Notes in one vault what another one may have elsewhere, so that it is ended whatever becomes of that.
pub(crate) fn remember(access: &dyn Access, other: &Vault) -> Result<(), Failure> {
    let errands = all(other);
    with(access, move |vault| {
        let mut noted = Noted::read(vault)?;
        if !noted.add_errands(errands) {
            return Ok(());
        }
        noted.write(vault).map_err(write_failure)
    })
}

/// Does them as far as they can be done now; gives those that are done, and when the relays were tried, if they were.
fn run(
    access: &dyn Access,
    ways: &Ways,
    (errands, named): (&Errands, &[IdentityHash]),
) -> Result<(Errands, Option<u64>), Failure> {
    let now_ms = clock::now().wall.0;
    // [SPEC 11.122]
    let is_tried = !errands.deletes.is_empty() && !errands.pause.lasts(now_ms);
    let orders = match is_tried {
        true => errands.deletes.clone(),
        false => Vec::new(),
    };
    let places: Vec<Of> = errands.places.iter().map(|place| (*place, None)).collect();
    let places = ways.chip.destroy(&places);
    let hurried = || access.is_hurried();
    let gone = relays::delete(&ways.carrier, (orders, named), None, &hurried)?;
    let deletes = errands.deletes.iter();
    let deletes = deletes.filter(|delete| gone.contains(&delete.at.id));
    let done = Errands {
        places,
        deletes: deletes.cloned().collect(),
        ..Errands::default()
    };
    Ok((done, is_tried.then_some(now_ms)))
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
    // [SPEC 11.122] Whoever destroys the vault tries all.
    errands.pause = Pause::default();
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
