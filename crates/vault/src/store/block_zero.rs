//! Block zero of the table's file: the one that redb overwrites in place.
//!
//! It is kept in memory and written as a whole, with the table's length and a counter, to two
//! alternating copies.

use crate::memory::LockedKey;
use crate::random::Random;
use crate::seal::{OVERHEAD, open_into, seal_into};

/// Bytes per block, as redb sees them.
pub(crate) const BLOCK_LEN: usize = 4096;
const PLAIN_LEN: usize = 8 + 8 + BLOCK_LEN;
/// Length of one sealed copy.
pub(crate) const COPY_LEN: usize = PLAIN_LEN + OVERHEAD;
/// Where the copies lie: on disk sectors of their own.
pub(crate) const OFFSETS: [u64; 2] = [0, 8192];

/// The content of one copy.
pub(crate) struct BlockZero {
    /// Counts the versions of this block.
    pub(crate) sequence: u64,
    /// Length of the table, in bytes as redb sees them.
    pub(crate) len: u64,
    /// The block.
    pub(crate) bytes: Box<[u8; BLOCK_LEN]>,
}

impl BlockZero {
    /// The block of an empty table.
    pub(crate) fn empty() -> Self {
        BlockZero {
            sequence: 0,
            len: 0,
            bytes: Box::new([0; BLOCK_LEN]),
        }
    }

    pub(crate) fn seal(&self, key: &LockedKey, random: &Random) -> Vec<u8> {
        let mut plain = Vec::with_capacity(PLAIN_LEN);
        plain.extend_from_slice(&self.sequence.to_be_bytes());
        plain.extend_from_slice(&self.len.to_be_bytes());
        plain.extend_from_slice(&*self.bytes);
        let mut sealed = vec![0; COPY_LEN];
        seal_into(
            key.expose(),
            &0u64.to_be_bytes(),
            random,
            &plain,
            &mut sealed,
        );
        sealed
    }

    pub(crate) fn open(key: &LockedKey, sealed: &[u8]) -> Option<Self> {
        let mut plain = vec![0; PLAIN_LEN];
        open_into(key.expose(), &0u64.to_be_bytes(), sealed, &mut plain).ok()?;
        Self::decode(&plain)
    }

    /// Reads counter (8 bytes), length (8 bytes, whole blocks), block.
    pub(crate) fn decode(plain: &[u8]) -> Option<Self> {
        let (sequence, rest) = plain.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<8>()?;
        let len = u64::from_be_bytes(*len);
        let block = rest.first_chunk::<BLOCK_LEN>()?;
        if rest.len() != BLOCK_LEN || len % 4096 != 0 || len > u64::MAX / 4 {
            return None;
        }
        Some(BlockZero {
            sequence: u64::from_be_bytes(*sequence),
            len,
            bytes: Box::new(*block),
        })
    }
}
