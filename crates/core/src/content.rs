//! What a message says, inside MLS: the history its sender has seen, then one body.
//!
//! Written in TLS presentation language; one value has one encoding. What an old program does not know it skips, unless the
//! type's high bit says that it must not ([`crate::extension`]). What messages do is the client's (9.20 onwards).

mod body;

use tls_codec::{
    DeserializeBytes as _, Serialize as _, TlsDeserializeBytes, TlsSerialize, TlsSize, VLBytes,
};

use crate::extension::{self, Extension};
use crate::position::History;

pub use body::{Body, BodyFault, Gap, IntentId, Receipt, TextMessage, TimerChange};
pub use body::{GAPS_MAX, TEXT_LEN_MAX};

const VERSION: u8 = 1;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// What its sender has seen of the log.
    pub history: History,
    /// What it says.
    pub body: Body,
}

/// Why a message cannot be read. It opened, so its sender is a member and at fault, or has a later program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentFault {
    /// Not the form of a message.
    Malformed,
    /// A version that this program does not know: it must be updated.
    Version(u8),
    /// A body or extension that must be understood, and is not: the program must be updated.
    Critical(u16),
    /// The body breaks a rule of its kind.
    Body(BodyFault),
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Wire {
    version: u8,
    history: History,
    kind: u16,
    body: VLBytes,
    extensions: Vec<Extension>,
}

impl Content {
    /// The bytes to encrypt.
    ///
    /// # Errors
    /// The [`BodyFault`] of a body that nobody may send.
    pub fn encode(&self) -> Result<Vec<u8>, BodyFault> {
        let (kind, body) = self.body.encode()?;
        Ok(Wire {
            version: VERSION,
            history: self.history.clone(),
            kind,
            body: body.into(),
            extensions: Vec::new(),
        }
        .tls_serialize_detached()
        .expect("bodies are bounded far below the longest byte string"))
    }

    /// Reads decrypted bytes.
    ///
    /// # Errors
    /// A [`ContentFault`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentFault> {
        let version = bytes.first().copied().unwrap_or(0);
        // [SPEC 9.1]
        if version != VERSION {
            return Err(ContentFault::Version(version));
        }
        let wire = Wire::tls_deserialize_exact_bytes(bytes).map_err(|_| ContentFault::Malformed)?;
        // [SPEC 9.3]
        extension::check(&wire.extensions).map_err(|unknown| ContentFault::Critical(unknown.0))?;
        Ok(Self {
            body: Body::decode(wire.kind, wire.body.as_slice())?,
            history: wire.history,
        })
    }
}

impl std::fmt::Display for ContentFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed => f.write_str("not the form of a message"),
            Self::Version(got) => write!(f, "message of version {got}, expected {VERSION}"),
            Self::Critical(kind) => write!(f, "the message needs type {kind:#06x}"),
            Self::Body(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for ContentFault {}
