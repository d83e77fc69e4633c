//! Our vectors, `spec/vectors/*.json`: made again from fixed inputs and compared with the files.
//!
//! Where a value can be computed from the text of the specification without the crate's functions, it is, a second time.
#![allow(clippy::disallowed_methods, reason = "vectors are files")]

use std::path::Path;

use emptyroom_core::account::{AccountRoot, IdentityKey, OwnKeys};
use emptyroom_core::api::{Burn, RestartReason, Text};
use emptyroom_core::content::{Body, Content, Gap, IntentId, Receipt, TextMessage, TimerChange};
use emptyroom_core::genesis::Binding;
use emptyroom_core::mls::{CommitNote, Group};
use emptyroom_core::position::{History, KeyHead, LogPoint, Position};
use emptyroom_core::restart::{Restart, SignedRestart, hash};
use emptyroom_core::verification;
use emptyroom_core::verification::{Code, number};
use emptyroom_wire::kem::KemSecretKey;
use emptyroom_wire::log::LogId;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::sign::SignKey;
use emptyroom_wire::time::Day;
use hkdf::Hkdf;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::party::TODAY;

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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// D(secret; label; context), from the text of 2.2.
fn derive(secret: &[u8], label: &str, context: &[u8]) -> [u8; 32] {
    let len = [u8::try_from(label.len()).unwrap()];
    let info = [&len[..], label.as_bytes(), context].concat();
    let mut out = [0; 32];
    Hkdf::<Sha256>::new(None, secret)
        .expand(&info, &mut out)
        .unwrap();
    out
}

fn root() -> AccountRoot {
    AccountRoot::from_secret(Secret32::new([1; 32]))
}

/// Keys whose salt and device seed are what a generator of this seed gives first.
fn own(seed: u8) -> (OwnKeys, ChaCha20Rng) {
    let mut rng = ChaCha20Rng::from_seed([seed; 32]);
    (OwnKeys::generate(&root(), TODAY, &mut rng), rng)
}

// [SPEC 8.1] [SPEC 8.2] [SPEC 8.4]
#[test]
fn account() {
    let (own, _) = own(2);
    let record = own.record();
    let (salt, device_seed) = (&record[2..34], &record[34..66]);
    let identity_seed = derive(&[1; 32], "emptyroom v1 identity key", salt);
    let recovery_seed = derive(&[1; 32], "emptyroom v1 recovery key", salt);
    let identity = SignKey::from_seed(&Secret32::new(identity_seed));
    let recovery = KemSecretKey::from_seed(Secret32::new(recovery_seed));
    assert_eq!(own.identity().0, identity.verify_key().0);
    assert!(own.certificate().recovery() == recovery.public_key());
    compare(
        "account.json",
        &json!({
            "root": hex(&[1; 32]),
            "salt": hex(salt),
            "identity_seed": hex(&identity_seed),
            "identity_key": hex(&own.identity().0),
            "recovery_seed": hex(&recovery_seed),
            "recovery_key": hex(own.certificate().recovery().as_bytes()),
            "device_seed": hex(device_seed),
            "device_key": hex(&own.device().0),
            "created_day": TODAY.0,
            "certificate": hex(own.certificate().bytes()),
            "renewed_on_day_21000": hex(own.renewed(&root(), Day(21_000)).bytes()),
        }),
    );
}

// [SPEC 8.13] [SPEC 8.14]
#[test]
fn group() {
    // S_g is an exporter of MLS: what is ours is the label and the context, and the notes of commits.
    let shown = Position {
        restart: 1,
        generation: 2,
        next_seq: 3,
    };
    let note = |note: &CommitNote| hex(&emptyroom_core::fuzz::note_bytes(note));
    let (own, mut rng) = own(3);
    let group = Group::create(&own, &mut rng).unwrap();
    let binding = Binding::of(own.identity(), group.id());
    compare(
        "group.json",
        &json!({
            "identity_key": hex(&own.identity().0),
            "group_id": hex(&group.id().0),
            "binding": hex(&binding.0),
            "exporter_label": "emptyroom v1 generation",
            "exporter_context_of_generation_258": hex(&258u64.to_be_bytes()),
            "note_update": note(&CommitNote::update()),
            "note_closing": note(&CommitNote::closing()),
            "note_join": note(&CommitNote::join(None)),
            "note_join_shown": note(&CommitNote::join(Some(shown))),
        }),
    );
}

// [SPEC 9.1] [SPEC 9.2]
#[test]
fn content() {
    let place = |generation, next_seq| Position {
        restart: 1,
        generation,
        next_seq,
    };
    let point = |position, slots, byte| LogPoint {
        position,
        slots,
        running_hash: [byte; 32],
    };
    let early = History {
        here: LogPoint::default(),
        before: None,
        relay_key: None,
    };
    let late = History {
        here: point(place(3, 21), 2, 0xaa),
        before: Some(point(place(2, 1000), 9, 0xbb)),
        relay_key: Some(KeyHead {
            number: 77,
            hash: [0xcc; 32],
        }),
    };
    let intent = IntentId([0x11; 16]);
    let text = |burn| {
        Body::Text(TextMessage {
            intent,
            sent_at_ms: 1_788_000_000_123,
            burn,
            text: Text::from("a candle: 🕯"),
        })
    };
    let cases = [
        ("seen, nothing read yet", early.clone(), Body::Seen),
        ("text, stays", late.clone(), text(Burn::Never)),
        ("text, burns on reading", early, text(Burn::OnRead)),
        (
            "text, burns after 30 s",
            late.clone(),
            text(Burn::after_ms(30_000).unwrap()),
        ),
        (
            "timer, one hour",
            late.clone(),
            Body::Timer(TimerChange {
                intent,
                changed_at_ms: 1_788_000_000_456,
                burn: Burn::after_ms(3_600_000).unwrap(),
            }),
        ),
        (
            "receipt with a gap",
            late,
            Body::Receipt(Receipt {
                delivered: Some(place(3, 20)),
                read: Some(place(3, 18)),
                gaps: vec![Gap {
                    from: place(2, 5),
                    until_seq: 9,
                }],
            }),
        ),
    ];
    let cases = cases.map(|(what, history, body)| {
        let bytes = Content { history, body }.encode().unwrap();
        json!({ "what": what, "bytes": hex(&bytes) })
    });
    compare("content.json", &json!({ "messages": cases }));
}

// [SPEC 8.30] [SPEC 8.31] [SPEC 8.34] [SPEC 8.36]
#[test]
fn restart() {
    let (maker, mut rng) = own(4);
    let (reader, _) = own(5);
    let log = LogId([6; 32]);
    let restart = Restart {
        counter: 7,
        previous: [8; 32],
        reason: RestartReason::RelayRolledBack,
        shown: Position {
            restart: 0,
            generation: 5,
            next_seq: 40,
        },
        binding: Binding([9; 32]),
    };
    let secret = Secret32::new([0x5e; 32]);
    let members = [reader.certificate().clone()];
    let bytes = restart.seal(&maker, &log, &members, &secret, &mut rng);
    // The seal's info, from the text.
    let label = b"emptyroom v1 restart seal";
    let counter = 7u64.to_be_bytes();
    let info = Sha256::new()
        .chain_update([u8::try_from(label.len()).unwrap()])
        .chain_update(label)
        .chain_update([6; 32])
        .chain_update(counter)
        .chain_update([9; 32])
        .finalize();
    let recovery_seed = derive(
        &[1; 32],
        "emptyroom v1 recovery key",
        &reader.record()[2..34],
    );
    let at = bytes
        .windows(32)
        .position(|window| window == reader.device().0)
        .unwrap();
    let sealed = &bytes[at + 34..at + 34 + 1168];
    let recovery = KemSecretKey::from_seed(Secret32::new(recovery_seed));
    let opened = emptyroom_wire::kem::open_from(&recovery, &info, sealed).unwrap();
    assert_eq!(opened, [0x5e; 32]);
    assert!(SignedRestart::read(&log, &bytes).is_ok());
    compare(
        "restart.json",
        &json!({
            "recovery_log_id": hex(&log.0),
            "maker_certificate": hex(maker.certificate().bytes()),
            "reader_certificate": hex(reader.certificate().bytes()),
            "reader_recovery_seed": hex(&recovery_seed),
            "seal_info": hex(&info),
            "secret": hex(&[0x5e; 32]),
            "restart": hex(&bytes),
            "hash": hex(&hash(&bytes)),
        }),
    );
}

// [SPEC 8.37] [SPEC 8.38]
#[test]
fn verification() {
    let (a, b) = (IdentityKey([0x0a; 32]), IdentityKey([0x0b; 32]));
    // The number, from the text.
    let label = b"emptyroom v1 verification number";
    let long = Sha512::new()
        .chain_update([u8::try_from(label.len()).unwrap()])
        .chain_update(label)
        .chain_update([0x0a; 32])
        .chain_update([0x0b; 32])
        .finalize();
    let by_hand: String = (0..12)
        .map(|group| {
            let mut wide = [0; 8];
            wide[3..].copy_from_slice(&long[group * 5..group * 5 + 5]);
            format!("{:05}", u64::from_be_bytes(wide) % 100_000)
        })
        .collect();
    assert_eq!(number(b, a), by_hand);
    assert_eq!(by_hand.len(), verification::DIGITS);
    let position = LogPoint {
        position: Position {
            restart: 0,
            generation: 4,
            next_seq: 99,
        },
        slots: 2,
        running_hash: [7; 32],
    };
    compare(
        "verification.json",
        &json!({
            "identity_keys": [hex(&a.0), hex(&b.0)],
            "number": by_hand,
            "code": Code::new(b, a, position).text(),
        }),
    );
}
