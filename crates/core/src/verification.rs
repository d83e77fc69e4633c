//! What two people compare to know that nobody sits between them: a number of 60 digits, or its QR code.
//!
//! Both are over both identity keys and the same on both sides. Keys are compared, not people: who finds the numbers equal
//! over a channel that he trusts knows that both clients talk to each other. The QR code carries the shower's position,
//! too, for whoever compares histories at the same place; messages say it as well, so no client has to.

use emptyroom_wire::hash::labelled;
use sha2::{Digest as _, Sha512};
use tls_codec::{
    DeserializeBytes as _, Serialize as _, TlsDeserializeBytes, TlsSerialize, TlsSize,
};

use crate::account::IdentityKey;
use crate::position::LogPoint;

/// Digits of the number.
pub const DIGITS: usize = 60;

const NUMBER_LABEL: &str = "emptyroom v1 verification number";
const CODE_LABEL: &str = "emptyroom v1 verification code";
/// Letters and digits that QR codes store densely.
const CODE_PREFIX: &str = "ERV1:";

/// The content of a verification QR code.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Code {
    /// Hash over both identity keys.
    keys: [u8; 32],
    /// Where its shower is in the log.
    pub position: LogPoint,
}

/// What comparing a scanned code says about the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Both clients hold the same two identity keys.
    Same,
    /// They do not: somebody is in between, or it is the code of another conversation.
    Different,
}

/// A text that is no verification code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotACode;

/// The number: 60 digits, the same whichever key is whose.
#[must_use]
pub fn number(a: IdentityKey, b: IdentityKey) -> String {
    // [SPEC 8.37]
    let label_len = u8::try_from(NUMBER_LABEL.len()).expect("the label is short");
    let mut hash = Sha512::new();
    hash.update([label_len]);
    hash.update(NUMBER_LABEL.as_bytes());
    hash.update(a.min(b).0);
    hash.update(a.max(b).0);
    // Twelve groups of five digits from five bytes each: 60 of the 64 bytes.
    hash.finalize()
        .chunks_exact(5)
        .map(|group| {
            group
                .iter()
                .fold(0, |n: u64, byte| n << 8 | u64::from(*byte))
        })
        .map(|group| format!("{:05}", group % 100_000))
        .collect()
}

impl Code {
    /// The code that a client shows.
    #[must_use]
    pub fn new(a: IdentityKey, b: IdentityKey, position: LogPoint) -> Self {
        // [SPEC 8.38]
        let keys = labelled(CODE_LABEL, &[&a.min(b).0, &a.max(b).0]);
        Self { keys, position }
    }

    /// The text to be shown as a QR code.
    #[must_use]
    pub fn text(&self) -> String {
        let bytes = self
            .tls_serialize_detached()
            .expect("a code has a fixed size");
        let hex = bytes.iter().map(|byte| format!("{byte:02X}"));
        std::iter::once(CODE_PREFIX.to_owned()).chain(hex).collect()
    }

    /// Reads what was scanned.
    ///
    /// # Errors
    /// [`NotACode`].
    pub fn parse(text: &str) -> Result<Self, NotACode> {
        let hex = text.strip_prefix(CODE_PREFIX).ok_or(NotACode)?.as_bytes();
        if !hex.len().is_multiple_of(2) {
            return Err(NotACode);
        }
        let bytes: Vec<u8> = hex
            .chunks_exact(2)
            .map(|pair| match pair {
                [high, low] => Some(nibble(*high)? << 4 | nibble(*low)?),
                _ => None,
            })
            .collect::<Option<_>>()
            .ok_or(NotACode)?;
        Self::tls_deserialize_exact_bytes(&bytes).map_err(|_| NotACode)
    }

    /// Compares the keys. Positions are to be compared only where both sides know them.
    #[must_use]
    pub fn compare(&self, scanned: &Self) -> Comparison {
        if self.keys == scanned.keys {
            Comparison::Same
        } else {
            Comparison::Different
        }
    }
}

/// A digit of upper-case hexadecimal: one value has one text.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code(private)")
    }
}

impl std::fmt::Display for NotACode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a verification code")
    }
}

impl std::error::Error for NotACode {}
