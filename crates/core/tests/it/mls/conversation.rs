//! What two honest devices do, written down and read again at every step.

use emptyroom_core::mls::{CommitNote, Group, Misuse, PeerFault, Processed, Trouble};
use emptyroom_wire::time::Day;

use crate::party::{CLOSING, MESSAGE, Party, UPDATE, pair};

fn same_secret(anna: &Party, bert: &Party, generation: u64) {
    let secret = |party: &Party| *party.group.generation_secret(generation).unwrap().expose();
    assert_eq!(secret(anna), secret(bert));
    assert_ne!(
        secret(anna),
        *anna
            .group
            .generation_secret(generation + 1)
            .unwrap()
            .expose()
    );
}

// [SPEC 8.14]
#[test]
fn two_talk() {
    let (mut anna, mut bert) = pair(1);
    same_secret(&anna, &bert, 1);
    for round in 0..5 {
        let entry = bert.send(&format!("question {round}"));
        bert.reload();
        assert_eq!(anna.text(&entry), (1, format!("question {round}")));
        anna.reload();
        let entry = anna.send(&format!("answer {round}"));
        anna.reload();
        assert_eq!(bert.text(&entry), (0, format!("answer {round}")));
        bert.reload();
    }
    assert_eq!(anna.group.identities(), bert.group.identities());
    assert_eq!(anna.group.identities().len(), 2);
    assert_eq!(
        anna.group.members()[1].certificate,
        *bert.keys.certificate()
    );
}

// [SPEC 8.14] [SPEC 8.23]
#[test]
fn an_update_is_followed_and_read_back() {
    let (mut anna, mut bert) = pair(2);
    let commit = anna.update(&CommitNote::update());
    let before = *anna.group.pending_generation_secret(1).unwrap().expose();
    anna.reload();
    match bert.read(&commit, UPDATE) {
        Processed::Commit(staged) => {
            assert_eq!(*staged.note(), CommitNote::update());
            assert_eq!(staged.by().identity(), anna.keys.identity());
            assert!(!staged.joined());
            let staged_secret = staged.generation_secret(&bert.group, 1).unwrap();
            assert_eq!(*staged_secret.expose(), before);
            bert.group.merge(staged).unwrap();
        }
        other => panic!("expected a commit, got {other:?}"),
    }
    anna.confirm(&commit, UPDATE);
    anna.reload();
    bert.reload();
    same_secret(&anna, &bert, 1);
    assert_eq!(*anna.group.generation_secret(1).unwrap().expose(), before);
    let entry = anna.send("after");
    assert_eq!(bert.text(&entry).1, "after");
}

#[test]
fn a_closing_commit_says_so() {
    let (mut anna, mut bert) = pair(3);
    let commit = bert.update(&CommitNote::closing());
    match anna.read(&commit, CLOSING) {
        Processed::Commit(staged) => assert!(staged.note().close),
        other => panic!("expected a commit, got {other:?}"),
    }
    bert.confirm(&commit, CLOSING);
}

// [SPEC 8.23]
#[test]
fn the_loser_of_a_race_follows_the_winner() {
    let (mut anna, mut bert) = pair(4);
    let won = anna.update(&CommitNote::update());
    let lost = bert.update(&CommitNote::closing());
    anna.reload();
    bert.reload();
    // A message of the epoch that ends, sent while the own commit is pending.
    let last = bert.send("last of the epoch");
    assert_eq!(anna.text(&last).1, "last of the epoch");

    anna.confirm(&won, UPDATE);
    bert.follow(&won, UPDATE);
    assert!(!bert.group.has_pending());
    same_secret(&anna, &bert, 1);

    // Had the relay written the loser's, too, both would skip it alike.
    for party in [&mut anna, &mut bert] {
        let verdict = party.read(&lost, CLOSING);
        assert!(
            matches!(
                verdict,
                Processed::Rejected(PeerFault::OtherEpoch {
                    got: 1,
                    expected: 2
                })
            ),
            "{verdict:?}"
        );
    }
    bert.reload();
    let again = bert.update(&CommitNote::closing());
    bert.confirm(&again, CLOSING);
    anna.follow(&again, CLOSING);
    same_secret(&anna, &bert, 2);
}

#[test]
fn a_commit_that_was_given_up_is_known_no_more() {
    let (mut anna, mut bert) = pair(5);
    let commit = anna.update(&CommitNote::update());
    anna.group.clear_pending().unwrap();
    anna.reload();
    assert!(matches!(
        anna.read(&commit, UPDATE),
        Processed::Trouble(Trouble::OwnUnknown)
    ));
    // The other can follow it: for him it is the commit of the epoch.
    assert!(matches!(bert.read(&commit, UPDATE), Processed::Commit(_)));
}

// [SPEC 8.21]
#[test]
fn a_lost_commit_is_trouble_and_not_skipped() {
    let (mut anna, mut bert) = pair(6);
    let old = anna.group.snapshot();
    let commit = anna.update(&CommitNote::closing());
    bert.follow(&commit, CLOSING);
    anna.group = Group::load(&old).unwrap();
    assert!(matches!(
        anna.read(&commit, CLOSING),
        Processed::Trouble(Trouble::OwnUnknown)
    ));
}

#[test]
fn only_one_commit_is_pending() {
    let (mut anna, _) = pair(7);
    assert_eq!(anna.group.merge_pending(), Err(Misuse::NoPendingCommit));
    assert!(anna.group.pending_generation_secret(1).is_err());
    anna.update(&CommitNote::update());
    let second = anna
        .group
        .self_update(&anna.keys, None, &CommitNote::update(), &mut anna.rng);
    assert_eq!(second, Err(Misuse::PendingCommit));
}

#[test]
fn an_own_message_is_recognised() {
    let (mut anna, mut bert) = pair(8);
    let entry = anna.send("mine");
    anna.reload();
    assert!(matches!(anna.read(&entry, MESSAGE), Processed::OwnMessage));
    assert_eq!(bert.text(&entry).1, "mine");
}

#[test]
fn a_certificate_is_renewed_with_an_update() {
    let (mut anna, mut bert) = pair(9);
    let renewed = anna.keys.renewed(&anna.root, Day(21_000));
    let commit = anna
        .group
        .self_update(
            &anna.keys,
            Some(&renewed),
            &CommitNote::update(),
            &mut anna.rng,
        )
        .unwrap();
    bert.follow(&commit, UPDATE);
    anna.confirm(&commit, UPDATE);
    anna.keys.adopt(renewed.clone()).unwrap();
    anna.reload();
    bert.reload();
    assert_eq!(bert.group.members()[0].certificate, renewed);
    assert_eq!(bert.group.members()[0].certificate.created(), Day(21_000));
    let entry = anna.send("with a new certificate");
    assert_eq!(bert.text(&entry).1, "with a new certificate");
}

#[test]
fn message_keys_alone_carry_on_from_a_snapshot() {
    let (mut anna, mut bert) = pair(10);
    let snapshot = anna.group.snapshot();
    let first = anna.send("one");
    let keys = anna.group.message_keys();
    assert!(keys.len() < 600, "{} bytes", keys.len());
    assert_eq!(bert.text(&first).1, "one");

    anna.group = Group::load_with(&snapshot, &keys).unwrap();
    let second = anna.send("two");
    assert_eq!(bert.text(&second).1, "two");

    // Older keys than the snapshot's do not take it back.
    let snapshot = anna.group.snapshot();
    anna.group = Group::load_with(&snapshot, &keys).unwrap();
    let third = anna.send("three");
    assert_eq!(bert.text(&third).1, "three");

    // Keys of an epoch whose snapshot is missing are refused, not believed.
    let commit = anna.update(&CommitNote::update());
    anna.confirm(&commit, UPDATE);
    anna.send("four");
    assert!(Group::load_with(&snapshot, &anna.group.message_keys()).is_err());
}

// [SPEC 8.26]
#[test]
fn who_sends_from_an_old_state_is_noticed() {
    let (mut anna, mut bert) = pair(11);
    let old = anna.group.snapshot();
    let entry = anna.send("before the backup was restored");
    bert.text(&entry);
    anna.group = Group::load(&old).unwrap();
    let reused = anna.send("with the same key");
    assert!(matches!(
        bert.read(&reused, MESSAGE),
        Processed::Rejected(PeerFault::Replayed)
    ));
}

// [SPEC 8.26]
#[test]
fn an_entry_opens_once() {
    let (mut anna, mut bert) = pair(12);
    let entry = anna.send("once");
    bert.text(&entry);
    bert.reload();
    assert!(matches!(
        bert.read(&entry, MESSAGE),
        Processed::Rejected(PeerFault::Replayed)
    ));
}

// [SPEC 8.26]
#[test]
fn what_was_read_opens_for_no_later_state() {
    let (mut anna, mut bert) = pair(13);
    let recorded: Vec<_> = (0..4).map(|n| anna.send(&format!("secret {n}"))).collect();
    let mut states = Vec::new();
    for entry in &recorded {
        bert.text(entry);
        states.push((bert.group.snapshot(), bert.group.message_keys()));
    }
    let commit = bert.update(&CommitNote::update());
    bert.confirm(&commit, UPDATE);
    states.push((bert.group.snapshot(), bert.group.message_keys()));
    for (read, (snapshot, keys)) in states.iter().enumerate() {
        for entry in recorded.iter().take(read + 1) {
            let mut seized = Group::load_with(snapshot, keys).unwrap();
            let verdict = seized.process(entry, MESSAGE, crate::party::NOBODY);
            assert!(matches!(verdict, Processed::Rejected(_)), "{verdict:?}");
        }
    }
}

// [SPEC 8.26]
#[test]
fn no_secret_of_an_epoch_outlives_it() {
    let (mut anna, mut bert) = pair(14);
    let secrets_of_the_epoch = anna.group.message_keys();
    let commit = anna.update(&CommitNote::update());
    bert.follow(&commit, UPDATE);
    anna.confirm(&commit, UPDATE);
    let after = anna.group.snapshot();
    // What is public in the record: group id and the context that holds it.
    let public = [anna.group.id().0.as_slice(), &[0; 16]].concat();
    let windows = secrets_of_the_epoch.windows(16);
    let outlived = windows
        .filter(|window| after.windows(16).any(|other| other == *window))
        .filter(|window| {
            !public
                .windows(4)
                .any(|part| window.windows(4).any(|w| w == part))
        })
        .count();
    assert_eq!(outlived, 0);
}

// [SPEC 8.25]
#[test]
fn messages_may_be_a_little_out_of_order() {
    let (mut anna, mut bert) = pair(15);
    let entries: Vec<_> = (0..8).map(|n| anna.send(&n.to_string())).collect();
    assert_eq!(bert.text(&entries[7]).1, "7");
    for (n, entry) in entries.iter().take(7).enumerate() {
        assert_eq!(bert.text(entry).1, n.to_string());
    }
    // A sender who redid many intents is still followed.
    for _ in 0..1500 {
        anna.send("redone");
    }
    let entry = anna.send("at last");
    assert_eq!(bert.text(&entry).1, "at last");
}

#[test]
fn a_group_may_change_its_thread() {
    fn moved<T: Send>() {}
    moved::<Group>();
    moved::<emptyroom_core::mls::Staged>();
}

#[test]
fn records_of_strangers_are_refused() {
    let (anna, _) = pair(16);
    let snapshot = anna.group.snapshot();
    assert!(Group::load(&[]).is_err());
    assert!(Group::load(&snapshot[..snapshot.len() - 1]).is_err());
    assert!(Group::load(&[&[9, 9], &snapshot[2..]].concat()).is_err());
    for at in (0..snapshot.len()).step_by(97) {
        let mut damaged = snapshot.to_vec();
        damaged[at] ^= 0x55;
        // Whether it is noticed here or not, nothing panics. The vault authenticates records.
        let _ = Group::load(&damaged);
    }
}
