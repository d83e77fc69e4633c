//! Orders to wipe: which are carried out, and that nothing else is.

use emptyroom_wire::codec::{decode, encode};
use emptyroom_wire::log::LogId;
use emptyroom_wire::relay_key::RelayIdentity;
use emptyroom_wire::secret::Private;
use emptyroom_wire::share::{ShareId, ShareName};
use emptyroom_wire::sign::{SignKey, VerifyKey};
use emptyroom_wire::time::Wall;
use emptyroom_wire::wipe::{
    NoOrder, OrderBody, OrderHash, WipeOrder, WipePolicy, judge, verify_wiped,
};

use crate::support::{START, secret};

const NOT_AFTER: Wall = Wall(START.0 + 1_000);

pub fn key(number: u8) -> SignKey {
    SignKey::from_seed(&secret(number))
}

pub fn policy(needed: u8, keys: u8) -> WipePolicy {
    WipePolicy {
        needed,
        switch_id: LogId([7; 32]),
        keys: (1..=keys).map(|number| key(number).verify_key()).collect(),
    }
}

pub fn body() -> OrderBody {
    OrderBody {
        switch_id: LogId([7; 32]),
        order_id: Private([8; 16]),
        action: 1,
        issued_ms: START.0,
        not_after_ms: NOT_AFTER.0,
    }
}

/// Signed at these places by these keys.
pub fn order(by: &[(u8, u8)]) -> WipeOrder {
    let body = body();
    let signatures = by
        .iter()
        .map(|(place, number)| body.sign(*place, &key(*number)));
    WipeOrder {
        signatures: signatures.collect(),
        body,
    }
}

// [SPEC 4.15] [SPEC 4.16]
#[test]
fn an_order_fits_its_policy_or_is_none() {
    let one = policy(1, 1);
    let right = order(&[(0, 1)]);
    assert_eq!(judge(&right, &one, START), Ok(()));
    assert_eq!(judge(&right, &one, NOT_AFTER), Ok(()));
    assert_eq!(
        judge(&right, &one, NOT_AFTER.plus_ms(1)),
        Err(NoOrder::Over)
    );
    let elsewhere = WipePolicy {
        switch_id: LogId([6; 32]),
        ..policy(1, 1)
    };
    assert_eq!(judge(&right, &elsewhere, START), Err(NoOrder::Foreign));
    for action in [0, 2, 255] {
        let body = OrderBody { action, ..body() };
        let signatures = vec![body.sign(0, &key(1))];
        let order = WipeOrder { body, signatures };
        assert_eq!(judge(&order, &one, START), Err(NoOrder::UnknownAction));
    }
    // Two of three.
    let two = policy(2, 3);
    for by in [
        &[(0, 1), (2, 3)][..],
        &[(2, 3), (0, 1)],
        &[(0, 1), (1, 2), (2, 3)],
        &[(0, 9), (0, 1), (1, 2)],
    ] {
        assert_eq!(judge(&order(by), &two, START), Ok(()), "{by:?}");
    }
    let unsigned: [&[(u8, u8)]; 7] = [
        &[],
        &[(0, 1)],
        // One key twice, also at a place that is another's or nobody's.
        &[(0, 1), (0, 1)],
        &[(0, 1), (1, 1)],
        &[(0, 1), (3, 1)],
        // A stranger.
        &[(0, 1), (1, 9)],
        &[(0, 1), (255, 2)],
    ];
    for by in unsigned {
        assert_eq!(
            judge(&order(by), &two, START),
            Err(NoOrder::Unsigned),
            "{by:?}"
        );
    }
    // What a policy must not be fits nothing.
    let mut twice = policy(2, 2);
    twice.keys[1] = twice.keys[0];
    for unsound in [
        policy(0, 1),
        policy(2, 1),
        policy(0, 0),
        policy(1, 0),
        twice,
    ] {
        assert!(!unsound.is_sound());
        let order = order(&[(0, 1), (1, 1)]);
        assert_eq!(judge(&order, &unsound, START), Err(NoOrder::Unsigned));
    }
    assert!(policy(8, 8).is_sound() && policy(1, 8).is_sound());
    let nine = WipePolicy {
        keys: (1..=9).map(|number| VerifyKey([number; 32])).collect(),
        ..policy(1, 1)
    };
    assert!(encode(&nine).is_err());
}

/// Whatever single bit is changed, and whatever two orders are mixed, nothing is accepted.
// [SPEC 4.16]
#[test]
fn no_changed_order_is_accepted() {
    let two = policy(2, 2);
    let right = order(&[(0, 1), (1, 2)]);
    let bytes = encode(&right).unwrap();
    let mut read = 0;
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut bent = bytes.clone();
            bent[place] ^= 1 << bit;
            if let Ok(bent) = decode::<WipeOrder>(&bent) {
                read += 1;
                assert!(judge(&bent, &two, START).is_err(), "byte {place} bit {bit}");
                let same = bent.body == right.body;
                assert_eq!(bent.body.hash() == right.body.hash(), same);
            }
        }
    }
    assert!(read > 1_000);
    // Signatures of one order are none of another.
    let other = WipeOrder {
        body: OrderBody {
            order_id: Private([9; 16]),
            ..body()
        },
        signatures: right.signatures,
    };
    assert_eq!(judge(&other, &two, START), Err(NoOrder::Unsigned));
}

// [SPEC 4.76]
#[test]
fn a_receipt_holds_for_one_relay_share_and_order() {
    let relay = RelayIdentity::from_seed(&secret(1));
    let public = relay.verify_key();
    let elsewhere = RelayIdentity::from_seed(&secret(2)).verify_key();
    let (name, order) = (ShareId::new([5; 32]).name(), body().hash());
    let receipt = relay.wiped(name, &order);
    assert_eq!(verify_wiped(&public, name, &order, &receipt), Ok(()));
    assert!(verify_wiped(&elsewhere, name, &order, &receipt).is_err());
    assert!(verify_wiped(&public, ShareName([5; 32]), &order, &receipt).is_err());
    assert!(verify_wiped(&public, name, &OrderHash([0; 32]), &receipt).is_err());
}
