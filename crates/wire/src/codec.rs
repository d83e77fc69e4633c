//! TLS presentation language with the bounds that this protocol needs.
//!
//! `tls_codec` derives the structure; here are byte strings and lists with a limit of their own, a
//! strict boolean, and the two functions that everybody calls: [`encode`] and [`decode`]. One value
//! has one encoding; bytes left over are refused.

use std::io::Write;

use tls_codec::{DeserializeBytes, Error, Serialize, Size};

/// Whose fault it is that bytes do not decode: the sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeFault {
    /// The bytes end before the value does.
    Truncated,
    /// The value ends before the bytes do.
    Trailing,
    /// A byte string or list is longer than its clause allows.
    TooLong,
    /// A type number or enumeration value that this version does not know.
    UnknownValue,
    /// A value that its clause does not allow.
    Invalid,
}

impl core::fmt::Display for DecodeFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            DecodeFault::Truncated => "bytes end before the value does",
            DecodeFault::Trailing => "bytes left over after the value",
            DecodeFault::TooLong => "a part is longer than allowed",
            DecodeFault::UnknownValue => "unknown type number",
            DecodeFault::Invalid => "value not allowed here",
        })
    }
}

impl std::error::Error for DecodeFault {}

/// Our caller's mistake: a part is longer than its clause allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl core::fmt::Display for TooLong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a part is longer than allowed")
    }
}

impl std::error::Error for TooLong {}

/// The bytes of a value.
///
/// # Errors
/// [`TooLong`] if a byte string or list in it exceeds its limit.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, TooLong> {
    value.tls_serialize_detached().map_err(|_| TooLong)
}

/// The value that the bytes are, all of them.
///
/// # Errors
/// A [`DecodeFault`]; nothing about the content is in it.
pub fn decode<T: DeserializeBytes>(bytes: &[u8]) -> Result<T, DecodeFault> {
    // [SPEC 4.2]
    T::tls_deserialize_exact_bytes(bytes).map_err(|error| match error {
        Error::EndOfStream => DecodeFault::Truncated,
        Error::TrailingData => DecodeFault::Trailing,
        Error::InvalidVectorLength => DecodeFault::TooLong,
        Error::UnknownValue(_) => DecodeFault::UnknownValue,
        _ => DecodeFault::Invalid,
    })
}

/// `opaque x<0..MAX>`: the length prefix has as many bytes as `MAX` needs.
pub(crate) struct Opaque<const MAX: usize>;

impl<const MAX: usize> Opaque<MAX> {
    const WIDTH: usize = width(MAX);

    pub(crate) fn tls_serialized_len(value: &[u8]) -> usize {
        Self::WIDTH + value.len()
    }

    pub(crate) fn tls_serialize<W: Write>(value: &[u8], writer: &mut W) -> Result<usize, Error> {
        if value.len() > MAX {
            return Err(Error::InvalidVectorLength);
        }
        write_len::<W>(value.len(), Self::WIDTH, writer)?;
        writer.write_all(value)?;
        Ok(Self::WIDTH + value.len())
    }

    pub(crate) fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Vec<u8>, &[u8]), Error> {
        let (len, rest) = read_len(bytes, Self::WIDTH)?;
        // [SPEC 4.3]
        if len > MAX {
            return Err(Error::InvalidVectorLength);
        }
        let (value, rest) = rest.split_at_checked(len).ok_or(Error::EndOfStream)?;
        Ok((value.to_vec(), rest))
    }
}

/// `T x<0..2^24-1>` of at most `MAX` items; the prefix counts bytes.
pub(crate) struct List<const MAX: usize>;

impl<const MAX: usize> List<MAX> {
    const WIDTH: usize = 3;

    pub(crate) fn tls_serialized_len<T: Size>(value: &[T]) -> usize {
        Self::WIDTH + value.iter().map(Size::tls_serialized_len).sum::<usize>()
    }

    pub(crate) fn tls_serialize<W: Write, T: Serialize>(
        value: &[T],
        writer: &mut W,
    ) -> Result<usize, Error> {
        let len = value.iter().map(Size::tls_serialized_len).sum();
        if value.len() > MAX || len >= 1 << 24 {
            return Err(Error::InvalidVectorLength);
        }
        let mut written = write_len::<W>(len, Self::WIDTH, writer)?;
        for item in value {
            written += item.tls_serialize(writer)?;
        }
        Ok(written)
    }

    pub(crate) fn tls_deserialize_bytes<T: DeserializeBytes>(
        bytes: &[u8],
    ) -> Result<(Vec<T>, &[u8]), Error> {
        let (len, rest) = read_len(bytes, Self::WIDTH)?;
        let (mut items, rest) = rest.split_at_checked(len).ok_or(Error::EndOfStream)?;
        let mut out = Vec::new();
        while !items.is_empty() {
            // [SPEC 4.3]
            if out.len() == MAX {
                return Err(Error::InvalidVectorLength);
            }
            let (item, after) = T::tls_deserialize_bytes(items)?;
            out.push(item);
            items = after;
        }
        Ok((out, rest))
    }
}

/// A boolean: one byte, 0 or 1.
pub(crate) struct Boolean;

impl Boolean {
    pub(crate) fn tls_serialized_len(_: &bool) -> usize {
        1
    }

    pub(crate) fn tls_serialize<W: Write>(value: &bool, writer: &mut W) -> Result<usize, Error> {
        writer.write_all(&[u8::from(*value)])?;
        Ok(1)
    }

    pub(crate) fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(bool, &[u8]), Error> {
        match bytes.split_first() {
            Some((0, rest)) => Ok((false, rest)),
            Some((1, rest)) => Ok((true, rest)),
            // [SPEC 4.2]
            Some(_) => Err(Error::InvalidInput),
            None => Err(Error::EndOfStream),
        }
    }
}

/// How many bytes a length up to `max` needs.
const fn width(max: usize) -> usize {
    match max {
        0..0x100 => 1,
        0x100..0x1_0000 => 2,
        0x1_0000..0x100_0000 => 3,
        _ => 4,
    }
}

fn write_len<W: Write>(len: usize, width: usize, writer: &mut W) -> Result<usize, Error> {
    let len = u32::try_from(len).map_err(|_| Error::InvalidVectorLength)?;
    let bytes = len.to_be_bytes();
    let bytes = bytes.get(4 - width..).ok_or(Error::LibraryError)?;
    writer.write_all(bytes)?;
    Ok(width)
}

fn read_len(bytes: &[u8], width: usize) -> Result<(usize, &[u8]), Error> {
    let (prefix, rest) = bytes.split_at_checked(width).ok_or(Error::EndOfStream)?;
    let len = prefix
        .iter()
        .fold(0, |len: usize, byte| (len << 8) | usize::from(*byte));
    Ok((len, rest))
}
