//! Joining from outside: an external commit, built in a store of its own and adopted only once the relay has taken it.

use emptyroom_wire::rng::CryptoRng;
use openmls::prelude::{LeafNodeParameters, MlsGroup, MlsMessageBodyIn, MlsMessageIn};
use tls_codec::{DeserializeBytes as _, Serialize as _};

use super::fault::JoinFault;
use super::note::CommitNote;
use super::provider::{DeviceSigner, Provider};
use super::store::Store;
use super::{GROUP_ID_LEN, Group, Member, SUITE, capabilities, config, credential};
use crate::account::OwnKeys;
use crate::certificate::Certificate;
use crate::genesis::Binding;

/// A join that is built and not yet in the log.
#[derive(Debug)]
pub struct Joined {
    /// The group as it is after the join. Scratch until the relay has taken the commit.
    pub group: Group,
    /// The external commit, for log 0, with the flags commit and close.
    pub commit: Vec<u8>,
    /// The group's maker.
    pub maker: Member,
}

impl Group {
    /// Joins the fresh one-member group that `binding` names. Nothing of this device changes: who does not get the slot
    /// drops what this gives.
    ///
    /// # Errors
    /// A [`JoinFault`] that says why this group cannot be joined.
    pub fn join(
        group_info: &[u8],
        binding: &Binding,
        own: &OwnKeys,
        note: &CommitNote,
        rng: &mut dyn CryptoRng,
    ) -> Result<Joined, JoinFault> {
        let info = match MlsMessageIn::tls_deserialize_exact_bytes(group_info)
            .map_err(|_| JoinFault::Malformed)?
            .extract()
        {
            MlsMessageBodyIn::GroupInfo(info) => info,
            _ => return Err(JoinFault::Malformed),
        };
        // [SPEC 8.9]
        if info.ciphersuite() != SUITE {
            return Err(JoinFault::Suite(info.ciphersuite().into()));
        }
        if info.group_id().as_slice().len() != GROUP_ID_LEN {
            return Err(JoinFault::Malformed);
        }
        let store = Store::default();
        let crypto = openmls_rust_crypto::RustCrypto::default();
        let provider = Provider::new(&store, &crypto, rng);
        let leaf = LeafNodeParameters::builder().with_capabilities(capabilities());
        let (mls, bundle) = MlsGroup::external_commit_builder()
            .with_config(config())
            .with_aad(note.encode())
            .skip_lifetime_validation()
            .build_group(&provider, info, credential(own.certificate(), own))
            .map_err(|_| JoinFault::Mls)?
            .leaf_node_parameters(leaf.build())
            .load_psks(&store)
            .map_err(|_| JoinFault::Mls)?
            .build(
                provider.crypto(),
                provider.crypto(),
                &DeviceSigner(own),
                |_| true,
            )
            .map_err(|_| JoinFault::Mls)?
            .finalize(&provider)
            .map_err(|_| JoinFault::Mls)?;
        let commit = bundle
            .commit()
            .tls_serialize_detached()
            .map_err(|_| JoinFault::Mls)?;
        drop(provider);
        let group = Self::new(mls, store, crypto);
        let maker = group.check_maker(own, binding)?;
        Ok(Joined {
            group,
            commit,
            maker,
        })
    }

    /// The other member of a group just joined: there must be exactly one, and it must be who was named.
    fn check_maker(&self, own: &OwnKeys, binding: &Binding) -> Result<Member, JoinFault> {
        // [SPEC 8.11]
        if self.epoch() != 1 || self.mls.extensions().iter().next().is_some() {
            return Err(JoinFault::NotFresh);
        }
        let mut others = self
            .mls
            .members()
            .filter(|member| member.index.u32() != self.own_leaf());
        let maker = others.next().ok_or(JoinFault::NotFresh)?;
        if others.next().is_some() {
            return Err(JoinFault::NotFresh);
        }
        let certificate = Certificate::verify(maker.credential.serialized_content())
            .map_err(JoinFault::Certificate)?;
        if maker.signature_key != certificate.device().0 {
            return Err(JoinFault::OtherKeys);
        }
        if *binding != Binding::of(certificate.identity(), self.id()) {
            return Err(JoinFault::OtherGroup);
        }
        if certificate.device() == own.device() {
            return Err(JoinFault::OwnInvite);
        }
        Ok(Member {
            leaf: maker.index.u32(),
            certificate,
        })
    }
}
