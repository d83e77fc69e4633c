//! The relay's identity: an Ed25519 seed in a file of its own, made on first start.
//!
//! Its hash is in every address and link that names this relay, so a damaged file is an error and
//! never a reason to make another identity.

use emptyroom_wire::secret::Secret32;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{DataDir, DataError, read_small, write_private};
use crate::entropy;

pub(crate) const FILE: &str = "identity.key";
/// Format and version.
const MAGIC: &[u8; 8] = b"ERRLYID1";
const SEED_LEN: usize = 32;
const CHECK_LEN: usize = 8;

/// Reads the identity's seed; makes and stores one if the directory has none.
///
/// # Errors
/// The file is damaged, or the system refused to read or write it.
pub fn load_or_make(data: &DataDir) -> Result<Secret32, DataError> {
    let path = data.join(FILE);
    if let Some(bytes) = read_small(&path)? {
        return parse(&bytes).map_err(|what| DataError::Damaged { path, what });
    }
    let mut seed = Secret32::zero();
    entropy::fill(seed.expose_mut());
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAGIC.len() + SEED_LEN + CHECK_LEN));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(seed.expose());
    let check = checksum(&bytes);
    bytes.extend_from_slice(&check);
    write_private(&path, &bytes)?;
    Ok(seed)
}

/// Reads the file's bytes.
// [SPEC 6.61]
pub(crate) fn parse(bytes: &[u8]) -> Result<Secret32, &'static str> {
    let (body, check) = bytes.split_last_chunk::<CHECK_LEN>().ok_or("too short")?;
    let seed = body
        .strip_prefix(MAGIC)
        .ok_or("not an identity key of this version")?;
    if *check != checksum(body) {
        return Err("its checksum does not fit");
    }
    Secret32::from_slice(seed).ok_or("wrong length")
}

fn checksum(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let mut check = [0; CHECK_LEN];
    for (to, from) in check.iter_mut().zip(Sha256::digest(bytes)) {
        *to = from;
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch;
    use std::fs;

    #[test]
    fn identity_stays() {
        let dir = scratch("identity");
        let data = DataDir::open(dir.path()).unwrap();
        let first = load_or_make(&data).unwrap();
        assert!(first.same(&load_or_make(&data).unwrap()));
    }

    // [SPEC 6.61]
    #[test]
    fn damaged_identity_is_an_error_and_stays_as_it_is() {
        let dir = scratch("identity-damaged");
        let data = DataDir::open(dir.path()).unwrap();
        load_or_make(&data).unwrap();
        let good = fs::read(data.join(FILE)).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(data.join(FILE), &bad).unwrap();
            assert!(
                matches!(load_or_make(&data), Err(DataError::Damaged { .. })),
                "byte {at}"
            );
            assert_eq!(fs::read(data.join(FILE)).unwrap(), bad);
        }
        for len in 0..good.len() {
            fs::write(data.join(FILE), &good[..len]).unwrap();
            assert!(
                matches!(load_or_make(&data), Err(DataError::Damaged { .. })),
                "length {len}"
            );
        }
    }
}
