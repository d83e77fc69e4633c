//! Open places in formats: lists of typed extensions that old programs skip, or refuse where they must not be skipped.

use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize, VLBytes};

/// The bit of a type number that says: who does not know this type must refuse the whole.
pub const CRITICAL: u16 = 0x8000;

/// One extension: a type number and its bytes.
#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Extension {
    /// The type; see [`CRITICAL`].
    pub kind: u16,
    /// What the type defines.
    pub data: VLBytes,
}

/// A type that must be understood, and is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCritical(pub u16);

/// Whether `kind` may be skipped by who does not know it.
#[must_use]
pub fn may_be_ignored(kind: u16) -> bool {
    kind & CRITICAL == 0
}

/// Refuses a list with an unknown critical extension. This version knows none at all.
///
/// # Errors
/// The first type that may not be ignored.
pub fn check(extensions: &[Extension]) -> Result<(), UnknownCritical> {
    // [SPEC 8.3]
    extensions
        .iter()
        .find(|extension| !may_be_ignored(extension.kind))
        .map_or(Ok(()), |extension| Err(UnknownCritical(extension.kind)))
}

impl std::fmt::Debug for Extension {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Extension({:#06x})", self.kind)
    }
}
