//! What must not be known: zeroed when dropped, never printed or compared by accident.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// `S`, what the TPM is asked about: the stretched PIN or passphrase, 32 bytes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Stretched(Box<[u8; 32]>);

/// `H`, what the TPM answers: its share of the slot keys, 32 bytes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Share(Box<[u8; 32]>);

/// `W`, which sets the count of tries back, 32 bytes. It belongs inside the vault, so that only
/// whoever opened it can. A new one is drawn by every enrolment.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ResetSecret(Box<[u8; 32]>);

macro_rules! secret {
    ($name:ident) => {
        impl $name {
            /// A copy of these bytes.
            #[must_use]
            pub fn new(bytes: &[u8; 32]) -> Self {
                Self(Box::new(*bytes))
            }

            /// The bytes themselves.
            #[must_use]
            pub fn expose(&self) -> &[u8; 32] {
                &self.0
            }
        }
    };
}

secret!(Stretched);
secret!(Share);
secret!(ResetSecret);

impl ResetSecret {
    pub(crate) fn random(rng: &mut dyn rand_core::CryptoRng) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut_slice());
        ResetSecret::new(&bytes)
    }
}
