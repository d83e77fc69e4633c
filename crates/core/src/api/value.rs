//! Small checked values of the interface: names, texts, timers, line numbers.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// What the user calls a contact on this device. Never sent to anybody.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// Nothing, or only spaces.
    Empty,
    /// More than [`Name::BYTES_MAX`] bytes.
    TooLong,
    /// A control character, or spaces at an end.
    BadCharacter,
}

impl Name {
    /// The longest name in bytes of UTF-8.
    pub const BYTES_MAX: usize = 64;

    /// Checks a text.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        if text.trim().is_empty() {
            return Err(NameFault::Empty);
        }
        if text.len() > Self::BYTES_MAX {
            return Err(NameFault::TooLong);
        }
        if text.trim() != text || text.chars().any(char::is_control) {
            return Err(NameFault::BadCharacter);
        }
        Ok(Self(text.to_owned()))
    }

    /// Stands where a stored name cannot be read, which only damage could bring about.
    pub(crate) fn unnamed() -> Self {
        Self("unnamed".to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a name must not be empty",
            Self::TooLong => "a name has at most 64 bytes",
            Self::BadCharacter => "a name has no control characters and no spaces at its ends",
        })
    }
}

/// A text that a person wrote, or a link or address that must stay secret. Zeroized when dropped, never in logs.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Text(String);

impl Text {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text(..)")
    }
}

/// The number of a line in a conversation, as shown to the user: rising, never used twice, local to this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineId(pub u64);

/// When a message disappears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Burn {
    /// It stays until it is deleted.
    Never,
    /// So many milliseconds after it was read (at its recipient) or sent (at its sender).
    After(BurnMs),
    /// As soon as it was read; at its sender as soon as he learns that, or 30 days after sending.
    OnRead,
}

/// A checked time for [`Burn::After`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BurnMs(u64);

/// A timer below 5 seconds or above 4 weeks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurnOutOfRange;

impl Burn {
    /// The shortest timer.
    pub const MS_MIN: u64 = 5_000;
    /// The longest timer: four weeks.
    pub const MS_MAX: u64 = 28 * 24 * 3_600_000;

    /// A timer of so many milliseconds.
    ///
    /// # Errors
    /// Below 5 s or above 4 weeks.
    // [SPEC 9.30]
    pub fn after_ms(ms: u64) -> Result<Self, BurnOutOfRange> {
        if (Self::MS_MIN..=Self::MS_MAX).contains(&ms) {
            Ok(Self::After(BurnMs(ms)))
        } else {
            Err(BurnOutOfRange)
        }
    }
}

impl BurnMs {
    /// The time in milliseconds.
    #[must_use]
    pub fn ms(self) -> u64 {
        self.0
    }
}

/// How long the relay keeps its copy at most. Thirty days unless the sender chose less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelayLife {
    /// One day.
    Day1,
    /// Seven days.
    Day7,
    /// Thirty days.
    #[default]
    Day30,
}
