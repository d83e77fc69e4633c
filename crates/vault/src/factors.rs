//! What besides a secret opens a vault, as far as the vault knows: the shares that factors gave, and
//! what is kept in clear so that they can be asked.
//!
//! Asking them is the caller's; see [`Locked`](crate::Locked) for when.

use zeroize::Zeroizing;

use crate::memory::KEY_LEN;

/// What one factor gave for one secret.
pub type Share = Zeroizing<[u8; KEY_LEN]>;

/// What besides the secret a vault needs to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: a copied disk can be attacked by guessing the secret.
    Passphrase,
    /// The share of this device's TPM.
    Tpm,
}

impl Mode {
    /// Whether the TPM is asked.
    #[must_use]
    pub fn asks_tpm(self) -> bool {
        self == Mode::Tpm
    }

    /// As it stands in the header.
    pub(crate) fn byte(self) -> u8 {
        match self {
            Mode::Passphrase => 0,
            Mode::Tpm => 1,
        }
    }

    pub(crate) fn of_byte(byte: u8) -> Option<Mode> {
        [Mode::Passphrase, Mode::Tpm]
            .into_iter()
            .find(|mode| mode.byte() == byte)
    }
}

/// What the factors gave for the secret that was typed.
#[derive(Default)]
pub struct Answers {
    /// The TPM's share, if it was asked and answered.
    pub tpm: Option<Share>,
}

/// What from now on opens the vault besides its secrets. Nothing, by default.
#[derive(Default)]
pub struct Factors {
    /// Stands in the header in clear, so that a locked device knows whom to ask.
    pub area: Vec<u8>,
    /// The TPM's shares for both inputs of [`Rewrapping::tpm_inputs`](crate::Rewrapping::tpm_inputs).
    pub tpm: Option<[Share; 2]>,
}

impl Factors {
    pub(crate) fn mode(&self) -> Mode {
        match self.tpm {
            None => Mode::Passphrase,
            Some(_) => Mode::Tpm,
        }
    }
}

/// What is to be destroyed with a vault and lies elsewhere.
pub struct Besides<'a> {
    /// What the empty vault remembers of it, until [`Vault::errands_done`](crate::Vault::errands_done).
    pub errands: &'a [u8],
    /// Destroys it. It is called when nothing opens the old vault any more, before its files are
    /// overwritten.
    pub destroy: &'a mut dyn FnMut(),
}
