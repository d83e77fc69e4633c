//! Entries: their place, class and padding, and the hashes that chain them.

use emptyroom_wire::codec::{DecodeFault, TooLong, decode, encode};
use emptyroom_wire::entry::{self, Aad, EntryFault, RunningHash, Ttl, next_hash};
use emptyroom_wire::limits::{ENTRY_CLASSES, ENTRY_LEN_MAX, ENTRY_OVERHEAD};
use emptyroom_wire::log::LogId;
use emptyroom_wire::log_keys;
use emptyroom_wire::op::{First, NewLog};

use crate::support::{aad, outer, rng, secret};

fn sealed(content: &[u8]) -> Vec<u8> {
    entry::seal(&outer(7), &aad(), 3, content, &mut rng(1)).unwrap()
}

/// Every single change of an AAD.
fn changed() -> Vec<Aad> {
    let with = |change: fn(&mut Aad)| {
        let mut aad = aad();
        change(&mut aad);
        aad
    };
    vec![
        with(|aad| aad.log_id = LogId([2; 32])),
        with(|aad| aad.expect_slots = 3),
        with(|aad| aad.commit = true),
        with(|aad| aad.close = true),
        with(|aad| aad.ttl = Ttl::Day7),
        with(|aad| aad.nonce[15] ^= 1),
        with(|aad| aad.next_hash[0] = 1),
    ]
}

// [SPEC 3.4]
#[test]
fn an_entry_opens_only_at_its_place() {
    let body = sealed(b"content");
    assert_eq!(
        entry::open(&outer(7), &aad(), &body),
        Ok((3, b"content".to_vec()))
    );
    assert_eq!(entry::open(&outer(8), &aad(), &body), Err(EntryFault::Seal));
    for aad in changed() {
        assert_eq!(entry::open(&outer(7), &aad, &body), Err(EntryFault::Seal));
    }
    for place in [2, 25, 26, 2_000, 4_079, 4_080, 4_095] {
        let mut bent = body.clone();
        bent[place] ^= 1;
        assert_eq!(entry::open(&outer(7), &aad(), &bent), Err(EntryFault::Seal));
    }
}

// [SPEC 3.1]
#[test]
fn another_version_is_refused() {
    let mut body = sealed(b"content");
    for version in [0, 2, 255] {
        body[0] = version;
        assert_eq!(
            entry::open(&outer(7), &aad(), &body),
            Err(EntryFault::Version)
        );
    }
}

// [SPEC 3.2]
#[test]
fn a_length_that_is_not_the_class_is_refused() {
    let body = sealed(b"content");
    for len in [0, 1, 2, 25, 26, 42, 4_095] {
        assert_eq!(
            entry::open(&outer(7), &aad(), &body[..len]),
            Err(EntryFault::Class)
        );
    }
    let mut long = body.clone();
    long.push(0);
    assert_eq!(
        entry::open(&outer(7), &aad(), &long),
        Err(EntryFault::Class)
    );
    let mut relabelled = body.clone();
    for class in [1, 5, 6, 255] {
        relabelled[1] = class;
        assert_eq!(
            entry::open(&outer(7), &aad(), &relabelled),
            Err(EntryFault::Class)
        );
    }
    // The right length for the class it claims, but sealed as another one.
    relabelled.resize(16 << 10, 0);
    relabelled[1] = 1;
    assert_eq!(
        entry::open(&outer(7), &aad(), &relabelled),
        Err(EntryFault::Seal)
    );
    assert!(entry::is_class_len(4_096) && !entry::is_class_len(4_097));
}

// [SPEC 3.3]
#[test]
fn the_smallest_class_that_fits_is_used() {
    for (place, class) in ENTRY_CLASSES.into_iter().enumerate() {
        let fits = vec![1; class - ENTRY_OVERHEAD];
        let body = sealed(&fits);
        assert_eq!((body.len(), usize::from(body[1])), (class, place));
        assert_eq!(entry::open(&outer(7), &aad(), &body).unwrap().1, fits);
        let one_more = vec![1; class - ENTRY_OVERHEAD + 1];
        let next = entry::seal(&outer(7), &aad(), 3, &one_more, &mut rng(1));
        match ENTRY_CLASSES.get(place + 1) {
            Some(class) => assert_eq!(next.unwrap().len(), *class),
            None => assert_eq!(next, Err(TooLong)),
        }
    }
    assert_eq!(sealed(b"").len(), 4_096);
    assert_eq!(ENTRY_LEN_MAX - ENTRY_OVERHEAD, (4 << 20) - 47);
}

// [SPEC 3.5]
#[test]
fn padding_and_length_are_checked_by_whoever_knows_the_key() {
    use chacha20poly1305::aead::AeadInOut;
    use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
    // What a member with a changed program could seal.
    let seal = |plain: &mut Vec<u8>| {
        let mut authenticated = vec![22];
        authenticated.extend_from_slice(b"emptyroom v1 entry aad");
        authenticated.extend_from_slice(&[1, 0]);
        authenticated.extend_from_slice(&encode(&aad()).unwrap());
        XChaCha20Poly1305::new(&[7; 32].into())
            .encrypt_in_place(&XNonce::from([5; 24]), &authenticated, plain)
            .unwrap();
        let mut body = vec![1, 0];
        body.extend_from_slice(&[5; 24]);
        body.append(plain);
        entry::open(&outer(7), &aad(), &body)
    };
    let plain = |len: u32| {
        let mut plain = vec![0; 4_096 - 26 - 16];
        plain[..4].copy_from_slice(&len.to_be_bytes());
        plain
    };
    let room = 4_096 - ENTRY_OVERHEAD as u32;
    assert_eq!(seal(&mut plain(2)), Ok((0, vec![0, 0])));
    assert_eq!(seal(&mut plain(room)).unwrap().1.len(), room as usize);
    assert_eq!(seal(&mut plain(room + 1)), Err(EntryFault::Padding));
    assert_eq!(seal(&mut plain(u32::MAX)), Err(EntryFault::Padding));
    let mut dirty = plain(2);
    *dirty.last_mut().unwrap() = 1;
    assert_eq!(seal(&mut dirty), Err(EntryFault::Padding));
}

// [SPEC 3.6]
#[test]
fn the_hash_of_next_depends_on_each_log_and_their_order() {
    let log = |byte: u8, first: bool| NewLog {
        header: log_keys::recovery(&secret(byte)).0,
        first: first.then(|| First {
            ttl: Ttl::Life,
            nonce: [1; 16],
            body: vec![2; 8],
        }),
    };
    let hash = |next: &[NewLog]| next_hash(next).unwrap();
    assert_eq!(hash(&[]), [0; 32]);
    let all = [
        hash(&[]),
        hash(&[log(1, false)]),
        hash(&[log(1, true)]),
        hash(&[log(2, false)]),
        hash(&[log(1, false), log(2, false)]),
        hash(&[log(2, false), log(1, false)]),
    ];
    for (place, one) in all.iter().enumerate() {
        assert!(!all[place + 1..].contains(one));
    }
}

// [SPEC 3.7]
#[test]
fn the_running_hash_depends_on_everything() {
    let start = RunningHash::default();
    let base = start.next(0, &aad(), b"body");
    let mut all = vec![
        start,
        base,
        start.next(1, &aad(), b"body"),
        start.next(0, &aad(), b"bodz"),
        base.next(0, &aad(), b"body"),
    ];
    all.extend(changed().iter().map(|aad| start.next(0, aad, b"body")));
    for (place, one) in all.iter().enumerate() {
        assert!(!all[place + 1..].contains(one));
    }
}

// [SPEC 3.8]
#[test]
fn unknown_time_classes_are_refused() {
    let bytes = encode(&aad()).unwrap();
    for ttl in 0..=u8::MAX {
        let mut bytes = bytes.clone();
        bytes[42] = ttl;
        match decode::<Aad>(&bytes) {
            Ok(aad) => assert_eq!(aad.ttl as u8, ttl),
            Err(fault) => assert_eq!(
                (fault, (1..=4).contains(&ttl)),
                (DecodeFault::UnknownValue, false)
            ),
        }
    }
}

#[test]
fn two_sealings_of_the_same_differ() {
    let mut rng = rng(1);
    let one = entry::seal(&outer(7), &aad(), 3, b"same", &mut rng).unwrap();
    let other = entry::seal(&outer(7), &aad(), 3, b"same", &mut rng).unwrap();
    assert_ne!(one, other);
}

// [SPEC 3.9]
#[test]
fn a_first_entry_expects_nothing_and_does_nothing() {
    let aad = Aad::first(LogId([1; 32]), Ttl::Life, [4; 16]);
    assert_eq!((aad.expect_slots, aad.commit, aad.close), (0, false, false));
    assert_eq!(
        (aad.next_hash, aad.nonce, aad.ttl),
        ([0; 32], [4; 16], Ttl::Life)
    );
}
