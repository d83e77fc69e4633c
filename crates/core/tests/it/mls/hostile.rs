//! What a member, a stranger or a relay with the outer key can write into the log, and what everybody makes of it.

use std::sync::atomic::Ordering;

use emptyroom_core::mls::{Admission, CommitNote, PeerFault, Processed, Slot, Trouble};
use openmls::prelude::LeafNodeIndex;
use openmls::prelude::tls_codec::Serialize as _;

use crate::mallory::{Attempt, Keys, Mallory, Proposed, note};
use crate::party::{CLOSING, MESSAGE, Party, UPDATE, pair};

/// Anna and Mallory, who came in by the rules.
pub(super) fn anna_and_mallory(seed: u64) -> (Party, Mallory) {
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
pub(super) fn rejected(verdict: Processed, fault: PeerFault) {
    match verdict {
        Processed::Rejected(got) => assert_eq!(got, fault),
        other => panic!("expected {fault:?}, got {other:?}"),
    }
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

// [SPEC 8.17]
#[test]
fn commits_have_64_kib_at_most_and_what_they_leave_fits_a_record() {
    const LIMIT: usize = 64 * 1024;
    let join = |padding| {
        let mut keys = Keys::of(1);
        keys.padding = padding;
        let attempt = Attempt::honest(&keys);
        let mut anna = Party::inviter(62);
        let (mallory, commit) = Mallory::take(&anna.invite().0, keys, attempt);
        let verdict = anna.group.process(&commit, CLOSING, Admission::Invited);
        (anna, mallory, commit.len(), verdict)
    };
    let (.., honest, _) = join(0);
    // The length of the padding takes five bytes more than that of none.
    let most = LIMIT - honest - 40;
    let (_, _, len, verdict) = join(most + 64);
    assert!(len > LIMIT);
    rejected(verdict, PeerFault::TooLong);
    let (mut anna, mut mallory, len, verdict) = join(most);
    assert!((LIMIT - 64..=LIMIT).contains(&len), "{len}");
    let Processed::Commit(staged) = verdict else {
        panic!("{verdict:?}");
    };
    anna.group.merge(staged).unwrap();
    let mut update = |padding| {
        mallory.keys.padding = padding;
        mallory.commit(note(false), None, Proposed::default(), true)
    };
    for padding in [LIMIT, 2 << 20] {
        rejected(anna.read(&update(padding), UPDATE), PeerFault::TooLong);
    }
    anna.follow(&update(most), UPDATE);
    let len = anna.group.snapshot().len();
    assert!(
        (most..emptyroom_core::VALUE_LEN_MAX / 4).contains(&len),
        "{len}"
    );
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
