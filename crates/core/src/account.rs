//! The account's root and the keys it has in one conversation.
//!
//! There is no global identity. In each conversation an account has an identity key of its own, derived from the root and
//! a random salt that only the conversation's record holds, so two contacts cannot find out that they talk to the same
//! person. Each device has a random signing key there, which the identity certifies. The recovery key, to which restarts
//! are sealed, is derived like the identity: it is there again as soon as root and salt are.
//!
//! What is not here: names, contacts, verification states. They are records of the client.

use ed25519_dalek::Signer as _;
use emptyroom_wire::derive::expand;
use emptyroom_wire::kem::{KemPublicKey, KemSecretKey};
use emptyroom_wire::rng::{self, CryptoRng};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::sign::{SignKey, Signature, VerifyKey};
use emptyroom_wire::time::Day;
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize, VLBytes};
use zeroize::Zeroizing;

use crate::certificate::{Certificate, CertificateFault};
use crate::records::{self, RecordFault};

const IDENTITY_LABEL: &str = "emptyroom v1 identity key";
const RECOVERY_LABEL: &str = "emptyroom v1 recovery key";

/// Version of [`OwnKeys::record`].
const RECORD_VERSION: u16 = 1;

/// The one secret of an account. Everything else about an account is a record.
pub struct AccountRoot(Secret32);

/// Who somebody is in one conversation: what verification compares.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, TlsSize, TlsSerialize, TlsDeserializeBytes,
)]
pub struct IdentityKey(pub [u8; 32]);

/// One device of an identity in one conversation: the key of its leaf.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, TlsSize, TlsSerialize, TlsDeserializeBytes,
)]
pub struct DeviceKey(pub [u8; 32]);

/// All keys of this account's device in one conversation.
pub struct OwnKeys {
    salt: [u8; 32],
    device: Box<ed25519_dalek::SigningKey>,
    device_labelled: SignKey,
    recovery: KemSecretKey,
    certificate: Certificate,
}

/// Why kept keys cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysFault {
    /// The record has another form.
    Malformed,
    /// The certificate is not one of this account, or of another device.
    NotOurs,
    /// The certificate itself is bad.
    Certificate(CertificateFault),
}

#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct KeysRecord {
    salt: [u8; 32],
    device_seed: [u8; 32],
    certificate: VLBytes,
}

impl Drop for KeysRecord {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.device_seed);
    }
}

impl AccountRoot {
    /// A new account.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self(rng::secret(rng))
    }

    /// The account whose root was kept.
    #[must_use]
    pub fn from_secret(secret: Secret32) -> Self {
        Self(secret)
    }

    /// The root, to be kept.
    #[must_use]
    pub fn secret(&self) -> &Secret32 {
        &self.0
    }

    fn identity(&self, salt: &[u8; 32]) -> SignKey {
        // [SPEC 8.1]
        SignKey::from_seed(&expand(self.0.expose(), IDENTITY_LABEL, salt))
    }

    fn recovery(&self, salt: &[u8; 32]) -> KemSecretKey {
        // [SPEC 8.2]
        KemSecretKey::from_seed(expand(self.0.expose(), RECOVERY_LABEL, salt))
    }
}

impl OwnKeys {
    /// Keys for a new conversation; the certificate says the day, no finer time.
    pub fn generate(root: &AccountRoot, today: Day, rng: &mut dyn CryptoRng) -> Self {
        let salt = rng::bytes(rng);
        let device = rng::secret(rng);
        Self::assemble(root, salt, &device, |identity, device, recovery| {
            Ok::<_, std::convert::Infallible>(Certificate::issue(identity, device, recovery, today))
        })
        .unwrap_or_else(|never| match never {})
    }

    /// The keys that [`OwnKeys::record`] kept.
    ///
    /// # Errors
    /// A [`KeysFault`] if record and account do not belong together.
    pub fn load(root: &AccountRoot, record: &[u8]) -> Result<Self, KeysFault> {
        let record: KeysRecord =
            records::decode(RECORD_VERSION, record).map_err(|_| KeysFault::Malformed)?;
        let certificate =
            Certificate::verify(record.certificate.as_slice()).map_err(KeysFault::Certificate)?;
        let device = Secret32::new(record.device_seed);
        Self::assemble(root, record.salt, &device, |identity, device, recovery| {
            let ours = certificate.identity().0 == identity.verify_key().0
                && certificate.device() == device
                && certificate.recovery() == *recovery;
            ours.then_some(certificate).ok_or(KeysFault::NotOurs)
        })
    }

    /// Whether a record has the form that [`OwnKeys::record`] gave it. Whether its keys are of this account is not looked at.
    ///
    /// # Errors
    /// It is damaged, or from a later version.
    pub(crate) fn check(record: &[u8]) -> Result<(), RecordFault> {
        let record: KeysRecord = records::decode(RECORD_VERSION, record)?;
        let certificate = Certificate::of_member(record.certificate.as_slice());
        certificate.map(|_| ()).map_err(|_| RecordFault::Malformed)
    }

    /// The keys as a record for the vault. It needs the account's root to be of use.
    #[must_use]
    pub fn record(&self) -> Zeroizing<Vec<u8>> {
        let record = KeysRecord {
            salt: self.salt,
            device_seed: self.device.to_bytes(),
            certificate: self.certificate.bytes().to_vec().into(),
        };
        Zeroizing::new(records::encode(RECORD_VERSION, &record))
    }

    /// A later certificate of the same keys.
    #[must_use]
    pub fn renewed(&self, root: &AccountRoot, today: Day) -> Certificate {
        let identity = root.identity(&self.salt);
        Certificate::issue(
            &identity,
            self.certificate.device(),
            &self.certificate.recovery(),
            today,
        )
    }

    /// The certificate that all members see.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Replaces the certificate by one that [`OwnKeys::renewed`] gave, once the group has it.
    ///
    /// # Errors
    /// [`KeysFault::NotOurs`] if it certifies other keys.
    pub fn adopt(&mut self, certificate: Certificate) -> Result<(), KeysFault> {
        if !certificate.same_keys(&self.certificate) {
            return Err(KeysFault::NotOurs);
        }
        self.certificate = certificate;
        Ok(())
    }

    /// Who this account is in the conversation.
    #[must_use]
    pub fn identity(&self) -> IdentityKey {
        self.certificate.identity()
    }

    /// This device's key in the conversation.
    #[must_use]
    pub fn device(&self) -> DeviceKey {
        self.certificate.device()
    }

    /// Signs for what is ours, under a label of ours.
    pub(crate) fn sign(&self, label: &'static str, bytes: &[u8]) -> Signature {
        self.device_labelled.sign(label, &[bytes])
    }

    /// Signs what MLS hands in; MLS has labels of its own, and no label of ours begins like them.
    pub(crate) fn sign_for_mls(&self, bytes: &[u8]) -> [u8; 64] {
        self.device.sign(bytes).to_bytes()
    }

    /// The private half of the recovery key.
    pub(crate) fn recovery_secret(&self) -> &KemSecretKey {
        &self.recovery
    }

    fn assemble<E>(
        root: &AccountRoot,
        salt: [u8; 32],
        device: &Secret32,
        certificate: impl FnOnce(&SignKey, DeviceKey, &KemPublicKey) -> Result<Certificate, E>,
    ) -> Result<Self, E> {
        let recovery = root.recovery(&salt);
        let device_labelled = SignKey::from_seed(device);
        let certificate = certificate(
            &root.identity(&salt),
            DeviceKey(device_labelled.verify_key().0),
            &recovery.public_key(),
        )?;
        Ok(Self {
            salt,
            device: Box::new(ed25519_dalek::SigningKey::from_bytes(device.expose())),
            device_labelled,
            recovery,
            certificate,
        })
    }
}

impl IdentityKey {
    pub(crate) fn verify_key(self) -> VerifyKey {
        VerifyKey(self.0)
    }
}

impl DeviceKey {
    pub(crate) fn verify_key(self) -> VerifyKey {
        VerifyKey(self.0)
    }
}

macro_rules! private_debug {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(private)"))
            }
        }
    )*};
}
private_debug!(IdentityKey, DeviceKey, OwnKeys, AccountRoot);

impl std::fmt::Display for KeysFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed => f.write_str("the record of a conversation's keys has another form"),
            Self::NotOurs => f.write_str("the certificate belongs to other keys"),
            Self::Certificate(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for KeysFault {}
