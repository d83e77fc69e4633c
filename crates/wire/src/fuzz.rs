//! One function per parser: any bytes go in, nothing may panic, and what is accepted must have been
//! its own only encoding.
//!
//! The corpus lies in `fuzz-corpus/NAME`; it is replayed and mutated by the tests, and `cargo fuzz`
//! starts from it. Keys are fixed, so that inputs found once stay inputs.

use core::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

use crate::address::{Host, RelayAddress};
use crate::codec::{decode, encode};
use crate::entry::{self, Aad, OuterKey, Ttl};
use crate::framing::Deframer;
use crate::greeting::{Greeting, Terms};
use crate::kem::{self, KemSecretKey};
use crate::kill::KillLink;
use crate::link::InviteLink;
use crate::log::{Header, LogId};
use crate::op::{FromClient, FromRelay};
use crate::relay_key::{Head, KeyChain, KeyRecord, RelayIdentity, StreamKey};
use crate::secret::{Private, Secret32};
use crate::stream::{self, Opening, RelayStream};
use crate::time::{Day, Mono, Wall};
use crate::wipe::{self, WipeOrder, WipePolicy};

/// A parser's name (that of its corpus) and function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, for replaying and mutating corpora.
pub const TARGETS: [Target; 16] = [
    ("from_client", fuzz_from_client),
    ("from_relay", fuzz_from_relay),
    ("header", fuzz_header),
    ("entry", fuzz_entry),
    ("entry_plain", fuzz_entry_plain),
    ("greeting", fuzz_greeting),
    ("opening", fuzz_opening),
    ("opening_answer", fuzz_opening_answer),
    ("frame", fuzz_frame),
    ("framing", fuzz_framing),
    ("key_chain", fuzz_key_chain),
    ("sealed_to", fuzz_sealed_to),
    ("address", fuzz_address),
    ("link", fuzz_link),
    ("wipe_order", fuzz_wipe_order),
    ("kill_link", fuzz_kill_link),
];

/// A client's message.
pub fn fuzz_from_client(data: &[u8]) {
    if let Ok(message) = FromClient::decode(data) {
        assert_eq!(message.encode().as_deref(), Ok(data), "one encoding");
    }
}

/// A relay's message.
pub fn fuzz_from_relay(data: &[u8]) {
    if let Ok(message) = FromRelay::decode(data) {
        assert_eq!(message.encode().as_deref(), Ok(data), "one encoding");
    }
}

/// A header, as a relay's store keeps it.
pub fn fuzz_header(data: &[u8]) {
    if let Ok(header) = decode::<Header>(data) {
        assert_eq!(encode(&header).as_deref(), Ok(data), "one encoding");
        let _ = header.capability();
    }
}

/// An entry's outside, under a key that everybody knows.
pub fn fuzz_entry(data: &[u8]) {
    let _ = entry::open(&OuterKey::new(Secret32::new([7; 32])), &aad(), data);
}

/// An entry's inside: what somebody who knows the outer key may have sealed.
pub fn fuzz_entry_plain(data: &[u8]) {
    let _ = entry::unpad(data);
}

/// A relay's greeting, with and without a certificate.
pub fn fuzz_greeting(data: &[u8]) {
    let relay = identity().hash();
    let with = Greeting::read(data, &relay, Some(&[9; 32]));
    if let Ok(greeting) = Greeting::read(data, &relay, None) {
        assert_eq!(greeting.encode(), data, "one encoding");
    }
    drop(with);
}

/// A client's opening, at a relay.
pub fn fuzz_opening(data: &[u8]) {
    let (identity, key) = relay();
    let at = (&terms(), Mono(0));
    let _ = RelayStream::accept(data, &key, &identity.hash(), at, &mut Fixed);
}

/// A relay's answer to an opening, at a client.
pub fn fuzz_opening_answer(data: &[u8]) {
    let (identity, key) = relay();
    let chain = KeyChain::new(identity.hash());
    let public = identity.verify_key();
    let signed = key.signed().clone();
    if let Ok((opening, _)) = Opening::with_key(public, 1, signed, &chain, &mut Fixed) {
        let _ = opening.answer(data, &chain, Mono(0), &mut Fixed);
    }
}

/// The inside of a frame: what the other end may have sealed.
pub fn fuzz_frame(data: &[u8]) {
    stream::fuzz_unframe(data);
}

/// A carrier's bytes, in pieces; the first byte says how large.
pub fn fuzz_framing(data: &[u8]) {
    let Some((piece, data)) = data.split_first() else {
        return;
    };
    let mut deframer = Deframer::new(300);
    for piece in data.chunks(usize::from(*piece) + 1) {
        deframer.push(piece);
        loop {
            match deframer.next_frame() {
                Ok(Some(frame)) => assert!(!frame.is_empty() && frame.len() <= 300, "bounded"),
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(deframer.held_len() <= 4 + 300, "bounded");
    }
}

/// A stored chain, then records and a claim that follow it in the same bytes.
pub fn fuzz_key_chain(data: &[u8]) {
    let _ = decode::<KeyRecord>(data);
    let Ok(mut chain) = KeyChain::decode(data) else {
        return;
    };
    assert_eq!(chain.encode(), data, "one encoding");
    let (identity, key) = relay();
    let _ = chain.claim(Head {
        number: 3,
        hash: Private([1; 32]),
    });
    let records = [key.signed().record.clone()];
    let _ = chain.walk(&identity.verify_key(), &records, Day(20_000));
    let _ = chain.encode();
}

/// Bytes that claim to be sealed to our recovery key.
pub fn fuzz_sealed_to(data: &[u8]) {
    let key = KemSecretKey::from_seed(Secret32::new([5; 32]));
    let _ = kem::open_from(&key, b"fuzz", data);
}

/// A relay's address.
pub fn fuzz_address(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let _ = Host::parse(text);
    if let Ok(address) = RelayAddress::parse(text) {
        let again = RelayAddress::parse(&address.with_code());
        assert_eq!(again, Ok(address), "what is written is read again");
    }
}

/// An invite link.
pub fn fuzz_link(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    if let Ok(link) = InviteLink::parse(text) {
        let written = link.to_text().unwrap_or_default();
        assert!(
            InviteLink::parse(&written).is_ok(),
            "what is written is read again"
        );
    }
}

/// The text of a kill code.
pub fn fuzz_kill_link(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    if let Ok(link) = KillLink::parse(text) {
        let again = link.to_text().expect("it was read");
        assert!(KillLink::parse(&again).is_ok_and(|link| link.to_text() == Ok(again.clone())));
    }
}

/// An order to wipe, as anybody may append it; none of these is signed by the key.
pub fn fuzz_wipe_order(data: &[u8]) {
    let Ok(order) = decode::<WipeOrder>(data) else {
        return;
    };
    assert_eq!(encode(&order).as_deref(), Ok(data), "one encoding");
    let policy = WipePolicy {
        needed: 1,
        switch_id: order.body.switch_id,
        keys: vec![identity().verify_key()],
    };
    assert!(wipe::judge(&order, &policy, Wall(0)).is_err(), "unsigned");
}

fn identity() -> RelayIdentity {
    RelayIdentity::from_seed(&Secret32::new([3; 32]))
}

fn relay() -> (RelayIdentity, StreamKey) {
    let identity = identity();
    let key = identity.next_stream_key(None, Wall(1_800_000_000_000), &mut Fixed);
    (identity, key)
}

fn terms() -> Terms {
    Terms {
        time_ms: 1_800_000_000_000,
        reconnect_spread_s: 30,
        entry_len_max: 4 << 20,
        handles_max: 1_000,
        requests_max: 64,
        code_needed: true,
    }
}

fn aad() -> Aad {
    Aad {
        log_id: LogId([1; 32]),
        expect_slots: 2,
        commit: false,
        close: false,
        ttl: Ttl::Day30,
        nonce: [4; 16],
        next_hash: [0; 32],
    }
}

/// The same bytes every time: inputs must not depend on chance.
struct Fixed;

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0x2a2a_2a2a)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0x2a2a_2a2a_2a2a_2a2a)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        dst.fill(0x2a);
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}
