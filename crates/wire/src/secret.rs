//! Secrets in memory: boxed, zeroed when dropped, read only through `expose()`.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `N` secret bytes. No `Clone`, `Debug` or `PartialEq`: a copy is made by name, a comparison takes
/// constant time.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>(Box<[u8; N]>);

/// The usual size of a key or seed.
pub type Secret32 = Secret<32>;

impl<const N: usize> Secret<N> {
    /// All zeros, to be filled in.
    #[must_use]
    pub fn zero() -> Self {
        Secret(Box::new([0; N]))
    }

    /// Moves bytes into a secret; the copy that is passed in is zeroed.
    #[must_use]
    pub fn new(mut bytes: [u8; N]) -> Self {
        let mut out = Self::zero();
        out.0.copy_from_slice(&bytes);
        bytes.zeroize();
        out
    }

    /// Copies `bytes` if there are exactly `N`.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut out = Self::zero();
        if bytes.len() != N {
            return None;
        }
        out.0.copy_from_slice(bytes);
        Some(out)
    }

    /// The bytes, for the moment of their use.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// The bytes, to be filled in.
    pub fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }

    /// Another copy, when one is really needed.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Secret(self.0.clone())
    }

    /// Whether both hold the same bytes, in constant time.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

/// Something that may be compared and carried about, but whose `Debug` shows nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Private<T>(pub T);

impl<T> core::fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("(private)")
    }
}
