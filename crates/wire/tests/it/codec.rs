//! One value, one encoding: cut, prolonged, changed and oversized messages.

use emptyroom_wire::codec::{DecodeFault, TooLong, decode};
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::limits::{CAST_LEN_MAX, ENTRY_LEN_MAX, MESSAGE_LEN_MAX};
use emptyroom_wire::log::Capability;
use emptyroom_wire::log_keys;
use emptyroom_wire::op::{
    AccessCode, Append, Cast, FromClient, FromRelay, Handle, NewLog, Open, OpenLog, Request, View,
};

use crate::op::{from_client, from_relay};
use crate::support::secret;

// [SPEC 4.2]
#[test]
fn every_message_is_refused_when_cut_or_prolonged() {
    for (name, message) in from_client() {
        let bytes = message.encode().unwrap();
        for len in 0..bytes.len() {
            assert!(
                FromClient::decode(&bytes[..len]).is_err(),
                "{name} cut at {len}"
            );
        }
        let mut long = bytes.clone();
        long.push(0);
        assert!(FromClient::decode(&long).is_err(), "{name} prolonged");
        assert!(
            FromClient::decode(&bytes).is_ok_and(|read| read == message),
            "{name}"
        );
    }
    for (name, message) in from_relay() {
        let bytes = message.encode().unwrap();
        for len in 0..bytes.len() {
            assert!(
                FromRelay::decode(&bytes[..len]).is_err(),
                "{name} cut at {len}"
            );
        }
        let mut long = bytes.clone();
        long.push(0);
        assert!(FromRelay::decode(&long).is_err(), "{name} prolonged");
        assert!(
            FromRelay::decode(&bytes).is_ok_and(|read| read == message),
            "{name}"
        );
    }
}

// [SPEC 4.2]
#[test]
fn every_accepted_change_of_a_byte_is_another_value() {
    for (name, message) in from_client() {
        let bytes = message.encode().unwrap();
        for place in 0..bytes.len().min(400) {
            for change in [1, 0x80, 0xff] {
                let mut bent = bytes.clone();
                bent[place] ^= change;
                if let Ok(read) = FromClient::decode(&bent) {
                    assert_eq!(read.encode().as_ref(), Ok(&bent), "{name} byte {place}");
                    assert!(read != message, "{name} byte {place}");
                }
            }
        }
    }
}

// [SPEC 4.2]
#[test]
fn booleans_and_optionals_are_0_or_1_and_types_are_known() {
    let create = FromClient::decode(&[0, 0, 0, 1, 0]);
    assert!(create.is_ok());
    assert_eq!(
        FromClient::decode(&[0, 0, 0, 1, 10]),
        Err(DecodeFault::UnknownValue)
    );
    assert_eq!(
        FromRelay::decode(&[3, 0, 0, 0, 1, 0]),
        Err(DecodeFault::UnknownValue)
    );
    assert_eq!(
        FromRelay::decode(&[1, 0, 0, 0, 1, 9]),
        Err(DecodeFault::UnknownValue)
    );
    let renew = |option: u8| FromClient::decode(&[0, 0, 0, 1, 4, 0, 0, 0, 9, option]);
    assert!(renew(0).is_ok());
    assert_eq!(renew(1), Err(DecodeFault::Truncated));
    assert_eq!(renew(2), Err(DecodeFault::Invalid));
    let view = |closed: u8| {
        let mut bytes = vec![0; 8 * 3 + 32];
        bytes.push(closed);
        decode::<View>(&bytes)
    };
    assert!(!view(0).unwrap().closed && view(1).unwrap().closed);
    assert_eq!(view(2), Err(DecodeFault::Invalid));
    assert_eq!(view(255), Err(DecodeFault::Invalid));
}

fn append(body: usize, next: usize) -> FromClient {
    let log = || NewLog {
        header: log_keys::recovery(&secret(1)).0,
        first: None,
    };
    FromClient {
        id: 1,
        request: Request::Append(Append {
            handle: Handle(1),
            expect_slots: 0,
            commit: false,
            close: false,
            ttl: Ttl::Day1,
            nonce: [0; 16],
            body: vec![0; body],
            next: (0..next).map(|_| log()).collect(),
            proof: None,
        }),
    }
}

fn open(logs: usize) -> FromClient {
    let log = || OpenLog {
        capability: Capability::new([1; 32]),
        from: 0,
        proof: None,
    };
    FromClient {
        id: 1,
        request: Request::Open(Open {
            logs: (0..logs).map(|_| log()).collect(),
        }),
    }
}

// [SPEC 4.3]
#[test]
fn vectors_and_lists_above_their_limit_are_refused() {
    // As written by us ...
    assert!(append(ENTRY_LEN_MAX, 2).encode().is_ok());
    assert_eq!(append(ENTRY_LEN_MAX + 1, 0).encode(), Err(TooLong));
    assert_eq!(append(0, 3).encode(), Err(TooLong));
    assert!(open(64).encode().is_ok());
    assert_eq!(open(65).encode(), Err(TooLong));
    let cast = |len| FromClient {
        id: 1,
        request: Request::Cast(Cast {
            handle: Handle(1),
            bytes: vec![0; len],
        }),
    };
    assert!(cast(CAST_LEN_MAX).encode().is_ok());
    assert_eq!(cast(CAST_LEN_MAX + 1).encode(), Err(TooLong));
    assert!(AccessCode::new(vec![0; 64]).is_some() && AccessCode::new(vec![0; 65]).is_none());
    assert!(append(ENTRY_LEN_MAX, 2).encode().unwrap().len() <= MESSAGE_LEN_MAX);
    // ... and by somebody else.
    let mut logs = vec![0, 0, 0, 1, 2, 0, 10, 105];
    assert_eq!(65 * 41, (10 << 8) + 105);
    logs.resize(8 + 65 * 41, 0);
    assert_eq!(FromClient::decode(&logs), Err(DecodeFault::TooLong));
    let long_cast = [&[0, 0, 0, 1, 8, 0, 0, 0, 1, 0x10, 0x01][..], &[0; 4_097]].concat();
    assert_eq!(FromClient::decode(&long_cast), Err(DecodeFault::TooLong));
    let mut long_body = append(0, 0).encode().unwrap();
    let place = 4 + 1 + 4 + 8 + 1 + 1 + 1 + 16;
    long_body[place..place + 3].copy_from_slice(&[0x40, 0, 1]);
    assert_eq!(FromClient::decode(&long_body), Err(DecodeFault::TooLong));
    let mut missing_body = append(0, 0).encode().unwrap();
    missing_body[place..place + 3].copy_from_slice(&[0x40, 0, 0]);
    assert_eq!(
        FromClient::decode(&missing_body),
        Err(DecodeFault::Truncated)
    );
}
