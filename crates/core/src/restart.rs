//! The blob of a restart, as it stands in a conversation's recovery log.
//!
//! A device in trouble makes a fresh one-member group with a log 0, like an invite, and appends this blob to the recovery
//! log. Whoever learned `S_1` can read the log, therefore the secret of log 0 is sealed to each member's recovery key; and
//! could write into it, therefore the device signs, certified by an identity that the conversation knows.
//!
//! Here is the codec and what a blob says by itself. When to restart, which restart to enter and how often is the
//! client's (chapter 10 of the specification).

use emptyroom_wire::hash::labelled;
use emptyroom_wire::kem::{self, SEAL_OVERHEAD};
use emptyroom_wire::log::LogId;
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::sign::Signature;
use tls_codec::{
    DeserializeBytes as _, Serialize as _, TlsDeserializeBytes, TlsSerialize, TlsSize, VLBytes,
};
use zeroize::Zeroizing;

use crate::account::{DeviceKey, IdentityKey, OwnKeys};
use crate::api::RestartReason;
use crate::certificate::{Certificate, CertificateFault};
use crate::extension::{self, Extension};
use crate::genesis::Binding;
use crate::position::Position;

/// How far a counter may be ahead of the highest one accepted.
pub const COUNTER_AHEAD_MAX: u64 = 1_000;
/// Members that one restart can be sealed to.
pub const SEALED_MAX: usize = 64;

/// What is read of a restart, which is stored until it is entered: one to 64 members has 80 KiB.
const LEN_MAX: usize = 128 * 1024;

const SIGN_LABEL: &str = "emptyroom v1 restart";
const HASH_LABEL: &str = "emptyroom v1 restart hash";
const SEAL_LABEL: &str = "emptyroom v1 restart seal";
const VERSION: u16 = 1;

/// What a restart says, before it is sealed and signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Higher than that of every restart before; the new group's number in [`Position::restart`].
    pub counter: u64,
    /// [`hash`] of the restart before this one that its maker accepted; zeros if there was none.
    pub previous: [u8; 32],
    /// Why.
    pub reason: RestartReason,
    /// How far its maker has shown the conversation.
    pub shown: Position,
    /// The fresh group.
    pub binding: Binding,
}

/// A restart as it was read: signed by a certified device. Whether the conversation knows its identity is to be asked.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRestart {
    restart: Restart,
    certificate: Certificate,
    sealed: Vec<Sealed>,
    hash: [u8; 32],
    log: LogId,
}

/// What a restart's counter and previous hash mean to who accepted restarts before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It follows the last one accepted.
    Follows,
    /// It is higher, but names another predecessor: to be entered, and shown.
    OtherPredecessor,
    /// Not higher than the last one accepted, or too far ahead: not to be entered.
    NotHigher,
    /// More than [`COUNTER_AHEAD_MAX`] ahead: not to be entered.
    TooFar,
}

/// Whose fault: whoever wrote the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartFault {
    /// Not the form of a restart.
    Malformed,
    /// A version that this program does not know.
    Version(u16),
    /// Something must be understood, and is not.
    Critical(u16),
    /// Its maker's certificate.
    Certificate(CertificateFault),
    /// The device did not sign it for this recovery log.
    Signature,
    /// It holds no secret for this device, or not one that opens.
    NotForUs,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Body {
    version: u16,
    counter: u64,
    previous: [u8; 32],
    reason: u8,
    shown: Position,
    binding: Binding,
    certificate: VLBytes,
    sealed: Vec<Sealed>,
    extensions: Vec<Extension>,
}

#[derive(Clone, PartialEq, Eq, TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Sealed {
    identity: IdentityKey,
    device: DeviceKey,
    secret: VLBytes,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Signed {
    body: VLBytes,
    signature: Signature,
}

impl Restart {
    /// The entry's content: log 0's secret sealed to every one of `members`, the whole signed by this device.
    /// `log` is the recovery log it is for.
    ///
    /// # Panics
    /// With more than [`SEALED_MAX`] members.
    #[must_use]
    pub fn seal(
        &self,
        own: &OwnKeys,
        log: &LogId,
        members: &[Certificate],
        secret: &Secret32,
        rng: &mut dyn CryptoRng,
    ) -> Vec<u8> {
        assert!(
            members.len() <= SEALED_MAX,
            "a restart has at most 64 recipients"
        );
        let info = self.seal_info(log);
        let sealed = members.iter().map(|member| Sealed {
            identity: member.identity(),
            device: member.device(),
            secret: kem::seal_to(&member.recovery(), &info, secret.expose(), rng).into(),
        });
        let body = Body {
            version: VERSION,
            counter: self.counter,
            previous: self.previous,
            reason: reason_code(self.reason),
            shown: self.shown,
            binding: self.binding,
            certificate: own.certificate().bytes().to_vec().into(),
            sealed: sealed.collect(),
            extensions: Vec::new(),
        }
        .tls_serialize_detached()
        .expect("a restart to 64 members has 80 KiB");
        Signed {
            signature: own.sign(SIGN_LABEL, &signed_bytes(log, &body)),
            body: body.into(),
        }
        .tls_serialize_detached()
        .expect("a body and a signature")
    }

    /// What the sealed secret is bound to, so that it opens in this restart only.
    fn seal_info(&self, log: &LogId) -> Vec<u8> {
        let counter = self.counter.to_be_bytes();
        labelled(SEAL_LABEL, &[&log.0, &counter, &self.binding.0]).to_vec()
    }
}

impl SignedRestart {
    /// Reads an entry of the recovery log `log`.
    ///
    /// # Errors
    /// A [`RestartFault`].
    pub fn read(log: &LogId, bytes: &[u8]) -> Result<Self, RestartFault> {
        // [SPEC 8.32]
        if bytes.len() > LEN_MAX {
            return Err(RestartFault::Malformed);
        }
        let signed =
            Signed::tls_deserialize_exact_bytes(bytes).map_err(|_| RestartFault::Malformed)?;
        let body = read_body(signed.body.as_slice())?;
        let certificate =
            Certificate::verify(body.certificate.as_slice()).map_err(RestartFault::Certificate)?;
        // [SPEC 8.33]
        certificate
            .device()
            .verify_key()
            .verify(
                SIGN_LABEL,
                &[&signed_bytes(log, signed.body.as_slice())],
                &signed.signature,
            )
            .map_err(|_| RestartFault::Signature)?;
        Ok(Self {
            restart: Restart {
                counter: body.counter,
                previous: body.previous,
                reason: reason(body.reason).ok_or(RestartFault::Malformed)?,
                shown: body.shown,
                binding: body.binding,
            },
            certificate,
            sealed: body.sealed,
            hash: hash(bytes),
            log: *log,
        })
    }

    /// What it says.
    #[must_use]
    pub fn restart(&self) -> &Restart {
        &self.restart
    }

    /// Who made it. A restart counts only if the conversation knows this identity.
    #[must_use]
    pub fn by(&self) -> &Certificate {
        &self.certificate
    }

    /// Its hash, which the next restart names.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Log 0's secret, if it was sealed to this device.
    ///
    /// # Errors
    /// [`RestartFault::NotForUs`].
    pub fn open(&self, own: &OwnKeys) -> Result<Secret32, RestartFault> {
        let info = self.restart.seal_info(&self.log);
        // [SPEC 8.34]
        self.sealed
            .iter()
            .filter(|sealed| sealed.identity == own.identity() && sealed.device == own.device())
            .find_map(|sealed| {
                let secret = kem::open_from(own.recovery_secret(), &info, sealed.secret.as_slice());
                Secret32::from_slice(&Zeroizing::new(secret.ok()?))
            })
            .ok_or(RestartFault::NotForUs)
    }

    /// How it fits the last restart that was accepted (counter and hash; zeros if none was).
    #[must_use]
    pub fn fit(&self, counter: u64, hash: &[u8; 32]) -> Fit {
        // [SPEC 8.35]
        match self.restart.counter.checked_sub(counter) {
            None | Some(0) => Fit::NotHigher,
            Some(ahead) if ahead > COUNTER_AHEAD_MAX => Fit::TooFar,
            Some(_) if self.restart.previous == *hash => Fit::Follows,
            Some(_) => Fit::OtherPredecessor,
        }
    }
}

/// The hash of a restart: over the entry's content, signature included.
#[must_use]
pub fn hash(bytes: &[u8]) -> [u8; 32] {
    labelled(HASH_LABEL, &[bytes])
}

fn read_body(bytes: &[u8]) -> Result<Body, RestartFault> {
    let version = bytes
        .first_chunk()
        .map_or(0, |bytes| u16::from_be_bytes(*bytes));
    // [SPEC 8.32]
    if version != VERSION {
        return Err(RestartFault::Version(version));
    }
    let body = Body::tls_deserialize_exact_bytes(bytes).map_err(|_| RestartFault::Malformed)?;
    extension::check(&body.extensions).map_err(|unknown| RestartFault::Critical(unknown.0))?;
    let sealed_len = SEAL_OVERHEAD + 32;
    let well_formed = body.sealed.len() <= SEALED_MAX
        && body
            .sealed
            .iter()
            .all(|sealed| sealed.secret.as_slice().len() == sealed_len);
    if well_formed {
        Ok(body)
    } else {
        Err(RestartFault::Malformed)
    }
}

/// What the signature covers: the log that it is for, then the body as it stands.
fn signed_bytes(log: &LogId, body: &[u8]) -> Vec<u8> {
    [&log.0, body].concat()
}

pub(crate) fn reason_code(reason: RestartReason) -> u8 {
    match reason {
        RestartReason::LogLost => 1,
        RestartReason::RelayRolledBack => 2,
        RestartReason::ClosedWithoutCommit => 3,
        RestartReason::CannotFollow => 4,
        RestartReason::HistoriesDiffer => 5,
        RestartReason::StateLost => 6,
        RestartReason::DeviceRestored => 7,
        RestartReason::RestartFailed => 8,
        RestartReason::NotTaken => 9,
        RestartReason::LogFull => 10,
    }
}

pub(crate) fn reason(code: u8) -> Option<RestartReason> {
    Some(match code {
        1 => RestartReason::LogLost,
        2 => RestartReason::RelayRolledBack,
        3 => RestartReason::ClosedWithoutCommit,
        4 => RestartReason::CannotFollow,
        5 => RestartReason::HistoriesDiffer,
        6 => RestartReason::StateLost,
        7 => RestartReason::DeviceRestored,
        8 => RestartReason::RestartFailed,
        9 => RestartReason::NotTaken,
        10 => RestartReason::LogFull,
        _ => return None,
    })
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealed(private)")
    }
}

impl std::fmt::Debug for SignedRestart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignedRestart(private)")
    }
}

impl std::fmt::Display for RestartFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed => f.write_str("not the form of a restart"),
            Self::Version(got) => write!(f, "restart of version {got}, expected {VERSION}"),
            Self::Critical(kind) => write!(f, "the restart needs extension {kind:#06x}"),
            Self::Certificate(fault) => fault.fmt(f),
            Self::Signature => f.write_str("the device did not sign the restart for this log"),
            Self::NotForUs => f.write_str("the restart was not sealed to this device"),
        }
    }
}

impl std::error::Error for RestartFault {}
