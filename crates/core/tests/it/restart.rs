//! The blob of a restart: sealed, read, refused.

use emptyroom_core::account::OwnKeys;
use emptyroom_core::api::RestartReason;
use emptyroom_core::certificate::CertificateFault;
use emptyroom_core::genesis::Binding;
use emptyroom_core::position::Position;
use emptyroom_core::restart::{COUNTER_AHEAD_MAX, Fit, Restart, RestartFault, SignedRestart, hash};
use emptyroom_wire::log::LogId;
use emptyroom_wire::secret::Secret32;
use rand_chacha::ChaCha20Rng;

use crate::mallory::Keys;
use crate::party::keys;

const LOG: LogId = LogId([4; 32]);

fn restart(counter: u64) -> Restart {
    Restart {
        counter,
        previous: [6; 32],
        reason: RestartReason::StateLost,
        shown: Position {
            restart: 0,
            generation: 3,
            next_seq: 17,
        },
        binding: Binding([8; 32]),
    }
}

struct Sealed {
    maker: OwnKeys,
    reader: OwnKeys,
    bytes: Vec<u8>,
    rng: ChaCha20Rng,
}

fn sealed(counter: u64) -> Sealed {
    let (_, maker, mut rng) = keys(20);
    let (_, reader, _) = keys(21);
    let bytes = restart(counter).seal(
        &maker,
        &LOG,
        &[reader.certificate().clone()],
        &Secret32::new([9; 32]),
        &mut rng,
    );
    Sealed {
        maker,
        reader,
        bytes,
        rng,
    }
}

// [SPEC 8.30] [SPEC 8.34]
#[test]
fn a_restart_is_read_by_whom_it_was_sealed_to() {
    let Sealed {
        maker,
        reader,
        bytes,
        mut rng,
    } = sealed(1);
    let read = SignedRestart::read(&LOG, &bytes).unwrap();
    assert_eq!(*read.restart(), restart(1));
    assert_eq!(read.by(), maker.certificate());
    assert_eq!(read.hash(), hash(&bytes));
    assert_eq!(*read.open(&reader).unwrap().expose(), [9; 32]);
    let (_, stranger, _) = keys(22);
    assert!(matches!(read.open(&stranger), Err(RestartFault::NotForUs)));
    assert!(matches!(read.open(&maker), Err(RestartFault::NotForUs)));
    // The entry has 16 KiB, as a commit has.
    assert!(bytes.len() < (16 << 10) - 47, "{}", bytes.len());

    // To nobody, as the last member of a conversation would.
    let alone = restart(2).seal(&maker, &LOG, &[], &Secret32::new([9; 32]), &mut rng);
    assert!(SignedRestart::read(&LOG, &alone).is_ok());
}

// [SPEC 8.33]
#[test]
fn every_byte_is_signed_for_one_log() {
    let Sealed { bytes, reader, .. } = sealed(1);
    let other = LogId([5; 32]);
    assert!(matches!(
        SignedRestart::read(&other, &bytes),
        Err(RestartFault::Signature)
    ));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(SignedRestart::read(&LOG, &changed).is_err(), "byte {at}");
    }
    for len in 0..bytes.len() {
        assert!(SignedRestart::read(&LOG, &bytes[..len]).is_err());
    }
    assert!(SignedRestart::read(&LOG, &[&bytes[..], &[0]].concat()).is_err());
    assert!(
        SignedRestart::read(&LOG, &bytes)
            .unwrap()
            .open(&reader)
            .is_ok()
    );
}

/// A restart written by hand from the specification, with whatever is to be wrong with it.
fn by_hand(keys: &Keys, version: u16, reason: u8, certificate: &[u8], rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(certificate.len()).unwrap() | 0x4000;
    let body = [
        &version.to_be_bytes()[..],
        &5u64.to_be_bytes(),
        &[6; 32],
        &[reason],
        &0u64.to_be_bytes(),
        &3u64.to_be_bytes(),
        &17u64.to_be_bytes(),
        &[8; 32],
        &len.to_be_bytes(),
        certificate,
        rest,
    ]
    .concat();
    let label = b"emptyroom v1 restart";
    let signed = [&[20][..], label, &LOG.0, &body].concat();
    let signature = ed25519_dalek::Signer::sign(&keys.device.0, &signed).to_bytes();
    let len = match u16::try_from(body.len()) {
        Ok(len) if len < 1 << 14 => (len | 0x4000).to_be_bytes().to_vec(),
        _ => (u32::try_from(body.len()).unwrap() | 1 << 31)
            .to_be_bytes()
            .to_vec(),
    };
    [&len[..], &body, &signature].concat()
}

// [SPEC 8.31] [SPEC 8.32]
#[test]
fn restarts_are_read_strictly() {
    let keys = Keys::of(1);
    let certificate = keys.certificate();
    let read = |bytes: &[u8]| SignedRestart::read(&LOG, bytes);
    let good = by_hand(&keys, 1, 6, &certificate, &[0, 0]);
    assert_eq!(
        read(&good).unwrap().restart().reason,
        RestartReason::StateLost
    );
    assert_eq!(read(&good).unwrap().restart().counter, 5);

    let newer = by_hand(&keys, 2, 6, &certificate, &[0, 0]);
    assert_eq!(read(&newer).unwrap_err(), RestartFault::Version(2));
    for reason in [0, 11, 255] {
        let bytes = by_hand(&keys, 1, reason, &certificate, &[0, 0]);
        assert_eq!(read(&bytes).unwrap_err(), RestartFault::Malformed);
    }
    let critical = by_hand(&keys, 1, 6, &certificate, &[0, 3, 0x80, 0, 0]);
    assert_eq!(read(&critical).unwrap_err(), RestartFault::Critical(0x8000));
    let ignorable = by_hand(&keys, 1, 6, &certificate, &[0, 3, 0x0a, 0x0a, 0]);
    assert!(read(&ignorable).is_ok());
    // What others may ignore is bounded all the same.
    let long = |len: u32| {
        let extension = [&[0x0a, 0x0a][..], &(len | (1 << 31)).to_be_bytes()].concat();
        let all = (u32::try_from(extension.len()).unwrap() + len) | (1 << 31);
        let rest = [
            &[0][..],
            &all.to_be_bytes(),
            &extension,
            &vec![0; len as usize],
        ]
        .concat();
        by_hand(&keys, 1, 6, &certificate, &rest)
    };
    let most = (128 << 10) - u32::try_from(long(1).len()).unwrap();
    assert!(read(&long(most - 1)).is_ok());
    assert_eq!(read(&long(most + 64)).unwrap_err(), RestartFault::Malformed);
    // A sealed secret of another length than there is.
    let short = [&[0x40, 66][..], &[1; 64], &[1, 9], &[0]].concat();
    let short = by_hand(&keys, 1, 6, &certificate, &short);
    assert_eq!(read(&short).unwrap_err(), RestartFault::Malformed);
    // The device is another than the certificate's.
    let other = by_hand(&Keys::of(2), 1, 6, &certificate, &[0, 0]);
    assert_eq!(read(&other).unwrap_err(), RestartFault::Signature);
    let mut forged = certificate.clone();
    *forged.last_mut().unwrap() ^= 1;
    let forged = by_hand(&keys, 1, 6, &forged, &[0, 0]);
    assert_eq!(
        read(&forged).unwrap_err(),
        RestartFault::Certificate(CertificateFault::Signature)
    );
}

// [SPEC 8.34]
#[test]
fn a_sealed_secret_opens_in_its_restart_only() {
    let Sealed { reader, bytes, .. } = sealed(1);
    // A member copies what was sealed for this one into a restart of his own, counter 5, and signs it.
    let recipient = [reader.identity().0, reader.device().0].concat();
    let at = bytes.windows(64).position(|w| w == recipient).unwrap();
    let copied = &bytes[at..at + 64 + 2 + 1168];
    let len = u16::try_from(copied.len()).unwrap() | 0x4000;
    let rest = [&len.to_be_bytes(), copied, &[0]].concat();
    let keys = Keys::of(1);
    let moved = by_hand(&keys, 1, 6, &keys.certificate(), &rest);
    let moved = SignedRestart::read(&LOG, &moved).unwrap();
    assert!(matches!(moved.open(&reader), Err(RestartFault::NotForUs)));
}

// [SPEC 8.35]
#[test]
fn counters_rise_within_reason() {
    let fit = |counter, last, hash: &[u8; 32]| {
        let Sealed { bytes, .. } = sealed(counter);
        SignedRestart::read(&LOG, &bytes).unwrap().fit(last, hash)
    };
    assert_eq!(fit(1, 0, &[6; 32]), Fit::Follows);
    assert_eq!(fit(5, 4, &[6; 32]), Fit::Follows);
    assert_eq!(fit(5, 2, &[0; 32]), Fit::OtherPredecessor);
    assert_eq!(fit(5, 5, &[6; 32]), Fit::NotHigher);
    assert_eq!(fit(5, 6, &[6; 32]), Fit::NotHigher);
    assert_eq!(fit(0, 0, &[6; 32]), Fit::NotHigher);
    assert_eq!(fit(COUNTER_AHEAD_MAX + 3, 3, &[6; 32]), Fit::Follows);
    assert_eq!(fit(COUNTER_AHEAD_MAX + 4, 3, &[6; 32]), Fit::TooFar);
    assert_eq!(fit(u64::MAX, 0, &[6; 32]), Fit::TooFar);
}
