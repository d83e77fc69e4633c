//! Sealing to a public key.

use emptyroom_wire::kem::{
    BadKey, KemPublicKey, KemSecretKey, NotForUs, PUBLIC_KEY_LEN, SEAL_OVERHEAD, open_from, seal_to,
};

use crate::support::{rng, secret};

// [SPEC 2.11]
#[test]
fn what_is_sealed_opens_for_one_key_and_purpose() {
    let key = KemSecretKey::from_seed(secret(1));
    let sealed = seal_to(&key.public_key(), b"purpose", b"secret", &mut rng(1));
    assert_eq!(sealed.len(), SEAL_OVERHEAD + 6);
    assert_eq!(open_from(&key, b"purpose", &sealed), Ok(b"secret".to_vec()));
    assert_eq!(open_from(&key, b"other", &sealed), Err(NotForUs));
    let other = KemSecretKey::generate(&mut rng(2));
    assert_eq!(open_from(&other, b"purpose", &sealed), Err(NotForUs));
    for place in [0, 1_087, 1_088, 1_119, 1_120, sealed.len() - 1] {
        let mut bent = sealed.clone();
        bent[place] ^= 1;
        assert_eq!(
            open_from(&key, b"purpose", &bent),
            Err(NotForUs),
            "byte {place}"
        );
    }
    for len in [0, 1, 1_119, 1_120, 1_135, sealed.len() - 1] {
        assert_eq!(open_from(&key, b"purpose", &sealed[..len]), Err(NotForUs));
    }
}

// [SPEC 2.11]
#[test]
fn public_keys_are_checked_when_they_are_read() {
    let key = KemSecretKey::from_seed(secret(1)).public_key();
    assert_eq!(KemPublicKey::new(key.as_bytes()).as_ref(), Ok(&key));
    for len in [0, 1, PUBLIC_KEY_LEN - 1] {
        assert_eq!(KemPublicKey::new(&key.as_bytes()[..len]), Err(BadKey));
    }
    let mut long = key.as_bytes().to_vec();
    long.push(0);
    assert_eq!(KemPublicKey::new(&long), Err(BadKey));
    // A coefficient of 4,095 where 3,328 is the highest (FIPS 203, 7.2).
    let mut wrong = *key.as_bytes();
    wrong[0] = 0xff;
    wrong[1] |= 0x0f;
    assert_eq!(KemPublicKey::new(&wrong), Err(BadKey));
}

#[test]
fn a_seed_gives_the_key_again() {
    let key = KemSecretKey::generate(&mut rng(3));
    let again = KemSecretKey::from_seed(key.seed().duplicate());
    assert_eq!(key.public_key(), again.public_key());
}
