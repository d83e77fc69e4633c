//! What is kept of enrolments: in the header's area what a locked device needs, in a record what only the open vault may
//! know, and in an empty vault's errands what is still to be destroyed.
//!
//! A place in the TPM is noted before anything is made there, and stays noted until it is known that nothing is there.

use emptyroom_tpm::{Enrolment, Place, ResetSecret};
use emptyroom_vault::{Change, Vault, WriteError};
use zeroize::Zeroizing;

use crate::api::Failure;
use crate::engine::own::read_failure;

/// The record's name.
const NAME: &[u8] = b"nt";
const PLACE_LEN: usize = 4;
const RESET_LEN: usize = 32;

/// A place in the TPM that may be used, and what sets its tries back, once it was enrolled.
#[derive(Clone)]
pub(super) struct Noted {
    pub(super) place: Place,
    pub(super) reset: Option<Zeroizing<[u8; RESET_LEN]>>,
}

impl Noted {
    pub(super) fn reset_secret(&self) -> Option<ResetSecret> {
        self.reset.as_deref().map(ResetSecret::new)
    }
}

/// The area for an enrolment: its length and itself.
// [SPEC 11.46]
pub(super) fn area(enrolment: &Enrolment) -> Vec<u8> {
    let bytes = enrolment.encode();
    let len = u16::try_from(bytes.len()).unwrap_or(0);
    [len.to_be_bytes().as_slice(), &bytes].concat()
}

/// The enrolment that an area holds.
pub(super) fn in_area(area: &[u8]) -> Option<Enrolment> {
    let (len, rest) = area.split_first_chunk()?;
    let bytes = rest.get(..usize::from(u16::from_be_bytes(*len)))?;
    Enrolment::decode(bytes).ok()
}

/// What an empty vault remembers: the places that are to be destroyed.
// [SPEC 11.57]
pub(super) fn errands(places: &[Place]) -> Vec<u8> {
    let numbers = places.iter().map(|place| place.number().to_be_bytes());
    numbers.collect::<Vec<_>>().concat()
}

pub(super) fn places_of_errands(errands: &[u8]) -> Vec<Place> {
    let (numbers, _) = errands.as_chunks::<PLACE_LEN>();
    let numbers = numbers.iter().map(|number| u32::from_be_bytes(*number));
    numbers.filter_map(Place::from_number).collect()
}

/// What the record holds.
pub(super) fn read(vault: &Vault) -> Result<Vec<Noted>, Failure> {
    let record = vault.get(NAME).map_err(read_failure)?;
    let record = record.unwrap_or_default();
    let mut noted = Vec::new();
    for entry in record.chunks(PLACE_LEN + RESET_LEN) {
        let parts = entry.split_first_chunk::<PLACE_LEN>();
        if let Some((number, reset)) = parts
            && let Some(place) = Place::from_number(u32::from_be_bytes(*number))
            && let Ok(reset) = <[u8; RESET_LEN]>::try_from(reset)
        {
            let reset = Zeroizing::new(reset);
            let is_known = *reset != [0; RESET_LEN];
            noted.push(Noted {
                place,
                reset: is_known.then_some(reset),
            });
        }
    }
    Ok(noted)
}

/// Makes the record hold this; none where there is nothing.
pub(super) fn write(vault: &mut Vault, noted: &[Noted]) -> Result<(), WriteError> {
    let mut value = Vec::with_capacity(noted.len() * (PLACE_LEN + RESET_LEN));
    for entry in noted {
        value.extend_from_slice(&entry.place.number().to_be_bytes());
        let reset = entry.reset.as_deref();
        value.extend_from_slice(reset.unwrap_or(&[0; RESET_LEN]));
    }
    let value = (!noted.is_empty()).then_some(value);
    if value.is_none() && matches!(vault.get(NAME), Ok(None)) {
        return Ok(());
    }
    vault.apply(vec![Change {
        key: NAME.to_vec(),
        value,
    }])
}
