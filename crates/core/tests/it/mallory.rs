//! A member who breaks the rules: OpenMLS without any of the product's checks, with cryptography that can be told to lie.

use std::sync::atomic::{AtomicBool, Ordering};

use emptyroom_core::genesis::Genesis;
use emptyroom_wire::derive::expand;
use emptyroom_wire::kem::KemSecretKey;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::sign::SignKey;
use openmls::prelude::tls_codec::{DeserializeBytes as _, SecretVLBytes, Serialize as _};
use openmls::prelude::*;
use openmls_rust_crypto::{MemoryStorage, RustCrypto};
use openmls_traits::signatures::{Signer, SignerError};

pub(crate) const SUITE: Ciphersuite = Ciphersuite::MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519;

/// A note as honest commits carry it: version 1, close or not, no position, no extensions.
pub(crate) fn note(close: bool) -> Vec<u8> {
    vec![0, 1, u8::from(close), 0, 0]
}

/// Somebody's keys, all of them in our hands.
pub(crate) struct Keys {
    pub(crate) identity: SignKey,
    pub(crate) device: Device,
    pub(crate) recovery: KemSecretKey,
    /// So many bytes more in each leaf.
    pub(crate) padding: usize,
}

/// A device's signature.
pub(crate) struct Device(pub(crate) ed25519_dalek::SigningKey);

impl Keys {
    pub(crate) fn of(number: u8) -> Self {
        let part = |label| expand::<32>(&[number], label, &[]);
        Self {
            identity: SignKey::from_seed(&part("emptyroom v1 test identity")),
            device: Device(ed25519_dalek::SigningKey::from_bytes(
                part("emptyroom v1 test device").expose(),
            )),
            recovery: KemSecretKey::from_seed(part("emptyroom v1 test recovery")),
            padding: 0,
        }
    }

    /// Another device of the identity that an account root and a salt give.
    pub(crate) fn of_account(root: &Secret32, salt: &[u8; 32], number: u8) -> Self {
        Self {
            identity: SignKey::from_seed(&expand(root.expose(), "emptyroom v1 identity key", salt)),
            ..Self::of(number)
        }
    }

    pub(crate) fn device_key(&self) -> [u8; 32] {
        self.device.0.verifying_key().to_bytes()
    }

    /// What a leaf holds beside its keys: an application id, which MLS lets everybody have.
    fn leaf_extensions(&self) -> Extensions<LeafNode> {
        if self.padding == 0 {
            return Extensions::empty();
        }
        let id = ApplicationIdExtension::new(&vec![1; self.padding]);
        Extensions::single(Extension::ApplicationId(id)).unwrap()
    }

    /// A good certificate, written by hand.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        certificate(&self.identity, &self.body(1, &[]))
    }

    /// What others add this device with.
    pub(crate) fn key_package(&self, provider: &Provider) -> KeyPackage {
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(capabilities())
            .build(
                SUITE,
                provider,
                &self.device,
                credential(&self.certificate(), self),
            )
            .unwrap();
        bundle.key_package().clone()
    }

    /// The body of a certificate.
    pub(crate) fn body(&self, version: u16, extensions: &[u8]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend(self.identity.verify_key().0);
        body.extend(self.device_key());
        body.extend(self.recovery.public_key().as_bytes());
        body.extend(20_700u32.to_be_bytes());
        body.extend(21_100u32.to_be_bytes());
        body.push(u8::try_from(extensions.len()).unwrap());
        body.extend(extensions);
        body
    }
}

/// Signs a body as `identity`.
pub(crate) fn certificate(identity: &SignKey, body: &[u8]) -> Vec<u8> {
    let signature = identity.sign("emptyroom v1 certificate", &[body]);
    let len = u16::try_from(body.len()).unwrap() | 0x4000;
    [&len.to_be_bytes(), body, &signature.0].concat()
}

impl Signer for Device {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        use ed25519_dalek::Signer as _;
        Ok(self.0.sign(payload).to_bytes().to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// A group without rules.
pub(crate) struct Mallory {
    pub(crate) keys: Keys,
    pub(crate) provider: Provider,
    pub(crate) group: MlsGroup,
}

/// What Mallory joins with.
pub(crate) struct Attempt {
    pub(crate) certificate: Vec<u8>,
    pub(crate) note: Vec<u8>,
}

/// What a commit proposes.
#[derive(Default)]
pub(crate) struct Proposed {
    pub(crate) add: Option<KeyPackage>,
    pub(crate) remove: Option<LeafNodeIndex>,
}

impl Attempt {
    /// What an honest joiner would bring.
    pub(crate) fn honest(keys: &Keys) -> Self {
        Self {
            certificate: keys.certificate(),
            note: note(true),
        }
    }
}

impl Mallory {
    /// Joins with whatever the attempt says; gives the external commit.
    pub(crate) fn join(group_info: &[u8], keys: Keys, attempt: Attempt) -> (Self, Vec<u8>) {
        let provider = Provider::default();
        let info = match MlsMessageIn::tls_deserialize_exact_bytes(group_info)
            .unwrap()
            .extract()
        {
            MlsMessageBodyIn::GroupInfo(info) => info,
            _ => panic!("not a group info"),
        };
        let credential = credential(&attempt.certificate, &keys);
        let (group, bundle) = MlsGroup::external_commit_builder()
            .with_config(config())
            .with_aad(attempt.note)
            .skip_lifetime_validation()
            .build_group(&provider, info, credential)
            .unwrap()
            .leaf_node_parameters(
                LeafNodeParameters::builder()
                    .with_capabilities(capabilities())
                    .with_extensions(keys.leaf_extensions())
                    .build(),
            )
            .load_psks(provider.storage())
            .unwrap()
            .build(provider.rand(), provider.crypto(), &keys.device, |_| true)
            .unwrap()
            .finalize(&provider)
            .unwrap();
        let commit = bytes(bundle.commit());
        let mallory = Self {
            keys,
            provider,
            group,
        };
        (mallory, commit)
    }

    /// Joins from the first entry of log 0.
    pub(crate) fn take(genesis: &[u8], keys: Keys, attempt: Attempt) -> (Self, Vec<u8>) {
        Self::join(&Genesis::decode(genesis).unwrap().group_info, keys, attempt)
    }

    /// A group of Mallory's own.
    pub(crate) fn create(suite: Ciphersuite, keys: Keys, certificate: &[u8]) -> Self {
        let provider = Provider::default();
        let group = MlsGroup::builder()
            .ciphersuite(suite)
            .with_group_id(GroupId::from_slice(&[7; 16]))
            .with_wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .with_leaf_node_extensions(keys.leaf_extensions())
            .unwrap()
            .build(&provider, &keys.device, credential(certificate, &keys))
            .unwrap();
        Self {
            keys,
            provider,
            group,
        }
    }

    pub(crate) fn group_info(&self) -> Vec<u8> {
        bytes(
            &self
                .group
                .export_group_info(self.provider.crypto(), &self.keys.device, true)
                .unwrap(),
        )
    }

    /// A commit with this note and these proposals, leaf and path as `path` says; it is dropped again.
    pub(crate) fn commit(
        &mut self,
        note: Vec<u8>,
        certificate: Option<Vec<u8>>,
        proposals: Proposed,
        path: bool,
    ) -> Vec<u8> {
        self.group.set_aad(note);
        let mut leaf = LeafNodeParameters::builder();
        if self.keys.padding > 0 {
            leaf = leaf.with_extensions(self.keys.leaf_extensions());
        }
        if let Some(certificate) = certificate {
            leaf = leaf.with_credential_with_key(credential(&certificate, &self.keys));
        }
        let bundle = self
            .group
            .commit_builder()
            .force_self_update(path)
            .leaf_node_parameters(leaf.build())
            .propose_adds(proposals.add)
            .propose_removals(proposals.remove)
            .load_psks(self.provider.storage())
            .unwrap()
            .build(
                self.provider.rand(),
                self.provider.crypto(),
                &self.keys.device,
                |_| true,
            )
            .unwrap()
            .stage_commit(&self.provider)
            .unwrap();
        let commit = bytes(bundle.commit());
        self.group
            .clear_pending_commit(self.provider.storage())
            .unwrap();
        commit
    }

    pub(crate) fn message(&mut self, text: &[u8]) -> Vec<u8> {
        bytes(
            &self
                .group
                .create_message(&self.provider, &self.keys.device, text)
                .unwrap(),
        )
    }

    /// Follows a commit without looking at it.
    pub(crate) fn follow(&mut self, commit: &[u8]) {
        let message = MlsMessageIn::tls_deserialize_exact_bytes(commit).unwrap();
        let message = message.try_into_protocol_message().unwrap();
        match self
            .group
            .process_message(&self.provider, message)
            .unwrap()
            .into_content()
        {
            ProcessedMessageContent::StagedCommitMessage(staged) => self
                .group
                .merge_staged_commit(&self.provider, *staged)
                .unwrap(),
            _ => panic!("not a commit"),
        }
    }
}

pub(crate) fn bytes(message: &MlsMessageOut) -> Vec<u8> {
    message.tls_serialize_detached().unwrap()
}

fn credential(certificate: &[u8], keys: &Keys) -> CredentialWithKey {
    CredentialWithKey {
        credential: BasicCredential::new(certificate.to_vec()).into(),
        signature_key: keys.device_key().as_slice().into(),
    }
}

fn config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .build()
}

fn capabilities() -> Capabilities {
    Capabilities::new(
        Some(&[ProtocolVersion::Mls10]),
        Some(&[SUITE]),
        Some(&[]),
        Some(&[]),
        Some(&[CredentialType::Basic]),
    )
}

#[derive(Default)]
pub(crate) struct Provider {
    pub(crate) crypto: Lying,
    store: MemoryStorage,
}

impl OpenMlsProvider for Provider {
    type CryptoProvider = Lying;
    type RandProvider = RustCrypto;
    type StorageProvider = MemoryStorage;

    fn storage(&self) -> &MemoryStorage {
        &self.store
    }

    fn crypto(&self) -> &Lying {
        &self.crypto
    }

    fn rand(&self) -> &RustCrypto {
        &self.crypto.honest
    }
}

/// RustCrypto that seals garbage, miscalculates its next MAC, or makes keys that are none, when told so.
#[derive(Default)]
pub(crate) struct Lying {
    honest: RustCrypto,
    pub(crate) spoil_seals: AtomicBool,
    pub(crate) spoil_next_mac: AtomicBool,
    pub(crate) spoil_keys: AtomicBool,
}

type Crypto<T> = Result<T, CryptoError>;

impl OpenMlsCrypto for Lying {
    fn hpke_seal(
        &self,
        config: HpkeConfig,
        pk: &[u8],
        info: &[u8],
        aad: &[u8],
        text: &[u8],
    ) -> Crypto<HpkeCiphertext> {
        let mut sealed = self.honest.hpke_seal(config, pk, info, aad, text)?;
        if self.spoil_seals.load(Ordering::Relaxed) {
            sealed.ciphertext = vec![0; sealed.ciphertext.as_slice().len()].into();
        }
        Ok(sealed)
    }

    fn hmac(&self, hash: HashType, key: &[u8], message: &[u8]) -> Crypto<SecretVLBytes> {
        if self.spoil_next_mac.swap(false, Ordering::Relaxed) {
            return self.honest.hmac(hash, key, &[message, b"lie"].concat());
        }
        self.honest.hmac(hash, key, message)
    }

    fn supports(&self, suite: Ciphersuite) -> Crypto<()> {
        self.honest.supports(suite)
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        self.honest.supported_ciphersuites()
    }

    fn hkdf_extract(&self, hash: HashType, salt: &[u8], ikm: &[u8]) -> Crypto<SecretVLBytes> {
        self.honest.hkdf_extract(hash, salt, ikm)
    }

    fn hkdf_expand(
        &self,
        hash: HashType,
        prk: &[u8],
        info: &[u8],
        len: usize,
    ) -> Crypto<SecretVLBytes> {
        self.honest.hkdf_expand(hash, prk, info, len)
    }

    fn hash(&self, hash: HashType, data: &[u8]) -> Crypto<Vec<u8>> {
        self.honest.hash(hash, data)
    }

    fn aead_encrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        data: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Crypto<Vec<u8>> {
        self.honest.aead_encrypt(alg, key, data, nonce, aad)
    }

    fn aead_decrypt(
        &self,
        alg: AeadType,
        key: &[u8],
        data: &[u8],
        nonce: &[u8],
        aad: &[u8],
    ) -> Crypto<Vec<u8>> {
        self.honest.aead_decrypt(alg, key, data, nonce, aad)
    }

    fn signature_key_gen(&self, alg: SignatureScheme) -> Crypto<(Vec<u8>, Vec<u8>)> {
        self.honest.signature_key_gen(alg)
    }

    fn verify_signature(
        &self,
        alg: SignatureScheme,
        data: &[u8],
        pk: &[u8],
        signature: &[u8],
    ) -> Crypto<()> {
        self.honest.verify_signature(alg, data, pk, signature)
    }

    fn sign(&self, alg: SignatureScheme, data: &[u8], key: &[u8]) -> Crypto<Vec<u8>> {
        self.honest.sign(alg, data, key)
    }

    fn hpke_open(
        &self,
        config: HpkeConfig,
        input: &HpkeCiphertext,
        sk: &[u8],
        info: &[u8],
        aad: &[u8],
    ) -> Crypto<Vec<u8>> {
        self.honest.hpke_open(config, input, sk, info, aad)
    }

    fn hpke_setup_sender_and_export(
        &self,
        config: HpkeConfig,
        pk: &[u8],
        info: &[u8],
        context: &[u8],
        len: usize,
    ) -> Crypto<(KemOutput, ExporterSecret)> {
        self.honest
            .hpke_setup_sender_and_export(config, pk, info, context, len)
    }

    fn hpke_setup_receiver_and_export(
        &self,
        config: HpkeConfig,
        enc: &[u8],
        sk: &[u8],
        info: &[u8],
        context: &[u8],
        len: usize,
    ) -> Crypto<ExporterSecret> {
        self.honest
            .hpke_setup_receiver_and_export(config, enc, sk, info, context, len)
    }

    fn derive_hpke_keypair(&self, config: HpkeConfig, ikm: &[u8]) -> Crypto<HpkeKeyPair> {
        let mut pair = self.honest.derive_hpke_keypair(config, ikm)?;
        if self.spoil_keys.load(Ordering::Relaxed) {
            pair.public = vec![0xff; 1216];
        }
        Ok(pair)
    }
}
