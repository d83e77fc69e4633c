//! Secrets in ordinary memory: zeroed when dropped, never printed or compared by accident.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// What the user types to open a vault.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Passphrase(Vec<u8>);

impl Passphrase {
    /// Takes the bytes as they are: the caller trims and normalises.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Passphrase(bytes)
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<String> for Passphrase {
    fn from(text: String) -> Self {
        Passphrase(text.into_bytes())
    }
}
