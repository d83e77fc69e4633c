//! One sealed sector of a key file: 4,096 bytes that look random, bound to their place.

use super::table::SECTOR_PLAIN_LEN;
use crate::memory::LockedKey;
use crate::random::Random;
use crate::seal::{NotAuthentic, OVERHEAD, open_into, seal_into};

/// Length of a sealed sector.
pub(crate) const SECTOR_LEN: usize = SECTOR_PLAIN_LEN + OVERHEAD;

/// Where sector `index` lies in its file.
pub(crate) fn offset(index: u32) -> u64 {
    u64::from(index) * 4096
}

pub(crate) fn seal(
    key: &LockedKey,
    index: u32,
    random: &Random,
    plain: &[u8],
    out: &mut [u8; SECTOR_LEN],
) {
    seal_into(key.expose(), &index.to_be_bytes(), random, plain, out);
}

pub(crate) fn open(
    key: &LockedKey,
    index: u32,
    sealed: &[u8],
    out: &mut [u8],
) -> Result<(), NotAuthentic> {
    open_into(key.expose(), &index.to_be_bytes(), sealed, out)
}
