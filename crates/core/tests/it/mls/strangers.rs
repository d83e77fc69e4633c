//! Who comes into a group, and what the leaf that he brings must be.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use emptyroom_core::account::IdentityKey;
use emptyroom_core::certificate::CertificateFault;
use emptyroom_core::mls::{Admission, CommitNote, PeerFault, Processed};
use emptyroom_core::position::Position;

use super::hostile::{anna_and_mallory, rejected};
use crate::mallory::{self, Attempt, Keys, Mallory, Proposed, note};
use crate::party::{CLOSING, NOBODY, Party, UPDATE, keys, pair};

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
