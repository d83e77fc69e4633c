//! Our own vectors, `spec/vectors/*.json`: made again from fixed inputs and compared with the files.

use core::convert::Infallible;
use std::path::Path;

use emptyroom_wire::codec::encode;
use emptyroom_wire::entry::{self, RunningHash, next_hash};
use emptyroom_wire::greeting::Greeting;
use emptyroom_wire::kem::{KemSecretKey, open_from, seal_to};
use emptyroom_wire::log::{Header, LogId};
use emptyroom_wire::log_keys::{self, LogAccess, Owned};
use emptyroom_wire::op::NewLog;
use emptyroom_wire::proof::{self, Purpose, Scope, StreamBinding};
use emptyroom_wire::relay_key::{IdentityHash, RelayIdentity};
use emptyroom_wire::sign::SignKey;
use emptyroom_wire::time::Wall;
use emptyroom_wire::{derive, hash};
use hkdf::Hkdf;
use rand_chacha::rand_core::{TryCryptoRng, TryRng};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::op::{from_client, from_relay};
use crate::support::{SPKI, START, aad, hex, outer, secret, unhex};

mod kill;
mod links;
mod shares;
mod streams;

pub use links::link_text;
pub use streams::{answer_by_hand, to_relay_key};

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

#[test]
fn hex_is_read_as_it_is_written() {
    assert_eq!(unhex(&hex(&[0, 1, 0xab, 0xff])), [0, 1, 0xab, 0xff]);
}
