//! Shares: what their bytes may be, and what a signature of their owner holds for.

use emptyroom_wire::codec::{decode, encode};
use emptyroom_wire::proof::StreamBinding;
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::share::{self, Element, ShareId, ShareKey, ShareName};
use emptyroom_wire::sign::SignKey;

use crate::support::{secret, unhex32};

/// RFC 9497, A.1.1 (ristretto255-SHA512, mode 0x00): key, then blinded element and evaluation of both vectors.
pub const KEY: &str = "5ebcea5ee37023ccb9fc2d2019f9d7737be85591ae8652ffa9ef0f4d37063b0e";
pub const EVALUATIONS: [(&str, &str); 2] = [
    (
        "609a0ae68c15a3cf6903766461307e5c8bb2f95e7e6550e1ffa2dc99e412803c",
        "7ec6578ae5120958eb2db1745758ff379e77cb64fe77b0b2d8cc917ea0869c7e",
    ),
    (
        "da27ef466870f5f15296299850aa088629945a17d1f5b7f5ff043f76b3c06418",
        "b4cbf5a4f1eeda5a63ce7b77c7d23f461db3fcab0dd28e4e17cecb5c90d02c25",
    ),
];

pub fn key() -> ShareKey {
    ShareKey::new(unhex32(KEY)).unwrap()
}

// [SPEC 4.72]
#[test]
fn an_evaluation_is_that_of_the_rfc() {
    for (blinded, evaluated) in EVALUATIONS {
        let blinded = Element::new(unhex32(blinded)).unwrap();
        assert_eq!(key().evaluate(&blinded).to_bytes(), unhex32(evaluated));
    }
}

// [SPEC 4.14]
#[test]
fn keys_and_elements_have_one_encoding_and_are_not_zero() {
    let mut order = unhex32("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    for bytes in [[0; 32], [0xff; 32], order] {
        assert!(ShareKey::new(bytes).is_none());
        assert!(decode::<ShareKey>(&bytes).is_err());
    }
    order[0] -= 1;
    assert!(ShareKey::new(order).is_some(), "the greatest there is");
    // Not canonical, negative, not on the curve: some of RFC 9496, A.2.
    let none = [
        "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
        "0000000000000000000000000000000000000000000000000000000000000000",
    ];
    for bytes in none.map(unhex32) {
        assert!(Element::new(bytes).is_none());
        assert!(decode::<Element>(&bytes).is_err());
    }
    let (blinded, _) = EVALUATIONS[0];
    let element = Element::new(unhex32(blinded)).unwrap();
    assert_eq!(encode(&element).unwrap(), unhex32(blinded));
    assert_eq!(encode(&key()).unwrap(), unhex32(KEY));
    assert_eq!(encode(&ShareId::new([7; 32])).unwrap(), [7; 32]);
}

// [SPEC 4.73] [SPEC 4.74]
#[test]
fn an_owners_word_holds_for_one_relay_share_and_purpose() {
    let key = SignKey::from_seed(&secret(1));
    let public = key.verify_key();
    let other = SignKey::from_seed(&secret(2)).verify_key();
    let (relay, elsewhere) = (IdentityHash([1; 32]), IdentityHash([2; 32]));
    let (here, there) = (StreamBinding::new(secret(3)), StreamBinding::new(secret(4)));
    let (name, stranger) = (ShareId::new([5; 32]).name(), ShareName([5; 32]));
    let proof = share::sign_renew(&key, &relay, &here, (name, 400));
    let holds =
        |key, relay, binding, what| share::verify_renew(key, relay, binding, what, &proof).is_ok();
    assert!(holds(&public, &relay, &here, (name, 400)));
    assert!(!holds(&other, &relay, &here, (name, 400)));
    assert!(!holds(&public, &elsewhere, &here, (name, 400)));
    assert!(!holds(&public, &relay, &there, (name, 400)));
    assert!(!holds(&public, &relay, &here, (stranger, 400)));
    assert!(!holds(&public, &relay, &here, (name, 401)));
    let order = share::sign_delete(&key, &relay, name);
    let holds = |key, relay, name| share::verify_delete(key, relay, name, &order).is_ok();
    assert!(holds(&public, &relay, name));
    assert!(!holds(&other, &relay, name));
    assert!(!holds(&public, &elsewhere, name));
    assert!(!holds(&public, &relay, stranger));
    assert!(share::verify_delete(&public, &relay, name, &proof).is_err());
    assert!(share::verify_renew(&public, &relay, &here, (name, 400), &order).is_err());
}
