//! Shares: who may put, use, renew and delete them.

use std::collections::BTreeSet;

use emptyroom_relay::store::StoreFailure;
use emptyroom_relay::{Config, Reason};
use emptyroom_wire::log::{Capability, Flags, LogId};
use emptyroom_wire::op::{
    AccessCode, Answer, DeleteShare, EvaluateShare, Evaluated, FromClient, Open, OpenLog,
    OpenOutcome, PutShare, RefusalCode, RenewShare, Request, WipeShare,
};
use emptyroom_wire::proof::StreamBinding;
use emptyroom_wire::relay_key::{IdentityHash, RelayIdentity};
use emptyroom_wire::secret::{Private, Secret32};
use emptyroom_wire::share::{self, Element, Share, ShareId, ShareKey};
use emptyroom_wire::sign::{SignKey, Signature};
use emptyroom_wire::time::DAY_MS;
use emptyroom_wire::wipe::{ACTION_WIPE, OrderBody, WipeOrder, WipePolicy, verify_wiped};

use crate::world::{Client, Log, World, create, first, open};

mod seen;
mod wipe;

/// RFC 9497, A.1.1.1: key, blinded element and its evaluation.
const KEY: &str = "5ebcea5ee37023ccb9fc2d2019f9d7737be85591ae8652ffa9ef0f4d37063b0e";
const BLINDED: &str = "609a0ae68c15a3cf6903766461307e5c8bb2f95e7e6550e1ffa2dc99e412803c";
const EVALUATED: &str = "7ec6578ae5120958eb2db1745758ff379e77cb64fe77b0b2d8cc917ea0869c7e";

fn unhex(text: &str) -> [u8; 32] {
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
}

fn owner() -> SignKey {
    SignKey::from_seed(&Secret32::new([0x71; 32]))
}

fn id(number: u8) -> ShareId {
    ShareId::new([number; 32])
}

pub(crate) fn share(uses: u8, days: u16) -> Share {
    Share {
        owner: owner().verify_key(),
        key: ShareKey::new(unhex(KEY)).unwrap(),
        uses,
        days,
        policy: None,
    }
}

pub(crate) fn put(number: u8, share: Share) -> Request {
    Request::SharePut(PutShare {
        id: id(number),
        share,
        code: None,
    })
}

pub(crate) fn evaluate(number: u8) -> Request {
    Request::ShareEvaluate(EvaluateShare {
        id: id(number),
        element: Element::new(unhex(BLINDED)).unwrap(),
    })
}

fn renew(number: u8, days: u16, proof: Signature) -> Request {
    Request::ShareRenew(RenewShare {
        id: id(number),
        days,
        proof,
    })
}

fn delete(number: u8, signature: Signature) -> Request {
    Request::ShareDelete(DeleteShare {
        id: id(number),
        signature,
    })
}

fn evaluated(uses_left: u8) -> Answer {
    Answer::Evaluated(Evaluated {
        element: Element::new(unhex(EVALUATED)).unwrap(),
        uses_left,
    })
}

/// The owner's proof for this stream.
fn proof(world: &World, client: &Client, number: u8, days: u16) -> Signature {
    let what = (id(number).name(), days);
    share::sign_renew(&owner(), &world.identity, &client.stream.binding(), what)
}

fn deletion(world: &World, number: u8) -> Signature {
    share::sign_delete(&owner(), &world.identity, id(number).name())
}

// [SPEC 4.70] [SPEC 4.72]
#[test]
fn a_share_answers_as_often_as_it_may() {
    let mut world = World::new();
    let mut client = world.client();
    let unknown = client.refused(&mut world, evaluate(1));
    assert_eq!(unknown, RefusalCode::Unknown);
    for _ in 0..2 {
        let answer = client.ask(&mut world, put(1, share(3, 10)));
        assert_eq!(answer, Answer::Done);
    }
    // Whoever knows the id may, on whichever stream.
    let mut other = world.client();
    assert_eq!(other.ask(&mut world, evaluate(1)), evaluated(2));
    assert_eq!(client.ask(&mut world, evaluate(1)), evaluated(1));
    assert_eq!(
        client.ask(&mut world, put(1, share(3, 10))),
        Answer::Done,
        "the same again"
    );
    assert_eq!(other.ask(&mut world, evaluate(1)), evaluated(0));
    for client in [&mut client, &mut other] {
        assert_eq!(client.refused(&mut world, evaluate(1)), RefusalCode::UsedUp);
    }
    let stranger = Share {
        owner: SignKey::from_seed(&Secret32::new([1; 32])).verify_key(),
        ..share(3, 10)
    };
    assert_eq!(
        client.refused(&mut world, put(1, stranger)),
        RefusalCode::Exists
    );
}

// [SPEC 4.72] [SPEC 6.173]
#[test]
fn a_use_is_durable_before_it_is_answered() {
    let mut world = World::new();
    let mut client = world.client();
    client.ask(&mut world, put(1, share(5, 10)));
    world.hold_store = true;
    let blocker = client.send(&mut world, put(2, share(5, 10)));
    let ids = [1; 2].map(|number| client.send(&mut world, evaluate(number)));
    world.run_store();
    client.receive(&mut world);
    assert!(client.answers.contains_key(&blocker));
    assert!(ids.iter().all(|id| !client.answers.contains_key(id)));
    world.run_store();
    client.receive(&mut world);
    assert!(world.batches.ends_with(&[1, 2]), "both in one batch");
    assert_eq!(client.answers[&ids[0]], evaluated(4));
    assert_eq!(client.answers[&ids[1]], evaluated(3));
    // Without space nothing is taken, and what needs less than others is done.
    world.hold_store = false;
    world.ledger.rows().failures = vec![StoreFailure::Full];
    let code = client.refused(&mut world, evaluate(1));
    assert_eq!(code, RefusalCode::StorageFull);
    world.hold_store = true;
    client.send(&mut world, put(3, share(5, 10)));
    let refused = client.send(&mut world, put(4, share(5, 10)));
    let order = deletion(&world, 2);
    let done = [
        client.send(&mut world, evaluate(1)),
        client.send(&mut world, delete(2, order)),
    ];
    world.run_store();
    world.ledger.rows().failures = vec![StoreFailure::Full];
    world.release_store();
    world.run_store();
    client.receive(&mut world);
    assert!(
        matches!(client.answers[&refused], Answer::Refused(refusal) if refusal.code == RefusalCode::StorageFull)
    );
    assert_eq!(client.answers[&done[0]], evaluated(2));
    assert_eq!(client.answers[&done[1]], Answer::Done);
    // Where nobody knows whether it was taken, nothing is answered.
    world.ledger.rows().failures = vec![StoreFailure::Broken("sync")];
    let unknown = client.send(&mut world, evaluate(1));
    client.receive(&mut world);
    assert!(!client.answers.contains_key(&unknown));
    assert_eq!(world.hangup(client.conn), Some(Reason::StoreFailed));
    let mut late = world.client();
    assert_eq!(
        late.refused(&mut world, evaluate(1)),
        RefusalCode::StoreFailed
    );
}

// [SPEC 4.70] [SPEC 4.48]
#[test]
fn a_put_needs_the_code() {
    let code = |bytes: &[u8]| AccessCode::new(bytes.to_vec());
    let mut world = World::with(Config {
        access_code: code(b"open sesame"),
        ..Config::open()
    });
    let mut client = world.client();
    let with = |code| {
        Request::SharePut(PutShare {
            id: id(1),
            share: share(3, 10),
            code,
        })
    };
    for wrong in [None, code(b"open sesam")] {
        assert_eq!(
            client.refused(&mut world, with(wrong)),
            RefusalCode::BadCode
        );
    }
    assert!(world.disk().lasting.is_empty());
    let answer = client.ask(&mut world, with(code(b"open sesame")));
    assert_eq!(answer, Answer::Done);
    // What was put needs none.
    assert_eq!(client.ask(&mut world, evaluate(1)), evaluated(2));
    for _ in 0..6 {
        client.refused(&mut world, with(code(b"guess")));
    }
    assert_eq!(world.hangup(client.conn), Some(Reason::Abuse));
}

// [SPEC 4.14]
#[test]
fn what_no_share_may_be_is_refused() {
    let mut world = World::new();
    let mut client = world.client();
    for (uses, days) in [(0, 10), (33, 10), (255, 10), (3, 0), (3, 401)] {
        let code = client.refused(&mut world, put(1, share(uses, days)));
        assert_eq!(code, RefusalCode::Malformed, "{uses} uses, {days} days");
    }
    assert_eq!(client.ask(&mut world, put(1, share(32, 400))), Answer::Done);
    for days in [0, 401] {
        let proof = proof(&world, &client, 1, days);
        let code = client.refused(&mut world, renew(1, days, proof));
        assert_eq!(code, RefusalCode::Malformed);
    }
    // A scalar that is zero, or not below the order; an element that is neutral, not canonical, or none.
    let order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut one = [0; 32];
    one[0] = 1;
    for (request, place, bytes) in [
        (put(2, share(3, 10)), 4 + 1 + 32 + 32, [0; 32]),
        (put(2, share(3, 10)), 4 + 1 + 32 + 32, order),
        (evaluate(1), 4 + 1 + 32, [0; 32]),
        (evaluate(1), 4 + 1 + 32, one),
        (evaluate(1), 4 + 1 + 32, [0xff; 32]),
    ] {
        let mut client = world.client();
        let mut message = FromClient { id: 7, request }.encode().unwrap();
        message[place..place + 32].copy_from_slice(&bytes);
        client.send_bytes(&mut world, &message);
        assert_eq!(world.hangup(client.conn), Some(Reason::Malformed));
    }
}

// [SPEC 4.73] [SPEC 4.71]
#[test]
fn renewing_needs_the_owner_on_this_stream() {
    let mut world = World::new();
    let (mut client, other) = (world.client(), world.client());
    for number in [1, 2] {
        client.ask(&mut world, put(number, share(9, 10)));
    }
    let elsewhere = IdentityHash([9; 32]);
    let here = client.stream.binding();
    let stranger = SignKey::from_seed(&Secret32::new([1; 32]));
    let (at, what) = (&world.identity, (id(1).name(), 20));
    let nowhere = StreamBinding::new(Secret32::new([0; 32]));
    let wrong = [
        Signature([0; 64]),
        share::sign_renew(&stranger, at, &here, what),
        share::sign_renew(&owner(), &elsewhere, &here, what),
        share::sign_renew(&owner(), at, &other.stream.binding(), what),
        share::sign_renew(&owner(), at, &nowhere, what),
        share::sign_renew(&owner(), at, &here, (id(2).name(), 20)),
        share::sign_renew(&owner(), at, &here, (id(1).name(), 21)),
    ];
    for proof in wrong {
        let code = client.refused(&mut world, renew(1, 20, proof));
        assert_eq!(code, RefusalCode::BadProof);
    }
    // Eight refused proofs end a stream, whatever they were for.
    // [SPEC 4.48]
    let order = deletion(&world, 1);
    client.refused(&mut world, renew(1, 20, order));
    assert_eq!(world.hangup(client.conn), Some(Reason::Abuse));
    let mut client = world.client();
    let right = proof(&world, &client, 1, 20);
    assert_eq!(client.ask(&mut world, renew(1, 20, right)), Answer::Done);
    let unknown = proof(&world, &client, 3, 20);
    let code = client.refused(&mut world, renew(3, 20, unknown));
    assert_eq!(code, RefusalCode::Unknown);
    // The one that was not renewed is gone after ten days, the other after twenty, but the last day is a multiple of eight.
    world.pass(16 * DAY_MS);
    let mut client = world.client();
    assert_eq!(client.ask(&mut world, evaluate(2)), evaluated(8));
    world.pass(DAY_MS);
    let mut client = world.client();
    assert_eq!(
        client.refused(&mut world, evaluate(2)),
        RefusalCode::Unknown
    );
    assert_eq!(client.ask(&mut world, evaluate(1)), evaluated(8));
    world.pass(7 * DAY_MS);
    let mut client = world.client();
    assert_eq!(client.ask(&mut world, evaluate(1)), evaluated(7));
    world.pass(DAY_MS);
    assert!(world.disk().lasting.is_empty(), "its row is gone as well");
}

// [SPEC 4.74]
#[test]
fn deleting_needs_the_owners_order() {
    let mut world = World::new();
    let mut client = world.client();
    for number in [1, 2] {
        client.ask(&mut world, put(number, share(9, 10)));
    }
    let name = id(1).name();
    let stranger = SignKey::from_seed(&Secret32::new([1; 32]));
    let wrong = [
        Signature([0; 64]),
        share::sign_delete(&stranger, &world.identity, name),
        share::sign_delete(&owner(), &IdentityHash([9; 32]), name),
        share::sign_delete(&owner(), &world.identity, id(2).name()),
        proof(&world, &client, 1, 10),
    ];
    for signature in wrong {
        let code = client.refused(&mut world, delete(1, signature));
        assert_eq!(code, RefusalCode::BadProof);
    }
    assert_eq!(client.ask(&mut world, evaluate(1)), evaluated(8));
    // In advance, by somebody else: the order is all it takes, and it may be given again.
    let order = deletion(&world, 1);
    let mut messenger = world.client();
    for _ in 0..2 {
        assert_eq!(messenger.ask(&mut world, delete(1, order)), Answer::Done);
    }
    for request in [
        evaluate(1),
        put(1, share(9, 10)),
        renew(1, 20, proof(&world, &client, 1, 20)),
    ] {
        let code = client.refused(&mut world, request);
        assert_eq!(code, RefusalCode::Destroyed);
    }
    assert_eq!(client.ask(&mut world, evaluate(2)), evaluated(8));
    let code = client.refused(&mut world, delete(3, order));
    assert_eq!(code, RefusalCode::Unknown);
}
