//! What a member, a stranger or a relay with the outer key can write into the log, and what everybody makes of it.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use emptyroom_core::account::IdentityKey;
use emptyroom_core::certificate::CertificateFault;
use emptyroom_core::mls::{Admission, CommitNote, PeerFault, Processed, Slot, Trouble};
use emptyroom_core::position::Position;
use openmls::prelude::LeafNodeIndex;
use openmls::prelude::tls_codec::Serialize as _;

use crate::mallory::{self, Attempt, Keys, Mallory, Proposed, note};
use crate::party::{CLOSING, MESSAGE, NOBODY, Party, UPDATE, keys, pair};

/// Anna and Mallory, who came in by the rules.
fn anna_and_mallory(seed: u64) -> (Party, Mallory) {
    let mut anna = Party::inviter(seed);
    let keys = Keys::of(1);
    let attempt = Attempt::honest(&keys);
    let (mallory, commit) = Mallory::take(&anna.invite().0, keys, attempt);
    match anna.group.process(&commit, CLOSING, Admission::Invited) {
        Processed::Commit(staged) => {
            assert!(staged.joined());
            anna.group.merge(staged).unwrap();
        }
        other => panic!("expected a join, got {other:?}"),
    }
    (anna, mallory)
}

#[track_caller]
fn rejected(verdict: Processed, fault: PeerFault) {
    match verdict {
        Processed::Rejected(got) => assert_eq!(got, fault),
        other => panic!("expected {fault:?}, got {other:?}"),
    }
}

/// What an inviter makes of a join.
fn first_verdict(keys: Keys, attempt: Attempt) -> Processed {
    let mut anna = Party::inviter(50);
    let (_, commit) = Mallory::take(&anna.invite().0, keys, attempt);
    anna.group.process(&commit, CLOSING, Admission::Invited)
}

/// What a join that breaks a rule is told.
#[track_caller]
fn join_rejected(keys: Keys, attempt: Attempt, fault: PeerFault) {
    let mut anna = Party::inviter(50);
    let (_, commit) = Mallory::take(&anna.invite().0, keys, attempt);
    rejected(
        anna.group.process(&commit, CLOSING, Admission::Invited),
        fault,
    );
    // The invite is not used up.
    let keys = Keys::of(2);
    let attempt = Attempt::honest(&keys);
    let (_, commit) = Mallory::take(&anna.invite().0, keys, attempt);
    let verdict = anna.group.process(&commit, CLOSING, Admission::Invited);
    assert!(matches!(verdict, Processed::Commit(_)), "{verdict:?}");
}

// [SPEC 8.16] [SPEC 8.17]
#[test]
fn rubbish_in_a_commit_slot_is_skipped_by_both_alike() {
    let (mut anna, mut bert) = pair(51);
    let commit = bert.update(&CommitNote::update());
    let rubbish: [&[u8]; 7] = [
        b"",
        b"\0",
        b"rubbish",
        &[0, 1],
        &[0, 1, 0, 1],
        &[0; 4000],
        &commit[..commit.len() / 2],
    ];
    for bytes in rubbish {
        for slot in [UPDATE, CLOSING, MESSAGE] {
            rejected(anna.read(bytes, slot), PeerFault::NotAMessage);
            rejected(bert.read(bytes, slot), PeerFault::NotAMessage);
        }
    }
    anna.follow(&commit, UPDATE);
    bert.confirm(&commit, UPDATE);
    let entry = anna.send("nothing happened");
    assert_eq!(bert.text(&entry).1, "nothing happened");
}

// [SPEC 8.18]
#[test]
fn flags_must_fit_the_content() {
    let (mut anna, mut bert) = pair(52);
    let entry = bert.send("a message");
    for slot in [
        UPDATE,
        CLOSING,
        Slot {
            commit: false,
            close: true,
        },
    ] {
        rejected(anna.read(&entry, slot), PeerFault::Flags);
    }
    let update = bert.update(&CommitNote::update());
    rejected(anna.read(&update, MESSAGE), PeerFault::Flags);
    rejected(bert.read(&update, MESSAGE), PeerFault::Flags);
    rejected(anna.read(&update, CLOSING), PeerFault::Flags);
    rejected(bert.read(&update, CLOSING), PeerFault::Flags);
    bert.group.clear_pending().unwrap();
    let closing = bert.update(&CommitNote::closing());
    rejected(anna.read(&closing, UPDATE), PeerFault::Flags);
    assert_eq!(anna.text(&entry).1, "a message");
}

// [SPEC 8.19]
#[test]
fn other_groups_and_epochs_are_skipped() {
    let (mut anna, _) = pair(53);
    let (mut other, _) = pair(54);
    let entry = other.send("elsewhere");
    rejected(anna.read(&entry, MESSAGE), PeerFault::OtherGroup);
    let commit = other.update(&CommitNote::update());
    rejected(anna.read(&commit, UPDATE), PeerFault::OtherGroup);

    let (mut anna, mut mallory) = anna_and_mallory(55);
    let old = mallory.message(b"of the epoch before");
    let commit = anna.update(&CommitNote::update());
    anna.confirm(&commit, UPDATE);
    rejected(
        anna.read(&old, MESSAGE),
        PeerFault::OtherEpoch {
            got: 1,
            expected: 2,
        },
    );
    mallory.follow(&commit);
    let entry = mallory.message(b"of this epoch");
    assert_eq!(anna.text(&entry).1, "of this epoch");
}

// [SPEC 8.22]
#[test]
fn nobody_joins_a_running_group() {
    let (mut anna, mut bert) = pair(56);
    let info = anna.group.group_info(&anna.keys).unwrap();
    let stranger = Keys::of(3);
    let attempt = Attempt::honest(&stranger);
    let (_, commit) = Mallory::join(&info, stranger, attempt);
    let everybody: BTreeSet<IdentityKey> = anna.group.identities();
    for admission in [NOBODY, Admission::Invited, Admission::Returning(&everybody)] {
        for party in [&mut anna, &mut bert] {
            rejected(
                party.group.process(&commit, CLOSING, admission),
                PeerFault::NotAdmitted,
            );
        }
    }
}

// [SPEC 8.22]
#[test]
fn an_invite_admits_another_identity_only() {
    let mut anna = Party::inviter(57);
    // Another device of Anna's: the same identity, certified by it.
    let record = anna.keys.record();
    let salt: [u8; 32] = record[2..34].try_into().unwrap();
    let keys = Keys::of_account(anna.root.secret(), &salt, 4);
    assert_eq!(keys.identity.verify_key().0, anna.keys.identity().0);
    let attempt = Attempt::honest(&keys);
    let (_, commit) = Mallory::take(&anna.invite().0, keys, attempt);
    rejected(
        anna.group.process(&commit, CLOSING, Admission::Invited),
        PeerFault::NotAdmitted,
    );
    rejected(
        anna.group.process(&commit, CLOSING, NOBODY),
        PeerFault::NotAdmitted,
    );
    // A restart's group admits her, if the group before had her.
    let returning = BTreeSet::from([anna.keys.identity()]);
    let verdict = anna
        .group
        .process(&commit, CLOSING, Admission::Returning(&returning));
    assert!(matches!(verdict, Processed::Commit(_)), "{verdict:?}");
}

// [SPEC 8.22]
#[test]
fn a_restart_admits_who_was_there_before() {
    let mut anna = Party::inviter(58);
    let returning = BTreeSet::from([IdentityKey(Keys::of(1).identity.verify_key().0)]);
    let stranger = Keys::of(5);
    let attempt = Attempt::honest(&stranger);
    let (_, commit) = Mallory::take(&anna.invite().0, stranger, attempt);
    rejected(
        anna.group
            .process(&commit, CLOSING, Admission::Returning(&returning)),
        PeerFault::NotAdmitted,
    );
    // With the position that he has shown.
    let shown = Position {
        restart: 1,
        generation: 2,
        next_seq: 3,
    };
    let with_position = [
        &[0, 1, 1, 1][..],
        &1u64.to_be_bytes(),
        &2u64.to_be_bytes(),
        &3u64.to_be_bytes(),
        &[0],
    ]
    .concat();
    let old = Keys::of(1);
    let attempt = Attempt {
        note: with_position,
        ..Attempt::honest(&old)
    };
    let (_, commit) = Mallory::take(&anna.invite().0, old, attempt);
    match anna
        .group
        .process(&commit, CLOSING, Admission::Returning(&returning))
    {
        Processed::Commit(staged) => assert_eq!(staged.note().shown, Some(shown)),
        other => panic!("expected a join, got {other:?}"),
    }
}

// [SPEC 8.12]
#[test]
fn a_join_closes_log_0() {
    let mut anna = Party::inviter(59);
    let keys = Keys::of(1);
    let attempt = Attempt {
        note: note(false),
        ..Attempt::honest(&keys)
    };
    let (_, commit) = Mallory::take(&anna.invite().0, keys, attempt);
    rejected(
        anna.group.process(&commit, UPDATE, Admission::Invited),
        PeerFault::Flags,
    );
}

// [SPEC 8.5]
#[test]
fn a_certificate_must_be_signed_by_its_identity() {
    let keys = Keys::of(1);
    let mut forged = keys.certificate();
    *forged.last_mut().unwrap() ^= 1;
    let attempt = Attempt {
        certificate: forged,
        note: note(true),
    };
    join_rejected(
        keys,
        attempt,
        PeerFault::Certificate(CertificateFault::Signature),
    );

    // Somebody else's identity, whose signature Mallory has not.
    let keys = Keys::of(1);
    let victim = Keys::of(9);
    let body = [
        &[0, 1][..],
        &victim.identity.verify_key().0,
        &keys.body(1, &[])[34..],
    ]
    .concat();
    let attempt = Attempt {
        certificate: mallory::certificate(&keys.identity, &body),
        note: note(true),
    };
    join_rejected(
        keys,
        attempt,
        PeerFault::Certificate(CertificateFault::Signature),
    );
}

// [SPEC 8.20]
#[test]
fn a_leaf_must_be_the_certified_device() {
    // A good certificate of somebody else, copied from his leaf.
    let attempt = Attempt {
        certificate: Keys::of(9).certificate(),
        note: note(true),
    };
    join_rejected(Keys::of(1), attempt, PeerFault::OtherKeys);
    for rubbish in [&b""[..], b"no certificate", &[0; 2000]] {
        let attempt = Attempt {
            certificate: rubbish.to_vec(),
            note: note(true),
        };
        let verdict = first_verdict(Keys::of(1), attempt);
        assert!(
            matches!(verdict, Processed::Rejected(PeerFault::Certificate(_))),
            "{verdict:?}"
        );
    }
}

// [SPEC 8.20]
#[test]
fn a_leaf_must_have_a_key_to_seal_to() {
    let (mut anna, mut mallory) = anna_and_mallory(69);
    let spoil = &mallory.provider.crypto.spoil_keys;
    spoil.store(true, Ordering::Relaxed);
    let commit = mallory.commit(note(false), None, Proposed::default(), true);
    rejected(anna.read(&commit, UPDATE), PeerFault::BadKey);
    // Anna can go on.
    let commit = anna.update(&CommitNote::update());
    anna.confirm(&commit, UPDATE);
}

// [SPEC 8.20]
#[test]
fn a_member_stays_who_he_is() {
    let (mut anna, mut mallory) = anna_and_mallory(60);
    // The same device, certified by another identity that is Mallory's, too.
    let other = Keys {
        identity: Keys::of(7).identity,
        ..Keys::of(1)
    };
    let commit = mallory.commit(
        note(false),
        Some(other.certificate()),
        Proposed::default(),
        true,
    );
    rejected(anna.read(&commit, UPDATE), PeerFault::OtherKeys);
    // The same identity, another device.
    let other = Keys {
        device: Keys::of(7).device,
        ..Keys::of(1)
    };
    let commit = mallory.commit(
        note(false),
        Some(other.certificate()),
        Proposed::default(),
        true,
    );
    rejected(anna.read(&commit, UPDATE), PeerFault::OtherKeys);
    // A renewed certificate is fine.
    let renewed = Keys::of(1).certificate();
    let commit = mallory.commit(note(false), Some(renewed), Proposed::default(), true);
    assert!(matches!(anna.read(&commit, UPDATE), Processed::Commit(_)));
}

// [SPEC 8.17]
#[test]
fn commits_propose_nothing() {
    let (mut anna, mut mallory) = anna_and_mallory(61);
    for (closing, slot) in [(false, UPDATE), (true, CLOSING)] {
        let remove = Proposed {
            remove: Some(LeafNodeIndex::new(0)),
            ..Proposed::default()
        };
        let commit = mallory.commit(note(closing), None, remove, true);
        rejected(anna.read(&commit, slot), PeerFault::Proposals);
    }
    // Nobody is added either, with new keys for the committer or without.
    let stranger = Keys::of(6);
    for (path, fault) in [(true, PeerFault::Proposals), (false, PeerFault::NoPath)] {
        let add = Proposed {
            add: Some(stranger.key_package(&mallory.provider)),
            ..Proposed::default()
        };
        let commit = mallory.commit(note(false), None, add, path);
        rejected(anna.read(&commit, UPDATE), fault);
    }
}

// [SPEC 8.17]
#[test]
fn messages_are_private_and_commits_public() {
    let (mut anna, mut mallory) = anna_and_mallory(62);
    // A proposal by itself, sent as a PublicMessage.
    let (proposal, _) = mallory
        .group
        .propose_self_update(
            &mallory.provider,
            &mallory.keys.device,
            openmls::prelude::LeafNodeParameters::default(),
        )
        .unwrap();
    let proposal = proposal.tls_serialize_detached().unwrap();
    for slot in [MESSAGE, UPDATE] {
        rejected(anna.read(&proposal, slot), PeerFault::NotAMessage);
    }
    // A group info and a key package are no entries of a conversation.
    let info = mallory.group_info();
    rejected(anna.read(&info, UPDATE), PeerFault::NotAMessage);
}

// [SPEC 8.21]
#[test]
fn a_valid_commit_that_cannot_be_followed_is_trouble() {
    let (mut anna, mut mallory) = anna_and_mallory(63);
    let spoil = &mallory.provider.crypto.spoil_seals;
    spoil.store(true, Ordering::Relaxed);
    let commit = mallory.commit(note(false), None, Proposed::default(), true);
    mallory
        .provider
        .crypto
        .spoil_seals
        .store(false, Ordering::Relaxed);
    assert!(matches!(
        anna.read(&commit, UPDATE),
        Processed::Trouble(Trouble::CannotFollow)
    ));
    // But a public fault in the same commit comes first: then nobody follows it.
    rejected(anna.read(&commit, CLOSING), PeerFault::Flags);
    let mut damaged = commit.clone();
    *damaged.last_mut().unwrap() ^= 1;
    rejected(anna.read(&damaged, UPDATE), PeerFault::Mls);
    // Nothing has moved.
    let entry = mallory.message(b"still here");
    assert_eq!(anna.text(&entry).1, "still here");
}

// [SPEC 8.21]
#[test]
fn a_wrong_confirmation_is_trouble() {
    let (mut anna, mut mallory) = anna_and_mallory(64);
    let spoil = &mallory.provider.crypto.spoil_next_mac;
    spoil.store(true, Ordering::Relaxed);
    let commit = mallory.commit(note(false), None, Proposed::default(), true);
    assert!(
        !mallory
            .provider
            .crypto
            .spoil_next_mac
            .load(Ordering::Relaxed)
    );
    let verdict = anna.read(&commit, UPDATE);
    assert!(
        matches!(verdict, Processed::Trouble(Trouble::CannotFollow)),
        "{verdict:?}"
    );
}

// [SPEC 8.15]
#[test]
fn notes_are_read_strictly() {
    let (mut anna, mut mallory) = anna_and_mallory(65);
    let cases: [(&[u8], PeerFault); 9] = [
        (b"", PeerFault::NoteVersion(0)),
        (&[0, 2, 0, 0, 0], PeerFault::NoteVersion(2)),
        (&[0, 1], PeerFault::MalformedNote),
        (&[0, 1, 2, 0, 0], PeerFault::MalformedNote),
        (&[0, 1, 0, 2, 0], PeerFault::MalformedNote),
        (&[0, 1, 0, 0, 0, 0], PeerFault::MalformedNote),
        (&[0, 1, 0, 0, 3, 0x80, 0x0a, 0], PeerFault::Critical(0x800a)),
        (&[0, 1, 0, 0, 3, 0x0a, 0x0a], PeerFault::MalformedNote),
        // A position is a join's to tell.
        (
            &[
                0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                0,
            ],
            PeerFault::MalformedNote,
        ),
    ];
    for (note, fault) in cases {
        let commit = mallory.commit(note.to_vec(), None, Proposed::default(), true);
        rejected(anna.read(&commit, UPDATE), fault);
    }
    // An extension that may be ignored is.
    let commit = mallory.commit(
        vec![0, 1, 0, 0, 3, 0x0a, 0x0a, 0],
        None,
        Proposed::default(),
        true,
    );
    assert!(matches!(anna.read(&commit, UPDATE), Processed::Commit(_)));
}

// [SPEC 8.17]
#[test]
fn no_changed_byte_makes_another_valid_commit() {
    let (mut anna, mut bert) = pair(66);
    let commit = bert.update(&CommitNote::update());
    for at in (0..commit.len()).step_by(5) {
        let mut changed = commit.clone();
        changed[at] ^= 1 << (at % 8);
        let verdict = anna.read(&changed, UPDATE);
        assert!(
            matches!(verdict, Processed::Rejected(_)),
            "byte {at}: {verdict:?}"
        );
        let truncated = anna.read(&commit[..at], UPDATE);
        assert!(matches!(truncated, Processed::Rejected(_)), "{truncated:?}");
    }
    let trailing = [&commit[..], &[0]].concat();
    assert!(matches!(
        anna.read(&trailing, UPDATE),
        Processed::Rejected(_)
    ));
    anna.follow(&commit, UPDATE);
}

#[test]
fn no_changed_byte_makes_another_message() {
    let (mut anna, mut bert) = pair(67);
    let entry = bert.send("as it was written");
    for at in 0..entry.len() {
        let mut changed = entry.clone();
        changed[at] ^= 1 << (at % 8);
        let verdict = anna.read(&changed, MESSAGE);
        assert!(
            matches!(verdict, Processed::Rejected(_) | Processed::OwnMessage),
            "byte {at}: {verdict:?}"
        );
    }
    assert_eq!(anna.text(&entry).1, "as it was written");
}

#[test]
fn two_taken_for_one_link_differ() {
    // Both take the link; the first one processed is the one, whoever he is.
    let mut anna = Party::inviter(68);
    let invite = anna.invite();
    let (_, first, mut rng) = keys(69);
    let first = crate::party::take(&invite, &first, &mut rng);
    let thief = Keys::of(1);
    let attempt = Attempt::honest(&thief);
    let (_, second) = Mallory::take(&invite.0, thief, attempt);
    match anna
        .group
        .process(&first.commit, CLOSING, Admission::Invited)
    {
        Processed::Commit(staged) => anna.group.merge(staged).unwrap(),
        other => panic!("expected a join, got {other:?}"),
    }
    rejected(
        anna.group.process(&second, CLOSING, Admission::Invited),
        PeerFault::OtherEpoch {
            got: 0,
            expected: 1,
        },
    );
}
