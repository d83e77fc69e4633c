//! The drill of what a vault has elsewhere: a throw-away vault in the mode of the real one is destroyed, and somebody who kept a copy of its
//! header asks with the right PIN. Nobody may answer him.

use std::cell::RefCell;
use std::path::Path;
use std::time::Instant;

use emptyroom_vault::os::OsDirectory;
use emptyroom_vault::{KdfParams, Locked, Mode, Passphrase, Stretched, Vault, Way};
use emptyroom_wire::address::RelayAddress;
use rand_core::Rng;
use zeroize::Zeroizing;

use super::{Place, Stopped, Times, in_the_way, not_begun_by};
use crate::api::Failure;
use crate::factors::{self, Access, To, Ways, Work, change, tidy};
use crate::{home, seed};

/// How the real vault is opened, and the way to it.
pub(crate) struct InUse<'a> {
    pub(crate) mode: Mode,
    pub(crate) relays: Vec<RelayAddress>,
    pub(crate) ways: Ways,
    pub(crate) real: &'a dyn Access,
}

/// The throw-away vault. What it may have elsewhere is noted in the real one before it is made, so that nothing of a drill that is cut
/// off stays for good.
struct Noted<'a> {
    vault: RefCell<Vault>,
    real: &'a dyn Access,
}

impl Access for Noted<'_> {
    fn send(&self, work: Work) -> bool {
        let mut vault = self.vault.borrow_mut();
        work(&mut vault);
        tidy::remember(self.real, &vault).is_ok()
    }
}

/// What is left to whoever copied the header: whom it names, and the right PIN.
struct Copy {
    area: Vec<u8>,
    stretched: Stretched,
}

/// One way, from making the vault to asking in vain.
///
/// # Errors
/// When it could not begin, or somebody still answers.
// [SPEC 11.92]
pub(super) fn step(
    home: &Path,
    kdf: KdfParams,
    way: Way,
    in_use: &InUse<'_>,
) -> Result<Times, Stopped> {
    let place = Place::make(home).map_err(|e| Stopped::Before(in_the_way(&e)))?;
    let (pin, panic) = (secret()?, secret()?);
    let mut last = Instant::now();
    let mut lap = || {
        let lap = last.elapsed();
        last = Instant::now();
        lap
    };
    // What stands in the way here is told as it is: relays that are away, a TPM that is full.
    let copy = prepare(&place, kdf, (&pin, &panic), in_use).map_err(Stopped::Before)?;
    let prepared = lap();
    let failed = |failure: Failure| Stopped::Elsewhere(failure.text);
    match way {
        Way::PanicPin | Way::OpenPanic => open_empty(&place, &panic, in_use).map_err(failed)?,
        Way::WithoutSecret | Way::OpenWipe => wipe(&place, &in_use.ways).map_err(failed)?,
    }
    let destroyed = lap();
    expect_silence(&copy, in_use)?;
    let times = Times {
        prepared,
        destroyed,
        searched: lap(),
    };
    // They are gone: the real vault need not remember them.
    let _ = tidy::errands(in_use.real, &in_use.ways);
    Ok(times)
}

fn prepare(
    place: &Place,
    kdf: KdfParams,
    (pin, panic): (&Secret, &Secret),
    in_use: &InUse<'_>,
) -> Result<Copy, Failure> {
    let rng = Box::new(seed::generator()?);
    let vault = Vault::create(place.directory(), &typed(pin), kdf, rng);
    let vault = vault.map_err(not_begun_by)?;
    let noted = Noted {
        vault: RefCell::new(vault),
        real: in_use.real,
    };
    let (present, set) = (typed(pin), typed(panic));
    let none = To::default();
    change::rewrap(&noted, &in_use.ways, none, move |vault| {
        let begun = vault.with_panic(&present, &set);
        begun.map_err(not_begun_by)
    })?;
    let to = To {
        mode: Some(in_use.mode),
        relays: in_use.relays.clone(),
    };
    let present = typed(pin);
    change::rewrap(&noted, &in_use.ways, to, move |vault| {
        let begun = vault.with_same(&present);
        begun.map_err(not_begun_by)
    })?;
    let locked = noted.vault.into_inner().lock();
    locked.map_err(not_begun_by)?;
    let locked = read(place)?;
    let stretched = locked.stretch(&typed(pin));
    let copy = Copy {
        area: locked.area().to_vec(),
        stretched: stretched.map_err(not_begun_by)?,
    };
    // Who asks in vain must have been answered before.
    let asked = factors::ask_area(in_use.mode, &copy.area, &copy.stretched, &in_use.ways);
    asked.trouble.map_or(Ok(copy), Err)
}

fn open_empty(place: &Place, panic: &Secret, in_use: &InUse<'_>) -> Result<(), Failure> {
    let (opened, asked) = home::proceed(read(place)?, (&typed(panic), false), &in_use.ways)?;
    let vault = opened.map_err(|error| {
        let trouble = asked.trouble.map(|trouble| trouble.text);
        Failure::fault(trouble.unwrap_or_else(|| error.to_string()))
    })?;
    let noted = Noted {
        vault: RefCell::new(vault),
        real: in_use.real,
    };
    // What opening it begins: the orders to delete shares.
    change::refresh(&noted, &in_use.ways)?;
    let locked = noted.vault.into_inner().lock();
    locked.map_err(|error| Failure::fault(error.to_string()))
}

fn wipe(place: &Place, ways: &Ways) -> Result<(), Failure> {
    let mut left = Vec::new();
    let rng = Box::new(seed::generator()?);
    let wiped = emptyroom_vault::wipe(place.directory(), rng, &mut |area| {
        left = ways.destroy_named(area);
    });
    wiped.map_err(|error| Failure::fault(error.to_string()))?;
    if left.is_empty() {
        return Ok(());
    }
    Err(Failure::fault(format!(
        "not destroyed: {}",
        left.join(", ")
    )))
}

/// Each factor by itself: one that answers must not hide behind another that does not.
fn expect_silence(copy: &Copy, in_use: &InUse<'_>) -> Result<(), Stopped> {
    let expect = |mode: Mode, name: &str, expected: &str| {
        let asked = factors::ask_area(mode, &copy.area, &copy.stretched, &in_use.ways);
        match asked.trouble {
            Some(trouble) if trouble.error == expected => Ok(()),
            Some(trouble) => Err(Stopped::Elsewhere(format!(
                "nobody can tell whether {name} would answer: {}",
                trouble.text
            ))),
            None => Err(Stopped::Elsewhere(format!(
                "{name} still answers whoever has a copy of the disk and its PIN"
            ))),
        }
    };
    if in_use.mode.asks_tpm() {
        expect(Mode::Tpm, "the TPM", "vault_tpm_cleared")?;
    }
    if in_use.mode.asks_relays() {
        expect(Mode::Relays, "the relays", "vault_no_attempts")?;
    }
    Ok(())
}

impl Place {
    fn directory(&self) -> Box<OsDirectory> {
        Box::new(OsDirectory::at(&self.0))
    }
}

fn read(place: &Place) -> Result<Locked, Failure> {
    let rng = Box::new(seed::generator()?);
    Locked::read(place.directory(), rng).map_err(|error| Failure::fault(error.to_string()))
}

type Secret = Zeroizing<[u8; 16]>;

fn secret() -> Result<Secret, Stopped> {
    let mut bytes = Secret::default();
    let generator = seed::generator().map_err(Stopped::Before);
    generator?.fill_bytes(bytes.as_mut());
    Ok(bytes)
}

fn typed(secret: &Secret) -> Passphrase {
    Passphrase::new(secret.to_vec())
}
