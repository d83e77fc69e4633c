//! What a commit says to all members beside its MLS content: it travels as the commit's authenticated data.

use tls_codec::{
    DeserializeBytes as _, Serialize as _, TlsDeserializeBytes, TlsSerialize, TlsSize,
};

use super::fault::PeerFault;
use crate::extension::{self, Extension};
use crate::position::Position;

const VERSION: u16 = 1;

/// A commit's note.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitNote {
    /// The commit closes its log; the next generation starts in its epoch. The entry's flag must say the same.
    pub close: bool,
    /// In a join after a restart: how far the joiner has shown the conversation.
    pub shown: Option<Position>,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Wire {
    version: u16,
    close: u8,
    shown: Option<Position>,
    extensions: Vec<Extension>,
}

impl CommitNote {
    /// A commit that changes keys and nothing else.
    #[must_use]
    pub fn update() -> Self {
        Self::default()
    }

    /// A commit that closes its log.
    #[must_use]
    pub fn closing() -> Self {
        Self {
            close: true,
            shown: None,
        }
    }

    /// A join, which closes log 0; with the position shown if it answers a restart.
    #[must_use]
    pub fn join(shown: Option<Position>) -> Self {
        Self { close: true, shown }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        Wire {
            version: VERSION,
            close: u8::from(self.close),
            shown: self.shown,
            extensions: Vec::new(),
        }
        .tls_serialize_detached()
        .expect("a note has a small, bounded size")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, PeerFault> {
        let version = bytes
            .first_chunk()
            .map_or(0, |bytes| u16::from_be_bytes(*bytes));
        // [SPEC 8.15]
        if version != VERSION {
            return Err(PeerFault::NoteVersion(version));
        }
        let wire =
            Wire::tls_deserialize_exact_bytes(bytes).map_err(|_| PeerFault::MalformedNote)?;
        extension::check(&wire.extensions).map_err(|unknown| PeerFault::Critical(unknown.0))?;
        let close = match wire.close {
            0 => false,
            1 => true,
            _ => return Err(PeerFault::MalformedNote),
        };
        Ok(Self {
            close,
            shown: wire.shown,
        })
    }
}
