//! Orders to wipe: whose are followed, and by which policies.

use super::*;

pub(super) const SWITCH: LogId = LogId([0x81; 32]);

pub(super) fn killer(number: u8) -> SignKey {
    SignKey::from_seed(&Secret32::new([0x90 + number; 32]))
}

pub(super) fn policy(needed: u8, keys: u8) -> WipePolicy {
    let keys = (1..=keys).map(|number| killer(number).verify_key());
    WipePolicy {
        needed,
        switch_id: SWITCH,
        keys: keys.collect(),
    }
}

pub(super) fn body(world: &World) -> OrderBody {
    OrderBody {
        switch_id: SWITCH,
        order_id: Private([0x82; 16]),
        action: ACTION_WIPE,
        issued_ms: world.now.wall.0,
        not_after_ms: world.now.wall.0 + DAY_MS,
    }
}

/// Signed at these places by these keys.
pub(super) fn order(body: &OrderBody, by: &[(u8, u8)]) -> WipeOrder {
    let sign = |(place, number): &(u8, u8)| body.sign(*place, &killer(*number));
    WipeOrder {
        body: body.clone(),
        signatures: by.iter().map(sign).collect(),
    }
}

pub(super) fn wipe(number: u8, order: WipeOrder) -> Request {
    Request::ShareWipe(WipeShare {
        id: id(number),
        order,
    })
}

// [SPEC 4.75] [SPEC 4.76]
#[test]
fn wiping_needs_an_order_that_fits_the_policy() {
    let mut world = World::new();
    let mut client = world.client();
    let with_policy = Share {
        policy: Some(policy(2, 3)),
        ..share(9, 100)
    };
    client.ask(&mut world, put(1, with_policy.clone()));
    client.ask(&mut world, put(2, with_policy.clone()));
    client.ask(&mut world, put(3, share(9, 100)));
    let said = body(&world);
    let foreign = OrderBody {
        switch_id: LogId([0x80; 32]),
        ..said.clone()
    };
    let over = OrderBody {
        not_after_ms: world.now.wall.0 - 1,
        ..said.clone()
    };
    let wrong = [
        order(&said, &[]),
        order(&said, &[(0, 1)]),
        order(&said, &[(0, 1), (0, 1)]),
        order(&said, &[(0, 1), (1, 4)]),
        order(&foreign, &[(0, 1), (1, 2)]),
        order(&over, &[(0, 1), (1, 2)]),
    ];
    for order in wrong {
        let code = client.refused(&mut world, wipe(1, order));
        assert_eq!(code, RefusalCode::BadProof);
    }
    let right = order(&said, &[(0, 1), (2, 3)]);
    // Where the maker provided for nobody, nobody may; and an order finds only what is there.
    let code = client.refused(&mut world, wipe(3, right.clone()));
    assert_eq!(code, RefusalCode::NotAllowed);
    let code = client.refused(&mut world, wipe(4, right.clone()));
    assert_eq!(code, RefusalCode::Unknown);
    assert_eq!(client.ask(&mut world, evaluate(1)), evaluated(8));
    // The relay cannot order it, and the order that can is answered with a receipt that others check.
    let mut messenger = world.client();
    let public = RelayIdentity::from_seed(&Secret32::new([7; 32])).verify_key();
    for number in [1, 2] {
        for _ in 0..2 {
            let answer = messenger.ask(&mut world, wipe(number, right.clone()));
            let Answer::Wiped(receipt) = answer else {
                panic!("not wiped but {answer:?}");
            };
            let name = id(number).name();
            assert_eq!(verify_wiped(&public, name, &said.hash(), &receipt), Ok(()));
        }
        for request in [evaluate(number), put(number, with_policy.clone())] {
            let code = client.refused(&mut world, request);
            assert_eq!(code, RefusalCode::Destroyed);
        }
    }
    // The same order again, as long as the id is destroyed, also when its time is over; no other, however well signed.
    world.pass(29 * DAY_MS);
    let mut messenger = world.client();
    let answer = messenger.ask(&mut world, wipe(1, right.clone()));
    assert!(matches!(answer, Answer::Wiped(_)));
    let another = OrderBody {
        order_id: Private([0x83; 16]),
        ..body(&world)
    };
    let another = order(&another, &[(0, 1), (2, 3)]);
    let code = messenger.refused(&mut world, wipe(1, another));
    assert_eq!(code, RefusalCode::Destroyed);
    // The owner deletes without asking anybody, and an order that comes later gets no receipt.
    let delete = delete(3, deletion(&world, 3));
    assert_eq!(messenger.ask(&mut world, delete), Answer::Done);
    let code = messenger.refused(&mut world, wipe(3, right));
    assert_eq!(code, RefusalCode::Destroyed);
}

/// Whether a share would answer: the row is written anew, and no use is taken.
// [SPEC 4.80]
#[test]
fn an_order_that_nobody_signed_tells_whether_a_share_would_answer() {
    let mut world = World::new();
    let mut client = world.client();
    client.ask(&mut world, put(1, share(1, 100)));
    let said = body(&world);
    let mut asked = |world: &mut World, number: u8| {
        let order = order(&said, &[]);
        client.refused(world, wipe(number, order))
    };
    assert_eq!(asked(&mut world, 1), RefusalCode::NotAllowed);
    assert_eq!(asked(&mut world, 2), RefusalCode::Unknown);
    // What comes in its way is what would be in the way of a use.
    world.ledger.rows().failures = vec![StoreFailure::Full];
    assert_eq!(asked(&mut world, 1), RefusalCode::StorageFull);
    let mut other = world.client();
    let answer = other.ask(&mut world, evaluate(1));
    assert_eq!(answer, evaluated(0));
    let code = other.refused(&mut world, wipe(1, order(&said, &[])));
    assert_eq!(code, RefusalCode::UsedUp);
    world.ledger.rows().failures = vec![StoreFailure::Broken("sync")];
    other.send(&mut world, put(9, share(1, 100)));
    let mut late = world.client();
    let code = late.refused(&mut world, wipe(1, order(&said, &[])));
    assert_eq!(code, RefusalCode::StoreFailed);
}

// [SPEC 4.16]
#[test]
fn a_policy_that_nobody_can_fulfil_is_refused() {
    let mut world = World::new();
    let mut client = world.client();
    let mut twice = policy(1, 2);
    twice.keys[1] = twice.keys[0];
    for unsound in [policy(0, 1), policy(2, 1), policy(1, 0), twice] {
        let share = Share {
            policy: Some(unsound),
            ..share(9, 10)
        };
        let code = client.refused(&mut world, put(1, share));
        assert_eq!(code, RefusalCode::Malformed);
    }
}
