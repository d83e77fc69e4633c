//! Both ends of a stream: replay, order, lengths, key turning and the end of its day.

use emptyroom_wire::codec::{DecodeFault, encode};
use emptyroom_wire::limits::{FRAME_CLASSES, MESSAGE_LEN_MAX, STREAM_LIFE_MS, STREAM_RATCHET_MS};
use emptyroom_wire::log::LogId;
use emptyroom_wire::op::{Refusal, RefusalCode};
use emptyroom_wire::proof::{self, Purpose, Scope, StreamBinding};
use emptyroom_wire::relay_key::KeyChain;
use emptyroom_wire::sign::SignKey;
use emptyroom_wire::stream::{
    OpenFault, Opening, OpeningFault, OpeningOutcome, RelayFault, RelayStream, SealFault,
    refuse_opening, unknown_key_answer,
};
use emptyroom_wire::time::{HOUR_MS, Mono};

use crate::support::{Relay, SPKI, START, rng, secret, terms};
use crate::vectors::Script;

const T0: Mono = Mono(5_000);

#[test]
fn messages_go_both_ways_and_terms_arrive() {
    let relay = Relay::new(1);
    let (opening, frame) = relay.start(1);
    let (mut there, answer) = relay.accept(&frame, T0, 2);
    let opened = relay.finish(opening, &answer, T0);
    assert_eq!(opened.terms, terms());
    assert_eq!(opened.signed.record, relay.key.signed().record);
    let mut here = opened.stream;
    for round in 0..100_u8 {
        let frame = here.seal(T0, &[round; 40]).unwrap();
        assert_eq!(there.open(T0, &frame), Ok(Some(vec![round; 40])));
        let frame = there.seal(T0, &[round; 4_200]).unwrap();
        assert_eq!(here.open(T0, &frame), Ok(Some(vec![round; 4_200])));
    }
    assert_eq!(here.seal(T0, &[]).unwrap().len(), 528);
}

/// Whether two bindings are the same value, by what is signed over them.
fn same(one: StreamBinding, other: StreamBinding) -> bool {
    let key = SignKey::from_seed(&secret(1));
    let relay = Relay::new(1).identity.hash();
    let sign = |binding: &StreamBinding| {
        proof::sign(
            &key,
            Purpose::Read,
            Scope {
                relay: &relay,
                binding,
                log: LogId([1; 32]),
            },
        )
    };
    sign(&one) == sign(&other)
}

// [SPEC 5.10]
#[test]
fn a_replayed_opening_gives_other_keys() {
    let relay = Relay::new(1);
    let (opening, frame) = relay.start(1);
    let (mut first, answer) = relay.accept(&frame, T0, 2);
    let mut client = relay.finish(opening, &answer, T0).stream;
    let (mut replayed, _) = relay.accept(&frame, T0, 3);
    assert!(same(first.binding(), client.binding()));
    assert!(!same(first.binding(), replayed.binding()));
    let recorded = client.seal(T0, b"append").unwrap();
    assert!(first.open(T0, &recorded).is_ok());
    assert_eq!(replayed.open(T0, &recorded), Err(OpenFault::Seal));
}

// [SPEC 5.10]
#[test]
fn an_answer_of_somebody_without_the_key_is_refused() {
    let relay = Relay::new(1);
    let (_, other_frame) = relay.start(5);
    let (_, other_answer) = relay.accept(&other_frame, T0, 2);
    let refused = |answer: &[u8]| {
        let (opening, _) = relay.start(1);
        opening
            .answer(answer, &relay.chain(), T0, &mut rng(9))
            .err()
    };
    assert_eq!(refused(&other_answer), Some(RelayFault::NotTheRelay));
    let (_, frame) = relay.start(1);
    let (_, answer) = relay.accept(&frame, T0, 2);
    assert_eq!(refused(&answer), None);
    for place in [1, 32, 35, 100, answer.len() - 1] {
        let mut bent = answer.clone();
        bent[place] ^= 1;
        assert_eq!(
            refused(&bent),
            Some(RelayFault::NotTheRelay),
            "byte {place}"
        );
    }
    assert_eq!(
        refused(&[]),
        Some(RelayFault::Malformed(DecodeFault::Truncated))
    );
    assert_eq!(
        refused(&[9]),
        Some(RelayFault::Malformed(DecodeFault::UnknownValue))
    );
    let refusal = Refusal::later(RefusalCode::Busy, 20);
    assert_eq!(
        refused(&refuse_opening(refusal)),
        Some(RelayFault::Refused(refusal))
    );
}

// [SPEC 5.9]
#[test]
fn an_opening_holds_for_one_version_suite_relay_and_record() {
    let relay = Relay::new(1);
    let (_, frame) = relay.start(1);
    let accept = |frame: &[u8]| {
        let at = (&terms(), T0);
        let hash = relay.identity.hash();
        RelayStream::accept(frame, &relay.key, &hash, at, &mut rng(2))
            .map(|(stream, _)| stream.binding())
    };
    let mut version = frame.clone();
    version[1] = 2;
    assert_eq!(accept(&version).err(), Some(OpeningFault::Version));
    let mut suite = frame.clone();
    suite[3] = 2;
    assert_eq!(accept(&suite).err(), Some(OpeningFault::Version));
    let mut record = frame.clone();
    record[4] ^= 1;
    assert_eq!(accept(&record).err(), Some(OpeningFault::UnknownKey));
    let mut bent = frame.clone();
    bent[40] ^= 1;
    assert!(!same(accept(&frame).unwrap(), accept(&bent).unwrap()));
    // The same key under another identity: the client's info names the relay it means.
    let other = Relay::new(2).identity.hash();
    let at = (&terms(), T0);
    let (elsewhere, _) = RelayStream::accept(&frame, &relay.key, &other, at, &mut rng(2)).unwrap();
    assert!(!same(accept(&frame).unwrap(), elsewhere.binding()));
    for len in [0, 1, 36, frame.len() - 1] {
        let fault = OpeningFault::Malformed(DecodeFault::Truncated);
        assert_eq!(accept(&frame[..len]).err(), Some(fault));
    }
    let mut long = frame;
    long.push(0);
    assert_eq!(
        accept(&long).err(),
        Some(OpeningFault::Malformed(DecodeFault::Trailing))
    );
}

// [SPEC 5.17]
#[test]
fn an_unknown_key_is_answered_with_the_current_one_once() {
    let old = Relay::new(1);
    let greeting = old.greeting();
    let mut relay = Relay::new(1);
    relay.key = old.next_key(START.plus_ms(3 * HOUR_MS));
    let mut chain = old.chain();
    chain.walk(
        &old.identity.verify_key(),
        &[old.key.signed().record.clone()],
        START.day(),
    );
    let start = || Opening::start(&greeting, Some(&SPKI), &chain, &mut rng(1)).unwrap();
    let (opening, frame) = start();
    let hash = relay.identity.hash();
    let fault = RelayStream::accept(&frame, &relay.key, &hash, (&terms(), T0), &mut rng(2)).err();
    assert_eq!(fault, Some(OpeningFault::UnknownKey));
    let answer = unknown_key_answer(&relay.key);
    let Ok(OpeningOutcome::Again(again, frame)) = opening.answer(&answer, &chain, T0, &mut rng(3))
    else {
        panic!("opens once more");
    };
    let (mut there, accepted) = relay.accept(&frame, T0, 4);
    let twice = start().0.answer(&answer, &chain, T0, &mut rng(3)).unwrap();
    let OpeningOutcome::Again(twice, _) = twice else {
        panic!("opens once more")
    };
    let fault = twice.answer(&answer, &chain, T0, &mut rng(3)).err();
    assert_eq!(fault, Some(RelayFault::KeyUnknown));
    let Ok(OpeningOutcome::Open(mut opened)) = again.answer(&accepted, &chain, T0, &mut rng(5))
    else {
        panic!("is open");
    };
    assert_eq!(opened.step, emptyroom_wire::relay_key::ChainStep::Linked);
    let frame = opened.stream.seal(T0, b"ping").unwrap();
    assert_eq!(there.open(T0, &frame), Ok(Some(b"ping".to_vec())));
    // Keys of somebody else, and below the head, are refused here as in a greeting.
    let foreign = unknown_key_answer(&Relay::new(2).key);
    let fault = start().0.answer(&foreign, &chain, T0, &mut rng(3)).err();
    assert_eq!(fault, Some(RelayFault::BadStreamKey));
    let mut ahead = KeyChain::new(hash);
    ahead.walk(
        &old.identity.verify_key(),
        &[relay.key.signed().record.clone()],
        START.day(),
    );
    let below = unknown_key_answer(&old.key);
    assert_eq!(
        start().0.answer(&below, &ahead, T0, &mut rng(3)).err(),
        Some(RelayFault::KeyBelow)
    );
    let fault = Opening::start(&greeting, Some(&SPKI), &ahead, &mut rng(1)).err();
    assert_eq!(fault, Some(RelayFault::KeyBelow));
}

// [SPEC 5.13]
#[test]
fn frames_out_of_their_place_are_refused() {
    let relay = Relay::new(1);
    let run =
        |play: &dyn Fn(&[Vec<u8>], &mut RelayStream) -> Result<Option<Vec<u8>>, OpenFault>| {
            let (mut here, mut there) = relay.streams(T0);
            let frames: Vec<Vec<u8>> = (0..3_u8).map(|n| here.seal(T0, &[n]).unwrap()).collect();
            play(&frames, &mut there)
        };
    assert_eq!(
        run(&|frames, there| there.open(T0, &frames[0])),
        Ok(Some(vec![0]))
    );
    let repeated = run(&|frames, there| {
        there.open(T0, &frames[0])?;
        there.open(T0, &frames[0])
    });
    assert_eq!(repeated, Err(OpenFault::Seal));
    let left_out = run(&|frames, there| {
        there.open(T0, &frames[0])?;
        there.open(T0, &frames[2])
    });
    assert_eq!(left_out, Err(OpenFault::Seal));
    assert_eq!(
        run(&|frames, there| there.open(T0, &frames[1])),
        Err(OpenFault::Seal)
    );
    let mirrored = run(&|_, there| {
        let frame = there.seal(T0, b"x").unwrap();
        there.open(T0, &frame)
    });
    assert_eq!(mirrored, Err(OpenFault::Seal));
    for place in [0, 100, 511, 512, 527] {
        let bent = run(&|frames, there| {
            let mut frame = frames[0].clone();
            frame[place] ^= 1;
            there.open(T0, &frame)
        });
        assert_eq!(bent, Err(OpenFault::Seal));
    }
}

// [SPEC 5.14]
#[test]
fn frames_have_few_lengths() {
    let relay = Relay::new(1);
    let (mut here, mut there) = relay.streams(T0);
    for class in FRAME_CLASSES {
        let fits = vec![1; class - 4];
        let frame = here.seal(T0, &fits).unwrap();
        assert_eq!(frame.len(), class + 16);
        assert_eq!(there.open(T0, &frame), Ok(Some(fits)));
    }
    assert_eq!(
        here.seal(T0, &vec![1; MESSAGE_LEN_MAX + 1]),
        Err(SealFault::TooLong)
    );
    // Nothing was spent by the refusal.
    let frame = here.seal(T0, b"next").unwrap();
    for len in [0, 1, 15, 16, 17, 527, 529] {
        let mut other = frame.clone();
        other.resize(len, 0);
        assert_eq!(there.open(T0, &other), Err(OpenFault::Class));
    }
    assert!(there.open(T0, &frame).is_ok());
}

// [SPEC 5.11]
#[test]
fn keys_are_turned_after_ten_minutes_of_traffic() {
    let relay = Relay::new(1);
    let (mut here, mut there) = relay.streams(T0);
    // Unused: nothing to turn, however long it waits.
    assert_eq!(here.turn(T0.plus_ms(HOUR_MS)), None);
    assert_eq!(here.wake_at(), here.ends_at());
    let first = T0.plus_ms(HOUR_MS);
    let frame = here.seal(first, b"a").unwrap();
    there.open(first, &frame).unwrap();
    let due = first.plus_ms(STREAM_RATCHET_MS);
    assert_eq!(here.wake_at(), due);
    assert_eq!(here.turn(Mono(due.0 - 1)), None);
    let turn = here.turn(due).unwrap();
    assert_eq!((turn.len(), there.open(due, &turn)), (528, Ok(None)));
    assert_eq!(here.turn(due), None, "the new key is unused");
    // With a message instead of an empty frame, several times over, in both directions.
    let mut now = due;
    for round in 0..20_u8 {
        now = now.plus_ms(STREAM_RATCHET_MS / 3);
        let frame = here.seal(now, &[round]).unwrap();
        assert_eq!(there.open(now, &frame), Ok(Some(vec![round])));
        let frame = there.seal(now, &[round]).unwrap();
        assert_eq!(here.open(now, &frame), Ok(Some(vec![round])));
    }
}

// [SPEC 5.11]
#[test]
fn a_turned_key_opens_nothing_sealed_before() {
    let relay = Relay::new(1);
    let (mut here, mut there) = relay.streams(T0);
    let recorded = here.seal(T0, b"a").unwrap();
    there.open(T0, &recorded).unwrap();
    let due = T0.plus_ms(STREAM_RATCHET_MS);
    let turn = here.turn(due).unwrap();
    there.open(due, &turn).unwrap();
    // The counter is at 0 again, as it was for the recorded frame: only the key differs.
    assert_eq!(there.open(due, &recorded), Err(OpenFault::Seal));
}

// [SPEC 5.12]
#[test]
fn a_stream_lives_for_a_day() {
    let relay = Relay::new(1);
    let (mut here, mut there) = relay.streams(T0);
    let last = Mono(T0.0 + STREAM_LIFE_MS - 1);
    let end = T0.plus_ms(STREAM_LIFE_MS);
    assert_eq!((here.ends_at(), there.ends_at()), (end, end));
    let frame = here.seal(last, b"late").unwrap();
    assert_eq!(there.open(last, &frame), Ok(Some(b"late".to_vec())));
    let frame = here.seal(last, b"late").unwrap();
    assert_eq!(there.open(end, &frame), Err(OpenFault::Expired));
    assert_eq!(here.seal(end, b"too late"), Err(SealFault::Expired));
    assert_eq!(there.seal(end, b"too late"), Err(SealFault::Expired));
    assert_eq!(here.turn(end), None);
}

// [SPEC 5.15]
#[test]
fn the_inside_of_a_frame_is_checked() {
    use chacha20poly1305::aead::AeadInOut;
    use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};
    // A client whose program was changed: it knows its key, which the vectors let us compute.
    let relay = Relay::new(1);
    let run = |change: &dyn Fn(&mut [u8])| {
        let (key, mut there) = crate::vectors::to_relay_key(&relay, T0);
        let mut frame = vec![0; 512];
        frame[3] = 2;
        change(&mut frame);
        ChaCha20Poly1305::new(&key.into())
            .encrypt_in_place(&Nonce::from([0; 12]), &[], &mut frame)
            .unwrap();
        there.open(T0, &frame)
    };
    assert_eq!(run(&|_| ()), Ok(Some(vec![0, 0])));
    assert_eq!(run(&|frame| frame[0] = 1), Ok(Some(vec![0, 0])));
    assert_eq!(run(&|frame| frame[0] = 2), Err(OpenFault::Frame));
    assert_eq!(run(&|frame| frame[0] = 255), Err(OpenFault::Frame));
    assert_eq!(run(&|frame| frame[6] = 1), Err(OpenFault::Frame));
    assert_eq!(run(&|frame| frame[511] = 1), Err(OpenFault::Frame));
    assert_eq!(
        run(&|frame| frame[2..4].copy_from_slice(&[1, 252]))
            .unwrap()
            .unwrap()
            .len(),
        508
    );
    assert_eq!(
        run(&|frame| frame[2..4].copy_from_slice(&[1, 253])),
        Err(OpenFault::Frame)
    );
    assert_eq!(run(&|frame| frame[1] = 255), Err(OpenFault::Frame));
}

#[test]
fn a_stream_is_small_to_keep() {
    assert!(
        RelayStream::kept_len() <= 200,
        "{} bytes",
        RelayStream::kept_len()
    );
}

// [SPEC 5.19]
#[test]
fn versions_changed_in_the_greeting_show() {
    let relay = Relay::new(1);
    let run = |versions: [u8; 4]| {
        let start = Opening::start(
            &relay.greeting(),
            Some(&SPKI),
            &relay.chain(),
            &mut Script::new(&[8; 64]),
        );
        let welcome = [&versions[..], &encode(&terms()).unwrap()].concat();
        let answer = crate::vectors::answer_by_hand(&relay, &[8; 64], &welcome);
        start
            .unwrap()
            .0
            .answer(&answer, &relay.chain(), T0, &mut rng(9))
            .err()
    };
    assert_eq!(run([0, 1, 0, 1]), None);
    assert_eq!(run([0, 1, 0, 9]), None, "1 is the highest that both speak");
    assert_eq!(run([0, 2, 0, 9]), Some(RelayFault::VersionChanged));
    assert_eq!(run([0, 0, 0, 0]), Some(RelayFault::VersionChanged));
}
