//! The machine's TPM: what it is asked, and what stood in the way in words.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use emptyroom_tpm::{
    DEVICE, DestroyError, Destroyed, EnrolError, Enrolment, Fault, Identity, Place, ResetError,
    ResetSecret, ShareError, Stretched, Tpm, TriesError,
};
use emptyroom_vault::Share;

use crate::api::{Exit, Failure};
use crate::seed;

/// After so long no further place is ended: whoever destroys a vault waits for the answer.
const DESTROY_TIME_MAX: Duration = Duration::from_secs(5);

/// Names another device than the first one of the machine.
const VARIABLE: &str = "EMPTYROOM_TPM";

/// What a new enrolment gave: what is kept, and the shares of both inputs.
pub(super) struct Enrolled {
    pub(super) enrolment: Enrolment,
    pub(super) reset: ResetSecret,
    pub(super) shares: [Share; 2],
}

/// A place, and the TPM that it is one of, where that is known.
pub(super) type Of = (Place, Option<Identity>);

/// Why there is no enrolment.
pub(super) enum NotEnrolled {
    /// Nothing of ours is there; something of somebody else's may be.
    Not(Failure),
    /// Something of ours may be there.
    Perhaps(Failure),
}

/// Where the TPM is.
#[derive(Clone)]
pub(crate) struct Chip(PathBuf);

impl Chip {
    /// The TPM of this machine.
    pub(crate) fn of_machine() -> Self {
        let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
        Self(named.map_or_else(|| PathBuf::from(DEVICE), PathBuf::from))
    }

    pub(super) fn path(self) -> PathBuf {
        self.0
    }

    #[cfg(test)]
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn open(&self) -> Result<Tpm, Failure> {
        match Tpm::open(&self.0, Box::new(seed::generator()?)) {
            Ok(Some(tpm)) => Ok(tpm),
            Ok(None) => Err(absent("this machine has no TPM, or it is switched off")),
            Err(fault) => Err(failure(fault)),
        }
    }

    /// Which one it is.
    pub(super) fn identity(&self) -> Result<Identity, Failure> {
        self.open()?.identity().map_err(failure)
    }

    /// How many tries an enrolment's key has left.
    pub(super) fn tries(&self, enrolment: &Enrolment) -> Result<u32, Failure> {
        match self.open()?.tries(enrolment) {
            Ok(tries) => Ok(tries.left()),
            Err(TriesError::Gone) => Err(gone()),
            Err(TriesError::Fault(fault)) => Err(failure(fault)),
        }
    }

    /// Ends what is at these places, as far as the TPM can be reached; gives those of which it is not known that they have
    /// ended.
    pub(super) fn end(&self, places: &[Of]) -> Vec<Place> {
        let ended = self.destroy(places);
        let left = places.iter().map(|(place, _)| *place);
        left.filter(|place| !ended.contains(place)).collect()
    }

    /// Ends what is at these places, as far as the TPM can be reached; gives those of which it is known that they have
    /// ended.
    pub(super) fn destroy(&self, places: &[Of]) -> Vec<Place> {
        if places.is_empty() {
            return Vec::new();
        }
        let Ok(mut tpm) = self.open() else {
            return Vec::new();
        };
        let since = Instant::now();
        let mut here = None;
        let mut ended = Vec::new();
        for (place, of) in places {
            // One that was busy for the first place is for the next.
            if since.elapsed() >= DESTROY_TIME_MAX {
                break;
            }
            let is_gone = match tpm.destroy(*place) {
                Ok(Destroyed::Removed | Destroyed::UsedUp) => true,
                // What is not ours is not there any more. But only the TPM that had it knows that.
                // [SPEC 11.57]
                Ok(Destroyed::WasGone) | Err(DestroyError::NotOurs) => of.is_none_or(|of| {
                    let here = here.get_or_insert_with(|| tpm.identity().ok());
                    *here == Some(of)
                }),
                Err(DestroyError::Fault(_)) => false,
            };
            if is_gone {
                ended.push(*place);
            }
        }
        ended
    }
}

/// Whether it makes its primary key, as it must for everything else.
pub(super) fn probe(tpm: &mut Tpm) -> Result<(), Failure> {
    tpm.identity().map(drop).map_err(failure)
}

/// A place for an index, to be noted before it is used.
pub(super) fn free_place(tpm: &mut Tpm) -> Result<Place, Failure> {
    tpm.free_place().map_err(failure)
}

/// Makes a key behind a new index, asks it for both inputs, and sets the count back.
// [SPEC 11.44]
pub(super) fn enrol(
    tpm: &mut Tpm,
    place: Place,
    inputs: [Share; 2],
) -> Result<Enrolled, NotEnrolled> {
    let (enrolment, reset) = tpm.enrol(place).map_err(|error| match error {
        EnrolError::Fault(fault) => NotEnrolled::Perhaps(failure(fault)),
        error @ EnrolError::Full => NotEnrolled::Not(full(&error.to_string())),
        error @ EnrolError::Taken => NotEnrolled::Not(busy(&error.to_string())),
    })?;
    let mut share = |input: &Share| {
        let share = tpm.share(&enrolment, &Stretched::new(input));
        let share = share.map_err(|error| NotEnrolled::Perhaps(no_share(error)))?;
        Ok(Share::new(*share.expose()))
    };
    let [opens, panics] = &inputs;
    let shares = [share(opens)?, share(panics)?];
    set_back(tpm, &enrolment, &reset).map_err(NotEnrolled::Perhaps)?;
    Ok(Enrolled {
        enrolment,
        reset,
        shares,
    })
}

/// Gives all tries back.
pub(super) fn set_back(
    tpm: &mut Tpm,
    enrolment: &Enrolment,
    reset: &ResetSecret,
) -> Result<(), Failure> {
    tpm.reset(enrolment, reset).map_err(|error| match error {
        ResetError::Fault(fault) => failure(fault),
        ResetError::Gone | ResetError::WrongSecret => gone(),
    })
}

pub(super) fn no_share(error: ShareError) -> Failure {
    match error {
        ShareError::UsedUp => used_up(),
        ShareError::Gone => gone(),
        ShareError::Fault(fault) => failure(fault),
    }
}

/// Only the recovery words help.
pub(super) fn used_up() -> Failure {
    Failure::new(
        Exit::Vault,
        "vault_no_attempts",
        "too many wrong PINs: the TPM answers no more, not to the right one either",
    )
    .hint("enter the recovery words; nothing else opens this vault any more")
}

/// The share is gone for good.
pub(super) fn gone() -> Failure {
    Failure::new(
        Exit::Vault,
        "vault_tpm_cleared",
        "the TPM has no share of this vault: it was cleared, or this is another machine",
    )
    .hint("enter the recovery words, or take the vault back to its machine")
}

fn absent(text: &str) -> Failure {
    Failure::new(Exit::Vault, "vault_tpm_absent", text)
        .hint("switch it on in the firmware, or enter the recovery words")
}

fn full(text: &str) -> Failure {
    Failure::new(Exit::Vault, "vault_tpm_full", text)
        .hint("remove what nobody needs (`tpm2_getcap handles-nv-index` lists it; what begins with 0x018 may be a vault's), or choose another mode")
}

fn busy(text: &str) -> Failure {
    Failure::new(Exit::Vault, "vault_tpm_busy", text).hint("try again, or enter the recovery words")
}

// [SPEC 11.49]
pub(super) fn failure(fault: Fault) -> Failure {
    let text = fault.to_string();
    match fault {
        Fault::Missing | Fault::Unsupported => absent(&text),
        // Each says what to do about it.
        Fault::NoPermission | Fault::Disabled | Fault::OwnerPassword => {
            absent(&text).hint("or enter the recovery words")
        }
        Fault::OtherTpm => gone(),
        Fault::Busy
        | Fault::Lockout
        | Fault::Malformed(_)
        | Fault::Altered(_)
        | Fault::Refused(..)
        | Fault::Io(_) => busy(&text),
    }
}
