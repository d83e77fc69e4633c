//! Headers, capabilities, and the keys that members derive.

use emptyroom_wire::codec::{DecodeFault, decode, encode};
use emptyroom_wire::limits;
use emptyroom_wire::log::{Capability, Flags, Header};
use emptyroom_wire::log_keys::{self, LogAccess, Owned};
use emptyroom_wire::secret::Private;
use emptyroom_wire::sign::{SignKey, Signature, VerifyKey};

use crate::support::{hex, secret};

fn header() -> Header {
    Header {
        salt: Private([1; 32]),
        append_key: Some(VerifyKey([2; 32])),
        read_key: None,
        owner_key: Some(VerifyKey([3; 32])),
        flags: Flags::NONE,
    }
}

// [SPEC 2.6]
#[test]
fn every_field_of_a_header_changes_the_capability() {
    let mut salt = header();
    salt.salt = Private([9; 32]);
    let mut append = header();
    append.append_key = None;
    let mut read = header();
    read.read_key = Some(VerifyKey([2; 32]));
    let mut owner = header();
    owner.owner_key = Some(VerifyKey([2; 32]));
    let mut swapped = header();
    swapped.append_key = None;
    swapped.read_key = header().append_key;
    let mut flags = header();
    flags.flags = Flags::REFUSE_CLOSE;
    let all = [header(), salt, append, read, owner, swapped, flags];
    for (place, one) in all.iter().enumerate() {
        for other in &all[place + 1..] {
            assert!(one.capability() != other.capability());
        }
    }
}

// [SPEC 2.5]
#[test]
fn unknown_flags_are_refused() {
    let bytes = encode(&header()).unwrap();
    for bits in 0..=u8::MAX {
        let mut bytes = bytes.clone();
        *bytes.last_mut().unwrap() = bits;
        let decoded = decode::<Header>(&bytes);
        if bits < 8 {
            assert_eq!(decoded.unwrap().flags.bits(), bits);
        } else {
            assert_eq!(decoded, Err(DecodeFault::Invalid));
        }
    }
    assert_eq!(Flags::RECOVERY.bits(), 7);
    assert!(Flags::RECOVERY.has(Flags::DROP_OLDEST) && !Flags::NONE.has(Flags::DROP_OLDEST));
}

fn parts(access: &LogAccess) -> Vec<String> {
    let mut parts = vec![
        hex(access.capability.expose()),
        hex(&access.log_id.0),
        hex(&access.append.verify_key().0),
    ];
    parts.extend(access.owner.as_ref().map(|key| hex(&key.verify_key().0)));
    parts
}

// [SPEC 2.8]
#[test]
fn roles_and_secrets_give_different_logs_and_keys() {
    let mut all = Vec::new();
    for byte in [1, 2] {
        let s = secret(byte);
        all.extend(parts(&log_keys::conversation(&s, Owned::ByMembers).1));
        all.extend(parts(&log_keys::recovery(&s).1));
        all.extend(parts(&log_keys::restart(&s).1));
        all.extend(parts(
            &log_keys::invite(&s, SignKey::from_seed(&secret(byte + 10))).1,
        ));
    }
    let unowned = log_keys::conversation(&secret(1), Owned::ByNobody).1;
    all.push(hex(unowned.capability.expose()));
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn headers_are_what_each_role_needs() {
    let s = secret(1);
    let (conversation, access) = log_keys::conversation(&s, Owned::ByMembers);
    assert_eq!(conversation.append_key, Some(access.append_key()));
    assert_eq!(
        conversation.owner_key,
        access.owner.as_ref().map(SignKey::verify_key)
    );
    assert!(conversation.read_key.is_none() && conversation.flags == Flags::NONE);
    let (group, access) = log_keys::conversation(&s, Owned::ByNobody);
    assert!(group.owner_key.is_none() && access.owner.is_none());
    let (recovery, _) = log_keys::recovery(&s);
    assert!(recovery.owner_key.is_none() && recovery.flags == Flags::RECOVERY);
    let (restart, _) = log_keys::restart(&s);
    assert!(restart.owner_key.is_none() && restart.flags == Flags::NONE);
}

#[test]
fn the_taker_of_an_invite_has_the_inviters_keys_but_not_his_owner_key() {
    let s = secret(1);
    let (header, inviter) = log_keys::invite(&s, SignKey::from_seed(&secret(2)));
    let taker = log_keys::invite_taker(&s, Capability::new(*inviter.capability.expose()));
    assert_eq!(taker.append_key(), inviter.append_key());
    assert_eq!(taker.log_id, inviter.log_id);
    assert!(taker.owner.is_none() && header.owner_key.is_some());
    let aad = crate::support::aad();
    let mut rng = crate::support::rng(1);
    let body = emptyroom_wire::entry::seal(&inviter.outer, &aad, 1, b"state", &mut rng).unwrap();
    let opened = emptyroom_wire::entry::open(&taker.outer, &aad, &body);
    assert_eq!(opened, Ok((1, b"state".to_vec())));
}

// [SPEC 2.3]
#[test]
fn weak_keys_and_bent_signatures_are_refused() {
    const LABEL: &str = "emptyroom v1 test";
    let key = SignKey::from_seed(&secret(1));
    let signature = key.sign(LABEL, &[b"part"]);
    let public = key.verify_key();
    assert_eq!(public.verify(LABEL, &[b"part"], &signature), Ok(()));
    assert!(
        public
            .verify("emptyroom v1 tesu", &[b"part"], &signature)
            .is_err()
    );
    assert!(public.verify(LABEL, &[b"parts"], &signature).is_err());
    for place in 0..64 {
        let mut bent = signature;
        bent.0[place] ^= 1;
        assert!(public.verify(LABEL, &[b"part"], &bent).is_err());
    }
    // The neutral element as key and as first half: without the strict check any message would pass.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut zero = [0; 64];
    zero[0] = 1;
    assert!(
        VerifyKey(neutral)
            .verify(LABEL, &[b"part"], &Signature(zero))
            .is_err()
    );
    assert!(public.verify(LABEL, &[b"part"], &Signature(zero)).is_err());
    assert!(
        VerifyKey([0xff; 32])
            .verify(LABEL, &[b"part"], &signature)
            .is_err()
    );
    assert!(
        public
            .verify(LABEL, &[b"part"], &plus_order(signature))
            .is_err()
    );
}

/// The same signature with the group order added to its second half: a second encoding of it.
fn plus_order(mut signature: Signature) -> Signature {
    let order =
        crate::support::unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0_u16;
    for (byte, add) in signature.0[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    signature
}

#[test]
fn secrets_show_nothing() {
    let (header, access) = log_keys::recovery(&secret(1));
    let shown = format!(
        "{header:?} {:?} {:?} {:?}",
        access.capability,
        access.log_id,
        access.append_key()
    );
    assert_eq!(
        shown,
        "Header(private) Capability(private) LogId(private) VerifyKey(private)"
    );
    assert!(secret(1).same(&secret(1)) && !secret(1).same(&secret(2)));
}

#[test]
fn limits_agree_with_each_other() {
    assert_eq!(limits::ENTRY_CLASSES.last(), Some(&limits::ENTRY_LEN_MAX));
    assert!(limits::ENTRY_CLASSES.is_sorted() && limits::FRAME_CLASSES.is_sorted());
    for (entry, frame) in limits::ENTRY_CLASSES
        .iter()
        .zip(&limits::FRAME_CLASSES[1..])
    {
        assert!(
            entry + 256 <= *frame,
            "an entry of a class fits one frame of the next"
        );
    }
    const { assert!(limits::LOG_COMMIT_RESERVE < limits::LOG_ENTRIES_MAX) };
}
