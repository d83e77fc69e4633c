//! Streams, computed a second time from the text of the specification and not with the crate's own functions.

use emptyroom_wire::codec::encode;
use emptyroom_wire::log::LogId;
use emptyroom_wire::proof::{self, Purpose, Scope, StreamBinding};
use emptyroom_wire::relay_key::{KeyChain, RelayIdentity};
use emptyroom_wire::sign::SignKey;
use emptyroom_wire::stream::{Opening, OpeningOutcome, RelayStream};
use emptyroom_wire::time::Mono;
use hpke::aead::ExportOnlyAead;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeS, Serializable};
use serde_json::json;

use super::{Script, compare, hkdf_by_hand};
use crate::support::{Relay, SPKI, START, hex, secret, terms};

/// What both ends derive, computed from the text of clause 5.10.
struct Keys {
    base: [u8; 32],
    to_relay: [u8; 32],
    to_client: [u8; 32],
    binding: [u8; 32],
}

fn keys(exported: &[u8; 32], nonce: &[u8]) -> Keys {
    let base = hkdf_by_hand(nonce, exported, "emptyroom v1 stream base", &[]);
    let part = |label| hkdf_by_hand(&[], &base, label, &[]);
    Keys {
        base,
        to_relay: part("emptyroom v1 stream to relay"),
        to_client: part("emptyroom v1 stream to client"),
        binding: part("emptyroom v1 stream binding"),
    }
}

/// A client made by hand: its opening and the exported secret.
fn opening_by_hand(relay: &Relay, randomness: &[u8; 64]) -> (Vec<u8>, Vec<u8>, [u8; 32]) {
    let label = "emptyroom v1 stream opening";
    let mut info = vec![label.len() as u8];
    info.extend_from_slice(label.as_bytes());
    info.extend_from_slice(&[0, 1, 0, 1]);
    info.extend_from_slice(&relay.identity.hash().0);
    info.extend_from_slice(relay.key.hash());
    let key = <XWing as Kem>::PublicKey::from_bytes(relay.key.signed().key.as_bytes()).unwrap();
    let mut rng = Script::new(randomness);
    let (encapsulated, context) = hpke::setup_sender_with_rng::<ExportOnlyAead, HkdfSha256, XWing>(
        &OpModeS::Base,
        &key,
        &info,
        &mut rng,
    )
    .unwrap();
    let mut exported = [0; 32];
    context
        .export(b"emptyroom v1 stream export", &mut exported)
        .unwrap();
    let mut frame = vec![0, 1, 0, 1];
    frame.extend_from_slice(relay.key.hash());
    frame.extend_from_slice(&encapsulated.to_bytes());
    (frame, info, exported)
}

/// A relay's end of a stream and the key that its client would use.
pub fn to_relay_key(relay: &Relay, now: Mono) -> ([u8; 32], RelayStream) {
    let (frame, _, exported) = opening_by_hand(relay, &[8; 64]);
    let (stream, answer) = relay.accept(&frame, now, 2);
    (keys(&exported, &answer[1..33]).to_relay, stream)
}

/// An answer with any welcome, for an opening made with this randomness.
pub fn answer_by_hand(relay: &Relay, randomness: &[u8; 64], welcome: &[u8]) -> Vec<u8> {
    use chacha20poly1305::aead::AeadInOut;
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};
    let (_, _, exported) = opening_by_hand(relay, randomness);
    let mut frame = vec![0, 0, 0, welcome.len() as u8];
    frame.extend_from_slice(welcome);
    frame.resize(512, 0);
    ChaCha20Poly1305::new(&keys(&exported, &[6; 32]).to_client.into())
        .encrypt_in_place(&Nonce::from([0; 12]), &[], &mut frame)
        .unwrap();
    let mut answer = vec![1];
    answer.extend_from_slice(&[6; 32]);
    answer.extend_from_slice(&528_u16.to_be_bytes());
    answer.append(&mut frame);
    answer
}

// [SPEC 5.9] [SPEC 5.10] [SPEC 5.11] [SPEC 5.13]
#[test]
fn streams() {
    let identity = RelayIdentity::from_seed(&secret(1));
    let key = identity.next_stream_key(None, START, &mut Script::new(&[2; 32]));
    let relay = Relay { identity, key };
    let randomness: [u8; 64] = std::array::from_fn(|place| place as u8);
    let (frame, info, exported) = opening_by_hand(&relay, &randomness);
    let at = |ms| Mono(ms);
    let (opening, own_frame) = Opening::start(
        &relay.greeting(),
        Some(&SPKI),
        &KeyChain::new(relay.identity.hash()),
        &mut Script::new(&randomness),
    )
    .unwrap();
    assert_eq!(
        own_frame, frame,
        "the crate and the text give the same opening"
    );
    let hash = relay.identity.hash();
    let (mut there, answer) = RelayStream::accept(
        &frame,
        &relay.key,
        &hash,
        (&terms(), at(0)),
        &mut Script::new(&[5; 32]),
    )
    .unwrap();
    let chain = KeyChain::new(hash);
    let outcome = opening
        .answer(&answer, &chain, at(0), &mut Script::new(&[]))
        .unwrap();
    let OpeningOutcome::Open(opened) = outcome else {
        panic!("is open")
    };
    let mut here = opened.stream;
    let keys = keys(&exported, &[5; 32]);
    let log = LogId([4; 32]);
    let sign = |binding: &StreamBinding| {
        proof::sign(
            &SignKey::from_seed(&secret(1)),
            Purpose::Append,
            Scope {
                relay: &hash,
                binding,
                log,
            },
        )
    };
    let by_hand = StreamBinding::new(emptyroom_wire::secret::Secret32::new(keys.binding));
    assert_eq!(sign(&here.binding()), sign(&by_hand));
    let first = here.seal(at(0), b"ping").unwrap();
    let turning = here.seal(at(600_000), b"ping").unwrap();
    let turned = here.seal(at(600_000), b"ping").unwrap();
    for frame in [&first, &turning, &turned] {
        assert_eq!(there.open(at(600_000), frame), Ok(Some(b"ping".to_vec())));
    }
    compare(
        "stream.json",
        &json!({
            "identity_seed": hex(&[1; 32]),
            "stream_key_seed": hex(&[2; 32]),
            "stream_key_made_ms": START.0,
            "encapsulation_randomness": hex(&randomness),
            "info": hex(&info),
            "opening": hex(&frame),
            "exported": hex(&exported),
            "nonce": hex(&[5; 32]),
            "base": hex(&keys.base),
            "to_relay": hex(&keys.to_relay),
            "to_client": hex(&keys.to_client),
            "binding": hex(&keys.binding),
            "welcome": format!("00010001{}", hex(&encode(&terms()).unwrap())),
            "answer": hex(&answer),
            "message": hex(b"ping"),
            "frame_0": hex(&first),
            "frame_1_turning": hex(&turning),
            "to_relay_turned": hex(&hkdf_by_hand(&[], &keys.to_relay, "emptyroom v1 stream turn", &[])),
            "frame_0_turned": hex(&turned),
        }),
    );
}
