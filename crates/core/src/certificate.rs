//! A device's certificate in one conversation: what its identity says about it, and the content of its MLS credential.
//!
//! Bytes are signed and verified as they were received, never as a re-encoding of what was read.
//! The days in it are for people to look at: no rule that all members must agree on reads them.

use emptyroom_wire::kem::{KemPublicKey, PUBLIC_KEY_LEN};
use emptyroom_wire::sign::{SignKey, Signature};
use emptyroom_wire::time::Day;
use tls_codec::{
    DeserializeBytes as _, Serialize as _, TlsDeserializeBytes, TlsSerialize, TlsSize, VLBytes,
};

use crate::account::{DeviceKey, IdentityKey};
use crate::extension::{self, Extension};

/// How long a certificate says it is good for.
pub const CERTIFICATE_DAYS: u32 = 400;

/// Longest certificate that is looked at.
pub const CERTIFICATE_LEN_MAX: usize = 4096;

const LABEL: &str = "emptyroom v1 certificate";
const VERSION: u16 = 1;

/// A certificate whose signature was verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    bytes: Vec<u8>,
    identity: IdentityKey,
    device: DeviceKey,
    recovery: Box<[u8; PUBLIC_KEY_LEN]>,
    created: Day,
    expires: Day,
}

/// Whose fault: the peer's. What is wrong with its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateFault {
    /// Not the form of a certificate.
    Malformed,
    /// A version of certificates that this program does not know.
    Version(u16),
    /// An extension that must be understood, and is not.
    Critical(u16),
    /// The recovery key is none.
    RecoveryKey,
    /// The identity did not sign it.
    Signature,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Body {
    version: u16,
    identity: IdentityKey,
    device: DeviceKey,
    recovery: [u8; PUBLIC_KEY_LEN],
    created_day: u32,
    expires_day: u32,
    extensions: Vec<Extension>,
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Signed {
    body: VLBytes,
    signature: Signature,
}

impl Certificate {
    /// The identity certifies a device and its recovery key.
    pub(crate) fn issue(
        identity: &SignKey,
        device: DeviceKey,
        recovery: &KemPublicKey,
        today: Day,
    ) -> Self {
        let certificate = Self {
            bytes: Vec::new(),
            identity: IdentityKey(identity.verify_key().0),
            device,
            recovery: Box::new(*recovery.as_bytes()),
            created: today,
            expires: today.plus(CERTIFICATE_DAYS),
        };
        let body = certificate
            .body()
            .tls_serialize_detached()
            .expect("a body without extensions has a fixed, small size");
        let signed = Signed {
            signature: identity.sign(LABEL, &[&body]),
            body: body.into(),
        };
        let bytes = signed
            .tls_serialize_detached()
            .expect("a small body and a signature");
        Self {
            bytes,
            ..certificate
        }
    }

    /// Reads and verifies a certificate.
    ///
    /// # Errors
    /// A [`CertificateFault`].
    pub fn verify(bytes: &[u8]) -> Result<Self, CertificateFault> {
        let (signed, certificate) = read(bytes)?;
        // [SPEC 8.5]
        certificate
            .identity()
            .verify_key()
            .verify(LABEL, &[signed.body.as_slice()], &signed.signature)
            .map_err(|_| CertificateFault::Signature)?;
        KemPublicKey::new(certificate.recovery.as_slice())
            .map_err(|_| CertificateFault::RecoveryKey)?;
        Ok(certificate)
    }

    /// Whether both certify the same keys.
    #[must_use]
    pub fn same_keys(&self, other: &Self) -> bool {
        (self.identity, self.device, &self.recovery)
            == (other.identity, other.device, &other.recovery)
    }

    /// Reads the certificate of a leaf, which was verified when the leaf entered the tree.
    pub(crate) fn of_member(bytes: &[u8]) -> Result<Self, CertificateFault> {
        read(bytes).map(|(_, certificate)| certificate)
    }

    /// The bytes, as they were received or made.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Who certifies.
    #[must_use]
    pub fn identity(&self) -> IdentityKey {
        self.identity
    }

    /// Which device.
    #[must_use]
    pub fn device(&self) -> DeviceKey {
        self.device
    }

    /// The X-Wing key to which restarts are sealed for this device.
    #[must_use]
    ///
    /// # Panics
    /// Never: the key was checked when the certificate was verified.
    pub fn recovery(&self) -> KemPublicKey {
        KemPublicKey::new(self.recovery.as_slice()).expect("checked in `verify`")
    }

    /// The day on which it was made, as the maker's clock claims.
    #[must_use]
    pub fn created(&self) -> Day {
        self.created
    }

    /// The day until which its maker means it to be used. A device renews it in passing; nobody refuses an old one.
    #[must_use]
    pub fn expires(&self) -> Day {
        self.expires
    }

    fn body(&self) -> Body {
        Body {
            version: VERSION,
            identity: self.identity,
            device: self.device,
            recovery: *self.recovery,
            created_day: self.created.0,
            expires_day: self.expires.0,
            extensions: Vec::new(),
        }
    }
}

fn read(bytes: &[u8]) -> Result<(Signed, Certificate), CertificateFault> {
    if bytes.len() > CERTIFICATE_LEN_MAX {
        return Err(CertificateFault::Malformed);
    }
    let signed =
        Signed::tls_deserialize_exact_bytes(bytes).map_err(|_| CertificateFault::Malformed)?;
    let version = signed
        .body
        .as_slice()
        .first_chunk()
        .map_or(0, |bytes| u16::from_be_bytes(*bytes));
    // [SPEC 8.4]
    if version != VERSION {
        return Err(CertificateFault::Version(version));
    }
    let body = Body::tls_deserialize_exact_bytes(signed.body.as_slice())
        .map_err(|_| CertificateFault::Malformed)?;
    extension::check(&body.extensions).map_err(|unknown| CertificateFault::Critical(unknown.0))?;
    let certificate = Certificate {
        bytes: bytes.to_vec(),
        identity: body.identity,
        device: body.device,
        recovery: Box::new(body.recovery),
        created: Day(body.created_day),
        expires: Day(body.expires_day),
    };
    Ok((signed, certificate))
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificate(private)")
    }
}

impl std::fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed => f.write_str("not the form of a certificate"),
            Self::Version(got) => write!(f, "certificate version {got}, expected {VERSION}"),
            Self::Critical(kind) => write!(f, "certificate needs extension {kind:#06x}"),
            Self::RecoveryKey => f.write_str("the certificate's recovery key is none"),
            Self::Signature => f.write_str("the identity did not sign the certificate"),
        }
    }
}

impl std::error::Error for CertificateFault {}
