//! Failing, filling up, stopping, and what time makes due.

use emptyroom_relay::conformance::MemoryRows;
use emptyroom_relay::store::StoreFailure;
use emptyroom_relay::{Config, Input, Reason};
use emptyroom_wire::op::{Answer, Append, Handle, RefusalCode, Request};
use emptyroom_wire::time::{DAY_MS, HOUR_MS, MINUTE_MS};

use crate::world::{Log, World, body, create, message, open};

// [SPEC 6.6]
#[test]
fn a_full_disk_refuses_and_goes_on() {
    let mut world = World::new();
    let mut client = world.client();
    let log = Log::new(1);
    client.create(&mut world, &log);
    let handle = client.open(&mut world, &log, 0).handle;
    let append = client.message(&world, &log, handle, 1);
    world.ledger.rows().failures = vec![StoreFailure::Full; 2];
    let code = client.refused(&mut world, Request::Append(append.clone()));
    assert_eq!(code, RefusalCode::StorageFull);
    let code = client.refused(&mut world, create(&Log::new(2), None));
    assert_eq!(code, RefusalCode::StorageFull);
    // Space again: the same append goes through, and was not stored before.
    let Answer::Appended(appended) = client.ask(&mut world, Request::Append(append)) else {
        panic!("not appended");
    };
    assert_eq!(appended.seq, 0);
    client.receive(&mut world);
    assert_eq!(client.seqs(handle), [0]);
}

// [SPEC 6.6]
#[test]
fn a_full_disk_does_not_lose_readers() {
    let mut world = World::new();
    let (mut client, mut reader) = (world.client(), world.client());
    let log = Log::new(1);
    client.create(&mut world, &log);
    let handle = client.open(&mut world, &log, 0).handle;
    let append = client.message(&world, &log, handle, 1);
    client.send(&mut world, Request::Append(append));
    // The reader's read and a write share the batch that fails.
    world.hold_store = true;
    reader.send(&mut world, open(&log, 0, None));
    world.ledger.rows().failures = vec![StoreFailure::Full];
    let late = message(handle, 2);
    let id = client.send(&mut world, Request::Append(late));
    world.run_store();
    world.release_store();
    client.receive(&mut world);
    reader.receive(&mut world);
    assert!(matches!(client.answers[&id], Answer::Refused(_)));
    assert!(
        world.batches.ends_with(&[2, 1]),
        "together, then the read again"
    );
    assert_eq!(reader.seqs(Handle(0)), [0]);
}

// [SPEC 6.5] [SPEC 6.3]
#[test]
fn a_broken_store_stops_the_relay_unacknowledged() {
    let mut world = World::new();
    let (mut client, other) = (world.client(), world.client());
    let log = Log::new(1);
    client.create(&mut world, &log);
    let handle = client.open(&mut world, &log, 0).handle;
    let broken = StoreFailure::Broken("sync");
    world.ledger.rows().failures = vec![broken];
    let append = client.message(&world, &log, handle, 1);
    let id = client.send(&mut world, Request::Append(append));
    client.receive(&mut world);
    assert!(!client.answers.contains_key(&id) && client.seqs(handle).is_empty());
    assert_eq!(world.stopped, Some(Err(broken)));
    for conn in [client.conn, other.conn] {
        assert_eq!(world.hangup(conn), Some(Reason::StoreFailed));
    }
    // Nothing more happens, and the store itself refuses to go on.
    world.input(Input::Tick);
    assert_eq!(world.relay.wake_at(), None);
    use emptyroom_relay::store::Store;
    assert_eq!(world.ledger.expire(world.now.wall), Err(broken));
    // A damaged row is no better.
    let mut world = World::new();
    let mut client = world.client();
    client.create(&mut world, &log);
    for (_, row) in world.ledger.rows().lasting.values_mut() {
        row[100] ^= 1;
    }
    client.send(&mut world, open(&log, 0, None));
    assert!(matches!(world.stopped, Some(Err(StoreFailure::Broken(_)))));
}

// [SPEC 6.52]
#[test]
fn what_waits_for_the_store_has_a_limit() {
    let mut world = World::new();
    let mut clients: Vec<_> = (0..3).map(|_| world.client()).collect();
    let log = Log::new(1);
    clients[0].create(&mut world, &log);
    let handles: Vec<_> = clients
        .iter_mut()
        .map(|client| client.open(&mut world, &log, 0).handle)
        .collect();
    world.hold_store = true;
    clients[0].send(&mut world, create(&Log::new(2), None));
    let mut number = 0;
    let mut taken = 0;
    let refusal = loop {
        let at = number as usize % 3;
        let append = Append {
            body: body(number, 4 << 20),
            ..clients[at].message(&world, &log, handles[at], number)
        };
        number += 1;
        let id = clients[at].send(&mut world, Request::Append(append));
        clients[at].receive(&mut world);
        match clients[at].answers.remove(&id) {
            Some(answer) => break answer,
            None => taken += 1,
        }
    };
    assert_eq!(taken, 16, "64 MiB");
    assert!(
        matches!(refusal, Answer::Refused(refusal) if refusal.code == RefusalCode::Busy && refusal.retry_after_s > 0)
    );
    // Small things still go, and all that was taken is decided.
    let id = clients[0].send(&mut world, open(&Log::new(2), 0, None));
    world.release_store();
    clients[0].receive(&mut world);
    assert!(matches!(clients[0].answers[&id], Answer::Opened(_)));
    let largest = world.batches.iter().max().unwrap();
    assert!(*largest <= 5, "no batch of more than 16 MiB but {largest}");
}

// [SPEC 6.54]
#[test]
fn stopping_answers_what_was_taken() {
    let mut world = World::new();
    let (mut client, idle) = (world.client(), world.client());
    let log = Log::new(1);
    client.create(&mut world, &log);
    let handle = client.open(&mut world, &log, 0).handle;
    world.hold_store = true;
    for number in 1..4 {
        let append = client.message(&world, &log, handle, number);
        client.send(&mut world, Request::Append(append));
    }
    world.input(Input::Drain);
    assert_eq!(world.stopped, None);
    let late = Request::Append(message(handle, 9));
    let late = client.send(&mut world, late);
    let newcomer = world.connect();
    assert_eq!(world.hangup(newcomer), Some(Reason::Stopping));
    world.release_store();
    client.receive(&mut world);
    assert!(
        matches!(client.answers[&late], Answer::Refused(refusal) if refusal.code == RefusalCode::Draining)
    );
    let appended = client
        .answers
        .values()
        .filter(|answer| matches!(answer, Answer::Appended(_)));
    assert_eq!(appended.count(), 3);
    assert_eq!(client.seqs(handle), [0, 1, 2]);
    for conn in [client.conn, idle.conn] {
        assert_eq!(world.hangup(conn), Some(Reason::Stopping));
    }
    assert_eq!(world.stopped, Some(Ok(())));
    // An idle relay stops at once.
    let mut world = World::new();
    world.input(Input::Drain);
    assert_eq!(world.stopped, Some(Ok(())));
}

// [SPEC 6.24] [SPEC 6.20]
#[test]
fn what_has_run_out_is_removed_when_the_day_ends() {
    // Not on the hour, so that an hourly look is not enough.
    let wall_ms = 20_000 * DAY_MS + 20 * MINUTE_MS;
    let mut world = World::from(Config::open(), MemoryRows::default(), Vec::new(), wall_ms);
    let mut client = world.client();
    let log = Log::new(1);
    client.create(&mut world, &log);
    let handle = client.open(&mut world, &log, 0).handle;
    let append = Append {
        ttl: emptyroom_wire::entry::Ttl::Day1,
        ..client.message(&world, &log, handle, 1)
    };
    client.ask(&mut world, Request::Append(append));
    world.pass(2 * DAY_MS - 1 - world.now.wall.0 % DAY_MS);
    assert_eq!(world.disk().entries.len(), 1);
    world.pass(2);
    assert!(world.disk().entries.is_empty());
}

// [SPEC 6.40] [SPEC 6.41]
#[test]
fn stream_keys_make_one_chain_and_are_served() {
    let mut world = World::new();
    world.pass(10 * HOUR_MS + MINUTE_MS);
    assert_eq!(world.records.len(), 11, "one an hour");
    for pair in world.records.windows(2) {
        assert_eq!(pair[1].previous, pair[0].hash(&world.identity));
        assert!(pair[1].number > pair[0].number);
    }
    let mut client = world.client();
    let after = world.records[3].number;
    let Answer::KeyRecords(served) = client.ask(&mut world, Request::KeyRecords(after)) else {
        panic!("no records");
    };
    assert!(served.records == world.records[4..]);
    // After a restart the chain goes on, on another day the old ones are dropped; the newest is always there.
    let records = world.records.clone();
    let mut later = World::from(
        Config::open(),
        MemoryRows::default(),
        records,
        world.now.wall.0 + 100 * DAY_MS,
    );
    assert_eq!(later.records.len(), 12);
    assert_eq!(
        later.records[11].previous,
        later.records[10].hash(&later.identity)
    );
    let mut client = later.client();
    let Answer::KeyRecords(served) = client.ask(&mut later, Request::KeyRecords(0)) else {
        panic!("no records");
    };
    assert!(served.records == later.records[11..]);
}

#[test]
fn the_shells_mistakes_do_not_pass_as_answers() {
    let mut world = World::new();
    let mut client = world.client();
    world.hold_store = true;
    client.send(&mut world, create(&Log::new(1), None));
    let (ticket, _) = world.at_store.take().unwrap();
    world.input(Input::Stored(ticket, Ok(Vec::new())));
    assert!(matches!(world.stopped, Some(Err(StoreFailure::Broken(_)))));
}
