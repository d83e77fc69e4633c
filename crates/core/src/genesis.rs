//! What log 0 of an invite or a restart begins with, and what names it beforehand.
//!
//! The link of an invite and the blob of a restart hold a [`Binding`]: a hash over the maker's identity key and the
//! group's id. Whoever joins refuses any other group than the one it names, so a thief of the link who makes the log anew
//! gains nothing but the taking of the link itself.

use emptyroom_wire::link::InviteBinding;
use tls_codec::{
    DeserializeBytes as _, Serialize as _, TlsDeserializeBytes, TlsSerialize, TlsSize, VLBytes,
};

use crate::account::IdentityKey;
use crate::extension::{self, Extension};
use crate::mls::GroupId;

const VERSION: u16 = 1;
/// What is read of a first entry: what it brings into the group is stored.
const LEN_MAX: usize = 64 * 1024;

/// Names a group by its maker and its id, as [`InviteBinding`] does in links.
#[derive(Clone, Copy, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
pub struct Binding(pub [u8; 32]);

/// The first entry of log 0: the group's public state. Its entry has the kind [`crate::kind::GENESIS`].
#[derive(Clone, PartialEq, Eq)]
pub struct Genesis {
    /// An MLSMessage with a GroupInfo that carries tree and external key.
    pub group_info: Vec<u8>,
}

/// Whose fault: whoever made log 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenesisFault {
    /// Not the form of a first entry.
    Malformed,
    /// A version that this program does not know.
    Version(u16),
    /// An extension that must be understood, and is not.
    Critical(u16),
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Wire {
    version: u16,
    group_info: VLBytes,
    extensions: Vec<Extension>,
}

impl Binding {
    /// The binding of a group.
    #[must_use]
    pub fn of(maker: IdentityKey, group: GroupId) -> Self {
        Self(InviteBinding::of(&maker.0, &group.0).0)
    }
}

impl Genesis {
    /// The entry's content.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Wire {
            version: VERSION,
            group_info: self.group_info.clone().into(),
            extensions: Vec::new(),
        }
        .tls_serialize_detached()
        .expect("a group info is far shorter than the longest byte string")
    }

    /// Reads an entry's content.
    ///
    /// # Errors
    /// A [`GenesisFault`].
    pub fn decode(bytes: &[u8]) -> Result<Self, GenesisFault> {
        let version = bytes
            .first_chunk()
            .map_or(0, |bytes| u16::from_be_bytes(*bytes));
        // [SPEC 8.8]
        if version != VERSION {
            return Err(GenesisFault::Version(version));
        }
        if bytes.len() > LEN_MAX {
            return Err(GenesisFault::Malformed);
        }
        let wire = Wire::tls_deserialize_exact_bytes(bytes).map_err(|_| GenesisFault::Malformed)?;
        extension::check(&wire.extensions).map_err(|unknown| GenesisFault::Critical(unknown.0))?;
        Ok(Self {
            group_info: wire.group_info.into(),
        })
    }
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Binding(private)")
    }
}

impl std::fmt::Debug for Genesis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Genesis(private)")
    }
}

impl std::fmt::Display for GenesisFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed => f.write_str("not the first entry of an invite or restart"),
            Self::Version(got) => write!(f, "first entry of version {got}, expected {VERSION}"),
            Self::Critical(kind) => write!(f, "the first entry needs extension {kind:#06x}"),
        }
    }
}

impl std::error::Error for GenesisFault {}
