//! What lies outside of the vault, for whoever has no secret: one part for each thing that goes on while it is locked.
//!
//! A part is its kind (1 byte), its length (2) and its bytes; kinds rise. Who calls this holds the directory's lock, but for
//! reading what is only shown.

use std::io;

use emptyroom_vault::{Directory, outside};

use crate::deadman::Deadline;

const KIND_DEADLINE: u8 = 1;

/// What lies outside of a vault.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Outside {
    pub(crate) deadline: Option<Deadline>,
}

impl Outside {
    /// What lies in a vault's directory; nothing where there is no such file.
    ///
    /// # Errors
    /// `InvalidData` where it is there and cannot be understood, else faults of the disk.
    pub(crate) fn read(directory: &dyn Directory) -> io::Result<Option<Self>> {
        let Some(content) = outside::read(directory)? else {
            return Ok(None);
        };
        let outside = Self::decode(&content).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some(outside))
    }

    /// Changes a part of it. Where nothing is left there is no such file.
    ///
    /// # Errors
    /// Faults of the disk.
    pub(crate) fn change(
        directory: &dyn Directory,
        change: impl FnOnce(&mut Self),
    ) -> io::Result<()> {
        // What cannot be understood is replaced: the vault has its own record of what it put there.
        let mut outside = match Self::read(directory) {
            Err(e) if e.kind() != io::ErrorKind::InvalidData => return Err(e),
            found => found.ok().flatten().unwrap_or_default(),
        };
        change(&mut outside);
        if outside == Self::default() {
            outside::remove(directory)
        } else {
            outside::write(directory, &outside.encode())
        }
    }

    // [SPEC 11.60]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let parts = [(KIND_DEADLINE, self.deadline.map(|part| part.encode()))];
        let mut content = Vec::new();
        for (kind, part) in parts {
            let Some(part) = part else { continue };
            let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
            content.push(kind);
            content.extend_from_slice(&length.to_be_bytes());
            content.extend_from_slice(&part);
        }
        content
    }

    pub(crate) fn decode(mut content: &[u8]) -> Option<Self> {
        let mut outside = Self::default();
        let mut last = 0;
        while let Some((kind, rest)) = content.split_first() {
            let (length, rest) = rest.split_first_chunk()?;
            let (part, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
            if *kind <= last {
                return None;
            }
            last = *kind;
            match *kind {
                KIND_DEADLINE => outside.deadline = Some(Deadline::decode(part)?),
                _ => return None,
            }
            content = rest;
        }
        Some(outside)
    }
}
