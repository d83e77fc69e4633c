//! Greetings: versions, identities, certificates and stream keys that must be refused.

use emptyroom_wire::codec::{DecodeFault, encode};
use emptyroom_wire::greeting::{Greeting, GreetingFault};
use emptyroom_wire::relay_key::{IdentityHash, SignedKey, verify_carrier_binding};
use emptyroom_wire::sign::Signature;

use crate::support::{Relay, SPKI, rng};

fn read(bytes: &[u8], relay: &Relay) -> Result<Greeting, GreetingFault> {
    Greeting::read(bytes, &relay.identity.hash(), Some(&SPKI))
}

#[test]
fn a_greeting_is_read_as_it_was_written() {
    let relay = Relay::new(1);
    let greeting = read(&relay.greeting(), &relay).unwrap();
    assert_eq!(greeting.encode(), relay.greeting());
    assert_eq!(greeting.version(), 1);
    assert_eq!(greeting.identity, relay.identity.verify_key());
}

// [SPEC 5.2]
#[test]
fn versions_that_do_not_overlap_are_told_apart_even_if_the_rest_is_new() {
    let relay = Relay::new(1);
    let mut newer = relay.greeting();
    newer[..4].copy_from_slice(&[0, 2, 0, 9]);
    assert_eq!(
        read(&newer, &relay).err(),
        Some(GreetingFault::UpdateNeeded { relay_min: 2 })
    );
    assert_eq!(
        read(&newer[..4], &relay).err(),
        Some(GreetingFault::UpdateNeeded { relay_min: 2 })
    );
    let text = GreetingFault::UpdateNeeded { relay_min: 2 }.to_string();
    assert!(text.ends_with("update needed"), "{text}");
    newer[..4].copy_from_slice(&[0, 0, 0, 0]);
    assert_eq!(
        read(&newer, &relay).err(),
        Some(GreetingFault::RelayTooOld { relay_max: 0 })
    );
    newer[..4].copy_from_slice(&[0, 3, 0, 1]);
    assert_eq!(
        read(&newer, &relay).err(),
        Some(GreetingFault::Malformed(DecodeFault::Invalid))
    );
    newer[..4].copy_from_slice(&[0, 0, 0, 9]);
    assert_eq!(read(&newer, &relay).unwrap().version(), 1);
    for len in 0..4 {
        let fault = GreetingFault::Malformed(DecodeFault::Truncated);
        assert_eq!(read(&newer[..len], &relay).err(), Some(fault));
    }
}

// [SPEC 5.2]
#[test]
fn another_relay_is_refused() {
    let (relay, other) = (Relay::new(1), Relay::new(2));
    assert_eq!(
        read(&other.greeting(), &relay).err(),
        Some(GreetingFault::WrongIdentity)
    );
    // Its own key under the expected name is another name.
    let mut forged = relay.greeting();
    forged[4..36].copy_from_slice(&other.identity.verify_key().0);
    assert_eq!(
        read(&forged, &relay).err(),
        Some(GreetingFault::WrongIdentity)
    );
    assert_ne!(
        IdentityHash::of(&other.identity.verify_key()),
        relay.identity.hash()
    );
}

// [SPEC 5.3]
#[test]
fn another_certificate_is_refused() {
    let relay = Relay::new(1);
    let other = Greeting::read(&relay.greeting(), &relay.identity.hash(), Some(&[8; 32]));
    assert_eq!(other.err(), Some(GreetingFault::WrongCertificate));
    let without = Greeting::new(&relay.identity, &relay.key, None).encode();
    assert_eq!(
        read(&without, &relay).err(),
        Some(GreetingFault::WrongCertificate)
    );
    assert!(Greeting::read(&without, &relay.identity.hash(), None).is_ok());
    // Signed by somebody else who was given the same certificate.
    let mut greeting = read(&relay.greeting(), &relay).unwrap();
    greeting.carrier_binding = Some(Relay::new(2).identity.carrier_binding(&SPKI));
    assert_eq!(
        read(&greeting.encode(), &relay).err(),
        Some(GreetingFault::WrongCertificate)
    );
    let binding = relay.identity.carrier_binding(&SPKI);
    assert!(verify_carrier_binding(&relay.identity.verify_key(), &SPKI, &binding).is_ok());
}

// [SPEC 5.5]
#[test]
fn a_stream_key_that_the_relay_did_not_sign_is_refused() {
    let (relay, other) = (Relay::new(1), Relay::new(2));
    let good = read(&relay.greeting(), &relay).unwrap();
    let bad = |change: &dyn Fn(&mut SignedKey)| {
        let mut greeting = good.clone();
        change(&mut greeting.stream_key);
        read(&greeting.encode(), &relay).err()
    };
    let fault = Some(GreetingFault::BadStreamKey);
    assert_eq!(bad(&|_| ()), None);
    assert_eq!(bad(&|key| *key = other.key.signed().clone()), fault);
    assert_eq!(bad(&|key| key.key = other.key.signed().key.clone()), fault);
    assert_eq!(bad(&|key| key.record.number += 1), fault);
    assert_eq!(bad(&|key| key.record.previous[0] ^= 1), fault);
    assert_eq!(bad(&|key| key.record.key_hash[0] ^= 1), fault);
    assert_eq!(bad(&|key| key.record.signature = Signature([0; 64])), fault);
}

#[test]
fn truncated_and_long_greetings_are_refused() {
    let relay = Relay::new(1);
    let bytes = relay.greeting();
    for len in (4..bytes.len()).step_by(17).chain([bytes.len() - 1]) {
        let fault = read(&bytes[..len], &relay).err();
        assert!(matches!(fault, Some(GreetingFault::Malformed(_))), "{len}");
    }
    let mut long = bytes.clone();
    long.push(0);
    let fault = GreetingFault::Malformed(DecodeFault::Trailing);
    assert_eq!(read(&long, &relay).err(), Some(fault));
}

// [SPEC 5.4]
#[test]
fn record_numbers_follow_the_clock_and_never_fall() {
    let relay = Relay::new(1);
    let first = relay.key.signed().record.clone();
    assert_eq!((first.number, first.previous), (1_800_000_000, [0; 32]));
    let mut record = first;
    // An hour later, at once, and with a clock that jumped a day backwards.
    for (ms, expected) in [
        (1_800_003_600_000, 1_800_003_600),
        (1_800_003_600_000, 1_800_003_601),
        (1_799_900_000_000, 1_800_003_602),
    ] {
        let now = emptyroom_wire::time::Wall(ms);
        let next = relay
            .identity
            .next_stream_key(Some(&record), now, &mut rng(ms));
        let next = next.signed().record.clone();
        assert_eq!(next.number, expected);
        assert_eq!(next.previous, record.hash(&relay.identity.hash()));
        assert!(next.verify(&relay.identity.verify_key()).is_ok());
        record = next;
    }
    assert_eq!(encode(&record).unwrap().len(), 136);
}
