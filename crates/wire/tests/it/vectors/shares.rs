//! Vectors of shares.

use emptyroom_wire::codec::encode;
use emptyroom_wire::proof::StreamBinding;
use emptyroom_wire::relay_key::{IdentityHash, RelayIdentity};
use emptyroom_wire::share::{self, Element, ShareId};
use emptyroom_wire::sign::SignKey;
use serde_json::json;

use super::compare;
use crate::share::{EVALUATIONS, KEY, key};
use crate::support::{hex, secret, unhex32};
use crate::wipe::{body, order, policy};

// [SPEC 4.14] [SPEC 4.72] [SPEC 4.73] [SPEC 4.74]
#[test]
fn shares() {
    let id = ShareId::new([2; 32]);
    let owner = SignKey::from_seed(&secret(1));
    let relay = IdentityHash([3; 32]);
    let binding = StreamBinding::new(secret(4));
    let evaluations = EVALUATIONS.map(|(blinded, _)| {
        let element = Element::new(unhex32(blinded)).unwrap();
        let evaluated = key().evaluate(&element).to_bytes();
        json!({ "blinded": blinded, "evaluated": hex(&evaluated) })
    });
    compare(
        "share.json",
        &json!({
            "id": hex(id.expose()),
            "name": hex(&id.name().0),
            "rfc_9497_a_1_1": { "key": KEY, "evaluations": evaluations },
            "owner_seed": hex(&[1; 32]),
            "relay": hex(&relay.0),
            "binding": hex(&[4; 32]),
            "renew_400": hex(&share::sign_renew(&owner, &relay, &binding, (id.name(), 400)).0),
            "delete": hex(&share::sign_delete(&owner, &relay, id.name()).0),
        }),
    );
}

// [SPEC 4.15] [SPEC 4.16] [SPEC 4.76]
#[test]
fn orders_to_wipe() {
    let order = order(&[(0, 1), (2, 3)]);
    let id = ShareId::new([2; 32]);
    let relay = RelayIdentity::from_seed(&secret(5));
    compare(
        "wipe.json",
        &json!({
            "seeds": [hex(&[1; 32]), hex(&[2; 32]), hex(&[3; 32])],
            "policy_2_of_3": hex(&encode(&policy(2, 3)).unwrap()),
            "body": hex(&encode(&body()).unwrap()),
            "hash": hex(&body().hash().0),
            "order": hex(&encode(&order).unwrap()),
            "relay_seed": hex(&[5; 32]),
            "relay": hex(&relay.hash().0),
            "share_id": hex(id.expose()),
            "wiped": hex(&relay.wiped(id.name(), &body().hash()).0),
        }),
    );
}
