//! What besides a secret opens a vault, as far as the vault knows: the shares that factors gave, and
//! what is kept in clear so that they can be asked.
//!
//! Asking them is the caller's; see [`Locked`](crate::Locked) for when.

use zeroize::Zeroizing;

use crate::derive::ABSENT;
use crate::header::SLOTS;
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
    /// The shares of relays.
    Relays,
    /// Both.
    TpmAndRelays,
}

impl Mode {
    const ALL: [Mode; 4] = [
        Mode::Passphrase,
        Mode::Tpm,
        Mode::Relays,
        Mode::TpmAndRelays,
    ];

    /// Whether the TPM is asked.
    #[must_use]
    pub fn asks_tpm(self) -> bool {
        matches!(self, Mode::Tpm | Mode::TpmAndRelays)
    }

    /// Whether relays are asked.
    #[must_use]
    pub fn asks_relays(self) -> bool {
        matches!(self, Mode::Relays | Mode::TpmAndRelays)
    }

    /// As it stands in the header: a bit for each factor.
    pub(crate) fn byte(self) -> u8 {
        u8::from(self.asks_tpm()) | u8::from(self.asks_relays()) << 1
    }

    pub(crate) fn of_byte(byte: u8) -> Option<Mode> {
        Self::ALL.into_iter().find(|mode| mode.byte() == byte)
    }
}

/// What the factors gave for the secret that was typed.
#[derive(Default)]
pub struct Answers {
    /// The TPM's share, if it was asked and answered.
    pub tpm: Option<Share>,
    /// The relays' shares for the four slots: once for each choice of as many relays as are needed.
    pub relays: Vec<[Share; SLOTS]>,
}

/// One way to the keys of the slots: the TPM's share, and the relays' for each of them.
pub(crate) type Way<'a> = (&'a [u8; KEY_LEN], [&'a [u8; KEY_LEN]; SLOTS]);

impl Answers {
    /// All ways: without factors, and with each set of shares that is whole.
    pub(crate) fn ways(&self, mode: Mode) -> Vec<Way<'_>> {
        // [SPEC 11.40]
        let none = [&ABSENT; SLOTS];
        let mut ways = vec![(&ABSENT, none)];
        let asked = self.tpm.as_deref();
        let Some(tpm) = asked.or((!mode.asks_tpm()).then_some(&ABSENT)) else {
            return ways;
        };
        if mode.asks_relays() {
            let sets = self.relays.iter();
            ways.extend(sets.map(|set| (tpm, set.each_ref().map(|share| &**share))));
        } else if mode.asks_tpm() {
            ways.push((tpm, none));
        }
        ways
    }

    /// Whether every factor of the mode gave what opens, if the secret is right.
    pub(crate) fn are_whole(&self, mode: Mode) -> bool {
        mode == Mode::Passphrase || self.ways(mode).len() > 1
    }
}

/// What from now on opens the vault besides its secrets. Nothing, by default.
#[derive(Default)]
pub struct Factors {
    /// Stands in the header in clear, so that a locked device knows whom to ask.
    pub area: Vec<u8>,
    /// The TPM's shares for both inputs of [`Rewrapping::tpm_inputs`](crate::Rewrapping::tpm_inputs).
    pub tpm: Option<[Share; 2]>,
    /// The relays' for both of [`Rewrapping::relays_inputs`](crate::Rewrapping::relays_inputs).
    pub relays: Option<[Share; 2]>,
}

impl Factors {
    pub(crate) fn mode(&self) -> Mode {
        match (&self.tpm, &self.relays) {
            (None, None) => Mode::Passphrase,
            (Some(_), None) => Mode::Tpm,
            (None, Some(_)) => Mode::Relays,
            (Some(_), Some(_)) => Mode::TpmAndRelays,
        }
    }
}

/// What is to be destroyed with a vault and lies elsewhere.
pub struct Besides<'a> {
    /// What the empty vault remembers of it, until [`Vault::errands_done`](crate::Vault::errands_done). It is
    /// made with the panic secret, which [`Vault::panic_secret`](crate::Vault::panic_secret) gives, too.
    pub errands: &'a mut dyn FnMut(&[u8; KEY_LEN]) -> Vec<u8>,
    /// Destroys it. It is called when nothing opens the old vault any more, before its files are
    /// overwritten.
    pub destroy: &'a mut dyn FnMut(),
}
