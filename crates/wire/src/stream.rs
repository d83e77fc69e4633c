//! The sealed stream: frames in, frames out, the same on every carrier.
//!
//! The relay greets ([`crate::greeting`]); the client encapsulates to its stream key ([`Opening`]); the
//! relay answers with a fresh nonce and, already sealed, its terms ([`RelayStream::accept`]). Keys
//! come from the HPKE exporter and that nonce, so a replayed opening is worthless, and the opening
//! carries no operation. From then on both sides seal and open messages, one per frame, padded to
//! a few lengths. Each direction turns its key when it has carried traffic for ten minutes; a stream
//! lives for a day at most.
//!
//! Carriers keep frames in order and whole. A frame that does not open ends the stream.

mod client;
mod direction;
mod relay;

pub use client::{ClientStream, Opened, Opening, OpeningOutcome, RelayFault};
pub use relay::{OpeningFault, RelayStream, refuse_opening, unknown_key_answer};

use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use crate::codec::Opaque;
use crate::derive::{expand, expand_salted};
use crate::greeting::Terms;
use crate::hash::labelled_bytes;
use crate::kem::ENCAPSULATED_LEN;
use crate::limits::{FRAME_TAG_LEN, STREAM_LIFE_MS};
use crate::op::Refusal;
use crate::proof::StreamBinding;
use crate::relay_key::{IdentityHash, SignedKey};
use crate::secret::Secret32;
use crate::time::Mono;
use direction::Direction;

const OPENING: &str = "emptyroom v1 stream opening";
const EXPORT: &str = "emptyroom v1 stream export";
const BASE: &str = "emptyroom v1 stream base";
const TO_RELAY: &str = "emptyroom v1 stream to relay";
const TO_CLIENT: &str = "emptyroom v1 stream to client";
const BINDING: &str = "emptyroom v1 stream binding";

/// KEM X-Wing, KDF HKDF-SHA256, frames ChaCha20-Poly1305.
const SUITE: u16 = 1;

/// Our caller's mistake or the stream's end: nothing was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealFault {
    /// The message is longer than [`crate::limits::MESSAGE_LEN_MAX`].
    TooLong,
    /// The stream is a day old; open another.
    Expired,
}

/// The stream is dead: hang up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFault {
    /// The frame was not sealed by the other end as its next one.
    Seal,
    /// The frame's length is none of the classes.
    Class,
    /// Flags, length or padding inside are wrong.
    Frame,
    /// The stream is a day old.
    Expired,
}

/// The client's first frame.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct OpeningFrame {
    version: u16,
    suite: u16,
    /// Hash of the record whose key is encapsulated to.
    record: [u8; 32],
    encapsulated: [u8; ENCAPSULATED_LEN],
}

/// The relay's answer to it, in clear.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
#[repr(u8)]
enum OpeningAnswer {
    #[tls_codec(discriminant = 1)]
    Accepted(Accepted),
    /// The opening names a key that the relay does not hold (any more); here is the current one.
    #[tls_codec(discriminant = 2)]
    UnknownKey(SignedKey),
    #[tls_codec(discriminant = 3)]
    Refused(Refusal),
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Accepted {
    nonce: [u8; 32],
    /// The relay's first sealed frame: [`Welcome`].
    #[tls_codec(with = "Opaque::<{ 512 + FRAME_TAG_LEN }>")]
    sealed: Vec<u8>,
}

/// The relay's first sealed message. Its versions tell whether somebody changed those in the greeting.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Welcome {
    version_min: u16,
    version_max: u16,
    terms: Terms,
}

/// What both ends keep: two directions, the binding, and when it ends.
struct Ends {
    seal: Direction,
    open: Direction,
    binding: [u8; 32],
    born: Mono,
}

/// Which end one is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Relay,
}

/// The string that the encapsulation is bound to.
fn opening_info(version: u16, relay: &IdentityHash, record: &[u8; 32]) -> Vec<u8> {
    // [SPEC 5.9]
    labelled_bytes(
        OPENING,
        &[
            &version.to_be_bytes(),
            &SUITE.to_be_bytes(),
            &relay.0,
            record,
        ],
    )
}

impl Ends {
    /// Keys from the exported secret and the relay's nonce.
    fn new(exported: &Secret32, nonce: &[u8; 32], side: Side, now: Mono) -> Box<Self> {
        // [SPEC 5.10]
        let base: Secret32 = expand_salted(nonce, exported.expose(), BASE, &[]);
        let to_relay = Direction::new(expand(base.expose(), TO_RELAY, &[]));
        let to_client = Direction::new(expand(base.expose(), TO_CLIENT, &[]));
        let binding: Secret32 = expand(base.expose(), BINDING, &[]);
        let (seal, open) = match side {
            Side::Client => (to_relay, to_client),
            Side::Relay => (to_client, to_relay),
        };
        Box::new(Ends {
            seal,
            open,
            binding: *binding.expose(),
            born: now,
        })
    }

    fn seal(&mut self, now: Mono, message: &[&[u8]]) -> Result<Vec<u8>, SealFault> {
        // [SPEC 5.12]
        if self.expired(now) {
            return Err(SealFault::Expired);
        }
        self.seal.seal(now, message)
    }

    fn open<'f>(&mut self, now: Mono, frame: &'f mut [u8]) -> Result<Option<&'f [u8]>, OpenFault> {
        // [SPEC 5.12]
        if self.expired(now) {
            return Err(OpenFault::Expired);
        }
        self.open.open(frame)
    }

    fn turn(&mut self, now: Mono) -> Option<Vec<u8>> {
        if self.expired(now) {
            return None;
        }
        self.seal.turn(now)
    }

    fn wake_at(&self) -> Mono {
        let end = self.ends_at();
        self.seal.turn_at().map_or(end, |turn| turn.min(end))
    }

    fn ends_at(&self) -> Mono {
        self.born.plus_ms(STREAM_LIFE_MS)
    }

    fn expired(&self, now: Mono) -> bool {
        now >= self.ends_at()
    }

    fn binding(&self) -> StreamBinding {
        StreamBinding::new(Secret32::new(self.binding))
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.binding);
    }
}

/// For [`crate::fuzz`]: any opened bytes as the inside of a frame.
pub(crate) fn fuzz_unframe(plain: &[u8]) {
    let _ = direction::unframe(plain);
}

impl core::fmt::Display for SealFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            SealFault::TooLong => "message longer than a frame",
            SealFault::Expired => "the stream is a day old",
        })
    }
}

impl std::error::Error for SealFault {}

impl core::fmt::Display for OpenFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            OpenFault::Seal => "a frame was not sealed by the other end as its next one",
            OpenFault::Class => "a frame's length is none of the classes",
            OpenFault::Frame => "a frame's flags, length or padding are wrong",
            OpenFault::Expired => "the stream is a day old",
        })
    }
}

impl std::error::Error for OpenFault {}
