//! Files that hold one random key each. A key is destroyed by overwriting its file, and everything sealed under it is gone with
//! it, wherever copies of the bytes may have stayed.

use std::io;

use emptyroom_relay::store::StoreFailure;
use emptyroom_wire::secret::Secret32;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::disk::{Disk, DiskFile, synced};
use crate::data::{io_failure, open_failure};
use crate::entropy;

/// Format and version.
const MAGIC: &[u8; 8] = b"ERSEGK01";
const KEY_LEN: usize = 32;
const CHECK_LEN: usize = 8;
const FILE_LEN: usize = MAGIC.len() + KEY_LEN + CHECK_LEN;

/// What a key file holds.
pub(super) enum Found {
    Key(Secret32),
    /// It was destroyed.
    Destroyed,
    /// There is none, or it was never finished.
    Nothing,
    /// Neither a key nor what a destroyed one leaves.
    Damaged,
}

/// Makes a key and its file, durable with its name.
pub(super) fn make<D: Disk>(disk: &D, name: &str) -> Result<Secret32, StoreFailure> {
    let mut key = Secret32::zero();
    entropy::fill(key.expose_mut());
    let failed = |e: &io::Error| io_failure(e, "writing a key");
    let file = disk.create(name).map_err(|e| failed(&e))?;
    let write = || {
        file.write_at(0, &encode(&key))?;
        synced(file.sync())?;
        synced(disk.sync_names())
    };
    match write() {
        Ok(()) => Ok(key),
        Err(error) => {
            unmake(disk, &[name.to_owned()])?;
            Err(failed(&error))
        }
    }
}

/// Reads a key file.
pub(super) fn read<D: Disk>(disk: &D, name: &str) -> Result<Found, StoreFailure> {
    let failed = |e: &io::Error| open_failure(e, "reading a key");
    let file = match disk.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        opened => opened.map_err(|e| failed(&e))?,
    };
    let len = file.len().map_err(|e| failed(&e))?;
    if len == 0 {
        return Ok(Found::Nothing);
    }
    let mut bytes = Zeroizing::new([0; FILE_LEN]);
    if len != FILE_LEN as u64 {
        return Ok(Found::Damaged);
    }
    file.read_at(0, bytes.as_mut()).map_err(|e| failed(&e))?;
    // Overwriting begins at the beginning.
    if bytes.starts_with(&[0; MAGIC.len()]) {
        return Ok(Found::Destroyed);
    }
    let key = bytes
        .get(MAGIC.len()..MAGIC.len() + KEY_LEN)
        .and_then(Secret32::from_slice);
    match key {
        Some(key) if *encode(&key) == bytes[..] => Ok(Found::Key(key)),
        _ => Ok(Found::Damaged),
    }
}

/// Destroys a key and removes its file together with the files that were sealed under it, as far as they are there. A key file goes
/// last: what lies there without one was robbed of it.
pub(super) fn destroy<D: Disk>(
    disk: &D,
    name: &str,
    sealed: &[String],
) -> Result<(), StoreFailure> {
    let destroy = || {
        let is_there = match disk.open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            opened => {
                let file = opened?;
                file.write_at(0, &[0; FILE_LEN])?;
                synced(file.sync())?;
                true
            }
        };
        sealed.iter().try_for_each(|name| remove(disk, name))?;
        synced(disk.sync_names())?;
        if is_there {
            remove(disk, name)?;
            synced(disk.sync_names())?;
        }
        Ok(())
    };
    destroy().map_err(|e: io::Error| io_failure(&e, "destroying a key and its files"))
}

/// Removes files under whose key nothing was sealed yet, so that the next try makes them anew.
pub(super) fn unmake<D: Disk>(disk: &D, made: &[String]) -> Result<(), StoreFailure> {
    let unmade = made.iter().try_for_each(|name| remove(disk, name));
    unmade.map_err(|e| io_failure(&e, "removing unfinished files"))
}

fn remove<D: Disk>(disk: &D, name: &str) -> io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn encode(key: &Secret32) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_LEN));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(key.expose());
    let check = Sha256::digest(&*bytes);
    bytes.extend(check.iter().take(CHECK_LEN));
    bytes
}
