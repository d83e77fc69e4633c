//! Logs, appends, and what becomes of them.

use std::sync::Arc;

use emptyroom_wire::entry::RunningHash;
use emptyroom_wire::log::Flags;
use emptyroom_wire::op::RefusalCode;

use super::Subject;
use super::driver::{Driver, Outcome, again, first, header, place};
use crate::store::{NewPlace, StoreOp};

pub(super) fn creating_again(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let plain = header(1, Flags::NONE);
    assert_eq!(
        driver.look(&place(&plain)),
        Outcome::Refused(RefusalCode::Unknown)
    );
    assert_eq!(driver.create(&plain, Some(first(1))), Outcome::Created);
    let view = driver.view(&place(&plain));
    assert_eq!((view.first_seq, view.next_seq, view.slots), (0, 1, 0));
    driver.subject.crash();
    // The same again succeeds and changes nothing; another first entry is another log.
    assert_eq!(driver.create(&plain, Some(first(1))), Outcome::Created);
    let exists = Outcome::Refused(RefusalCode::Exists);
    assert_eq!(driver.create(&plain, Some(first(2))), exists);
    assert_eq!(driver.create(&plain, None), exists);
    assert_eq!(driver.view(&place(&plain)), view);
    let got = driver.read(&place(&plain), 0);
    assert_eq!(
        (got[0].before, got[0].body.len()),
        (RunningHash::default(), 100)
    );
    // So it does after appends.
    let slots = view.slots;
    let message = driver.message(&place(&plain), slots);
    assert!(matches!(driver.append(message), Outcome::Appended(1, ..)));
    assert_eq!(driver.create(&plain, Some(first(1))), Outcome::Created);
    assert_eq!(driver.view(&place(&plain)).next_seq, 2);
}

pub(super) fn compare_and_set(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let plain = header(1, Flags::NONE);
    let place = place(&plain);
    driver.create(&plain, None);
    // Messages share a slot count, commits move it; both are refused when it is another.
    for append in [driver.message(&place, 1), driver.commit(&place, 1)] {
        let view = driver.view(&place);
        assert_eq!(driver.append(append), Outcome::Stale(view));
    }
    let mut hash = RunningHash::default();
    for (seq, commit) in [(0, false), (1, false), (2, true), (3, false)] {
        let slots = driver.view(&place).slots;
        let append = if commit {
            driver.commit(&place, slots)
        } else {
            driver.message(&place, slots)
        };
        let after = hash.next(seq, &append.entry.aad, &append.entry.body);
        assert_eq!(driver.append(append), Outcome::Appended(seq, hash, after));
        hash = after;
        driver.subject.crash();
    }
    let view = driver.view(&place);
    assert_eq!((view.next_seq, view.slots, view.running_hash), (4, 1, hash));
    // Two commits for one slot in one batch: one of them wins.
    let race = [driver.commit(&place, 1), driver.commit(&place, 1)];
    let outcomes = driver.apply(race.into_iter().map(StoreOp::Append).collect());
    assert!(matches!(
        outcomes[..],
        [Outcome::Appended(4, ..), Outcome::Stale(_)]
    ));
    assert_eq!(driver.seqs(&place), [0, 1, 2, 3, 4]);
}

pub(super) fn nonces(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let plain = header(1, Flags::NONE);
    let place = place(&plain);
    driver.create(&plain, Some(first(9)));
    let message = driver.message(&place, 0);
    let (copy, mut other) = (again(&message), again(&message));
    let Outcome::Appended(seq, _, hash) = driver.append(message) else {
        panic!("not appended");
    };
    let mut closing = driver.commit(&place, 0);
    closing.entry.aad.close = true;
    let closing_copy = again(&closing);
    assert!(matches!(driver.append(closing), Outcome::Appended(2, ..)));
    driver.subject.crash();
    // The nonce is looked at before slots and the close flag, and it names one entry.
    assert_eq!(driver.append(copy), Outcome::Already(seq, hash));
    assert!(matches!(
        driver.append(closing_copy),
        Outcome::Already(2, _)
    ));
    other.entry.body = Arc::from(&b"something else"[..]);
    let reused = Outcome::Refused(RefusalCode::NonceReused);
    assert_eq!(driver.append(other), reused);
    // The first entry's nonce counts as well.
    let mut as_first = driver.message(&place, 0);
    as_first.entry.aad.nonce = first(9).nonce;
    assert_eq!(driver.append(as_first), reused);
    assert_eq!(driver.seqs(&place), [0, 1, 2]);
}

pub(super) fn next_is_atomic(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let [old, taken, a, b] = [1, 2, 3, 4].map(|number| header(number, Flags::NONE));
    driver.create(&old, None);
    driver.create(&taken, Some(first(1)));
    let old_place = place(&old);
    let unknown = Outcome::Refused(RefusalCode::Unknown);
    // One of two cannot be made: nothing happens at all.
    let mut append = driver.commit(&old_place, 0);
    append.entry.aad.close = true;
    append.next = vec![
        NewPlace::new(&a, Some(first(1))),
        NewPlace::new(&taken, None),
    ];
    assert_eq!(driver.append(append), Outcome::Refused(RefusalCode::Exists));
    assert_eq!(driver.look(&place(&a)), unknown);
    let view = driver.view(&old_place);
    assert_eq!((view.next_seq, view.closed), (0, false));
    // Twice the same, or the log itself: contradictory.
    for new in [&a, &old] {
        let mut append = driver.commit(&old_place, 0);
        append.next = vec![NewPlace::new(&a, None), NewPlace::new(new, None)];
        assert_eq!(
            driver.append(append),
            Outcome::Refused(RefusalCode::Malformed)
        );
    }
    // A stale append makes nothing either.
    let mut append = driver.commit(&old_place, 5);
    append.next = vec![NewPlace::new(&a, None)];
    assert!(matches!(driver.append(append), Outcome::Stale(_)));
    assert_eq!(driver.look(&place(&a)), unknown);
    // Both are made, or are there as wanted already; the retry makes nothing again.
    let mut append = driver.commit(&old_place, 0);
    append.entry.aad.close = true;
    let mut retry = again(&append);
    append.next = vec![
        NewPlace::new(&a, Some(first(7))),
        NewPlace::new(&taken, Some(first(1))),
    ];
    retry.next = vec![NewPlace::new(&b, None)];
    assert!(matches!(driver.append(append), Outcome::Appended(0, ..)));
    driver.subject.crash();
    assert!(matches!(driver.append(retry), Outcome::Already(0, _)));
    assert_eq!(driver.look(&place(&b)), unknown);
    assert!(driver.view(&old_place).closed);
    assert_eq!(driver.seqs(&place(&a)), [0]);
    assert_eq!(driver.seqs(&place(&taken)), [0]);
}

pub(super) fn order_in_a_batch(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let plain = header(1, Flags::NONE);
    let at = place(&plain);
    let read = |from| StoreOp::Read {
        place: at.clone(),
        from,
        bytes_max: usize::MAX,
    };
    let (one, two) = (driver.commit(&at, 0), driver.message(&at, 1));
    let retry = again(&one);
    let outcomes = driver.apply(vec![
        read(0),
        StoreOp::Create(NewPlace::new(&plain, None)),
        read(0),
        StoreOp::Append(one),
        read(0),
        StoreOp::Append(two),
        StoreOp::Append(retry),
        StoreOp::Trim {
            place: at.clone(),
            up_to: 1,
        },
        read(0),
        StoreOp::Destroy { place: at.clone() },
        StoreOp::Look { place: at.clone() },
        StoreOp::Create(NewPlace::new(&plain, None)),
    ]);
    let seqs: Vec<Option<Vec<u64>>> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Read(got, ..) => Some(got.iter().map(|got| got.seq).collect()),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes[0], Outcome::Refused(RefusalCode::Unknown));
    assert_eq!((&seqs[2], &seqs[4]), (&Some(vec![]), &Some(vec![0])));
    assert!(matches!(outcomes[6], Outcome::Already(0, _)));
    assert_eq!(seqs[8], Some(vec![1]));
    let destroyed = Outcome::Refused(RefusalCode::Destroyed);
    assert_eq!((&outcomes[10], &outcomes[11]), (&destroyed, &destroyed));
    driver.subject.crash();
    assert_eq!(driver.look(&at), destroyed);
}

pub(super) fn reading_in_parts(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let plain = header(1, Flags::NONE);
    let at = place(&plain);
    driver.create(&plain, None);
    let mut bodies = Vec::new();
    for size in [10_u8, 200, 30, 40, 50] {
        let mut append = driver.message(&at, 0);
        append.entry.body = Arc::from(vec![size; usize::from(size)]);
        bodies.push(Arc::clone(&append.entry.body));
        driver.append(append);
    }
    let mut got = Vec::new();
    let (mut from, mut end) = (0, false);
    while !end {
        let op = StoreOp::Read {
            place: at.clone(),
            from,
            bytes_max: 60,
        };
        let Outcome::Read(part, cursor, last) = driver.one(op) else {
            panic!("not read");
        };
        assert!(last || !part.is_empty(), "each part holds something");
        got.extend(part.into_iter().map(|got| (got.seq, got.body)));
        (from, end) = (cursor, last);
    }
    assert_eq!(from, 5);
    assert_eq!(got.len(), 5);
    assert!(
        got.into_iter()
            .zip(bodies)
            .all(|((_, got), body)| got == body)
    );
    // Beyond the end there is nothing, and that is not an error.
    assert!(driver.read(&at, 5).is_empty());
    assert!(driver.read(&at, u64::MAX).is_empty());
    assert_eq!(driver.read(&at, 3).len(), 2);
}

pub(super) fn closing(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let plain = header(1, Flags::NONE);
    let at = place(&plain);
    driver.create(&plain, None);
    let mut closing = driver.commit(&at, 0);
    closing.entry.aad.close = true;
    assert!(matches!(driver.append(closing), Outcome::Appended(0, ..)));
    driver.subject.crash();
    let closed = Outcome::Refused(RefusalCode::Closed);
    for slots in [0, 1] {
        let late = driver.message(&at, slots);
        assert_eq!(driver.append(late), closed);
    }
    // It is read and renewed as before, and not made again.
    assert_eq!(driver.seqs(&at), [0]);
    assert_eq!(
        driver.one(StoreOp::Renew { place: at.clone() }),
        Outcome::Done
    );
    assert_eq!(driver.create(&plain, None), closed);
    // A log that refuses to be closed goes on.
    let open = header(2, Flags::REFUSE_CLOSE);
    driver.create(&open, None);
    let mut closing = driver.commit(&place(&open), 0);
    closing.entry.aad.close = true;
    let refused = Outcome::Refused(RefusalCode::RefusedClose);
    assert_eq!(driver.append(closing), refused);
    let commit = driver.commit(&place(&open), 0);
    assert!(matches!(driver.append(commit), Outcome::Appended(0, ..)));
}

pub(super) fn trimming(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let plain = header(1, Flags::NONE);
    let at = place(&plain);
    driver.create(&plain, None);
    for _ in 0..6 {
        let message = driver.message(&at, 0);
        driver.append(message);
    }
    let hash = driver.view(&at).running_hash;
    let trim = |up_to| StoreOp::Trim {
        place: at.clone(),
        up_to,
    };
    assert_eq!(driver.one(trim(4)), Outcome::Done);
    driver.subject.crash();
    assert_eq!(driver.seqs(&at), [4, 5]);
    // Less than before changes nothing, more than there is removes all; the counters stay.
    assert_eq!(driver.one(trim(2)), Outcome::Done);
    assert_eq!(driver.view(&at).first_seq, 4);
    assert_eq!(driver.one(trim(u64::MAX)), Outcome::Done);
    let view = driver.view(&at);
    assert_eq!((view.first_seq, view.next_seq), (6, 6));
    assert_eq!(view.running_hash, hash);
    let message = driver.message(&at, 0);
    let Outcome::Appended(6, before, _) = driver.append(message) else {
        panic!("not appended");
    };
    assert_eq!(before, hash);
    assert_eq!(driver.seqs(&at), [6]);
}

pub(super) fn destroying(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let plain = header(1, Flags::NONE);
    let at = place(&plain);
    let destroy = || StoreOp::Destroy { place: at.clone() };
    let destroyed = Outcome::Refused(RefusalCode::Destroyed);
    assert_eq!(
        driver.one(destroy()),
        Outcome::Refused(RefusalCode::Unknown)
    );
    driver.create(&plain, None);
    let message = driver.message(&at, 0);
    let retry = again(&message);
    driver.append(message);
    assert_eq!(driver.one(destroy()), Outcome::Done);
    driver.subject.crash();
    let other = header(2, Flags::NONE);
    driver.create(&other, None);
    for days in [0, 30] {
        driver.days_later(days);
        let message = driver.message(&at, 0);
        assert_eq!(driver.append(message), destroyed);
        assert_eq!(driver.create(&plain, None), destroyed);
        assert_eq!(driver.one(destroy()), destroyed);
        // Neither by another log's append.
        let mut append = driver.commit(&place(&other), 0);
        append.next = vec![NewPlace::new(&plain, None)];
        assert_eq!(driver.append(append), destroyed);
    }
    // After 30 days the capability is free, and nothing of the old log is in the new one.
    driver.days_later(1);
    driver.subject.crash();
    assert_eq!(driver.create(&plain, None), Outcome::Created);
    assert!(driver.seqs(&at).is_empty());
    assert!(matches!(driver.append(retry), Outcome::Appended(0, ..)));
}
