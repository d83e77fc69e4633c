//! Somebody who only watches: OpenMLS' own public group, fed with the same handshake, agrees with our groups at every epoch.

use emptyroom_core::genesis::Genesis;
use emptyroom_core::mls::{Admission, CommitNote, Processed};
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls::prelude::*;
use openmls_rust_crypto::OpenMlsRustCrypto;

use crate::party::{CLOSING, Party, UPDATE, keys, take};

/// Keeps the tree and the transcript, and no secret.
struct Observer {
    provider: OpenMlsRustCrypto,
    group: PublicGroup,
}

fn group_info(bytes: &[u8]) -> VerifiableGroupInfo {
    let message = MlsMessageIn::tls_deserialize_exact_bytes(bytes).unwrap();
    match message.extract() {
        MlsMessageBodyIn::GroupInfo(info) => info,
        _ => panic!("not a group info"),
    }
}

impl Observer {
    fn new(info: &[u8]) -> Self {
        let provider = OpenMlsRustCrypto::default();
        let info = group_info(info);
        let tree = info
            .extensions()
            .ratchet_tree()
            .unwrap()
            .ratchet_tree()
            .clone();
        let (group, _) = PublicGroup::from_external(
            provider.crypto(),
            provider.storage(),
            tree,
            info,
            ProposalStore::new(),
        )
        .unwrap();
        Self { provider, group }
    }

    /// Follows a commit as it stands in the log.
    fn follow(&mut self, commit: &[u8]) {
        let message = MlsMessageIn::tls_deserialize_exact_bytes(commit).unwrap();
        let message = message.try_into_protocol_message().unwrap();
        let processed = self.group.process_message(self.provider.crypto(), message);
        match processed.unwrap().into_content() {
            ProcessedMessageContent::StagedCommitMessage(staged) => self
                .group
                .merge_commit(self.provider.storage(), *staged)
                .unwrap(),
            _ => panic!("not a commit"),
        }
    }

    /// Context, tree and members are the same for it and for each party.
    fn agrees(&self, parties: &[&Party]) {
        for party in parties {
            let info = group_info(&party.group.group_info(&party.keys).unwrap());
            let context = self.group.group_context();
            assert_eq!(info.group_context(), context);
            assert_eq!(party.group.epoch(), context.epoch().as_u64());
            let tree = info.extensions().ratchet_tree().unwrap().ratchet_tree();
            let own = self.group.export_ratchet_tree();
            assert_eq!(
                tree.tls_serialize_detached().unwrap(),
                own.tls_serialize_detached().unwrap()
            );
            let seen: Vec<_> = self.group.members().collect();
            let members = party.group.members();
            assert_eq!(seen.len(), members.len());
            for (seen, member) in seen.iter().zip(members) {
                assert_eq!(seen.index.u32(), member.leaf);
                assert_eq!(seen.signature_key, member.certificate.device().0);
                assert_eq!(
                    seen.credential.serialized_content(),
                    member.certificate.bytes()
                );
            }
        }
    }
}

// [SPEC 8.16]
#[test]
fn an_observer_agrees_at_every_epoch() {
    let mut anna = Party::inviter(80);
    let invite = anna.invite();
    let mut observer = Observer::new(&Genesis::decode(&invite.0).unwrap().group_info);
    observer.agrees(&[&anna]);
    let (root, own, mut rng) = keys(81);
    let joined = take(&invite, &own, &mut rng);
    match anna
        .group
        .process(&joined.commit, CLOSING, Admission::Invited)
    {
        Processed::Commit(staged) => anna.group.merge(staged).unwrap(),
        other => panic!("expected a join, got {other:?}"),
    }
    observer.follow(&joined.commit);
    let mut bert = Party {
        root,
        keys: own,
        group: joined.group,
        rng,
    };
    observer.agrees(&[&anna, &bert]);
    for round in 0..6 {
        let (maker, reader) = match round % 2 {
            0 => (&mut anna, &mut bert),
            _ => (&mut bert, &mut anna),
        };
        let entry = maker.send("messages move nothing");
        reader.text(&entry);
        let (note, slot) = match round % 3 {
            0 => (CommitNote::update(), UPDATE),
            _ => (CommitNote::closing(), CLOSING),
        };
        // The loser of a race never shows.
        reader.update(&CommitNote::update());
        let commit = maker.update(&note);
        maker.confirm(&commit, slot);
        reader.follow(&commit, slot);
        observer.follow(&commit);
        observer.agrees(&[&anna, &bert]);
    }
}
