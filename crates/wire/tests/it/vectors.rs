//! Our own vectors, `spec/vectors/*.json`: made again from fixed inputs and compared with the files.
//!
//! The streams' keys are computed a second time here, from the text of the specification and not with
//! the crate's own functions.

use core::convert::Infallible;
use std::path::Path;

use emptyroom_wire::address::{Host, RelayAddress, identity_text};
use emptyroom_wire::codec::encode;
use emptyroom_wire::entry::{self, RunningHash, next_hash};
use emptyroom_wire::greeting::Greeting;
use emptyroom_wire::kem::{KemSecretKey, open_from, seal_to};
use emptyroom_wire::link::{InviteBinding, InviteLink, LinkFault};
use emptyroom_wire::log::{Header, LogId};
use emptyroom_wire::log_keys::{self, LogAccess, Owned};
use emptyroom_wire::op::NewLog;
use emptyroom_wire::proof::{self, Purpose, Scope, StreamBinding};
use emptyroom_wire::relay_key::{IdentityHash, KeyChain, RelayIdentity};
use emptyroom_wire::sign::SignKey;
use emptyroom_wire::stream::{Opening, OpeningOutcome, RelayStream};
use emptyroom_wire::time::{Mono, Wall};
use emptyroom_wire::{derive, hash};
use hkdf::Hkdf;
use hpke::aead::ExportOnlyAead;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeS, Serializable};
use rand_chacha::rand_core::{TryCryptoRng, TryRng};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::op::{from_client, from_relay};
use crate::support::{Relay, SPKI, START, aad, hex, outer, secret, terms, unhex};

/// Randomness that is written down: the bytes given, in order.
pub struct Script {
    bytes: Vec<u8>,
}

impl Script {
    pub fn new(bytes: &[u8]) -> Self {
        Script {
            bytes: bytes.to_vec(),
        }
    }
}

impl TryRng for Script {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let rest = self.bytes.split_off(out.len());
        out.copy_from_slice(&self.bytes);
        self.bytes = rest;
        Ok(())
    }
}

impl TryCryptoRng for Script {}

/// Compares with the file; what the code gives now is left in cargo's scratch directory.
fn compare(name: &str, now: &Value) {
    let written = serde_json::to_string_pretty(now).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../spec/vectors")
        .join(name);
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    if stored != written {
        let actual = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&actual, &written).unwrap();
        panic!(
            "{name} differs from what the code gives: {}",
            actual.display()
        );
    }
}

// [SPEC 2.1] [SPEC 2.2] [SPEC 2.3]
#[test]
fn derivations() {
    let label = "emptyroom v1 test";
    let key = SignKey::from_seed(&secret(1));
    compare(
        "derive.json",
        &json!({
            "hash": [
                { "label": label, "parts": "", "out": hex(&hash::labelled(label, &[])) },
                { "label": label, "parts": "616263", "out": hex(&hash::labelled(label, &[b"a", b"bc"])) },
            ],
            "derive": [
                {
                    "secret": hex(&[1; 32]), "label": label, "context": "", "salt": "",
                    "out": hex(derive::expand::<32>(&[1; 32], label, &[]).expose()),
                },
                {
                    "secret": hex(&[1; 32]), "label": label, "context": "01", "salt": "",
                    "out": hex(derive::expand::<64>(&[1; 32], label, &[1]).expose()),
                },
                {
                    "secret": hex(&[1; 32]), "label": label, "context": "", "salt": hex(&[2; 32]),
                    "out": hex(derive::expand_salted::<32>(&[2; 32], &[1; 32], label, &[]).expose()),
                },
            ],
            "sign": {
                "seed": hex(&[1; 32]), "key": hex(&key.verify_key().0), "label": label, "parts": "616263",
                "signature": hex(&key.sign(label, &[b"abc"]).0),
            },
        }),
    );
}

fn log(role: &str, byte: u8, (header, access): (Header, LogAccess)) -> Value {
    json!({
        "role": role,
        "secret": hex(&[byte; 32]),
        "header": hex(&encode(&header).unwrap()),
        "capability": hex(access.capability.expose()),
        "log_id": hex(&access.log_id.0),
        "append_seed": hex(access.append.seed().expose()),
        "owner_seed": access.owner.as_ref().map(|key| hex(key.seed().expose())),
        "outer_key": hex(&outer_key(byte, role)),
    })
}

/// The outer key cannot be read out of an access; here from the text of the clause.
fn outer_key(byte: u8, role: &str) -> [u8; 32] {
    let role = match role {
        "conversation" | "group" => 1,
        "invite" => 2,
        "recovery" => 3,
        _ => 4,
    };
    hkdf_by_hand(&[], &[byte; 32], "emptyroom v1 log outer key", &[role])
}

fn hkdf_by_hand(salt: &[u8], ikm: &[u8], label: &str, context: &[u8]) -> [u8; 32] {
    let mut info = vec![label.len() as u8];
    info.extend_from_slice(label.as_bytes());
    info.extend_from_slice(context);
    let mut out = [0; 32];
    Hkdf::<Sha256>::new(Some(salt), ikm)
        .expand(&info, &mut out)
        .unwrap();
    out
}

// [SPEC 2.4] [SPEC 2.6] [SPEC 2.7] [SPEC 2.8]
#[test]
fn logs() {
    let s = secret(1);
    compare(
        "log.json",
        &json!([
            log(
                "conversation",
                1,
                log_keys::conversation(&s, Owned::ByMembers)
            ),
            log("group", 1, log_keys::conversation(&s, Owned::ByNobody)),
            log(
                "invite",
                1,
                log_keys::invite(&s, SignKey::from_seed(&secret(2)))
            ),
            log("recovery", 1, log_keys::recovery(&s)),
            log("restart", 1, log_keys::restart(&s)),
        ]),
    );
    // The outer keys above are those the crate uses.
    for (access, role) in [
        (
            log_keys::conversation(&s, Owned::ByMembers).1,
            "conversation",
        ),
        (log_keys::recovery(&s).1, "recovery"),
        (log_keys::restart(&s).1, "restart"),
        (
            log_keys::invite(&s, SignKey::from_seed(&secret(2))).1,
            "invite",
        ),
    ] {
        let body = entry::seal(&access.outer, &aad(), 1, b"x", &mut Script::new(&[0; 24])).unwrap();
        let by_hand =
            entry::OuterKey::new(emptyroom_wire::secret::Secret32::new(outer_key(1, role)));
        assert_eq!(entry::open(&by_hand, &aad(), &body), Ok((1, b"x".to_vec())));
    }
}

// [SPEC 3.1] [SPEC 3.4] [SPEC 3.6] [SPEC 3.7]
#[test]
fn entries() {
    let nonce: [u8; 24] = std::array::from_fn(|place| place as u8);
    let body = entry::seal(&outer(7), &aad(), 3, b"content", &mut Script::new(&nonce)).unwrap();
    let first = RunningHash::default().next(0, &aad(), &body);
    let second = first.next(1, &aad(), &body);
    let next = [
        NewLog {
            header: log_keys::conversation(&secret(1), Owned::ByMembers).0,
            first: None,
        },
        NewLog {
            header: log_keys::recovery(&secret(1)).0,
            first: None,
        },
    ];
    let next_bytes: Vec<u8> = next.iter().flat_map(|log| encode(log).unwrap()).collect();
    compare(
        "entry.json",
        &json!({
            "outer_key": hex(&[7; 32]),
            "aad": hex(&encode(&aad()).unwrap()),
            "kind": 3,
            "content": hex(b"content"),
            "nonce": hex(&nonce),
            "entry": hex(&body),
            "running_hash_after_0": hex(&first.0),
            "running_hash_after_1": hex(&second.0),
            "next": hex(&next_bytes),
            "next_hash": hex(&next_hash(&next).unwrap()),
        }),
    );
}

// [SPEC 4.1] [SPEC 4.4] [SPEC 4.13]
#[test]
fn messages() {
    let client = from_client()
        .into_iter()
        .map(|(name, message)| json!({ "name": name, "bytes": hex(&message.encode().unwrap()) }));
    let relay = from_relay()
        .into_iter()
        .map(|(name, message)| json!({ "name": name, "bytes": hex(&message.encode().unwrap()) }));
    compare(
        "op.json",
        &json!({ "from_client": client.collect::<Vec<_>>(), "from_relay": relay.collect::<Vec<_>>() }),
    );
}

// [SPEC 4.11] [SPEC 4.12]
#[test]
fn proofs() {
    let key = SignKey::from_seed(&secret(1));
    let relay = IdentityHash([2; 32]);
    let binding = StreamBinding::new(secret(3));
    let log = LogId([4; 32]);
    let sign = |purpose| {
        hex(&proof::sign(
            &key,
            purpose,
            Scope {
                relay: &relay,
                binding: &binding,
                log,
            },
        )
        .0)
    };
    compare(
        "proof.json",
        &json!({
            "seed": hex(&[1; 32]),
            "relay": hex(&relay.0),
            "binding": hex(&[3; 32]),
            "log_id": hex(&log.0),
            "read": sign(Purpose::Read),
            "append": sign(Purpose::Append),
            "renew": sign(Purpose::Renew),
            "trim_up_to_7": hex(&proof::sign_trim(&key, &relay, log, 7).0),
            "destroy": hex(&proof::sign_destroy(&key, &relay, log).0),
        }),
    );
}

// [SPEC 2.11]
#[test]
fn sealing_to_a_key() {
    let key = KemSecretKey::from_seed(secret(1));
    let randomness: [u8; 64] = std::array::from_fn(|place| place as u8);
    let sealed = seal_to(
        &key.public_key(),
        b"purpose",
        b"secret",
        &mut Script::new(&randomness),
    );
    assert_eq!(open_from(&key, b"purpose", &sealed), Ok(b"secret".to_vec()));
    compare(
        "kem.json",
        &json!({
            "seed": hex(&[1; 32]),
            "public_key": hex(key.public_key().as_bytes()),
            "encapsulation_randomness": hex(&randomness),
            "info": hex(b"purpose"),
            "message": hex(b"secret"),
            "sealed": hex(&sealed),
        }),
    );
}

// [SPEC 5.1] [SPEC 5.2] [SPEC 5.3] [SPEC 5.5]
#[test]
fn relay_keys() {
    let identity = RelayIdentity::from_seed(&secret(1));
    let first = identity.next_stream_key(None, START, &mut Script::new(&[2; 32]));
    let record = &first.signed().record;
    let later = Wall(START.0 + 3_600_000);
    let second = identity.next_stream_key(Some(record), later, &mut Script::new(&[3; 32]));
    let greeting = Greeting::new(&identity, &second, Some(&SPKI));
    compare(
        "relay_key.json",
        &json!({
            "seed": hex(&[1; 32]),
            "identity": hex(&identity.verify_key().0),
            "identity_hash": hex(&identity.hash().0),
            "spki_hash": hex(&SPKI),
            "carrier_binding": hex(&identity.carrier_binding(&SPKI).0),
            "stream_key_seeds": [hex(&[2; 32]), hex(&[3; 32])],
            "records": [hex(&encode(record).unwrap()), hex(&encode(&second.signed().record).unwrap())],
            "record_hashes": [hex(first.hash()), hex(second.hash())],
            "greeting": hex(&greeting.encode()),
        }),
    );
}

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
        &[&relay.key],
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

// [SPEC 7.1] [SPEC 7.2] [SPEC 7.3]
#[test]
fn addresses() {
    let identity = IdentityHash(std::array::from_fn(|place| place as u8));
    let text = format!("relay.example:443/{}?code=Ab-3_z", identity_text(&identity));
    let address = RelayAddress::parse(&text).unwrap();
    let fault = |text: &str| RelayAddress::parse(text).unwrap_err().to_string();
    let plain = address.without_code();
    let refused = [
        plain.replace(":443", ""),
        plain.replace("443", "0"),
        plain.replace("relay", "re lay"),
        plain[..plain.len() - 1].to_owned(),
        plain.replace("443/a", "443/b"),
        plain.replace('/', ""),
        format!("{plain}?code="),
        format!("{plain}?token=x"),
    ];
    compare(
        "address.json",
        &json!({
            "host": address.host.name(),
            "port": address.host.port(),
            "identity_hash": hex(&address.identity.0),
            "code": "Ab-3_z",
            "with_code": address.with_code(),
            "without_code": plain,
            "refused": refused.iter().map(|text| json!({ "text": text, "why": fault(text) })).collect::<Vec<_>>(),
        }),
    );
}

// [SPEC 7.5] [SPEC 7.7] [SPEC 7.8]
#[test]
fn links() {
    let link = crate::link::link();
    let text = link.to_text().unwrap();
    let content = unbase32(text.strip_prefix("emptyroom:").unwrap());
    assert_eq!(link_text(content[0], &content[1..content.len() - 4]), text);
    let damaged = text.replacen(":ae", ":af", 1);
    assert_eq!(InviteLink::parse(&damaged).err(), Some(LinkFault::Damaged));
    let newer = link_text(2, b"anything");
    assert_eq!(
        InviteLink::parse(&newer).err(),
        Some(LinkFault::Newer { version: 2 })
    );
    compare(
        "link.json",
        &json!({
            "hosts": link.hosts.iter().map(Host::to_string).collect::<Vec<_>>(),
            "relay": hex(&link.relay.0),
            "capability": hex(link.capability.expose()),
            "secret": hex(link.secret.expose()),
            "identity_key": hex(&[4; 32]),
            "group_id": hex(&[5; 16]),
            "binding": hex(&InviteBinding::of(&[4; 32], &[5; 16]).0),
            "expires_ms": link.expires.0,
            "bytes": hex(&content),
            "text": text,
            "damaged": damaged,
            "newer": newer,
        }),
    );
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A whole link of any version and content, with a checksum that fits.
pub fn link_text(version: u8, content: &[u8]) -> String {
    let mut bytes = vec![version];
    bytes.extend_from_slice(content);
    let sum = hash::labelled("emptyroom v1 link check", &[&bytes]);
    bytes.extend_from_slice(&sum[..4]);
    let mut bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    bits.resize(bits.len().next_multiple_of(5), 0);
    let letter = |bits: &[u8]| {
        ALPHABET[bits
            .iter()
            .fold(0, |value, bit| value << 1 | usize::from(*bit))]
    };
    let text: Vec<u8> = bits.chunks(5).map(letter).collect();
    format!("emptyroom:{}", String::from_utf8(text).unwrap())
}

fn unbase32(text: &str) -> Vec<u8> {
    let place = |letter: u8| ALPHABET.iter().position(|other| *other == letter).unwrap();
    let bits: String = text
        .bytes()
        .map(|letter| format!("{:05b}", place(letter)))
        .collect();
    let bytes = bits.as_bytes().chunks_exact(8);
    bytes
        .map(|bits| u8::from_str_radix(std::str::from_utf8(bits).unwrap(), 2).unwrap())
        .collect()
}

#[test]
fn hex_is_read_as_it_is_written() {
    assert_eq!(unhex(&hex(&[0, 1, 0xab, 0xff])), [0, 1, 0xab, 0xff]);
}
