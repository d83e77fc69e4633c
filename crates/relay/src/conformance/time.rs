//! What runs out, and when.

use emptyroom_wire::entry::Ttl;
use emptyroom_wire::log::Flags;
use emptyroom_wire::op::RefusalCode;
use emptyroom_wire::time::{DAY_MS, Wall};

use super::Subject;
use super::driver::{Driver, Outcome, again, header, place};
use crate::store::StoreOp;

const UNKNOWN: Outcome = Outcome::Refused(RefusalCode::Unknown);

pub(super) fn entries_run_out(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let plain = header(1, Flags::NONE);
    let at = place(&plain);
    driver.create(&plain, None);
    for ttl in [
        Ttl::Day30,
        Ttl::Day1,
        Ttl::Day7,
        Ttl::Day1,
        Ttl::Day30,
        Ttl::Day7,
    ] {
        driver.add(&at, ttl);
    }
    // An entry is served through the last day of its life, and gone the day after.
    for (days, left) in [
        (1, vec![0, 1, 2, 3, 4, 5]),
        (1, vec![0, 2, 4, 5]),
        (5, vec![0, 2, 4, 5]),
        (1, vec![0, 4]),
        (22, vec![0, 4]),
        (1, vec![]),
    ] {
        driver.days_later(days);
        driver.subject.crash();
        assert_eq!(driver.seqs(&at), left);
        let first = left.first().copied().unwrap_or(6);
        assert_eq!(driver.view(&at).first_seq, first);
    }
    let life = driver.message(&at, 0);
    let mut life = again(&life);
    life.entry.aad.ttl = Ttl::Life;
    assert_eq!(
        driver.append(life),
        Outcome::Refused(RefusalCode::NotAllowed)
    );
}

pub(super) fn counters_outlive_entries(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let plain = header(1, Flags::NONE);
    let at = place(&plain);
    driver.create(&plain, None);
    let commit = driver.commit(&at, 0);
    driver.append(commit);
    driver.add(&at, Ttl::Day1);
    let view = driver.view(&at);
    driver.days_later(60);
    driver.subject.crash();
    assert!(driver.seqs(&at).is_empty());
    let later = driver.view(&at);
    assert_eq!((later.first_seq, later.next_seq), (2, 2));
    assert_eq!((later.slots, later.running_hash), (1, view.running_hash));
    let message = driver.message(&at, 1);
    let outcome = driver.append(message);
    assert!(matches!(outcome, Outcome::Appended(2, before, _) if before == view.running_hash));
}

pub(super) fn logs_run_out(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let plain = header(1, Flags::NONE);
    let at = place(&plain);
    driver.create(&plain, None);
    // 180 days after it was made, appended to or renewed (and at most a week more), it is gone.
    driver.days_later(179);
    driver.add(&at, Ttl::Day30);
    driver.days_later(179);
    assert_eq!(
        driver.one(StoreOp::Renew { place: at.clone() }),
        Outcome::Done
    );
    driver.subject.crash();
    driver.days_later(180);
    assert_eq!(driver.view(&at).next_seq, 1);
    driver.days_later(8);
    assert_eq!(driver.look(&at), UNKNOWN);
    driver.subject.crash();
    assert_eq!(driver.look(&at), UNKNOWN);
    // Looking and reading renew nothing, and its capability is free again.
    assert_eq!(driver.create(&plain, None), Outcome::Created);
    assert_eq!(driver.view(&at).next_seq, 0);
}

pub(super) fn nonces_live_on(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let plain = header(1, Flags::NONE);
    let at = place(&plain);
    driver.create(&plain, None);
    let message = driver.message(&at, 0);
    let (soon, late) = (again(&message), again(&message));
    let (new, newer) = (again(&message), again(&message));
    driver.append(message);
    for _ in 0..5 {
        driver.days_later(100);
        assert_eq!(
            driver.one(StoreOp::Renew { place: at.clone() }),
            Outcome::Done
        );
        driver.subject.crash();
    }
    assert!(matches!(driver.append(soon), Outcome::Already(0, _)));
    driver.days_later(180);
    assert!(matches!(driver.append(late), Outcome::Already(0, _)));
    // With the log they go: a new one of the same capability has not seen them.
    driver.days_later(9);
    assert_eq!(driver.create(&plain, None), Outcome::Created);
    assert!(matches!(driver.append(new), Outcome::Appended(0, ..)));
    // Also if nothing was removed yet.
    driver.now = driver.now.plus_ms(200 * DAY_MS);
    assert_eq!(driver.create(&plain, None), Outcome::Created);
    assert!(matches!(driver.append(newer), Outcome::Appended(0, ..)));
}

pub(super) fn recovery_logs(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let recovery = header(1, Flags::RECOVERY);
    let at = place(&recovery);
    driver.create(&recovery, None);
    driver.add(&at, Ttl::Life);
    driver.add(&at, Ttl::Day30);
    driver.days_later(399);
    driver.subject.crash();
    assert_eq!(driver.seqs(&at), [0]);
    assert_eq!(
        driver.one(StoreOp::Renew { place: at.clone() }),
        Outcome::Done
    );
    // The entry's life is the log's.
    driver.days_later(400);
    driver.subject.crash();
    assert_eq!(driver.seqs(&at), [0]);
    driver.days_later(8);
    assert_eq!(driver.look(&at), UNKNOWN);
}

pub(super) fn clock_jumps_back(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let plain = header(1, Flags::NONE);
    let at = place(&plain);
    driver.create(&plain, None);
    driver.add(&at, Ttl::Day1);
    driver.days_later(2);
    driver.now = Wall(driver.now.0 - 2 * DAY_MS);
    driver.days_later(0);
    // What was removed stays removed; everything else goes on.
    assert!(driver.seqs(&at).is_empty());
    let message = driver.message(&at, 0);
    let retry = again(&message);
    assert!(matches!(driver.append(message), Outcome::Appended(1, ..)));
    driver.subject.crash();
    assert!(matches!(driver.append(retry), Outcome::Already(1, _)));
    assert_eq!(driver.seqs(&at), [1]);
    driver.days_later(30);
    assert_eq!(driver.seqs(&at), [1]);
}
