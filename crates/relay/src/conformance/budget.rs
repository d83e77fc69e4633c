//! What `next` is paid from.

use std::sync::Arc;

use emptyroom_wire::entry::Ttl;
use emptyroom_wire::log::{Flags, Header};
use emptyroom_wire::op::{First, RefusalCode};
use emptyroom_wire::secret::Private;
use emptyroom_wire::time::{DAY_MS, Wall};

use super::Subject;
use super::driver::{Driver, Outcome, first, header, place};
use crate::limits::{BUDGET_BYTES_PER_DAY, BUDGET_CHUNK_BYTES, BUDGET_LOGS_PER_DAY};
use crate::store::{NewPlace, Place};

const OVER: Outcome = Outcome::Refused(RefusalCode::Budget);

pub(super) fn logs(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let root = header(1, Flags::NONE);
    driver.create(&root, None);
    // Each log is made by the one before: the budget is the root's, however long the line.
    let mut last = place(&root);
    let mut made = 0;
    while made < BUDGET_LOGS_PER_DAY {
        let (outcome, next) = make(&mut driver, &last, made);
        assert!(
            matches!(outcome, Outcome::Appended(..)),
            "{made} {outcome:?}"
        );
        last = next;
        made += 1;
    }
    driver.subject.crash();
    let (outcome, next) = make(&mut driver, &last, made);
    assert_eq!(outcome, OVER);
    assert_eq!(driver.look(&next), Outcome::Refused(RefusalCode::Unknown));
    assert_eq!(make(&mut driver, &place(&root), made).0, OVER);
    // Messages go on, logs made with a code have their own, and a clock that jumps back brings nothing.
    let message = driver.message(&last, 0);
    assert!(matches!(driver.append(message), Outcome::Appended(..)));
    let other = header(2, Flags::NONE);
    driver.create(&other, None);
    let (outcome, _) = make(&mut driver, &place(&other), made + 1);
    assert!(matches!(outcome, Outcome::Appended(..)));
    driver.now = Wall(driver.now.0 - DAY_MS);
    assert_eq!(make(&mut driver, &last, made).0, OVER);
    driver.days_later(2);
    let (outcome, _) = make(&mut driver, &last, made);
    assert!(matches!(outcome, Outcome::Appended(..)));
}

pub(super) fn bytes(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let root = header(1, Flags::NONE);
    let root_place = place(&root);
    driver.create(&root, None);
    // What a log takes at once is gone from the budget, however small its entry.
    let mut logs = Vec::new();
    for number in 0..200 {
        let (outcome, next) = make_with(&mut driver, &root_place, number, Some(first(3)));
        assert!(matches!(outcome, Outcome::Appended(..)));
        logs.push(next);
    }
    let left = BUDGET_BYTES_PER_DAY - 200 * BUDGET_CHUNK_BYTES;
    let big: Arc<[u8]> = Arc::from(vec![7; 4 << 20]);
    for _ in 0..left / (4 << 20) {
        let mut message = driver.message(&logs[0], 0);
        message.entry.body = Arc::clone(&big);
        let outcome = driver.append(message);
        assert!(matches!(outcome, Outcome::Appended(..)), "{outcome:?}");
    }
    let mut message = driver.message(&logs[0], 0);
    message.entry.body = Arc::clone(&big);
    assert_eq!(driver.append(message), OVER);
    let (outcome, _) = make_with(&mut driver, &root_place, 200, Some(first(3)));
    assert_eq!(outcome, OVER);
    // What was taken before may be used, and the root's own bytes are paid by its code.
    for at in [&logs[1], &root_place] {
        let message = driver.message(at, 0);
        assert!(matches!(driver.append(message), Outcome::Appended(..)));
    }
    driver.days_later(1);
    let mut message = driver.message(&logs[0], 0);
    message.entry.body = big;
    assert!(matches!(driver.append(message), Outcome::Appended(..)));
}

pub(super) fn lasting_bytes(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let root = header(1, Flags::NONE);
    driver.create(&root, None);
    let recovery = header(2, Flags::RECOVERY);
    let mut append = driver.message(&place(&root), 0);
    append.next = vec![NewPlace::new(&recovery, None)];
    assert!(matches!(driver.append(append), Outcome::Appended(..)));
    let at = place(&recovery);
    let quarter: Arc<[u8]> = Arc::from(vec![7; 256 << 10]);
    let sized = |driver: &mut Driver<'_>, ttl| {
        let mut message = driver.message(&at, 0);
        message.entry.aad.ttl = ttl;
        message.entry.body = Arc::clone(&quarter);
        driver.append(message)
    };
    for number in 0..63 {
        let outcome = sized(&mut driver, Ttl::Life);
        assert!(matches!(outcome, Outcome::Appended(..)), "{number}");
    }
    // 252 of 256 MiB are spent, for 16 MiB; the rest is enough for others.
    assert!(matches!(
        sized(&mut driver, Ttl::Day30),
        Outcome::Appended(..)
    ));
    assert_eq!(sized(&mut driver, Ttl::Life), OVER);
    assert!(matches!(
        sized(&mut driver, Ttl::Day30),
        Outcome::Appended(..)
    ));
}

/// Appends to `parent` and makes one log with it.
fn make(driver: &mut Driver<'_>, parent: &Place, number: u32) -> (Outcome, Place) {
    make_with(driver, parent, number, None)
}

/// The same with a first entry, which costs bytes.
fn make_with(
    driver: &mut Driver<'_>,
    parent: &Place,
    number: u32,
    first: Option<First>,
) -> (Outcome, Place) {
    let mut salt = [0xaa; 32];
    salt[..4].copy_from_slice(&number.to_be_bytes());
    let child = Header {
        salt: Private(salt),
        ..header(0, Flags::NONE)
    };
    let mut append = driver.message(parent, 0);
    append.next = vec![NewPlace::new(&child, first)];
    (driver.append(append), place(&child))
}
