//! From a connection to a stream, and who does not get that far.

use emptyroom_relay::store::StoreFailure;
use emptyroom_relay::{Config, ConnId, Input, Limits, Reason, Relay};
use emptyroom_wire::greeting::Greeting;
use emptyroom_wire::op::{Answer, FromClient, Refusal, RefusalCode, Request};
use emptyroom_wire::relay_key::{KeyChain, RelayIdentity};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::stream::{Opening, OpeningOutcome, RelayFault, refuse_opening};
use emptyroom_wire::time::{HOUR_MS, SECOND_MS};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::world::{Client, Log, World, create};

fn opening_frame(world: &mut World) -> (ConnId, Opening, Vec<u8>) {
    let conn = world.connect();
    let greeting = world.frame(conn).unwrap();
    let chain = KeyChain::new(world.identity);
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let (opening, frame) = Opening::start(&greeting, None, &chain, &mut rng).unwrap();
    (conn, opening, frame)
}

#[test]
fn a_stream_opens_with_terms() {
    let mut world = World::new();
    let mut client = world.client();
    assert_eq!(client.terms.time_ms, world.now.wall.0);
    assert_eq!(client.terms.handles_max, 1_024);
    assert!(!client.terms.code_needed);
    let answer = client.ask(&mut world, Request::Ping);
    assert_eq!(answer, Answer::Done);
}

// [SPEC 6.50]
#[test]
fn an_opening_must_come_in_time() {
    let mut world = World::new();
    let conn = world.connect();
    world.pass(30 * SECOND_MS - 1);
    assert_eq!(world.hangup(conn), None);
    world.pass(1);
    assert_eq!(world.hangup(conn), Some(Reason::NoOpening));
}

// [SPEC 6.50]
#[test]
fn what_is_no_opening_ends_the_connection() {
    for len in [0, 1, 100, 1_155, 1_156, 1_157, 4_096, 4_097, 1 << 20] {
        let mut world = World::new();
        let conn = world.connect();
        world.input(Input::Frame(conn, vec![0; len]));
        // A frame of the right length is an opening of version 0.
        let reason = if len == 1_156 {
            Reason::UpdateNeeded
        } else {
            Reason::Malformed
        };
        assert_eq!(world.hangup(conn), Some(reason), "{len}");
    }
    // A right one with anything changed, and with something before the greeting.
    for at in [4, 40, 700, 1_155] {
        let mut world = World::new();
        let (conn, opening, mut frame) = opening_frame(&mut world);
        frame[at] ^= 1;
        world.input(Input::Frame(conn, frame));
        let answer = world.frame(conn);
        let chain = KeyChain::new(world.identity);
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        // The relay notices, or gives an answer that opens for nobody.
        if let Some(answer) = answer {
            let outcome = opening.answer(&answer, &chain, world.now.mono, &mut rng);
            assert!(!matches!(outcome, Ok(OpeningOutcome::Open(_))));
        } else {
            assert_eq!(world.hangup(conn), Some(Reason::Malformed));
        }
    }
}

// [SPEC 4.40]
#[test]
fn an_old_client_is_told() {
    let mut world = World::new();
    let (conn, opening, mut frame) = opening_frame(&mut world);
    frame[..2].copy_from_slice(&9_u16.to_be_bytes());
    world.input(Input::Frame(conn, frame));
    let refusal = Refusal::now(RefusalCode::UpdateNeeded);
    let answer = world.frame(conn).unwrap();
    assert_eq!(answer, refuse_opening(refusal));
    let chain = KeyChain::new(world.identity);
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let outcome = opening.answer(&answer, &chain, world.now.mono, &mut rng);
    assert!(matches!(outcome, Err(RelayFault::Refused(told)) if told == refusal));
    assert_eq!(world.hangup(conn), Some(Reason::UpdateNeeded));
}

#[test]
fn a_replayed_opening_is_worthless() {
    let mut world = World::new();
    let (conn, opening, frame) = opening_frame(&mut world);
    world.input(Input::Frame(conn, frame.clone()));
    let first = world.frame(conn).unwrap();
    let chain = KeyChain::new(world.identity);
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let Ok(OpeningOutcome::Open(mut opened)) =
        opening.answer(&first, &chain, world.now.mono, &mut rng)
    else {
        panic!("no stream");
    };
    let ping = FromClient {
        id: 1,
        request: Request::Ping,
    };
    let request = opened
        .stream
        .seal(world.now.mono, &ping.encode().unwrap())
        .unwrap();
    world.input(Input::Frame(conn, request.clone()));
    assert!(world.frame(conn).is_some());
    // A thief of all these frames gets a stream with other keys: nothing that was sent opens on it.
    let thief = world.connect();
    world.frame(thief);
    world.input(Input::Frame(thief, frame));
    let second = world.frame(thief).unwrap();
    assert_ne!(first, second);
    world.input(Input::Frame(thief, request));
    assert_eq!(world.hangup(thief), Some(Reason::Malformed));
    assert_eq!(world.hangup(conn), None);
}

#[test]
fn a_new_key_is_shown_to_who_has_the_old_one() {
    let mut world = World::new();
    world.pass(HOUR_MS - 10 * SECOND_MS);
    // The hour ends between greeting and opening.
    let (conn, opening, frame) = opening_frame(&mut world);
    world.pass(20 * SECOND_MS);
    assert_eq!(world.records.len(), 2);
    world.input(Input::Frame(conn, frame));
    let answer = world.frame(conn).unwrap();
    let chain = KeyChain::new(world.identity);
    let mut rng = ChaCha20Rng::seed_from_u64(10);
    let Ok(OpeningOutcome::Again(opening, frame)) =
        opening.answer(&answer, &chain, world.now.mono, &mut rng)
    else {
        panic!("not tried again");
    };
    world.input(Input::Frame(conn, frame));
    let answer = world.frame(conn).unwrap();
    let outcome = opening.answer(&answer, &chain, world.now.mono, &mut rng);
    assert!(matches!(outcome, Ok(OpeningOutcome::Open(_))));
}

// [SPEC 6.56]
#[test]
fn a_key_is_shown_once_on_a_connection() {
    let mut world = World::new();
    let (conn, _, mut frame) = opening_frame(&mut world);
    frame[4] ^= 1;
    world.input(Input::Frame(conn, frame.clone()));
    assert!(world.frame(conn).is_some());
    world.input(Input::Frame(conn, frame));
    assert!(world.frame(conn).is_none());
    assert_eq!(world.hangup(conn), Some(Reason::Abuse));
}

// [SPEC 6.53]
#[test]
fn more_connections_than_allowed_are_ended() {
    let limits = Limits {
        streams_max: 2,
        ..Limits::default()
    };
    let mut world = World::with(Config {
        limits,
        ..Config::open()
    });
    let first = world.client();
    world.connect();
    let third = world.connect();
    assert_eq!(world.hangup(third), Some(Reason::Busy));
    assert!(world.frame(third).is_none(), "no greeting");
    world.input(Input::Disconnected(first.conn));
    world.client();
}

// [SPEC 6.160]
#[test]
fn the_more_clients_the_longer_they_spread() {
    let mut world = World::with(Config {
        reconnect_spread_s: 1,
        ..Config::open()
    });
    let mut clients: Vec<Client> = (0..501).map(|_| world.client()).collect();
    let spread_s = |client: &Client| client.terms.reconnect_spread_s;
    assert!(clients[..500].iter().all(|client| spread_s(client) == 1));
    assert_eq!(spread_s(&clients[500]), 2);
    // The most at a time count: after a crowd left, a crowd may come back.
    for client in &clients[2..] {
        world.input(Input::Disconnected(client.conn));
    }
    assert_eq!(spread_s(&world.client()), 2);
    // Whoever is there when the relay stops is told for all.
    world.hold_store = true;
    let [first, second, ..] = &mut clients[..] else {
        panic!("two clients")
    };
    let mut log = Log::new(1);
    log.header.append_key = None;
    first.send(&mut world, create(&log, None));
    world.input(Input::Drain);
    let id = second.send(&mut world, Request::Ping);
    second.receive(&mut world);
    let Some(Answer::Refused(refusal)) = second.answers.get(&id) else {
        panic!("draining")
    };
    assert_eq!(
        (refusal.code, refusal.retry_after_s),
        (RefusalCode::Draining, 2)
    );
    // What an operator asks for is the least.
    let mut world = World::new();
    assert_eq!(spread_s(&world.client()), 10);
}

// [SPEC 6.40]
#[test]
fn nobody_is_greeted_before_the_record_is_durable() {
    let mut world = World::new();
    let identity = world.identity;
    // A relay of its own, whose first record waits.
    let key = RelayIdentity::from_seed(&Secret32::new([7; 32]));
    let rng = Box::new(ChaCha20Rng::seed_from_u64(1));
    world.relay = Relay::new(world.now, key, Vec::new(), Config::open(), rng);
    world.hold_records = true;
    let early = world.connect();
    assert!(world.frame(early).is_none());
    let ticket = world.held_record.unwrap();
    // A full disk is no reason to use the key.
    world.input(Input::KeyRecordPersisted(ticket, Err(StoreFailure::Full)));
    assert!(world.frame(early).is_none());
    world.pass(20 * SECOND_MS);
    assert!(world.frame(early).is_none());
    let late = world.connect();
    world.pass(40 * SECOND_MS);
    assert_eq!(world.hangup(early), Some(Reason::NoOpening));
    assert_eq!(world.hangup(late), Some(Reason::NoOpening));
    let waiting = world.connect();
    let ticket = world.held_record.unwrap();
    world.input(Input::KeyRecordPersisted(ticket, Ok(())));
    let greeting = world.frame(waiting).unwrap();
    let read = Greeting::read(&greeting, &identity, None).unwrap();
    assert!(read.stream_key.record == *world.records.last().unwrap());
}
