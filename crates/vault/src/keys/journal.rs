//! The journal of the key file: sealed sectors that are about to be written in place.
//!
//! One sealed index, then the sectors' new images. While it is whole, a torn write in place is
//! repaired from it; when the records whose keys it killed are gone from the table, it is scrubbed.
//! It takes its space when the vault is made, so killing keys needs none on a full disk.

use std::io;

use sha2::{Digest, Sha256};

use super::sector::SECTOR_LEN;
use super::table::to_usize;
use crate::directory::File;
use crate::memory::LockedKey;
use crate::random::Random;
use crate::seal::{OVERHEAD, open_into, seal_into};

/// Most sectors of one journal.
pub(crate) const SECTORS_MAX: usize = 63;
/// Length of the file.
pub(crate) const FILE_LEN: u64 = 4096 * 64;

const INDEX_PLAIN_LEN: usize = SECTOR_LEN - OVERHEAD;
const HASH_LEN: usize = 32;

/// A sector's number and its sealed bytes.
pub(crate) type Image = (u32, Box<[u8; SECTOR_LEN]>);

/// What a journal holds.
pub(crate) struct Journal {
    pub(crate) images: Vec<Image>,
    /// The table may have rows of the keys that die by it.
    pub(crate) sweep: bool,
}

/// Writes the journal; it counts when the file has been synced. `used_len` is how much of the file
/// an earlier journal used: all of that is overwritten.
pub(crate) fn write(
    file: &dyn File,
    key: &LockedKey,
    random: &Random,
    journal: &Journal,
    used_len: usize,
) -> io::Result<()> {
    let images = &journal.images;
    let mut out = vec![0; SECTOR_LEN * (1 + images.len())];
    let (index, bodies) = out.split_at_mut(SECTOR_LEN);
    for (body, (_, image)) in bodies.chunks_exact_mut(SECTOR_LEN).zip(images) {
        body.copy_from_slice(&**image);
    }
    let numbers = images.iter().map(|(number, _)| *number).collect();
    let hash = hash(bodies);
    let plain = Index {
        numbers,
        sweep: journal.sweep,
        hash,
    }
    .encode();
    seal_into(key.expose(), &[], random, &plain, index);
    let len = out.len();
    if used_len > len {
        out.resize(used_len, 0);
        if let Some(rest) = out.get_mut(len..) {
            random.fill(rest);
        }
    }
    file.write_at(0, &out)
}

/// A whole journal, or `None`: then nothing was written in place.
pub(crate) fn read(file: &dyn File, key: &LockedKey) -> io::Result<Option<Journal>> {
    let mut sealed = [0; SECTOR_LEN];
    if !read_or_short(file, 0, &mut sealed)? {
        return Ok(None);
    }
    let mut plain = [0; INDEX_PLAIN_LEN];
    if open_into(key.expose(), &[], &sealed, &mut plain).is_err() {
        return Ok(None);
    }
    let Some(index) = Index::decode(&plain) else {
        return Ok(None);
    };
    let mut bodies = vec![0; SECTOR_LEN * index.numbers.len()];
    if !read_or_short(file, 4096, &mut bodies)? || hash(&bodies) != index.hash {
        return Ok(None);
    }
    let mut images = Vec::with_capacity(index.numbers.len());
    for (number, body) in index
        .numbers
        .into_iter()
        .zip(bodies.chunks_exact(SECTOR_LEN))
    {
        let mut image = Box::new([0; SECTOR_LEN]);
        image.copy_from_slice(body);
        images.push((number, image));
    }
    let sweep = index.sweep;
    Ok(Some(Journal { images, sweep }))
}

/// Overwrites a journal of `used_len` bytes.
pub(crate) fn scrub(file: &dyn File, random: &Random, used_len: usize) -> io::Result<()> {
    let mut noise = vec![0; used_len];
    random.fill(&mut noise);
    file.write_at(0, &noise)
}

/// The content of a journal's first sector.
pub(crate) struct Index {
    numbers: Vec<u32>,
    sweep: bool,
    hash: [u8; HASH_LEN],
}

impl Index {
    /// Reads count (2 bytes), whether to sweep (1), that many sector numbers (4 each), hash of the
    /// images.
    pub(crate) fn decode(plain: &[u8]) -> Option<Index> {
        let (count, rest) = plain.split_first_chunk::<2>()?;
        let (sweep, mut rest) = rest.split_first()?;
        let count = usize::from(u16::from_be_bytes(*count));
        if count > SECTORS_MAX || *sweep > 1 {
            return None;
        }
        let mut numbers = Vec::with_capacity(count);
        for _ in 0..count {
            let (number, tail) = rest.split_first_chunk::<4>()?;
            numbers.push(u32::from_be_bytes(*number));
            rest = tail;
        }
        Some(Index {
            numbers,
            sweep: *sweep == 1,
            hash: *rest.first_chunk()?,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let count = u16::try_from(self.numbers.len()).expect("at most 63 sectors");
        let mut plain = count.to_be_bytes().to_vec();
        plain.push(u8::from(self.sweep));
        for number in &self.numbers {
            plain.extend_from_slice(&number.to_be_bytes());
        }
        plain.extend_from_slice(&self.hash);
        plain.resize(INDEX_PLAIN_LEN, 0);
        plain
    }
}

fn hash(bodies: &[u8]) -> [u8; HASH_LEN] {
    Sha256::digest(bodies).into()
}

/// Reads, or says `false` if the file ends before.
fn read_or_short(file: &dyn File, offset: u64, out: &mut [u8]) -> io::Result<bool> {
    match file.read_at(offset, out) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

/// How much of the file a journal of `images` uses.
pub(crate) fn used_len(images: &[Image]) -> usize {
    SECTOR_LEN * (1 + images.len())
}

/// The greatest length a journal can have.
pub(crate) fn whole_len() -> usize {
    to_usize(u32::try_from(FILE_LEN).expect("256 KiB"))
}
