//! Making a vault, and opening one.

use std::collections::BTreeSet;
use std::io;

use rand_core::CryptoRng;

use super::Vault;
use crate::derive::{KdfParams, LABEL_BLOCKS, LABEL_HEADER, vault_subkey};
use crate::directory::Directory;
use crate::error::{CreateError, OpenError, Part, WriteError};
use crate::header::{
    Body, Header, HeaderFault, HeaderFile, HeaderOpenFault, Unlocked, new_slots, unlock,
};
use crate::keys::{Keys, LoadFault, Root, SECTORS_FIRST};
use crate::memory::LockedKey;
use crate::random::Random;
use crate::secret::Passphrase;
use crate::store::{Fault, Store};

const RECORDS_NAME: &str = "records";

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
        let random = Random::new(rng);
        let vault = LockedKey::new(|out| random.fill(out));
        let unlocked = Unlocked {
            header: vault_subkey(&vault, LABEL_HEADER),
            vault,
        };
        let root = LockedKey::new(|out| random.fill(out));
        let keys =
            Keys::create(&*dir, Root::new(&unlocked.vault, root), &random).map_err(create_error)?;
        let blocks = vault_subkey(&unlocked.vault, LABEL_BLOCKS);
        let file = dir.create(RECORDS_NAME).map_err(create_error)?;
        let store = Store::create(file, blocks, &random).map_err(|fault| match fault {
            Fault::Full => CreateError::Full,
            Fault::Corrupt => CreateError::Io(io::ErrorKind::InvalidData),
            Fault::Io(kind) => CreateError::Io(kind),
        })?;
        let mut header = Header::new(&random, kdf);
        new_slots(&mut header, &random, secret, &unlocked.vault)
            .map_err(|_| CreateError::Io(io::ErrorKind::OutOfMemory))?;
        let body = Body {
            root: LockedKey::new(|out| out.copy_from_slice(keys.root().expose())),
            active: keys.active(),
            sectors: SECTORS_FIRST,
            sweep: false,
        };
        header.seal_body(&unlocked.header, &random, &body);
        // The header makes it a vault: no crash may keep that name and lose the others.
        dir.sync().map_err(create_error)?;
        let header = HeaderFile::create(&*dir, header).map_err(create_error)?;
        Ok(Vault {
            store,
            keys,
            header,
            unlocked,
            random,
            dead_rows: BTreeSet::new(),
            rotation_due: false,
            untouched_at_ms: None,
            broken: None,
            _lock: lock,
        })
    }

    /// Opens a vault: finishes what a crash interrupted, and rotates the root of the record keys.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        dir: Box<dyn Directory>,
        secret: &Passphrase,
        rng: Box<dyn CryptoRng + Send>,
    ) -> Result<Vault, OpenError> {
        let lock = dir.lock().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => OpenError::Missing,
            _ => open_error(&e, Part::Header),
        })?;
        let header = HeaderFile::open(&*dir).map_err(header_error)?;
        let unlocked = unlock(header.current(), secret)
            .map_err(|_| OpenError::Io(io::ErrorKind::OutOfMemory))?
            .ok_or(OpenError::WrongSecret)?;
        let body = header
            .current()
            .open_body(&unlocked.header)
            .map_err(|_| OpenError::Corrupt(Part::Header))?;
        let random = Random::new(rng);
        let (keys, sweep) = Keys::load(
            &*dir,
            Root::new(&unlocked.vault, body.root),
            body.active,
            body.sectors,
            &random,
        )
        .map_err(|fault| match fault {
            LoadFault::Corrupt => OpenError::Corrupt(Part::Keys),
            LoadFault::Io(e) => open_error(&e, Part::Keys),
        })?;
        let blocks = vault_subkey(&unlocked.vault, LABEL_BLOCKS);
        let file = dir
            .open(RECORDS_NAME)
            .map_err(|e| open_error(&e, Part::Records))?;
        let store = Store::open(file, blocks, &random).map_err(fault_error)?;
        let mut vault = Vault {
            store,
            keys,
            header,
            unlocked,
            random,
            dead_rows: BTreeSet::new(),
            rotation_due: true,
            untouched_at_ms: None,
            broken: None,
            _lock: lock,
        };
        vault.recover(sweep || body.sweep)?;
        Ok(vault)
    }

    /// Finishes what a crash interrupted.
    fn recover(&mut self, sweep: bool) -> Result<(), OpenError> {
        self.header
            .mirror()
            .map_err(|e| open_error(&e, Part::Header))?;
        self.load_use().map_err(fault_error)?;
        // [SPEC 11.20]
        self.keys.table.taint_free();
        if sweep {
            self.find_dead_rows().map_err(fault_error)?;
            self.remove_dead_rows();
        }
        // [SPEC 11.21]
        match self.rotate() {
            // A full disk does not lock anybody out. What is due stays due.
            Ok(()) | Err(WriteError::Full) => Ok(()),
            Err(WriteError::Corrupt(part)) => Err(OpenError::Corrupt(part)),
            Err(WriteError::Io(kind)) => Err(OpenError::Io(kind)),
            Err(WriteError::TooLong | WriteError::Kdf) => Err(OpenError::Corrupt(Part::Header)),
        }
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
            known: crate::header::VERSION,
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
