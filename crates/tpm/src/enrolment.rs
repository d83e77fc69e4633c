//! What has to be kept of an enrolment to use it: a place in the TPM, and keys that only it can open.

use std::fmt;

use rand_core::CryptoRng;

use crate::object::{self, NAME_LEN, Name};
use crate::session::HASH_LEN;
use crate::wire::{Malformed, Reader, Writer};

/// Bytes of an encoded enrolment at most: it lies in a vault's header, with room for other things.
pub const ENROLMENT_LEN_MAX: usize = 1_024;

const VERSION: u8 = 1;
/// A public area at most. Ours have 84 and 52 bytes.
pub(crate) const PUBLIC_LEN_MAX: usize = 96;
/// A key as its TPM wraps it, at most. How, is the maker's choice; 126 to 150 bytes were seen.
pub(crate) const PRIVATE_LEN_MAX: usize = 384;

/// The first handle that an owner may give away (`TPM2` registry of reserved handles), and how many.
const OWNER_FIRST: u32 = 0x0180_0000;
const OWNER_COUNT: u32 = 0x0040_0000;

/// Where in the TPM an enrolment's index is, or will be.
///
/// It is drawn and stored before the enrolment is made: a crash in between then leaves an index
/// whose place is known, and [`Tpm::destroy`](crate::Tpm::destroy) can remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    /// One of four million, so that vaults and programs that share a TPM do not meet.
    #[must_use]
    pub fn random(rng: &mut dyn CryptoRng) -> Place {
        Place(OWNER_FIRST + rng.next_u32() % OWNER_COUNT)
    }

    /// The place of this number, if it is one that an owner may give away.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Place> {
        let is_owners = (OWNER_FIRST..OWNER_FIRST + OWNER_COUNT).contains(&number);
        is_owners.then_some(Place(number))
    }

    /// Its number: the handle of the index.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

/// An object's two halves outside of the TPM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) public: Vec<u8>,
    /// Sealed by the TPM for itself.
    pub(crate) private: Vec<u8>,
}

impl Blob {
    pub(crate) fn name(&self) -> Name {
        object::name(&self.public)
    }
}

/// Tells TPMs apart, and one that was cleared from what it was: the name of its primary.
pub type Identity = [u8; NAME_LEN];

/// One enrolment: all that is needed besides the TPM to ask it.
///
/// None of it is secret, and without its TPM it is worth nothing. Whoever can change it can make the
/// vault unusable, so its keeper should notice changes when the vault is open.
#[derive(Clone, PartialEq, Eq)]
pub struct Enrolment {
    pub(crate) place: Place,
    /// The primary's name: it pins the TPM.
    pub(crate) primary: Name,
    pub(crate) key: Blob,
    pub(crate) gate: Blob,
}

/// These bytes are no enrolment, or one of a newer version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnEnrolment;

impl Enrolment {
    /// Where its index is.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// The TPM that it was made in.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.primary
    }

    /// As bytes, at most [`ENROLMENT_LEN_MAX`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // [SPEC 11.30]
        let mut bytes = Writer::new();
        bytes.u8(VERSION).u32(self.place.0).bytes(&self.primary);
        for blob in [&self.key, &self.gate] {
            bytes.sized(&blob.public).sized(&blob.private);
        }
        bytes.finish().to_vec()
    }

    /// From its bytes.
    ///
    /// # Errors
    /// When they are anything but an encoded enrolment.
    pub fn decode(bytes: &[u8]) -> Result<Enrolment, NotAnEnrolment> {
        parse(bytes).map_err(|Malformed| NotAnEnrolment)
    }

    /// The index's public area, once it is written.
    pub(crate) fn index(&self) -> Vec<u8> {
        object::index_public(self.place.0, &self.gate.name(), true)
    }
}

fn parse(bytes: &[u8]) -> Result<Enrolment, Malformed> {
    // [SPEC 11.30]
    let mut reader = Reader::new(bytes);
    if reader.u8()? != VERSION {
        return Err(Malformed);
    }
    let place = Place::from_number(reader.u32()?).ok_or(Malformed)?;
    let primary = reader.array::<NAME_LEN>()?;
    let key = parse_blob(&mut reader)?;
    let gate = parse_blob(&mut reader)?;
    reader.end()?;
    let index = object::name(&object::index_public(place.0, &gate.name(), true));
    let policy = object::secret_policy(&index, crate::command::Command::Hmac);
    let right = object::is_made_of(&gate.public, &object::gate_template())
        && object::is_made_of(&key.public, &object::key_template(&policy));
    let enrolment = Enrolment {
        place,
        primary,
        key,
        gate,
    };
    if right { Ok(enrolment) } else { Err(Malformed) }
}

fn parse_blob(reader: &mut Reader<'_>) -> Result<Blob, Malformed> {
    Ok(Blob {
        public: reader.sized(PUBLIC_LEN_MAX)?.to_vec(),
        private: reader.sized(PRIVATE_LEN_MAX)?.to_vec(),
    })
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for NotAnEnrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an enrolment with a TPM, or one of a newer version")
    }
}

impl std::error::Error for NotAnEnrolment {}

const _: () = assert!(
    ENROLMENT_LEN_MAX >= 1 + 4 + 2 + HASH_LEN + 2 * (2 + PUBLIC_LEN_MAX + 2 + PRIVATE_LEN_MAX)
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;

    /// An enrolment whose gate has this public area but for its unique value.
    fn behind(gate_template: &[u8]) -> Vec<u8> {
        let made = |template: &[u8]| {
            let fixed = &template[..template.len() - 2];
            [fixed, &[0, 32], &[9; 32]].concat()
        };
        let blob = |public| Blob {
            public,
            private: vec![7; 126],
        };
        let place = Place(OWNER_FIRST);
        let gate = blob(made(gate_template));
        let index = object::name(&object::index_public(place.0, &gate.name(), true));
        let policy = object::secret_policy(&index, Command::Hmac);
        let enrolment = Enrolment {
            place,
            primary: [3; NAME_LEN],
            key: blob(made(&object::key_template(&policy))),
            gate,
        };
        enrolment.encode()
    }

    // [SPEC 11.30]
    #[test]
    fn key_and_gate_are_what_an_enrolment_makes() {
        let right = object::gate_template();
        assert!(Enrolment::decode(&behind(&right)).is_ok());
        // A gate that the TPM did not make, in front of a key whose policy is that gate's.
        let mut wrong = right.clone();
        wrong[7] ^= 1 << 5;
        assert!(Enrolment::decode(&behind(&wrong)).is_err());
        let mut elsewhere = behind(&right);
        elsewhere[1] = 0;
        assert!(Enrolment::decode(&elsewhere).is_err());
        let mut at_another_place = behind(&right);
        at_another_place[4] ^= 1;
        assert!(Enrolment::decode(&at_another_place).is_err());
    }

    #[test]
    fn places_are_the_owners() {
        assert_eq!(Place::from_number(OWNER_FIRST - 1), None);
        assert_eq!(Place::from_number(OWNER_FIRST + OWNER_COUNT), None);
        let last = OWNER_FIRST + OWNER_COUNT - 1;
        assert_eq!(Place::from_number(last).map(Place::number), Some(last));
        let drawn = Place::random(&mut crate::fuzz::Sevens);
        assert_eq!(Place::from_number(drawn.number()), Some(drawn));
    }
}
