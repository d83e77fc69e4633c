//! The relay's end.

use rand_core::CryptoRng;

use super::{
    Accepted, EXPORT, Ends, OpenFault, OpeningAnswer, OpeningFrame, SUITE, SealFault, Side,
    Welcome, opening_info,
};
use crate::codec::{self, DecodeFault};
use crate::greeting::Terms;
use crate::kem;
use crate::op::Refusal;
use crate::proof::StreamBinding;
use crate::relay_key::{IdentityHash, StreamKey};
use crate::rng;
use crate::time::Mono;
use crate::{PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN};

/// A stream that is open, as its relay sees it: about 200 bytes, and nothing about the client.
pub struct RelayStream {
    ends: Box<Ends>,
}

/// Why an opening was not accepted; the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpeningFault {
    /// It names none of the keys: answer with [`unknown_key_answer`].
    UnknownKey,
    /// A version that this relay does not speak: answer with [`refuse_opening`] and `UpdateNeeded`.
    Version,
    /// The bytes are no opening: hang up.
    Malformed(DecodeFault),
}

impl RelayStream {
    /// Accepts an opening: the stream and the frame to answer with.
    ///
    /// `key` is the one in use: a relay holds no other. Costs one decapsulation (about 0.3 ms), and
    /// nothing before the cheap checks have passed.
    ///
    /// # Errors
    /// An [`OpeningFault`].
    pub fn accept(
        opening: &[u8],
        key: &StreamKey,
        relay: &IdentityHash,
        (terms, now): (&Terms, Mono),
        rng: &mut dyn CryptoRng,
    ) -> Result<(RelayStream, Vec<u8>), OpeningFault> {
        let opening: OpeningFrame = codec::decode(opening).map_err(OpeningFault::Malformed)?;
        // [SPEC 5.9]
        let versions = PROTOCOL_VERSION_MIN..=PROTOCOL_VERSION_MAX;
        if !versions.contains(&opening.version) || opening.suite != SUITE {
            return Err(OpeningFault::Version);
        }
        if *key.hash() != opening.record {
            return Err(OpeningFault::UnknownKey);
        }
        let info = opening_info(opening.version, relay, &opening.record);
        let exported = kem::decapsulate(key.secret(), &opening.encapsulated, &info, EXPORT)
            .map_err(|_| OpeningFault::Malformed(DecodeFault::Invalid))?;
        let nonce: [u8; 32] = rng::bytes(rng);
        let mut ends = Ends::new(&exported, &nonce, Side::Relay, now);
        let welcome = Welcome {
            version_min: PROTOCOL_VERSION_MIN,
            version_max: PROTOCOL_VERSION_MAX,
            terms: *terms,
        };
        let welcome =
            codec::encode(&welcome).expect("a welcome has no part that could be too long");
        let sealed = ends
            .seal(now, &[&welcome])
            .expect("a welcome fits the smallest frame of a new stream");
        let answer = encode_answer(&OpeningAnswer::Accepted(Accepted { nonce, sealed }));
        Ok((RelayStream { ends }, answer))
    }

    /// Seals one message as the next frame.
    ///
    /// # Errors
    /// [`SealFault`].
    pub fn seal(&mut self, now: Mono, message: &[u8]) -> Result<Vec<u8>, SealFault> {
        self.seal_parts(now, &[message])
    }

    /// Seals one message that comes in parts.
    ///
    /// # Errors
    /// [`SealFault`].
    pub fn seal_parts(&mut self, now: Mono, message: &[&[u8]]) -> Result<Vec<u8>, SealFault> {
        self.ends.seal(now, message)
    }

    /// The message of the next frame; `None` if the frame held none.
    ///
    /// # Errors
    /// [`OpenFault`]: hang up.
    pub fn open(&mut self, now: Mono, frame: &[u8]) -> Result<Option<Vec<u8>>, OpenFault> {
        let mut frame = frame.to_vec();
        let message = self.open_in_place(now, &mut frame)?;
        Ok(message.map(<[u8]>::to_vec))
    }

    /// The same, opened where it stands.
    ///
    /// # Errors
    /// [`OpenFault`]: hang up.
    pub fn open_in_place<'f>(
        &mut self,
        now: Mono,
        frame: &'f mut [u8],
    ) -> Result<Option<&'f [u8]>, OpenFault> {
        self.ends.open(now, frame)
    }

    /// A frame to be sent now so that the key in use is forgotten, if that is due.
    pub fn turn(&mut self, now: Mono) -> Option<Vec<u8>> {
        self.ends.turn(now)
    }

    /// When [`RelayStream::turn`] is due, or the stream ends.
    #[must_use]
    pub fn wake_at(&self) -> Mono {
        self.ends.wake_at()
    }

    /// When the stream is a day old: hang up then.
    #[must_use]
    pub fn ends_at(&self) -> Mono {
        self.ends.ends_at()
    }

    /// What proofs on this stream are bound to.
    #[must_use]
    pub fn binding(&self) -> StreamBinding {
        self.ends.binding()
    }

    /// Bytes that one stream keeps, without the allocator's own.
    #[must_use]
    pub const fn kept_len() -> usize {
        size_of::<RelayStream>() + size_of::<Ends>()
    }
}

/// The answer to an opening that names a key the relay does not hold (any more).
#[must_use]
pub fn unknown_key_answer(current: &StreamKey) -> Vec<u8> {
    // [SPEC 5.17]
    encode_answer(&OpeningAnswer::UnknownKey(current.signed().clone()))
}

/// The answer to an opening that the relay does not want now.
#[must_use]
pub fn refuse_opening(refusal: Refusal) -> Vec<u8> {
    encode_answer(&OpeningAnswer::Refused(refusal))
}

fn encode_answer(answer: &OpeningAnswer) -> Vec<u8> {
    codec::encode(answer).expect("an answer has no part that could be too long")
}

impl core::fmt::Display for OpeningFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            OpeningFault::UnknownKey => f.write_str("the opening names another stream key"),
            OpeningFault::Version => f.write_str("the opening has another version"),
            OpeningFault::Malformed(fault) => write!(f, "no opening: {fault}"),
        }
    }
}

impl std::error::Error for OpeningFault {}
