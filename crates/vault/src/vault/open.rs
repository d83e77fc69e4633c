//! Making a vault, and opening one.
//!
//! Opening goes in steps that are apart, so that nothing before [`Locked::proceed`] can depend on what
//! the secret is.

use std::io;

use rand_core::CryptoRng;

use super::panic::Emptied;
use super::{Known, Place, Vault};
use crate::derive::{
    KdfParams, LABEL_BLOCKS, LABEL_CHECK, LABEL_RELAYS, LABEL_TPM, stretch, subkey,
};
use crate::directory::Directory;
use crate::error::{CreateError, OpenError, Part, WriteError};
use crate::factors::{Answers, Besides, Factors, Mode, Share};
use crate::header::{
    Body, Chosen, Found, Header, HeaderFault, HeaderFile, HeaderOpenFault, Others, Unlocked,
    VERSION, Wrapping, draw_places, try_all,
};
use crate::keys::{self, Keys, LoadFault, Root, SECTORS_FIRST};
use crate::memory::LockedKey;
use crate::outside;
use crate::random::Random;
use crate::secret::Passphrase;
use crate::store::{Fault, Store};

pub(super) const RECORDS_NAME: &str = "records";

impl Vault {
    /// Makes a new vault. It exists when this returns; a crash before leaves none.
    ///
    /// # Errors
    /// See [`CreateError`].
    pub fn create(
        dir: Box<dyn Directory>,
        secret: &Passphrase,
        kdf: KdfParams,
        rng: Box<dyn CryptoRng + Send>,
    ) -> Result<Vault, CreateError> {
        if !kdf.is_allowed() {
            return Err(CreateError::Kdf);
        }
        let lock = dir.lock().map_err(create_error)?;
        if HeaderFile::exists(&*dir).map_err(create_error)? {
            return Err(CreateError::Exists);
        }
        // [SPEC 11.60] What was left of another vault is nothing of this one's.
        outside::remove(&*dir).map_err(create_error)?;
        let random = Random::new(rng);
        let unlocked = Unlocked::new(LockedKey::new(|out| random.fill(out)));
        let root = LockedKey::new(|out| random.fill(out));
        let mut header = Header::new(&random, kdf);
        let stretched = stretch(secret, &header.salt, kdf)
            .map_err(|_| CreateError::Io(io::ErrorKind::OutOfMemory))?;
        let slots = Wrapping {
            opens: &stretched,
            vault: &unlocked.vault,
            others: &Others::default(),
            factors: &Factors::default(),
        };
        slots.seal_slots(&mut header, &random, draw_places(&random));
        header.seal(&unlocked, &random, &first_body(&root, false), &[]);
        // The header makes it a vault: no crash may keep that name and lose the others.
        let (keys, store) = make(&*dir, &unlocked, root, &random).map_err(|fault| match fault {
            Fault::Full => CreateError::Full,
            Fault::Corrupt => CreateError::Io(io::ErrorKind::InvalidData),
            Fault::Io(kind) => CreateError::Io(kind),
        })?;
        let header = HeaderFile::create(&*dir, header).map_err(create_error)?;
        let place = Place {
            header,
            random,
            dir,
            lock,
        };
        let known = Known {
            unlocked,
            others: Others::default(),
            check: Some(subkey(&stretched, LABEL_CHECK)),
            secret: None,
            errands: Vec::new(),
        };
        Ok(Vault::new(place, known, keys, store))
    }

    /// Opens a vault without asking any factor: finishes what a crash interrupted, and rotates the
    /// root of the record keys.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        dir: Box<dyn Directory>,
        secret: &Passphrase,
        rng: Box<dyn CryptoRng + Send>,
    ) -> Result<Vault, OpenError> {
        let locked = Locked::read(dir, rng)?;
        let stretched = locked.stretch(secret)?;
        let tried = locked.try_all(&stretched, &Answers::default());
        let besides = Besides {
            errands: &mut |_| Vec::new(),
            destroy: &mut || {},
        };
        locked.proceed(stretched, tried, besides)
    }
}

/// A vault whose secret is not known yet: it is read, a secret is stretched, factors are asked, all
/// slots are tried, and only then is there anything to decide.
pub struct Locked(Place);

/// A secret after Argon2id.
pub struct Stretched(pub(super) LockedKey);

impl Stretched {
    /// What the TPM is asked for its share.
    #[must_use]
    pub fn tpm_input(&self) -> Share {
        input(&self.0, LABEL_TPM)
    }

    /// What relays are asked for theirs; blinded, each in another way.
    #[must_use]
    pub fn relays_input(&self) -> Share {
        input(&self.0, LABEL_RELAYS)
    }
}

/// What a factor is asked for a stretched secret.
pub(super) fn input(stretched: &LockedKey, label: &'static str) -> Share {
    // [SPEC 11.40]
    Share::new(*subkey(stretched, label).expose())
}

/// What a secret was found to open. It does not show.
pub struct Tried {
    chosen: Chosen,
    /// Every factor that the vault uses has answered.
    complete: bool,
}

impl Locked {
    /// Takes the directory's lock and reads the header.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn read(
        dir: Box<dyn Directory>,
        rng: Box<dyn CryptoRng + Send>,
    ) -> Result<Locked, OpenError> {
        let lock = dir.lock().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => OpenError::Missing,
            _ => open_error(&e, Part::Header),
        })?;
        let mut header = HeaderFile::open(&*dir).map_err(header_error)?;
        // A disk that does not take it locks nobody out: it is tried again with whatever is written.
        // [SPEC 11.10, 11.110]
        let _ = header.mirror();
        Ok(Locked(Place {
            header,
            random: Random::new(rng),
            dir,
            lock,
        }))
    }

    /// Which factors are to be asked.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.0.header.current().mode
    }

    /// What stands in clear for whoever asks them; of no meaning without any.
    #[must_use]
    pub fn area(&self) -> &[u8] {
        &self.0.header.current().area
    }

    /// Whether the other files can be opened: with factors they are all there, and whoever asks those spends something.
    ///
    /// # Errors
    /// See [`OpenError`].
    // [SPEC 11.120]
    pub fn expect_files(&self) -> Result<(), OpenError> {
        let expect = |name: &str, part: Part| {
            let opened = self.0.dir.open(name).map(drop);
            opened.map_err(|e| open_error(&e, part))
        };
        for name in keys::NAMES {
            expect(name, Part::Keys)?;
        }
        expect(RECORDS_NAME, Part::Records)
    }

    /// Spends the cost that the header names on one secret.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn stretch(&self, secret: &Passphrase) -> Result<Stretched, OpenError> {
        let header = self.0.header.current();
        stretch(secret, &header.salt, header.kdf)
            .map(Stretched)
            .map_err(|_| OpenError::Io(io::ErrorKind::OutOfMemory))
    }

    /// Tries all slots, in the same steps whatever the secret opens.
    #[must_use]
    pub fn try_all(&self, stretched: &Stretched, answers: &Answers) -> Tried {
        Tried {
            chosen: try_all(self.0.header.current(), &stretched.0, answers),
            complete: answers.are_whole(self.mode()),
        }
    }

    /// Does what the secret is for: opens the vault, or, if it is the panic PIN, destroys it and what
    /// is its elsewhere, and opens an empty one in its place.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn proceed(
        self,
        stretched: Stretched,
        tried: Tried,
        besides: Besides<'_>,
    ) -> Result<Vault, OpenError> {
        match tried.chosen.found() {
            Found::Vault(key) => self.unlock(stretched, Unlocked::new(key), false),
            Found::Recovery(key) => self.unlock(stretched, Unlocked::new(key), true),
            Found::Panic(secret) => Emptied::begin(self.0, (&stretched.0, &secret), besides)
                .and_then(Emptied::finish)
                .map_err(fault_error),
            // [SPEC 11.49]
            Found::Nothing if !tried.complete => Err(OpenError::Unanswered),
            Found::Nothing => Err(OpenError::WrongSecret),
        }
    }

    fn unlock(
        self,
        stretched: Stretched,
        unlocked: Unlocked,
        by_phrase: bool,
    ) -> Result<Vault, OpenError> {
        let place = self.0;
        let header = place.header.current();
        let body = header
            .open_body(&unlocked.header)
            .map_err(|_| OpenError::Corrupt(Part::Header))?;
        let errands = header
            .open_errands(&unlocked.vault)
            .map_err(|_| OpenError::Corrupt(Part::Header))?;
        if body.to_be_made {
            // [SPEC 11.56]
            let emptied = Emptied::again(place, unlocked, body.root, &stretched.0);
            return emptied.finish().map_err(fault_error);
        }
        let (keys, sweep) = Keys::load(
            &*place.dir,
            Root::new(&unlocked.vault, body.root),
            body.active,
            body.sectors,
            &place.random,
        )
        .map_err(|fault| match fault {
            LoadFault::Corrupt => OpenError::Corrupt(Part::Keys),
            LoadFault::Io(e) => open_error(&e, Part::Keys),
        })?;
        let blocks = subkey(&unlocked.vault, LABEL_BLOCKS);
        let file = place
            .dir
            .open(RECORDS_NAME)
            .map_err(|e| open_error(&e, Part::Records))?;
        let store = Store::open(file, blocks, &place.random).map_err(fault_error)?;
        let refreshed = !by_phrase && place.header.current().mode != Mode::Passphrase;
        let known = Known {
            unlocked,
            others: body.others,
            check: (!by_phrase).then(|| subkey(&stretched.0, LABEL_CHECK)),
            secret: refreshed.then(|| stretched.0.copy()),
            errands,
        };
        let mut vault = Vault::new(place, known, keys, store);
        vault.rotation_due = true;
        vault.recover(sweep || body.sweep, &stretched)?;
        Ok(vault)
    }
}

impl Vault {
    /// Finishes what a crash interrupted.
    fn recover(&mut self, sweep: bool, stretched: &Stretched) -> Result<(), OpenError> {
        self.load_use().map_err(fault_error)?;
        // [SPEC 11.20]
        self.keys.table.taint_free();
        if sweep {
            self.find_dead_rows().map_err(fault_error)?;
            self.remove_dead_rows();
        }
        // [SPEC 11.21]
        let rotated = if self.header.current().version < VERSION {
            // [SPEC 11.45]
            let same = self.rewrapping(stretched.0.copy(), Others::default());
            self.rewrap(same, &Factors::default())
        } else {
            self.rotate()
        };
        match rotated {
            // A disk that is full, or takes no writes any more, does not lock anybody out. What is due stays due.
            Ok(()) | Err(WriteError::Full | WriteError::Io(_)) => Ok(()),
            Err(WriteError::Corrupt(part)) => Err(OpenError::Corrupt(part)),
            Err(WriteError::TooLong) => Err(OpenError::Corrupt(Part::Header)),
        }
    }
}

/// Makes key files, journal and table of a new vault, in place of what lies there.
pub(super) fn make(
    dir: &dyn Directory,
    unlocked: &Unlocked,
    root: LockedKey,
    random: &Random,
) -> Result<(Keys, Store), Fault> {
    let blocks = subkey(&unlocked.vault, LABEL_BLOCKS);
    // First: on a full disk it is what was in this file that gives the space.
    let file = dir.create(RECORDS_NAME)?;
    let store = Store::create(file, blocks, random)?;
    let keys = Keys::create(dir, Root::new(&unlocked.vault, root), random)?;
    dir.sync()?;
    Ok((keys, store))
}

/// The body of a new vault's header.
pub(super) fn first_body(root: &LockedKey, to_be_made: bool) -> Body {
    Body {
        root: root.copy(),
        active: 0,
        sectors: SECTORS_FIRST,
        sweep: false,
        to_be_made,
        others: Others::default(),
    }
}

fn create_error(e: io::Error) -> CreateError {
    match e.kind() {
        io::ErrorKind::WouldBlock => CreateError::InUse,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => CreateError::Full,
        kind => CreateError::Io(kind),
    }
}

fn open_error(e: &io::Error, part: Part) -> OpenError {
    match e.kind() {
        io::ErrorKind::WouldBlock => OpenError::InUse,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::Full,
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => OpenError::Corrupt(part),
        kind => OpenError::Io(kind),
    }
}

fn header_error(fault: HeaderOpenFault) -> OpenError {
    match fault {
        HeaderOpenFault::Io(e) if e.kind() == io::ErrorKind::NotFound => OpenError::Missing,
        HeaderOpenFault::Io(e) => open_error(&e, Part::Header),
        HeaderOpenFault::Fault(HeaderFault::Corrupt) => OpenError::Corrupt(Part::Header),
        HeaderOpenFault::Fault(HeaderFault::Newer(found)) => OpenError::Newer {
            found,
            known: VERSION,
        },
    }
}

fn fault_error(fault: Fault) -> OpenError {
    match fault {
        Fault::Corrupt => OpenError::Corrupt(Part::Records),
        Fault::Full => OpenError::Full,
        Fault::Io(kind) => OpenError::Io(kind),
    }
}
