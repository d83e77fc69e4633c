//! All of MLS (RFC 9420) behind one type: a [`Group`] that is made, joined, read, written, and nothing more.
//!
//! Nothing outside this module names OpenMLS. The suite is 0x004F (X-Wing, AES-128-GCM, SHA-256, Ed25519); no past epochs
//! are kept, because a log gives one order; commits are PublicMessages inside the entry's own encryption, so that an own
//! commit is recognised when it is read back and an outsider can join; there is no padding (entries are padded) and there
//! are no proposals that stand alone.
//!
//! A group lives in memory; every step that changes it is followed by [`Group::snapshot`] (or, after a message, by the much
//! smaller [`Group::message_keys`]), which the caller makes durable together with what the step gave. Reading is split in two: [`Group::process`] judges an entry, [`Group::merge`] or
//! [`Group::merge_pending`] moves on.
//!
//! **Randomness.** All of it comes from the caller's generator: group ids, leaf secrets, path secrets, init secrets, reuse
//! guards, encapsulations. Ed25519 signs without, and key generation inside the provider (`signature_key_gen`) is never
//! called: device keys are ours. So the same inputs give the same bytes.
//!
//! **Clocks.** Lifetimes are constants and judged by nobody. OpenMLS notes the system's time when an epoch ends, for past
//! epochs, of which there are none.

mod fault;
mod framing;
mod join;
mod note;
mod process;
mod provider;
mod store;

use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::secret::Secret32;
use openmls::prelude::{
    BasicCredential, Capabilities, Ciphersuite, CredentialType, CredentialWithKey,
    GroupId as MlsGroupId, LeafNodeParameters, Lifetime, MlsGroup, MlsGroupJoinConfig,
    PURE_PLAINTEXT_WIRE_FORMAT_POLICY, ProtocolVersion, SenderRatchetConfiguration,
};
use tls_codec::{SecretVLBytes, Serialize as _, TlsDeserializeBytes, TlsSerialize, TlsSize};
use zeroize::Zeroizing;

use crate::account::{IdentityKey, OwnKeys};
use crate::certificate::Certificate;
use crate::records::{self, RecordFault};
use provider::{DeviceSigner, Provider};
use store::Store;

pub use fault::{JoinFault, Misuse, PeerFault, SnapshotFault, Trouble};
pub use join::Joined;
pub use note::CommitNote;
pub use process::{Admission, Processed, Slot, Staged};

/// The suite of every group.
const SUITE: Ciphersuite = Ciphersuite::MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519;

// [SPEC 8.25]
/// How far behind a later message of its sender a message may come (so many less one): a retry that was overtaken.
const OUT_OF_ORDER_MAX: u32 = 8;
/// How many messages of one sender may be missing between two that are there.
const SKIPPED_MAX: u32 = 4096;

const GENERATION_LABEL: &str = "emptyroom v1 generation";

/// Version of [`Group::snapshot`] and [`Group::message_keys`].
const RECORD_VERSION: u16 = 1;

/// Length of a group id.
pub const GROUP_ID_LEN: usize = 16;

/// The id of a group: random.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, TlsSize, TlsSerialize, TlsDeserializeBytes,
)]
pub struct GroupId(pub [u8; GROUP_ID_LEN]);

/// One leaf of a group: a device whose keys can read.
#[derive(Clone, PartialEq, Eq)]
pub struct Member {
    /// Its place in the tree.
    pub leaf: u32,
    /// What its identity says about it.
    pub certificate: Certificate,
}

/// One MLS group of this device, with its secrets.
pub struct Group {
    mls: MlsGroup,
    store: Store,
    crypto: openmls_rust_crypto::RustCrypto,
    /// Counts the steps that changed the group, so that of two records the later one is known.
    step: u64,
}

/// The record of a whole group, and that of its message keys: the same form, told apart by where they are kept.
#[derive(TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Record {
    group_id: GroupId,
    epoch: u64,
    step: u64,
    state: SecretVLBytes,
}

impl Record {
    fn read(bytes: &[u8]) -> Result<Self, SnapshotFault> {
        records::decode(RECORD_VERSION, bytes).map_err(SnapshotFault::Record)
    }
}

impl Group {
    /// A group with this device as its only member.
    ///
    /// # Errors
    /// [`Misuse::Library`], which would be a bug.
    pub fn create(own: &OwnKeys, rng: &mut dyn CryptoRng) -> Result<Self, Misuse> {
        let id = MlsGroupId::from_slice(&emptyroom_wire::rng::bytes::<GROUP_ID_LEN>(rng));
        let store = Store::default();
        let crypto = openmls_rust_crypto::RustCrypto::default();
        let mls = MlsGroup::builder()
            .with_group_id(id)
            .ciphersuite(SUITE)
            .with_wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .max_past_epochs(0)
            .padding_size(0)
            .use_ratchet_tree_extension(false)
            .sender_ratchet_configuration(ratchet())
            .lifetime(lifetime())
            .with_capabilities(capabilities())
            .build(
                &Provider::new(&store, &crypto, rng),
                &DeviceSigner(own),
                credential(own.certificate(), own),
            )
            .map_err(|_| Misuse::Library("creating a group"))?;
        Ok(Self::new(mls, store, crypto))
    }

    /// What an outsider needs to join: the signed GroupInfo with tree and external key.
    ///
    /// # Errors
    /// [`Misuse::Library`], which would be a bug.
    pub fn group_info(&self, own: &OwnKeys) -> Result<Vec<u8>, Misuse> {
        self.mls
            .export_group_info(&self.crypto, &DeviceSigner(own), true)
            .ok()
            .and_then(|info| info.tls_serialize_detached().ok())
            .ok_or(Misuse::Library("exporting a group info"))
    }

    /// Everything about the group as one record, a pending commit included: about 10 KB in a group of two. It is as secret
    /// as the messages.
    #[must_use]
    pub fn snapshot(&self) -> Zeroizing<Vec<u8>> {
        self.record(self.store.snapshot())
    }

    /// The message keys alone: a record of about 300 bytes that suffices after [`Group::encrypt`] and after a message was
    /// read; after every other step there must be a [`Group::snapshot`]. Whichever of the two is later counts when both
    /// are loaded, so neither has to be deleted for the other.
    #[must_use]
    pub fn message_keys(&self) -> Zeroizing<Vec<u8>> {
        self.record(self.store.message_keys())
    }

    fn record(&self, mut state: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
        let record = Record {
            group_id: self.id(),
            epoch: self.epoch(),
            step: self.step,
            state: std::mem::take(&mut *state).into(),
        };
        Zeroizing::new(records::encode(RECORD_VERSION, &record))
    }

    /// The group that [`Group::snapshot`] wrote.
    ///
    /// # Errors
    /// A [`SnapshotFault`] if the record is none of ours or of a later version.
    pub fn load(snapshot: &[u8]) -> Result<Self, SnapshotFault> {
        let snapshot = Record::read(snapshot)?;
        let store =
            Store::restore(snapshot.state.as_slice()).map_err(|_| SnapshotFault::Malformed)?;
        Self::restore(&snapshot, store)
    }

    /// Whether a later program wrote a record of a group.
    ///
    /// # Errors
    /// [`RecordFault::Newer`].
    pub(crate) fn check_version(record: &[u8]) -> Result<(), RecordFault> {
        records::check_version(RECORD_VERSION, record)
    }

    /// The same, with the [`Group::message_keys`] that may be later.
    ///
    /// # Errors
    /// A [`SnapshotFault`], also if the keys belong to an epoch that the snapshot has not reached.
    pub fn load_with(snapshot: &[u8], message_keys: &[u8]) -> Result<Self, SnapshotFault> {
        let mut snapshot = Record::read(snapshot)?;
        let keys = Record::read(message_keys)?;
        let store =
            Store::restore(snapshot.state.as_slice()).map_err(|_| SnapshotFault::Malformed)?;
        if keys.group_id == snapshot.group_id && keys.step > snapshot.step {
            if keys.epoch != snapshot.epoch {
                return Err(SnapshotFault::Malformed);
            }
            store.set_message_keys(keys.state.as_slice());
            snapshot.step = keys.step;
        }
        Self::restore(&snapshot, store)
    }

    fn restore(record: &Record, store: Store) -> Result<Self, SnapshotFault> {
        let mls = MlsGroup::load(&store, &MlsGroupId::from_slice(&record.group_id.0))
            .map_err(|_| SnapshotFault::Malformed)?
            .filter(|mls| mls.epoch().as_u64() == record.epoch)
            .filter(|mls| mls.group_id().as_slice() == record.group_id.0)
            .ok_or(SnapshotFault::Malformed)?;
        let crypto = openmls_rust_crypto::RustCrypto::default();
        Ok(Self {
            step: record.step,
            ..Self::new(mls, store, crypto)
        })
    }

    fn new(mls: MlsGroup, store: Store, crypto: openmls_rust_crypto::RustCrypto) -> Self {
        Self {
            mls,
            store,
            crypto,
            step: 0,
        }
    }

    /// Encrypts one message for all members as they are now.
    ///
    /// # Errors
    /// [`Misuse::Library`], which would be a bug.
    pub fn encrypt(
        &mut self,
        own: &OwnKeys,
        message: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, Misuse> {
        self.step += 1;
        let provider = Provider::new(&self.store, &self.crypto, rng);
        self.mls
            .create_message(&provider, &DeviceSigner(own), message)
            .ok()
            .and_then(|message| message.tls_serialize_detached().ok())
            .ok_or(Misuse::Library("encrypting a message"))
    }

    /// A commit that gives this device's leaf new keys, pending until [`Group::merge_pending`] or
    /// [`Group::clear_pending`]. With a certificate, the leaf gets that one, too.
    ///
    /// # Errors
    /// [`Misuse::PendingCommit`] if one is pending already.
    pub fn self_update(
        &mut self,
        own: &OwnKeys,
        certificate: Option<&Certificate>,
        note: &CommitNote,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, Misuse> {
        const BUG: Misuse = Misuse::Library("building a commit");
        if self.mls.pending_commit().is_some() {
            return Err(Misuse::PendingCommit);
        }
        let mut leaf = LeafNodeParameters::builder();
        if let Some(certificate) = certificate {
            leaf = leaf.with_credential_with_key(credential(certificate, own));
        }
        self.step += 1;
        let provider = Provider::new(&self.store, &self.crypto, rng);
        self.mls.set_aad(note.encode());
        let signer = DeviceSigner(own);
        let commit = self
            .mls
            .commit_builder()
            .force_self_update(true)
            .consume_proposal_store(false)
            .leaf_node_parameters(leaf.build())
            .load_psks(&self.store)
            .map_err(|_| BUG)?
            .build(provider.crypto(), provider.crypto(), &signer, |_| false)
            .map_err(|_| BUG)?
            .stage_commit(&provider)
            .map_err(|_| BUG)?;
        commit
            .commit()
            .tls_serialize_detached()
            .map_err(|_| Misuse::Library("encoding a commit"))
    }

    /// Whether an own commit is pending.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.mls.pending_commit().is_some()
    }

    /// `S_g` of the epoch that the pending commit would start.
    ///
    /// # Errors
    /// [`Misuse::NoPendingCommit`].
    pub fn pending_generation_secret(&self, generation: u64) -> Result<Secret32, Misuse> {
        let pending = self.mls.pending_commit().ok_or(Misuse::NoPendingCommit)?;
        let secret = pending.export_secret(
            &self.crypto,
            GENERATION_LABEL,
            &generation.to_be_bytes(),
            32,
        );
        secret_of(secret.ok())
    }

    /// Moves to the epoch of the own commit, which was read back from the log ([`Processed::OwnCommit`]).
    ///
    /// # Errors
    /// [`Misuse::NoPendingCommit`].
    pub fn merge_pending(&mut self) -> Result<(), Misuse> {
        if !self.has_pending() {
            return Err(Misuse::NoPendingCommit);
        }
        self.step += 1;
        let provider = Provider::without_randomness(&self.store, &self.crypto);
        self.mls
            .merge_pending_commit(&provider)
            .map_err(|_| Misuse::Library("merging the own commit"))
    }

    /// Forgets the own commit: it lost the race.
    ///
    /// # Errors
    /// [`Misuse::Library`], which would be a bug.
    pub fn clear_pending(&mut self) -> Result<(), Misuse> {
        self.step += 1;
        self.mls
            .clear_pending_commit(&self.store)
            .map_err(|_| Misuse::Library("clearing the own commit"))
    }

    /// Moves to the epoch of another member's commit. A pending own commit is forgotten.
    ///
    /// # Errors
    /// [`Misuse::Library`], which would be a bug.
    pub fn merge(&mut self, staged: Staged) -> Result<(), Misuse> {
        self.step += 1;
        let provider = Provider::without_randomness(&self.store, &self.crypto);
        self.mls
            .merge_staged_commit(&provider, staged.into_mls())
            .map_err(|_| Misuse::Library("merging a commit"))
    }

    /// `S_g` of the current epoch, which must be the one in which generation `generation` starts.
    ///
    /// # Errors
    /// [`Misuse::Library`], which would be a bug.
    pub fn generation_secret(&self, generation: u64) -> Result<Secret32, Misuse> {
        // [SPEC 8.14]
        let secret = self.mls.export_secret(
            &self.crypto,
            GENERATION_LABEL,
            &generation.to_be_bytes(),
            32,
        );
        secret_of(secret.ok())
    }

    /// All devices whose keys can read, in the order of the tree.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.mls
            .members()
            .filter_map(|member| {
                let certificate =
                    Certificate::of_member(member.credential.serialized_content()).ok()?;
                Some(Member {
                    leaf: member.index.u32(),
                    certificate,
                })
            })
            .collect()
    }

    /// Whose devices the members are, each once.
    #[must_use]
    pub fn identities(&self) -> std::collections::BTreeSet<IdentityKey> {
        let identity = |member: Member| member.certificate.identity();
        self.members().into_iter().map(identity).collect()
    }

    /// This device's place in the tree.
    #[must_use]
    pub fn own_leaf(&self) -> u32 {
        self.mls.own_leaf_index().u32()
    }

    /// The number of the current epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.mls.epoch().as_u64()
    }

    /// The group's id.
    #[must_use]
    pub fn id(&self) -> GroupId {
        let id = self.mls.group_id().as_slice().try_into();
        GroupId(
            id.expect("ids of another length are refused when a group is made, joined or loaded"),
        )
    }

    fn member(&self, leaf: u32) -> Option<Member> {
        self.members()
            .into_iter()
            .find(|member| member.leaf == leaf)
    }
}

/// The configuration of every group: the program's, never a record's.
fn config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .max_past_epochs(0)
        .padding_size(0)
        .use_ratchet_tree_extension(false)
        .sender_ratchet_configuration(ratchet())
        .build()
}

fn ratchet() -> SenderRatchetConfiguration {
    SenderRatchetConfiguration::new(OUT_OF_ORDER_MAX, SKIPPED_MAX)
}

/// One lifetime for all leaves: it says nothing, and nobody reads a clock for it.
fn lifetime() -> Lifetime {
    // [SPEC 8.10]
    Lifetime::init(0, u64::MAX)
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

fn credential(certificate: &Certificate, own: &OwnKeys) -> CredentialWithKey {
    CredentialWithKey {
        credential: BasicCredential::new(certificate.bytes().to_vec()).into(),
        signature_key: own.device().0.as_slice().into(),
    }
}

fn secret_of(exported: Option<Vec<u8>>) -> Result<Secret32, Misuse> {
    exported
        .map(Zeroizing::new)
        .and_then(|secret| Secret32::from_slice(&secret))
        .ok_or(Misuse::Library("exporting a secret"))
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Group(private)")
    }
}

impl std::fmt::Debug for GroupId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GroupId(private)")
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Member(leaf {})", self.leaf)
    }
}
