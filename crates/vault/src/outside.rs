//! The file `outside`: what must be read before anybody is asked for a secret. Not secret itself, and
//! nothing of it is believed that could open anything.
//!
//! Two copies, as the header has them. Who calls this holds the directory's lock.

use std::io;

use sha2::{Digest, Sha256};

use crate::directory::{Directory, File};
use crate::pair::Pair;

/// The name of the file.
pub const NAME: &str = "outside";
const COPY_LEN: usize = 4096;
const OFFSETS: [u64; 2] = [0, 4096];
const MAGIC: &[u8; 16] = b"emptyroom locked";
const VERSION: u16 = 1;
const SEQUENCE_AT: usize = 24;
const CONTENT_AT: usize = 36;
const CHECKSUM_AT: usize = COPY_LEN - 32;

/// The longest content in bytes.
pub const CONTENT_LEN_MAX: usize = CHECKSUM_AT - CONTENT_AT;

/// What lies outside; nothing where there is no such file.
///
/// # Errors
/// `InvalidData` where it is there and not whole, else faults of the disk where they leave no whole copy.
pub fn read(dir: &dyn Directory) -> io::Result<Option<Vec<u8>>> {
    let file = match dir.open(NAME) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let copy = newest(&*file)?.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some(copy.content))
}

/// Replaces what lies outside. A crash leaves the old or the new.
///
/// # Errors
/// `InvalidInput` where it is too long, else faults of the disk.
pub fn write(dir: &dyn Directory, content: &[u8]) -> io::Result<()> {
    // [SPEC 11.60]
    let found = match dir.open(NAME) {
        Ok(file) => newest(&*file)?.map(|copy| (file, copy)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let Some((file, copy)) = found else {
        let image = encode(1, content)?;
        let file = dir.create(NAME)?;
        for offset in OFFSETS {
            file.write_at(offset, &image)?;
        }
        file.sync()?;
        return dir.sync();
    };
    let image = encode(copy.sequence.saturating_add(1), content)?;
    let mut pair = Pair::new(OFFSETS, copy.place);
    pair.write_other(&*file, &image)?;
    file.sync()?;
    pair.promote();
    pair.write_other(&*file, &image)?;
    file.sync()
}

/// Removes it, where there is one.
///
/// # Errors
/// Faults of the disk.
pub fn remove(dir: &dyn Directory) -> io::Result<()> {
    match dir.remove(NAME) {
        Ok(()) => dir.sync(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// A whole copy, and which of the two it is.
struct Copy {
    place: usize,
    sequence: u64,
    content: Vec<u8>,
}

fn newest(file: &dyn File) -> io::Result<Option<Copy>> {
    // What is read from here on is durable: a process may have died before it synced.
    file.sync()?;
    let mut newest: Option<Copy> = None;
    let mut unread = None;
    for (place, offset) in OFFSETS.into_iter().enumerate() {
        let mut bytes = [0; COPY_LEN];
        match file.read_at(offset, &mut bytes) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => continue,
            // [SPEC 11.110] As damaged: at rest the other one is the same, and what is written over it heals the disk.
            Err(e) => {
                unread = Some(e);
                continue;
            }
        }
        let Some((sequence, content)) = decode(&bytes) else {
            continue;
        };
        if newest.as_ref().is_none_or(|copy| sequence > copy.sequence) {
            newest = Some(Copy {
                place,
                sequence,
                content: content.to_vec(),
            });
        }
    }
    match (newest, unread) {
        (None, Some(e)) => Err(e),
        (newest, _) => Ok(newest),
    }
}

fn encode(sequence: u64, content: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(content.len())
        .ok()
        .filter(|_| content.len() <= CONTENT_LEN_MAX)
        .ok_or(io::ErrorKind::InvalidInput)?;
    let mut copy = Vec::with_capacity(COPY_LEN);
    copy.extend_from_slice(MAGIC);
    copy.extend_from_slice(&VERSION.to_be_bytes());
    copy.resize(SEQUENCE_AT, 0);
    copy.extend_from_slice(&sequence.to_be_bytes());
    copy.extend_from_slice(&length.to_be_bytes());
    copy.extend_from_slice(content);
    copy.resize(CHECKSUM_AT, 0);
    let checksum = Sha256::digest(&copy);
    copy.extend_from_slice(&checksum);
    Ok(copy)
}

/// Sequence and content of a whole copy. There is one encoding of each.
pub(crate) fn decode(copy: &[u8]) -> Option<(u64, &[u8])> {
    let sequence = u64::from_be_bytes(*copy.get(SEQUENCE_AT..)?.first_chunk()?);
    let length = u32::from_be_bytes(*copy.get(SEQUENCE_AT + 8..)?.first_chunk()?);
    let content = copy
        .get(CONTENT_AT..)?
        .get(..usize::try_from(length).ok()?)?;
    let whole = encode(sequence, content).ok()?;
    (whole == copy).then_some((sequence, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 11.60]
    #[test]
    fn a_copy_lies_as_the_specification_says() {
        let copy = encode(0x0102_0304, b"abc").unwrap();
        let mut expected =
            b"emptyroom locked\0\x01\0\0\0\0\0\0\0\0\0\0\x01\x02\x03\x04\0\0\0\x03abc".to_vec();
        expected.resize(4064, 0);
        expected.extend_from_slice(&Sha256::digest(expected.clone()));
        assert_eq!(copy, expected);
        assert_eq!(decode(&copy), Some((0x0102_0304, &b"abc"[..])));
        for at in 0..COPY_LEN {
            let mut damaged = copy.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&damaged), None, "{at}");
        }
        assert!(encode(1, &[7; CONTENT_LEN_MAX]).is_ok_and(|copy| decode(&copy).is_some()));
        assert!(encode(1, &[7; CONTENT_LEN_MAX + 1]).is_err());
    }
}
