//! Shares: put, used up, renewed, deleted, run out; and the oracle for them.

use std::collections::BTreeMap;

use emptyroom_wire::codec;
use emptyroom_wire::log::LogId;
use emptyroom_wire::op::RefusalCode;
use emptyroom_wire::share::{Share, ShareId, ShareKey};
use emptyroom_wire::sign::VerifyKey;
use emptyroom_wire::time::{DAY_MS, Wall};
use emptyroom_wire::wipe::{OrderHash, WipePolicy};

use super::Subject;
use super::driver::{Driver, Outcome};
use crate::store::{ShareOp, SharePlace, StoreOp};

const UNKNOWN: Outcome = Outcome::Refused(RefusalCode::Unknown);
const DESTROYED: Outcome = Outcome::Refused(RefusalCode::Destroyed);
const EXISTS: Outcome = Outcome::Refused(RefusalCode::Exists);
const USED_UP: Outcome = Outcome::Refused(RefusalCode::UsedUp);

pub(super) fn place_of(number: u8) -> SharePlace {
    SharePlace::of(&ShareId::new([number; 32]))
}

pub(super) fn share_of(number: u8, uses: u8, days: u16) -> Share {
    let mut key = [0; 32];
    key[0] = number.max(1);
    Share {
        owner: VerifyKey([number; 32]),
        key: ShareKey::new(key).unwrap(),
        uses,
        days,
        policy: None,
    }
}

fn used(number: u8, left: u8) -> Outcome {
    Outcome::Used(key_bytes(&share_of(number, 1, 1).key), left)
}

pub(super) fn key_bytes(key: &ShareKey) -> Vec<u8> {
    codec::encode(key).unwrap()
}

fn op(number: u8, op: ShareOp) -> StoreOp {
    StoreOp::Share(place_of(number), op)
}

fn put(number: u8, uses: u8, days: u16) -> StoreOp {
    op(number, ShareOp::Put(share_of(number, uses, days)))
}

pub(super) fn put_once(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    assert_eq!(driver.one(op(1, ShareOp::Use)), UNKNOWN);
    assert_eq!(driver.one(put(1, 3, 400)), Outcome::Done);
    assert_eq!(driver.one(op(1, ShareOp::Use)), used(1, 2));
    driver.subject.crash();
    // The same again, whose answer was lost, brings back no use; nor does another one.
    assert_eq!(driver.one(put(1, 3, 400)), Outcome::Done);
    let other_owner = Share {
        owner: VerifyKey([9; 32]),
        ..share_of(1, 3, 400)
    };
    assert_eq!(driver.one(op(1, ShareOp::Put(other_owner))), EXISTS);
    let other_key = Share {
        key: share_of(9, 1, 1).key,
        ..share_of(1, 3, 400)
    };
    assert_eq!(driver.one(op(1, ShareOp::Put(other_key))), EXISTS);
    let looked = driver.one(op(1, ShareOp::Look));
    assert_eq!(looked, Outcome::Owner(VerifyKey([1; 32]), false));
    assert_eq!(driver.one(op(1, ShareOp::Use)), used(1, 1));
    assert_eq!(driver.one(op(2, ShareOp::Look)), UNKNOWN);
}

pub(super) fn uses(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    driver.one(put(1, 5, 400));
    // Two in one batch are two.
    let both = driver.apply(vec![op(1, ShareOp::Use), op(1, ShareOp::Use)]);
    assert_eq!(both, [used(1, 4), used(1, 3)]);
    for left in [2, 1, 0] {
        // Touching it takes none.
        let touched = driver.one(op(1, ShareOp::Touch));
        assert_eq!(touched, Outcome::Owner(VerifyKey([1; 32]), false));
        driver.subject.crash();
        assert_eq!(driver.one(op(1, ShareOp::Use)), used(1, left));
    }
    for _ in 0..2 {
        assert_eq!(driver.one(op(1, ShareOp::Use)), USED_UP);
        assert_eq!(driver.one(op(1, ShareOp::Touch)), USED_UP);
        // Neither putting it again nor renewing it brings a use back.
        assert_eq!(driver.one(put(1, 5, 400)), EXISTS);
        assert_eq!(driver.one(op(1, ShareOp::Renew(400))), Outcome::Done);
        driver.subject.crash();
    }
    assert_eq!(driver.one(op(1, ShareOp::Delete(None))), Outcome::Done);
    assert_eq!(driver.one(op(1, ShareOp::Use)), DESTROYED);
    // A batch is decided in order.
    let all = driver.apply(vec![
        op(2, ShareOp::Use),
        put(2, 1, 1),
        op(2, ShareOp::Use),
        op(2, ShareOp::Use),
        op(2, ShareOp::Delete(None)),
        op(2, ShareOp::Use),
        put(2, 1, 1),
    ]);
    let done = Outcome::Done;
    let wanted = [
        UNKNOWN,
        done.clone(),
        used(2, 0),
        USED_UP,
        done,
        DESTROYED,
        DESTROYED,
    ];
    assert_eq!(all, wanted);
}

pub(super) fn running_out(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    for number in 1..=3 {
        driver.one(put(number, 3, 10));
    }
    // The first day is a multiple of eight, and so is the last of each: the sixteenth from there.
    driver.days_later(12);
    assert_eq!(driver.one(op(2, ShareOp::Renew(10))), Outcome::Done);
    // It never shortens.
    assert_eq!(driver.one(op(3, ShareOp::Renew(1))), Outcome::Done);
    driver.subject.crash();
    driver.days_later(4);
    for number in 1..=3 {
        assert_eq!(driver.one(op(number, ShareOp::Use)), used(number, 2));
    }
    // Also if nothing was removed yet.
    driver.now = driver.now.plus_ms(DAY_MS);
    assert_eq!(driver.one(op(1, ShareOp::Use)), UNKNOWN);
    driver.days_later(0);
    driver.subject.crash();
    // A clock that jumps back makes nothing live again.
    driver.now = Wall(driver.now.0 - 5 * DAY_MS);
    for number in [1, 3] {
        for what in [ShareOp::Use, ShareOp::Look, ShareOp::Renew(9)] {
            assert_eq!(driver.one(op(number, what)), UNKNOWN);
        }
        assert_eq!(driver.one(op(number, ShareOp::Delete(None))), UNKNOWN);
    }
    driver.now = driver.now.plus_ms(5 * DAY_MS);
    assert_eq!(driver.one(op(2, ShareOp::Use)), used(2, 1));
    driver.days_later(8);
    assert_eq!(driver.one(op(2, ShareOp::Look)), UNKNOWN);
}

pub(super) fn deleting(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    driver.one(put(1, 3, 400));
    assert_eq!(driver.one(op(2, ShareOp::Delete(None))), UNKNOWN);
    assert_eq!(driver.one(op(1, ShareOp::Delete(None))), Outcome::Done);
    for _ in 0..2 {
        driver.subject.crash();
        for what in [ShareOp::Use, ShareOp::Renew(400), by(1)] {
            assert_eq!(driver.one(op(1, what)), DESTROYED);
        }
        assert_eq!(driver.one(op(1, ShareOp::Look)), Outcome::Gone(None));
        assert_eq!(driver.one(put(1, 3, 400)), DESTROYED);
        assert_eq!(driver.one(op(1, ShareOp::Delete(None))), Outcome::Done);
        driver.days_later(15);
    }
    assert_eq!(driver.one(put(1, 3, 400)), DESTROYED);
    driver.days_later(1);
    // The id is like any other that was never used.
    assert_eq!(driver.one(op(1, ShareOp::Use)), UNKNOWN);
    assert_eq!(driver.one(put(1, 3, 400)), Outcome::Done);
}

fn by(number: u8) -> ShareOp {
    ShareOp::Delete(Some(OrderHash([number; 32])))
}

pub(super) fn deleting_by_order(subject: &mut dyn Subject) {
    let mut driver = Driver::new(subject);
    let keys = (1..=8).map(|number| VerifyKey([number; 32]));
    let with_policy = Share {
        policy: Some(WipePolicy {
            needed: 8,
            switch_id: LogId([7; 32]),
            keys: keys.collect(),
        }),
        ..share_of(1, 3, 400)
    };
    let put = || op(1, ShareOp::Put(with_policy.clone()));
    assert_eq!(driver.one(put()), Outcome::Done);
    assert_eq!(driver.one(put()), Outcome::Done);
    let without = ShareOp::Put(share_of(1, 3, 400));
    assert_eq!(driver.one(op(1, without)), EXISTS);
    driver.subject.crash();
    let looked = driver.one(op(1, ShareOp::Look));
    assert_eq!(looked, Outcome::Owner(VerifyKey([1; 32]), true));
    assert_eq!(driver.one(op(1, by(1))), Outcome::Done);
    driver.subject.crash();
    // By this order, and by the owner again, but by no other.
    for _ in 0..2 {
        assert_eq!(driver.one(op(1, by(1))), Outcome::Done);
        assert_eq!(driver.one(op(1, ShareOp::Delete(None))), Outcome::Done);
        assert_eq!(driver.one(op(1, by(2))), DESTROYED);
        let order = Some(OrderHash([1; 32]));
        assert_eq!(driver.one(op(1, ShareOp::Look)), Outcome::Gone(order));
        driver.days_later(15);
    }
    driver.days_later(1);
    assert_eq!(driver.one(op(1, by(1))), UNKNOWN);
}

/// What shares there are, as simply as can be.
#[derive(Default)]
pub(super) struct Shares(BTreeMap<[u8; 32], State>);

struct State {
    /// By which order, if it was deleted.
    share: Result<Share, Option<OrderHash>>,
    left: u8,
    until: u32,
}

impl Shares {
    pub(super) fn apply(&mut self, today: u32, place: &SharePlace, op: &ShareOp) -> Outcome {
        self.0.retain(|_, state| state.until >= today);
        let name = place.name().0;
        let Some(state) = self.0.get_mut(&name) else {
            let ShareOp::Put(share) = op else {
                return UNKNOWN;
            };
            let state = State {
                left: share.uses,
                until: end_of(today, share.days),
                share: Ok(share.clone()),
            };
            self.0.insert(name, state);
            return Outcome::Done;
        };
        let share = match &state.share {
            Ok(share) => share,
            Err(by) => {
                return match op {
                    ShareOp::Look | ShareOp::Touch => Outcome::Gone(*by),
                    ShareOp::Delete(None) => Outcome::Done,
                    ShareOp::Delete(order) if order == by => Outcome::Done,
                    _ => DESTROYED,
                };
            }
        };
        match op {
            ShareOp::Put(other) => {
                let same = share.owner == other.owner && share.key == other.key;
                if same && state.left > 0 {
                    Outcome::Done
                } else {
                    EXISTS
                }
            }
            ShareOp::Touch | ShareOp::Use if state.left == 0 => USED_UP,
            ShareOp::Look | ShareOp::Touch => Outcome::Owner(share.owner, share.policy.is_some()),
            ShareOp::Use => {
                state.left -= 1;
                Outcome::Used(key_bytes(&share.key), state.left)
            }
            ShareOp::Renew(days) => {
                state.until = state.until.max(end_of(today, *days));
                Outcome::Done
            }
            ShareOp::Delete(order) => {
                state.share = Err(*order);
                state.until = today + 30;
                Outcome::Done
            }
        }
    }
}

fn end_of(today: u32, days: u16) -> u32 {
    (today + u32::from(days)).div_ceil(8) * 8
}
