//! Values that records are made of and that TLS presentation language has no word for.

use emptyroom_wire::secret::Secret32;
use tls_codec::{DeserializeBytes, Error, Serialize, Size};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::api::{Burn, Text};

/// Yes or no, in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

/// A secret in a record.
pub(crate) struct StoredSecret(pub(crate) Secret32);

/// A text in a record.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct StoredText(String);

/// A timer in a record.
#[derive(Clone, Copy)]
pub(crate) struct StoredBurn(pub(crate) Burn);

impl std::fmt::Debug for StoredText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredText(private)")
    }
}

impl StoredText {
    pub(crate) fn of(text: &Text) -> Self {
        Self(text.expose().to_owned())
    }

    pub(crate) fn text(&self) -> Text {
        Text::new(self.0.clone())
    }
}

impl Size for Flag {
    fn tls_serialized_len(&self) -> usize {
        1
    }
}

impl Serialize for Flag {
    fn tls_serialize<W: std::io::Write>(&self, writer: &mut W) -> Result<usize, Error> {
        u8::from(self.0).tls_serialize(writer)
    }
}

impl DeserializeBytes for Flag {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        match u8::tls_deserialize_bytes(bytes)? {
            (0, rest) => Ok((Self(false), rest)),
            (1, rest) => Ok((Self(true), rest)),
            _ => Err(Error::InvalidInput),
        }
    }
}

impl Size for StoredSecret {
    fn tls_serialized_len(&self) -> usize {
        32
    }
}

impl Serialize for StoredSecret {
    fn tls_serialize<W: std::io::Write>(&self, writer: &mut W) -> Result<usize, Error> {
        self.0.expose().tls_serialize(writer)
    }
}

impl DeserializeBytes for StoredSecret {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (secret, rest) = bytes.split_at_checked(32).ok_or(Error::EndOfStream)?;
        let secret = Secret32::from_slice(secret).ok_or(Error::InvalidInput)?;
        Ok((Self(secret), rest))
    }
}

impl Size for StoredText {
    fn tls_serialized_len(&self) -> usize {
        4 + self.0.len()
    }
}

impl Serialize for StoredText {
    fn tls_serialize<W: std::io::Write>(&self, writer: &mut W) -> Result<usize, Error> {
        let len = u32::try_from(self.0.len()).map_err(|_| Error::InvalidVectorLength)?;
        len.tls_serialize(writer)?;
        writer.write_all(self.0.as_bytes())?;
        Ok(4 + self.0.len())
    }
}

impl DeserializeBytes for StoredText {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (len, rest) = u32::tls_deserialize_bytes(bytes)?;
        let len = usize::try_from(len).map_err(|_| Error::InvalidVectorLength)?;
        let (text, rest) = rest.split_at_checked(len).ok_or(Error::EndOfStream)?;
        let text = std::str::from_utf8(text).map_err(|_| Error::InvalidInput)?;
        Ok((Self(text.to_owned()), rest))
    }
}

const NEVER: u64 = 0;
const ON_READ: u64 = 1;

impl Size for StoredBurn {
    fn tls_serialized_len(&self) -> usize {
        8
    }
}

impl Serialize for StoredBurn {
    fn tls_serialize<W: std::io::Write>(&self, writer: &mut W) -> Result<usize, Error> {
        let code = match self.0 {
            Burn::Never => NEVER,
            Burn::OnRead => ON_READ,
            Burn::After(time) => time.ms(),
        };
        code.tls_serialize(writer)
    }
}

impl DeserializeBytes for StoredBurn {
    fn tls_deserialize_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (code, rest) = u64::tls_deserialize_bytes(bytes)?;
        let burn = match code {
            NEVER => Burn::Never,
            ON_READ => Burn::OnRead,
            ms => Burn::after_ms(ms).map_err(|_| Error::InvalidInput)?,
        };
        Ok((Self(burn), rest))
    }
}
