//! How much a log holds.

use std::sync::Arc;

use emptyroom_wire::entry::Ttl;
use emptyroom_wire::log::Flags;
use emptyroom_wire::op::RefusalCode;

use super::Subject;
use super::driver::{Driver, Outcome, header, place};
use crate::store::{Append, Place, StoreOp};

const FULL: Outcome = Outcome::Refused(RefusalCode::Full);

pub(super) fn full_of_entries(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let plain = header(1, Flags::NONE);
    let at = place(&plain);
    driver.create(&plain, None);
    let mut taken = 0;
    while taken < 4_080 {
        let messages = (0..255).map(|_| StoreOp::Append(driver.message(&at, 0)));
        let messages = messages.collect();
        let outcomes = driver.apply(messages);
        assert!(
            outcomes
                .iter()
                .all(|outcome| matches!(outcome, Outcome::Appended(..)))
        );
        taken += outcomes.len();
    }
    // 4,080 messages; 16 commits more; then nothing.
    let message = driver.message(&at, 0);
    assert_eq!(driver.append(message), FULL);
    for slot in 0..16 {
        let commit = driver.commit(&at, slot);
        assert!(matches!(driver.append(commit), Outcome::Appended(..)));
    }
    driver.subject.crash();
    let commit = driver.commit(&at, 16);
    assert_eq!(driver.append(commit), FULL);
    assert_eq!(driver.view(&at).next_seq, 4_096);
    // What is trimmed makes room, and so does what runs out.
    driver.one(StoreOp::Trim {
        place: at.clone(),
        up_to: 17,
    });
    let message = driver.message(&at, 16);
    assert!(matches!(
        driver.append(message),
        Outcome::Appended(4_096, ..)
    ));
    let message = driver.message(&at, 16);
    assert_eq!(driver.append(message), FULL);
    driver.days_later(31);
    let message = driver.message(&at, 16);
    assert!(matches!(
        driver.append(message),
        Outcome::Appended(4_097, ..)
    ));
}

pub(super) fn reach_of_a_batch(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let logs: Vec<Place> = (1..=3)
        .map(|number| {
            let plain = header(number, Flags::NONE);
            driver.create(&plain, None);
            place(&plain)
        })
        .collect();
    for at in &logs {
        for _ in 0..4 {
            let messages = (0..1_000).map(|_| StoreOp::Append(driver.message(at, 0)));
            let messages = messages.collect();
            driver.apply(messages);
        }
    }
    let destroy = |at: &Place| StoreOp::Destroy { place: at.clone() };
    let trim = |at: &Place, up_to| StoreOp::Trim {
        place: at.clone(),
        up_to,
    };
    let busy = Outcome::Refused(RefusalCode::Busy);
    // 8,000 entries, 4,000 more, and what there is room for.
    let orders = vec![
        destroy(&logs[0]),
        trim(&logs[1], 4_000),
        destroy(&logs[2]),
        trim(&logs[2], 4_000),
        trim(&logs[2], 192),
        trim(&logs[2], 193),
    ];
    let outcomes = driver.apply(orders);
    let done = Outcome::Done;
    assert_eq!(
        outcomes,
        [&done, &done, &busy, &busy, &done, &busy].map(Clone::clone)
    );
    assert_eq!(driver.view(&logs[2]).first_seq, 192);
    driver.subject.crash();
    assert_eq!(driver.one(destroy(&logs[2])), done);
    assert_eq!(driver.view(&logs[1]).first_seq, 4_000);
}

pub(super) fn full_of_bytes(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let plain = header(1, Flags::NONE);
    let at = place(&plain);
    driver.create(&plain, None);
    let big: Arc<[u8]> = Arc::from(vec![7; 4 << 20]);
    for _ in 0..15 {
        let message = sized(driver.message(&at, 0), &big);
        assert!(matches!(driver.append(message), Outcome::Appended(..)));
    }
    // 60 MiB so far; up to 63 for messages, up to 64 for commits.
    let message = sized(driver.message(&at, 0), &big);
    assert_eq!(driver.append(message), FULL);
    let three: Arc<[u8]> = Arc::from(vec![7; 3 << 20]);
    let message = sized(driver.message(&at, 0), &three);
    assert!(matches!(driver.append(message), Outcome::Appended(..)));
    let message = driver.message(&at, 0);
    assert_eq!(driver.append(message), FULL);
    let one: Arc<[u8]> = Arc::from(vec![7; 1 << 20]);
    let commit = sized(driver.commit(&at, 0), &one);
    assert!(matches!(driver.append(commit), Outcome::Appended(..)));
    let commit = driver.commit(&at, 1);
    assert_eq!(driver.append(commit), FULL);
}

pub(super) fn drop_oldest(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let recovery = header(1, Flags::RECOVERY);
    let at: Place = place(&recovery);
    driver.create(&recovery, None);
    for number in 0..70 {
        let ttl = if number % 3 == 0 {
            Ttl::Day30
        } else {
            Ttl::Life
        };
        driver.add(&at, ttl);
    }
    driver.subject.crash();
    assert_eq!(driver.seqs(&at), (6..70).collect::<Vec<_>>());
    assert_eq!(driver.view(&at).first_seq, 6);
    // By bytes as well.
    let big: Arc<[u8]> = Arc::from(vec![7; 4 << 20]);
    for _ in 0..17 {
        let mut message = sized(driver.message(&at, 0), &big);
        message.entry.aad.ttl = Ttl::Life;
        assert!(matches!(driver.append(message), Outcome::Appended(..)));
    }
    assert_eq!(driver.seqs(&at), (71..87).collect::<Vec<_>>());
}

fn sized(mut append: Append, body: &Arc<[u8]>) -> Append {
    append.entry.body = Arc::clone(body);
    append
}
