//! The sixty methods through which OpenMLS stores: what each of them means for the map.

use openmls_traits::storage::{CURRENT_VERSION, StorageProvider, traits};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Part, Store, StoreFault, part};
use crate::mls::config;

fn keyed(part: Part, key: &impl Serialize) -> Result<Vec<u8>, StoreFault> {
    let key = postcard::to_allocvec(key).map_err(|_| StoreFault::Codec)?;
    Ok([&[part as u8], key.as_slice()].concat())
}

fn epoch_keys(epoch: &impl Serialize, leaf_index: u32) -> Result<Vec<u8>, StoreFault> {
    keyed(Part::EpochKeyPairs, &(epoch, leaf_index))
}

type Done = Result<(), StoreFault>;

/// Three methods for each value that belongs to the group as a whole.
macro_rules! of_the_group {
    ($part:expr, $bound:ident, $write:ident, $read:ident, $delete:ident) => {
        fn $write<G: traits::GroupId<CURRENT_VERSION>, V: traits::$bound<CURRENT_VERSION>>(
            &self,
            _: &G,
            value: &V,
        ) -> Done {
            self.write(part($part), value)
        }

        of_the_group!($part, $bound, $read, $delete);
    };
    // The trait names the type parameters of this method in the other order.
    ($part:expr, $bound:ident, swapped $write:ident, swapped $read:ident, $delete:ident) => {
        fn $write<V: traits::$bound<CURRENT_VERSION>, G: traits::GroupId<CURRENT_VERSION>>(
            &self,
            _: &G,
            value: &V,
        ) -> Done {
            self.write(part($part), value)
        }

        fn $read<V: traits::$bound<CURRENT_VERSION>, G: traits::GroupId<CURRENT_VERSION>>(
            &self,
            _: &G,
        ) -> Result<Option<V>, StoreFault> {
            self.read(&part($part))
        }

        fn $delete<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Done {
            self.delete(&part($part));
            Ok(())
        }
    };
    ($part:expr, $bound:ident, $read:ident, $delete:ident) => {
        fn $read<G: traits::GroupId<CURRENT_VERSION>, V: traits::$bound<CURRENT_VERSION>>(
            &self,
            _: &G,
        ) -> Result<Option<V>, StoreFault> {
            self.read(&part($part))
        }

        fn $delete<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Done {
            self.delete(&part($part));
            Ok(())
        }
    };
}

impl StorageProvider<CURRENT_VERSION> for Store {
    type Error = StoreFault;

    of_the_group!(Part::Tree, TreeSync, write_tree, tree, delete_tree);
    of_the_group!(
        Part::InterimTranscriptHash,
        InterimTranscriptHash,
        write_interim_transcript_hash,
        interim_transcript_hash,
        delete_interim_transcript_hash
    );
    of_the_group!(
        Part::GroupContext,
        GroupContext,
        write_context,
        group_context,
        delete_context
    );
    of_the_group!(
        Part::ConfirmationTag,
        ConfirmationTag,
        write_confirmation_tag,
        confirmation_tag,
        delete_confirmation_tag
    );
    of_the_group!(Part::GroupState, GroupState, swapped write_group_state, swapped group_state, delete_group_state);
    of_the_group!(
        Part::MessageSecrets,
        MessageSecrets,
        write_message_secrets,
        message_secrets,
        delete_message_secrets
    );
    of_the_group!(
        Part::ResumptionPsks,
        ResumptionPskStore,
        write_resumption_psk_store,
        resumption_psk_store,
        delete_all_resumption_psk_secrets
    );
    of_the_group!(
        Part::OwnLeafIndex,
        LeafNodeIndex,
        write_own_leaf_index,
        own_leaf_index,
        delete_own_leaf_index
    );
    of_the_group!(
        Part::EpochSecrets,
        GroupEpochSecrets,
        write_group_epoch_secrets,
        group_epoch_secrets,
        delete_group_epoch_secrets
    );

    // The configuration: what the program says, not what a record says.

    fn write_mls_join_config<
        G: traits::GroupId<CURRENT_VERSION>,
        C: traits::MlsGroupJoinConfig<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        _: &C,
    ) -> Done {
        Ok(())
    }

    fn mls_group_join_config<
        G: traits::GroupId<CURRENT_VERSION>,
        C: traits::MlsGroupJoinConfig<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Result<Option<C>, StoreFault> {
        // Through JSON, because the trait hides the type and its reader needs a format that names its types.
        let config = serde_json::to_value(config()).map_err(|_| StoreFault::Codec)?;
        serde_json::from_value(config)
            .map(Some)
            .map_err(|_| StoreFault::Codec)
    }

    fn delete_group_config<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Done {
        Ok(())
    }

    // Own leaves of update proposals: never made, but the list is read and cleared.

    fn append_own_leaf_node<
        G: traits::GroupId<CURRENT_VERSION>,
        L: traits::LeafNode<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        _: &L,
    ) -> Done {
        Err(StoreFault::Unsupported)
    }

    fn own_leaf_nodes<G: traits::GroupId<CURRENT_VERSION>, L: traits::LeafNode<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<Vec<L>, StoreFault> {
        Ok(Vec::new())
    }

    fn delete_own_leaf_nodes<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Done {
        self.delete(&part(Part::OwnLeafNodes));
        Ok(())
    }

    // Encryption keys of the tree.

    fn write_encryption_key_pair<
        K: traits::EncryptionKey<CURRENT_VERSION>,
        P: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        public_key: &K,
        key_pair: &P,
    ) -> Done {
        self.write(keyed(Part::EncryptionKeyPair, public_key)?, key_pair)
    }

    fn encryption_key_pair<
        P: traits::HpkeKeyPair<CURRENT_VERSION>,
        K: traits::EncryptionKey<CURRENT_VERSION>,
    >(
        &self,
        public_key: &K,
    ) -> Result<Option<P>, StoreFault> {
        self.read(&keyed(Part::EncryptionKeyPair, public_key)?)
    }

    fn delete_encryption_key_pair<K: traits::EncryptionKey<CURRENT_VERSION>>(
        &self,
        public_key: &K,
    ) -> Done {
        self.delete(&keyed(Part::EncryptionKeyPair, public_key)?);
        Ok(())
    }

    fn write_encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
        P: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        epoch: &E,
        leaf_index: u32,
        key_pairs: &[P],
    ) -> Done {
        let values = key_pairs
            .iter()
            .map(postcard::to_allocvec)
            .collect::<Result<Vec<Vec<u8>>, _>>()
            .map_err(|_| StoreFault::Codec)?;
        self.write(
            epoch_keys(epoch, leaf_index)?,
            &Zeroizing::new(values).as_slice(),
        )
    }

    fn encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
        P: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        epoch: &E,
        leaf_index: u32,
    ) -> Result<Vec<P>, StoreFault> {
        let values = self.values.borrow();
        let Some(value) = values.get(&epoch_keys(epoch, leaf_index)?) else {
            return Ok(Vec::new());
        };
        let values: Zeroizing<Vec<Vec<u8>>> =
            Zeroizing::new(postcard::from_bytes(value).map_err(|_| StoreFault::Codec)?);
        values
            .iter()
            .map(|value| postcard::from_bytes(value).map_err(|_| StoreFault::Codec))
            .collect()
    }

    fn delete_encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        epoch: &E,
        leaf_index: u32,
    ) -> Done {
        self.delete(&epoch_keys(epoch, leaf_index)?);
        Ok(())
    }

    // What this protocol does not have.

    fn queue_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        Q: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        _: &R,
        _: &Q,
    ) -> Done {
        Err(StoreFault::Unsupported)
    }

    fn queued_proposal_refs<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Result<Vec<R>, StoreFault> {
        Ok(Vec::new())
    }

    fn queued_proposals<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        Q: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Result<Vec<(R, Q)>, StoreFault> {
        Ok(Vec::new())
    }

    fn remove_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        _: &R,
    ) -> Done {
        Ok(())
    }

    fn clear_proposal_queue<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Done {
        Ok(())
    }

    fn write_signature_key_pair<
        K: traits::SignaturePublicKey<CURRENT_VERSION>,
        P: traits::SignatureKeyPair<CURRENT_VERSION>,
    >(
        &self,
        _: &K,
        _: &P,
    ) -> Done {
        Err(StoreFault::Unsupported)
    }

    fn signature_key_pair<
        K: traits::SignaturePublicKey<CURRENT_VERSION>,
        P: traits::SignatureKeyPair<CURRENT_VERSION>,
    >(
        &self,
        _: &K,
    ) -> Result<Option<P>, StoreFault> {
        Ok(None)
    }

    fn delete_signature_key_pair<K: traits::SignaturePublicKey<CURRENT_VERSION>>(
        &self,
        _: &K,
    ) -> Done {
        Ok(())
    }

    fn write_key_package<
        R: traits::HashReference<CURRENT_VERSION>,
        P: traits::KeyPackage<CURRENT_VERSION>,
    >(
        &self,
        _: &R,
        _: &P,
    ) -> Done {
        Err(StoreFault::Unsupported)
    }

    fn key_package<
        R: traits::HashReference<CURRENT_VERSION>,
        P: traits::KeyPackage<CURRENT_VERSION>,
    >(
        &self,
        _: &R,
    ) -> Result<Option<P>, StoreFault> {
        Ok(None)
    }

    fn delete_key_package<R: traits::HashReference<CURRENT_VERSION>>(&self, _: &R) -> Done {
        Ok(())
    }

    fn write_psk<I: traits::PskId<CURRENT_VERSION>, B: traits::PskBundle<CURRENT_VERSION>>(
        &self,
        _: &I,
        _: &B,
    ) -> Done {
        Err(StoreFault::Unsupported)
    }

    fn psk<B: traits::PskBundle<CURRENT_VERSION>, I: traits::PskId<CURRENT_VERSION>>(
        &self,
        _: &I,
    ) -> Result<Option<B>, StoreFault> {
        Ok(None)
    }

    fn delete_psk<I: traits::PskId<CURRENT_VERSION>>(&self, _: &I) -> Done {
        Ok(())
    }
}
