//! Failing, filling up, stopping, and what time makes due.

use emptyroom_relay::conformance::MemoryRows;
use emptyroom_relay::store::StoreFailure;
use emptyroom_relay::{Config, Input, Output, Reason, Relay};
use emptyroom_wire::op::{Answer, Append, Handle, RefusalCode, Request};
use emptyroom_wire::relay_key::RelayIdentity;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

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

// [SPEC 6.5]
#[test]
fn after_a_failed_write_nothing_is_written_and_what_is_durable_is_served() {
    let mut world = World::new();
    let (mut client, mut reader) = (world.client(), world.client());
    let log = Log::new(1);
    client.create(&mut world, &log);
    let handle = client.open(&mut world, &log, 0).handle;
    for number in 0..3 {
        let append = client.message(&world, &log, handle, number);
        client.ask(&mut world, Request::Append(append));
    }
    let broken = StoreFailure::Broken("sync");
    world.ledger.rows().failures = vec![broken];
    let before = world.disk();
    // One batch at the store that writes and reads, and more of both behind it.
    world.hold_store = true;
    let (mut mixed, mut waiting, mut behind) = (world.client(), world.client(), world.client());
    mixed.send(&mut world, open(&log, 0, None));
    let append = client.message(&world, &log, handle, 3);
    let unknown = client.send(&mut world, Request::Append(append));
    reader.send(&mut world, open(&log, 0, None));
    world.run_store();
    let waits = waiting.send(&mut world, create(&Log::new(2), None));
    behind.send(&mut world, open(&log, 0, None));
    world.run_store();
    // Whether it was stored nobody knows, so nothing is said.
    client.receive(&mut world);
    assert!(!client.answers.contains_key(&unknown));
    assert_eq!(client.seqs(handle), [0, 1, 2]);
    assert_eq!(world.hangup(client.conn), Some(Reason::StoreFailed));
    assert_eq!(world.relay.failure(), Some(broken));
    world.release_store();
    // What waited is refused where it writes, and done where it reads.
    waiting.receive(&mut world);
    let Answer::Refused(refusal) = waiting.answers[&waits] else {
        panic!("not refused")
    };
    assert_eq!(refusal.code, RefusalCode::StoreFailed);
    assert!(refusal.retry_after_s > 0);
    for at in [&mut mixed, &mut behind, &mut reader] {
        at.receive(&mut world);
        assert_eq!(at.seqs(Handle(0)), [0, 1, 2]);
        assert_eq!(world.hangup(at.conn), None);
    }
    // Newcomers read, too; days go by, and nothing is asked of the disk but reads.
    world.pass(3 * DAY_MS);
    let mut late = world.client();
    let handle = late.open(&mut world, &log, 1).handle;
    late.receive(&mut world);
    assert_eq!(late.seqs(handle), [1, 2]);
    let append = late.message(&world, &log, handle, 9);
    let renew = emptyroom_wire::op::Renew {
        handle,
        proof: None,
    };
    let trim = emptyroom_wire::op::Trim {
        handle,
        up_to: 1,
        signature: emptyroom_wire::proof::sign_trim(
            &log.owner,
            &world.identity,
            log.capability().log_id(),
            1,
        ),
    };
    let destroy = emptyroom_wire::op::Destroy {
        capability: log.capability(),
        signature: emptyroom_wire::proof::sign_destroy(
            &log.owner,
            &world.identity,
            log.capability().log_id(),
        ),
    };
    for request in [
        Request::Append(append),
        create(&Log::new(3), None),
        Request::Renew(renew),
        Request::Trim(trim),
        Request::Destroy(destroy),
    ] {
        let code = late.refused(&mut world, request);
        assert_eq!(code, RefusalCode::StoreFailed);
    }
    let disk = world.disk();
    assert!(disk.lasting == before.lasting && disk.entries == before.entries);
    assert_eq!(world.records.len(), 1, "no new stream key");
    // Told to stop, it does, and says how it ended.
    world.input(Input::Drain);
    assert_eq!(world.stopped, Some(Err(broken)));
}

// [SPEC 6.5] [SPEC 6.20]
#[test]
fn what_runs_out_on_a_failed_disk_is_not_served() {
    let mut world = World::new();
    let mut client = world.client();
    let log = Log::new(1);
    client.create(&mut world, &log);
    let handle = client.open(&mut world, &log, 0).handle;
    let append = Append {
        ttl: emptyroom_wire::entry::Ttl::Day1,
        ..client.message(&world, &log, handle, 1)
    };
    client.ask(&mut world, Request::Append(append));
    world.input(Input::StoreFailed(StoreFailure::Broken("tidying")));
    world.pass(2 * DAY_MS);
    assert_eq!(world.disk().entries.len(), 1);
    let mut late = world.client();
    let opened = late.open(&mut world, &log, 0);
    late.receive(&mut world);
    assert!(late.seqs(opened.handle).is_empty());
    assert_eq!((opened.view.first_seq, opened.view.next_seq), (1, 1));
}

// [SPEC 6.40]
#[test]
fn a_stream_key_goes_on_when_its_successor_cannot_be_stored() {
    let mut world = World::new();
    let broken = StoreFailure::Broken("writing the key chain");
    world.hold_records = true;
    world.pass(HOUR_MS);
    let ticket = world.held_record.unwrap();
    world.input(Input::KeyRecordPersisted(ticket, Err(broken)));
    assert_eq!(world.relay.failure(), Some(broken));
    world.pass(DAY_MS);
    world.client();
    // Before the first one is stored there is nobody to go on for.
    let mut relay = Relay::new(
        world.now,
        RelayIdentity::from_seed(&Secret32::new([8; 32])),
        Vec::new(),
        Config::open(),
        Box::new(ChaCha20Rng::seed_from_u64(1)),
    );
    relay.handle(world.now, Input::StoreFailed(broken));
    let outputs: Vec<Output> = std::iter::from_fn(|| relay.poll()).collect();
    assert!(matches!(outputs.last(), Some(Output::Stopped(Err(_)))));
}

// [SPEC 6.3] [SPEC 6.5]
#[test]
fn damage_stops_the_relay() {
    let mut world = World::new();
    let (mut client, other) = (world.client(), world.client());
    let log = Log::new(1);
    client.create(&mut world, &log);
    for (_, row) in world.ledger.rows().lasting.values_mut() {
        row[100] ^= 1;
    }
    client.send(&mut world, open(&log, 0, None));
    assert!(matches!(world.stopped, Some(Err(StoreFailure::Broken(_)))));
    for conn in [client.conn, other.conn] {
        assert_eq!(world.hangup(conn), Some(Reason::StoreFailed));
    }
    // Nothing more happens, and the store itself writes no more.
    world.input(Input::Tick);
    assert_eq!(world.relay.wake_at(), None);
    use emptyroom_relay::store::Store;
    assert!(world.ledger.expire(world.now.wall).is_err());
    // The same when writing failed before, and when a batch that reads and writes meets it.
    let mut world = World::new();
    let mut client = world.client();
    client.create(&mut world, &log);
    let handle = client.open(&mut world, &log, 0).handle;
    for (_, row) in world.ledger.rows().lasting.values_mut() {
        row[100] ^= 1;
    }
    let mut reader = world.client();
    world.hold_store = true;
    world.client().send(&mut world, open(&log, 0, None));
    reader.send(&mut world, open(&log, 0, None));
    let append = client.message(&world, &log, handle, 1);
    client.send(&mut world, Request::Append(append));
    world.release_store();
    world.run_store();
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
    assert_eq!(taken, 15, "64 MiB, and each operation takes its part");
    assert!(
        matches!(refusal, Answer::Refused(refusal) if refusal.code == RefusalCode::Busy && refusal.retry_after_s > 0)
    );
    // Small things still go, and all that was taken is decided.
    let id = clients[0].send(&mut world, open(&Log::new(2), 0, None));
    world.release_store();
    clients[0].receive(&mut world);
    assert!(matches!(clients[0].answers[&id], Answer::Opened(_)));
    assert!(world.moved_most <= 16 << 20, "{}", world.moved_most);
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
