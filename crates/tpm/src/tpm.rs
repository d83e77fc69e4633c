//! The operations, each over a connection of its own.

use std::fmt;
use std::path::{Path, PathBuf};

use rand_core::CryptoRng;

use crate::command::{Command, Failure, Refusal};
use crate::connection::Connection;
use crate::enrolment::{Enrolment, Identity, Place};
use crate::error::{DestroyError, EnrolError, Fault, ResetError, ShareError, TriesError};
use crate::object;
use crate::secret::{ResetSecret, Share, Stretched};

/// The kernel's TPM, shared by all programs of the machine.
pub const DEVICE: &str = "/dev/tpmrm0";

/// Questions that a key answers until the count is set back.
pub const TRIES: u32 = 10;

/// Places that are drawn until one is free.
const DRAWS_MAX: u32 = 16;

/// A TPM that can be asked.
///
/// Every operation opens the device anew and leaves nothing in it but what it says, so several
/// programs can use one TPM, and a machine may sleep between two operations. All of them block:
/// milliseconds with a TPM in software, up to some seconds with a chip.
pub struct Tpm {
    path: PathBuf,
    rng: Box<dyn CryptoRng + Send>,
}

/// How often a key was asked since the count was last set back, and how often it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// Questions, right or wrong.
    pub used: u32,
    /// Questions it answers in all.
    pub limit: u32,
}

impl Tries {
    /// How many are left.
    #[must_use]
    pub fn left(self) -> u32 {
        self.limit.saturating_sub(self.used)
    }
}

/// How an index came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destroyed {
    /// It was removed.
    Removed,
    /// There was none.
    WasGone,
    /// It could not be removed, since the TPM's owner has a password now. Its tries were used up
    /// instead: only the reset secret brings them back.
    UsedUp,
}

impl Tpm {
    /// The TPM at `path`: [`DEVICE`], or the socket of a TPM in software. `None` if there is none.
    ///
    /// # Errors
    /// [`Fault::NoPermission`] if this user may not use it.
    pub fn open(path: &Path, rng: Box<dyn CryptoRng + Send>) -> Result<Option<Tpm>, Fault> {
        let mut tpm = Tpm {
            path: path.to_owned(),
            rng,
        };
        match tpm.connect().map(drop) {
            Ok(()) => Ok(Some(tpm)),
            Err(Fault::Missing) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// A place that is free: see [`Place`] for why it is drawn, and stored, before it is used.
    ///
    /// # Errors
    /// Any [`Fault`].
    pub fn free_place(&mut self) -> Result<Place, Fault> {
        free_place(&mut self.connect()?)
    }

    /// Which TPM it is: what another one says of a place is nothing about this one's.
    ///
    /// # Errors
    /// Any [`Fault`].
    pub fn identity(&mut self) -> Result<Identity, Fault> {
        Ok(self.connect()?.primary()?.name)
    }

    /// Makes a new key behind a new index at `place`, with all [`TRIES`], and the secret that sets
    /// them back. Earlier enrolments stay as they are; destroying one makes its key useless for ever.
    ///
    /// So a new enrolment and the end of the old one is how a TPM forgets: of a secret that the old
    /// key's share was part of, no copy on any disk opens any more. (What the key is asked need not
    /// be a stretched PIN: a value from the open vault does for a secret that is replaced often.)
    ///
    /// # Errors
    /// [`EnrolError::Taken`] if something is there already.
    pub fn enrol(&mut self, place: Place) -> Result<(Enrolment, ResetSecret), EnrolError> {
        enrol(&mut self.connect()?, place)
    }

    /// Asks the key: `H` for `S`. Every call counts as one try, whether `S` is right or not, which
    /// the TPM cannot know.
    ///
    /// # Errors
    /// [`ShareError::UsedUp`] and [`ShareError::Gone`], for which there is no help here. A share is
    /// authenticated, a refusal is not: whoever sits between can feign one. So none is a reason to
    /// erase anything.
    pub fn share(&mut self, enrolment: &Enrolment, s: &Stretched) -> Result<Share, ShareError> {
        share(&mut self.connect()?, enrolment, s)
    }

    /// Sets the count of tries back to none.
    ///
    /// # Errors
    /// [`ResetError::WrongSecret`] if it is not the secret of this enrolment. That counts nothing.
    pub fn reset(&mut self, enrolment: &Enrolment, secret: &ResetSecret) -> Result<(), ResetError> {
        reset(&mut self.connect()?, enrolment, secret)
    }

    /// How many tries were used. It is for showing: unlike the other answers, this one is not
    /// authenticated.
    ///
    /// # Errors
    /// [`TriesError::Gone`] if there is no index any more.
    pub fn tries(&mut self, enrolment: &Enrolment) -> Result<Tries, TriesError> {
        tries(&mut self.connect()?, enrolment)
    }

    /// Removes the index at `place`, and with it whatever its key could ever answer. It takes no PIN
    /// and no secret, and one command that writes.
    ///
    /// # Errors
    /// [`DestroyError::NotOurs`] if what is there was made by another program.
    pub fn destroy(&mut self, place: Place) -> Result<Destroyed, DestroyError> {
        destroy(&mut self.connect()?, place)
    }

    fn connect(&mut self) -> Result<Connection<'_>, Fault> {
        Connection::open(&self.path, &mut *self.rng)
    }
}

impl fmt::Debug for Tpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tpm").finish_non_exhaustive()
    }
}

fn free_place(connection: &mut Connection<'_>) -> Result<Place, Fault> {
    for _ in 0..DRAWS_MAX {
        let place = Place::random(connection.rng);
        if connection.index_public(place)?.is_none() {
            return Ok(place);
        }
    }
    // A TPM has space for some dozens: this is no honest answer.
    Err(Fault::Malformed(Command::NvReadPublic.name()))
}

pub(crate) fn enrol(
    connection: &mut Connection<'_>,
    place: Place,
) -> Result<(Enrolment, ResetSecret), EnrolError> {
    if connection.index_public(place)?.is_some() {
        return Err(EnrolError::Taken);
    }
    let primary = connection.primary()?;
    let secret = ResetSecret::random(connection.rng);
    let gate = connection.create(&primary, &object::gate_template(), secret.expose())?;
    let gate_name = gate.name();
    connection
        .define(place, &gate_name)
        .map_err(|failure| match failure.refusal() {
            Some(Refusal::Defined) => EnrolError::Taken,
            Some(Refusal::NoSpace) => EnrolError::Full,
            _ => failure.into(),
        })?;
    let made = connection.fill(place, &primary, &gate, &secret);
    match made {
        Ok(key) => {
            let enrolment = Enrolment {
                place,
                primary: primary.name,
                key,
                gate,
            };
            Ok((enrolment, secret))
        }
        Err(failure) => {
            let _ = connection.undefine(place);
            Err(failure.into())
        }
    }
}

pub(crate) fn share(
    connection: &mut Connection<'_>,
    enrolment: &Enrolment,
    s: &Stretched,
) -> Result<Share, ShareError> {
    if !connection.has_index(enrolment)? {
        return Err(ShareError::Gone);
    }
    let primary = connection.pinned(enrolment)?;
    let key = connection.load(&primary, &enrolment.key)?;
    let mut policy = connection.policy_session(&primary)?;
    // [SPEC 11.32] From here on the try counts.
    if let Err(failure) = connection.count(enrolment.place, &policy) {
        return Err(why_not_counted(connection, enrolment, failure));
    }
    connection.only_for(&policy, Command::Hmac)?;
    Ok(connection.hmac(&key, &mut policy, s)?)
}

pub(crate) fn reset(
    connection: &mut Connection<'_>,
    enrolment: &Enrolment,
    secret: &ResetSecret,
) -> Result<(), ResetError> {
    if !connection.has_index(enrolment)? {
        return Err(ResetError::Gone);
    }
    let primary = connection.pinned(enrolment)?;
    let gate = connection.load(&primary, &enrolment.gate)?;
    let index = object::name(&enrolment.index());
    connection
        .write(enrolment.place, &index, &primary, &gate, secret)
        .map_err(|failure| match failure {
            Failure::Refused(Command::PolicySecret, code) if Refusal::of(code) == Refusal::Auth => {
                ResetError::WrongSecret
            }
            _ => failure.into(),
        })
}

pub(crate) fn tries(
    connection: &mut Connection<'_>,
    enrolment: &Enrolment,
) -> Result<Tries, TriesError> {
    if !connection.has_index(enrolment)? {
        return Err(TriesError::Gone);
    }
    Ok(connection.tries(enrolment.place)?)
}

pub(crate) fn destroy(
    connection: &mut Connection<'_>,
    place: Place,
) -> Result<Destroyed, DestroyError> {
    // [SPEC 11.35]
    match connection.index_public(place)? {
        None => return Ok(Destroyed::WasGone),
        Some(public) if !object::is_index_of_ours(&public, place.number()) => {
            return Err(DestroyError::NotOurs);
        }
        Some(_) => {}
    }
    let Err(failure) = connection.undefine(place) else {
        return Ok(Destroyed::Removed);
    };
    match failure.refusal() {
        Some(Refusal::NoHandle) => Ok(Destroyed::WasGone),
        Some(Refusal::Auth) => {
            connection.use_up(place)?;
            Ok(Destroyed::UsedUp)
        }
        _ => Err(failure.into()),
    }
}

/// The codes for used-up tries differ between makers: the count itself says it.
fn why_not_counted(
    connection: &mut Connection<'_>,
    enrolment: &Enrolment,
    failure: Failure,
) -> ShareError {
    // [SPEC 11.36]
    match (failure.refusal(), connection.tries(enrolment.place)) {
        (Some(_), Ok(tries)) if tries.left() == 0 => ShareError::UsedUp,
        _ => failure.into(),
    }
}
