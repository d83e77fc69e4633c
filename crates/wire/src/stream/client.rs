//! The client's end.

use rand_core::CryptoRng;

use super::{
    EXPORT, Ends, OpenFault, OpeningAnswer, OpeningFrame, SUITE, SealFault, Side, Welcome,
    opening_info,
};
use crate::PROTOCOL_VERSION_MAX;
use crate::codec::{self, DecodeFault};
use crate::greeting::{Greeting, GreetingFault, Terms};
use crate::kem;
use crate::op::Refusal;
use crate::proof::StreamBinding;
use crate::relay_key::{ChainStep, IdentityHash, KeyBelow, KeyChain, SignedKey};
use crate::secret::Secret32;
use crate::sign::VerifyKey;
use crate::time::Mono;

/// A stream that is open, as its client sees it.
pub struct ClientStream {
    ends: Box<Ends>,
}

/// A stream that waits for the relay's answer.
pub struct Opening {
    identity: VerifyKey,
    relay: IdentityHash,
    version: u16,
    signed: SignedKey,
    step: ChainStep,
    exported: Secret32,
    retried: bool,
}

/// What became of an opening.
pub enum OpeningOutcome {
    /// The stream is open.
    Open(Opened),
    /// The relay made a new key in between: send this frame and wait again. Happens once at most.
    Again(Opening, Vec<u8>),
}

/// An opened stream with what its client must do about it.
pub struct Opened {
    /// To seal and open messages.
    pub stream: ClientStream,
    /// What the relay allows.
    pub terms: Terms,
    /// The record that was used; hand it to [`KeyChain::walk`] as `step` says.
    pub signed: SignedKey,
    /// How that record stands to the head known before. Where it is [`ChainStep::Ahead`], fetch the
    /// records between first (clause 4.9), else an honest relay is reported.
    pub step: ChainStep,
    /// The relay's identity key.
    pub identity: VerifyKey,
}

/// Why there is no stream; the relay's fault, or that of somebody between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayFault {
    /// The greeting was not accepted.
    Greeting(GreetingFault),
    /// The relay offers an older stream key than it did before.
    KeyBelow,
    /// The relay says twice that it does not know its own key.
    KeyUnknown,
    /// The key that the relay offered instead is not signed by it.
    BadStreamKey,
    /// The relay refused to open a stream.
    Refused(Refusal),
    /// The answer does not open: whoever answered does not have the stream key.
    NotTheRelay,
    /// Somebody between changed the versions that the relay offered.
    VersionChanged,
    /// The bytes are no answer.
    Malformed(DecodeFault),
}

impl Opening {
    /// Checks a greeting and makes the frame to answer it with.
    ///
    /// `spki_hash` is the SHA-256 of the SPKI of the certificate that the carrier saw; `None` on
    /// carriers without TLS to the relay itself. `chain` is what is known of this relay's keys.
    ///
    /// # Errors
    /// A [`RelayFault`]: hang up.
    pub fn start(
        greeting: &[u8],
        spki_hash: Option<&[u8; 32]>,
        chain: &KeyChain,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Opening, Vec<u8>), RelayFault> {
        let greeting =
            Greeting::read(greeting, &chain.relay(), spki_hash).map_err(RelayFault::Greeting)?;
        let version = greeting.version();
        Self::with_key(greeting.identity, version, greeting.stream_key, chain, rng)
    }

    /// The same with a stream key that came another way (a hop serves them); it is verified here.
    ///
    /// # Errors
    /// A [`RelayFault`]: hang up.
    pub fn with_key(
        identity: VerifyKey,
        version: u16,
        signed: SignedKey,
        chain: &KeyChain,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Opening, Vec<u8>), RelayFault> {
        signed
            .verify(&identity)
            .map_err(|_| RelayFault::BadStreamKey)?;
        let step = chain
            .step(&signed.record)
            .map_err(|KeyBelow| RelayFault::KeyBelow)?;
        let relay = chain.relay();
        let record = signed.record.hash(&relay);
        let info = opening_info(version, &relay, &record);
        let (encapsulated, exported) = kem::encapsulate(&signed.key, &info, EXPORT, rng);
        let frame = codec::encode(&OpeningFrame {
            version,
            suite: SUITE,
            record,
            encapsulated,
        })
        .expect("an opening has no part that could be too long");
        let opening = Opening {
            identity,
            relay,
            version,
            signed,
            step,
            exported,
            retried: false,
        };
        Ok((opening, frame))
    }

    /// Takes the relay's answer.
    ///
    /// # Errors
    /// A [`RelayFault`]: hang up.
    pub fn answer(
        self,
        frame: &[u8],
        chain: &KeyChain,
        now: Mono,
        rng: &mut dyn CryptoRng,
    ) -> Result<OpeningOutcome, RelayFault> {
        match codec::decode(frame).map_err(RelayFault::Malformed)? {
            OpeningAnswer::Accepted(accepted) => {
                let mut ends = Ends::new(&self.exported, &accepted.nonce, Side::Client, now);
                // [SPEC 5.10]
                let mut sealed = accepted.sealed;
                let welcome = ends
                    .open(now, &mut sealed)
                    .map_err(|_| RelayFault::NotTheRelay)?
                    .unwrap_or_default();
                let welcome: Welcome = codec::decode(welcome).map_err(RelayFault::Malformed)?;
                self.check_versions(&welcome)?;
                Ok(OpeningOutcome::Open(Opened {
                    stream: ClientStream { ends },
                    terms: welcome.terms,
                    signed: self.signed,
                    step: self.step,
                    identity: self.identity,
                }))
            }
            // [SPEC 5.17]
            OpeningAnswer::UnknownKey(_) if self.retried => Err(RelayFault::KeyUnknown),
            OpeningAnswer::UnknownKey(signed) => {
                debug_assert_eq!(self.relay, chain.relay(), "one chain per relay");
                let (mut again, frame) =
                    Self::with_key(self.identity, self.version, signed, chain, rng)?;
                again.retried = true;
                Ok(OpeningOutcome::Again(again, frame))
            }
            OpeningAnswer::Refused(refusal) => Err(RelayFault::Refused(refusal)),
        }
    }

    /// The version in use must be the highest that both speak.
    fn check_versions(&self, welcome: &Welcome) -> Result<(), RelayFault> {
        // [SPEC 5.19]
        let best = welcome.version_max.min(PROTOCOL_VERSION_MAX);
        if self.version != best || welcome.version_min > best {
            return Err(RelayFault::VersionChanged);
        }
        Ok(())
    }
}

impl ClientStream {
    /// Seals one message as the next frame.
    ///
    /// # Errors
    /// [`SealFault`].
    pub fn seal(&mut self, now: Mono, message: &[u8]) -> Result<Vec<u8>, SealFault> {
        self.ends.seal(now, &[message])
    }

    /// The message of the next frame; `None` if the frame held none.
    ///
    /// # Errors
    /// [`OpenFault`]: hang up.
    pub fn open(&mut self, now: Mono, frame: &[u8]) -> Result<Option<Vec<u8>>, OpenFault> {
        let mut frame = frame.to_vec();
        let message = self.ends.open(now, &mut frame)?;
        Ok(message.map(<[u8]>::to_vec))
    }

    /// A frame to be sent now so that the key in use is forgotten, if that is due.
    pub fn turn(&mut self, now: Mono) -> Option<Vec<u8>> {
        self.ends.turn(now)
    }

    /// When [`ClientStream::turn`] is due, or the stream ends.
    #[must_use]
    pub fn wake_at(&self) -> Mono {
        self.ends.wake_at()
    }

    /// When the stream is a day old.
    #[must_use]
    pub fn ends_at(&self) -> Mono {
        self.ends.ends_at()
    }

    /// What proofs on this stream are bound to.
    #[must_use]
    pub fn binding(&self) -> StreamBinding {
        self.ends.binding()
    }
}

impl core::fmt::Display for RelayFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            RelayFault::Greeting(fault) => fault.fmt(f),
            RelayFault::KeyBelow => KeyBelow.fmt(f),
            RelayFault::KeyUnknown => f.write_str("the relay does not know its own stream key"),
            RelayFault::BadStreamKey => f.write_str("the relay's stream key is not signed by it"),
            RelayFault::Refused(refusal) => write!(f, "the relay refused a stream: {refusal}"),
            RelayFault::NotTheRelay => {
                f.write_str("whoever answered does not hold the relay's stream key")
            }
            RelayFault::VersionChanged => {
                f.write_str("the versions the relay offered were changed on the way")
            }
            RelayFault::Malformed(fault) => write!(f, "no answer to an opening: {fault}"),
        }
    }
}

impl std::error::Error for RelayFault {}
