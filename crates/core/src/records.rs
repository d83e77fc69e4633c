//! How records are written into the vault: a version, then the value in TLS presentation language.
//!
//! What a record means is its owner's matter; here is only the frame that all share, so that a newer program's record is
//! told apart from a damaged one.

use tls_codec::{DeserializeBytes, Serialize};

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFault {
    /// Written by a program that knows a later version.
    Newer {
        /// The version found.
        found: u16,
        /// The version this program writes.
        known: u16,
    },
    /// Not what was written.
    Malformed,
}

/// A record's bytes.
///
/// # Panics
/// If the value holds a byte string of a gibibyte, which no record can (the vault takes a mebibyte).
#[must_use]
pub fn encode<T: Serialize>(version: u16, value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + value.tls_serialized_len());
    out.extend_from_slice(&version.to_be_bytes());
    value
        .tls_serialize(&mut out)
        .expect("records are far shorter than the longest byte string");
    out
}

/// Whether a later program wrote a record; what else is wrong with it is no matter here.
///
/// # Errors
/// [`RecordFault::Newer`].
pub fn check_version(known: u16, record: &[u8]) -> Result<(), RecordFault> {
    match record.split_first_chunk() {
        Some((found, _)) if u16::from_be_bytes(*found) > known => Err(RecordFault::Newer {
            found: u16::from_be_bytes(*found),
            known,
        }),
        _ => Ok(()),
    }
}

/// The value of a record.
///
/// # Errors
/// A [`RecordFault`].
pub fn decode<T: DeserializeBytes>(version: u16, record: &[u8]) -> Result<T, RecordFault> {
    let (found, value) = record.split_first_chunk().ok_or(RecordFault::Malformed)?;
    let found = u16::from_be_bytes(*found);
    match found.cmp(&version) {
        std::cmp::Ordering::Greater => Err(RecordFault::Newer {
            found,
            known: version,
        }),
        std::cmp::Ordering::Less => Err(RecordFault::Malformed),
        std::cmp::Ordering::Equal => {
            T::tls_deserialize_exact_bytes(value).map_err(|_| RecordFault::Malformed)
        }
    }
}

impl std::fmt::Display for RecordFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Newer { found, known } => {
                write!(f, "record version {found} is newer than {known}")
            }
            Self::Malformed => f.write_str("a record has another form"),
        }
    }
}

impl std::error::Error for RecordFault {}
