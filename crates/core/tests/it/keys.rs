//! The account's keys in a conversation, and the certificate that shows them.

use emptyroom_core::account::{AccountRoot, KeysFault, OwnKeys};
use emptyroom_core::certificate::{Certificate, CertificateFault};
use emptyroom_core::records::{self, RecordFault};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::Day;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use crate::mallory::{self, Keys};
use crate::party::{TODAY, keys};

// [SPEC 8.1] [SPEC 8.2]
#[test]
fn conversations_of_one_account_have_nothing_in_common() {
    let (root, first, mut rng) = keys(1);
    let second = OwnKeys::generate(&root, TODAY, &mut rng);
    assert_ne!(first.identity(), second.identity());
    assert_ne!(first.device(), second.device());
    assert!(first.certificate().recovery() != second.certificate().recovery());
    // Two accounts with the same salt and device seed neither.
    let (other, ..) = keys(2);
    assert_eq!(
        OwnKeys::load(&other, &first.record()).unwrap_err(),
        KeysFault::NotOurs
    );
}

#[test]
fn kept_keys_are_the_same_keys() {
    let (root, own, _) = keys(3);
    let root = AccountRoot::from_secret(root.secret().duplicate());
    let again = OwnKeys::load(&root, &own.record()).unwrap();
    assert_eq!(again.identity(), own.identity());
    assert_eq!(again.device(), own.device());
    assert_eq!(again.certificate(), own.certificate());
    assert_eq!(again.record(), own.record());
}

#[test]
fn damaged_records_are_told_apart_from_newer_ones() {
    let (root, own, _) = keys(4);
    let record = own.record();
    for at in 0..record.len() {
        let mut damaged = record.to_vec();
        damaged[at] ^= 1;
        assert!(OwnKeys::load(&root, &damaged).is_err(), "byte {at}");
    }
    assert_eq!(
        records::decode::<u8>(1, &[0, 2, 9]),
        Err(RecordFault::Newer { found: 2, known: 1 })
    );
    assert_eq!(records::decode::<u8>(1, &[0, 1, 9]), Ok(9));
    for damaged in [&[][..], &[0], &[0, 0, 9], &[0, 1], &[0, 1, 9, 9]] {
        assert_eq!(
            records::decode::<u8>(1, damaged),
            Err(RecordFault::Malformed)
        );
    }
}

#[test]
fn a_renewed_certificate_certifies_the_same_keys() {
    let (root, mut own, mut rng) = keys(5);
    let renewed = own.renewed(&root, Day(21_000));
    assert!(renewed.same_keys(own.certificate()));
    assert_eq!(renewed.expires(), Day(21_400));
    own.adopt(renewed.clone()).unwrap();
    assert_eq!(*own.certificate(), renewed);
    let other = OwnKeys::generate(&root, TODAY, &mut rng);
    assert_eq!(
        own.adopt(other.certificate().clone()),
        Err(KeysFault::NotOurs)
    );
}

// [SPEC 8.4]
#[test]
fn a_certificate_written_from_the_specification_is_read() {
    let keys = Keys::of(1);
    let certificate = Certificate::verify(&keys.certificate()).unwrap();
    assert_eq!(certificate.identity().0, keys.identity.verify_key().0);
    assert_eq!(certificate.device().0, keys.device_key());
    assert!(certificate.recovery() == keys.recovery.public_key());
    assert_eq!(certificate.created(), Day(20_700));
    assert_eq!(certificate.expires(), Day(21_100));
}

// [SPEC 8.3] [SPEC 8.4]
#[test]
fn certificates_are_read_strictly() {
    let keys = Keys::of(1);
    let signed = |body: &[u8]| Certificate::verify(&mallory::certificate(&keys.identity, body));
    assert_eq!(
        signed(&keys.body(2, &[])),
        Err(CertificateFault::Version(2))
    );
    assert_eq!(
        signed(&keys.body(1, &[0x80, 1, 0])),
        Err(CertificateFault::Critical(0x8001))
    );
    // A type that may be ignored is, and belongs to what is signed.
    let ignorable = signed(&keys.body(1, &[0x0a, 0x0a, 2, 7, 7])).unwrap();
    assert_eq!(ignorable.identity().0, keys.identity.verify_key().0);
    let body = keys.body(1, &[]);
    assert_eq!(
        signed(&body[..body.len() - 1]),
        Err(CertificateFault::Malformed)
    );
    assert_eq!(
        signed(&[&body[..], &[0]].concat()),
        Err(CertificateFault::Malformed)
    );
    // Bytes that are no point of the curves' moduli.
    let mut bad_key = body.clone();
    bad_key[66..66 + 1152].fill(0xff);
    assert_eq!(signed(&bad_key), Err(CertificateFault::RecoveryKey));
}

// [SPEC 8.5]
#[test]
fn every_byte_of_a_certificate_is_signed() {
    let certificate = Keys::of(1).certificate();
    for at in 0..certificate.len() {
        let mut changed = certificate.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(Certificate::verify(&changed).is_err(), "byte {at}");
    }
    let long = [certificate.clone(), vec![0; 5000]].concat();
    assert_eq!(Certificate::verify(&long), Err(CertificateFault::Malformed));
}

#[test]
fn nothing_secret_is_shown() {
    let mut rng = ChaCha20Rng::from_seed([9; 32]);
    let root = AccountRoot::from_secret(Secret32::new([1; 32]));
    let own = OwnKeys::generate(&root, TODAY, &mut rng);
    assert_eq!(format!("{root:?}"), "AccountRoot(private)");
    assert_eq!(format!("{own:?}"), "OwnKeys(private)");
    assert_eq!(format!("{:?}", own.identity()), "IdentityKey(private)");
    assert_eq!(format!("{:?}", own.certificate()), "Certificate(private)");
}
