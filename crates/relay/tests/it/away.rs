//! A store on another machine, which goes away and comes back.

use emptyroom_relay::limits::AWAY_RETRY_S;
use emptyroom_relay::store::{Store, StoreFailure, StoreOp, StoreReply};
use emptyroom_relay::{Input, Reason};
use emptyroom_wire::op::{Answer, Push, Refusal, RefusalCode, Request};
use emptyroom_wire::time::{HOUR_MS, SECOND_MS};

use crate::world::{Log, World, create, open};

const AWAY: StoreFailure = StoreFailure::Away("for now");
const LOST: StoreFailure = StoreFailure::Lost("in the middle");

// [SPEC 6.200]
#[test]
fn what_a_store_that_is_away_did_not_do_is_refused_and_may_be_asked_again() {
    let mut world = World::new();
    let mut client = world.client();
    let log = Log::new(1);
    client.create(&mut world, &log);
    let handle = client.open(&mut world, &log, 0).handle;
    let before = world.disk();
    world.ledger.rows().failures = vec![AWAY];
    let append = client.message(&world, &log, handle, 0);
    let Answer::Refused(refusal) = client.ask(&mut world, Request::Append(append.clone())) else {
        panic!("not refused")
    };
    assert_eq!(refusal.code, RefusalCode::StoreFailed);
    assert!(refusal.retry_after_s > 0);
    assert!(world.disk().lasting == before.lasting && world.disk().entries == before.entries);
    // It is as if it had never been away.
    assert_eq!(
        (world.relay.failure(), world.hangup(client.conn)),
        (None, None)
    );
    let answer = client.ask(&mut world, Request::Append(append));
    assert!(matches!(answer, Answer::Appended(appended) if appended.seq == 0));
    client.receive(&mut world);
    assert_eq!(client.seqs(handle), [0]);
}

// [SPEC 6.200]
#[test]
fn of_what_nobody_knows_nothing_is_said_and_its_readers_begin_anew() {
    let mut world = World::new();
    let (mut client, mut reader) = (world.client(), world.client());
    let (mut other, mut waits) = (world.client(), world.client());
    let (log, another) = (Log::new(1), Log::new(2));
    client.create(&mut world, &log);
    client.create(&mut world, &another);
    let handle = client.open(&mut world, &log, 0).handle;
    reader.open(&mut world, &log, 0);
    other.open(&mut world, &another, 0);
    world.ledger.rows().failures = vec![LOST];
    world.hold_store = true;
    // The batch that is lost comes after this one, and holds an append and an opening.
    other.send(&mut world, open(&another, 0, None));
    let append = client.message(&world, &log, handle, 0);
    let lost = client.send(&mut world, Request::Append(append));
    let opened = waits.send(&mut world, open(&another, 0, None));
    world.run_store();
    let created = other.send(&mut world, create(&Log::new(3), None));
    world.release_store();
    client.receive(&mut world);
    assert!(!client.answers.contains_key(&lost));
    for conn in [client.conn, reader.conn] {
        assert_eq!(world.hangup(conn), Some(Reason::StoreFailed));
    }
    // Others are not ended: what they asked is refused, or done by the next batch.
    waits.receive(&mut world);
    other.receive(&mut world);
    assert!(matches!(
        waits.answers[&opened],
        Answer::Refused(refusal) if refusal.code == RefusalCode::StoreFailed
    ));
    assert!(matches!(other.answers[&created], Answer::Created));
    assert_eq!(
        (world.relay.failure(), world.hangup(waits.conn)),
        (None, None)
    );
}

// [SPEC 6.211]
#[test]
fn what_nobody_knows_of_a_part_ends_only_those_who_asked_for_it() {
    let mut world = World::new();
    let (mut client, mut reader, mut other) = (world.client(), world.client(), world.client());
    let (log, another) = (Log::new(1), Log::new(2));
    client.create(&mut world, &log);
    client.create(&mut world, &another);
    let handle = client.open(&mut world, &log, 0).handle;
    reader.open(&mut world, &log, 0);
    let others = other.open(&mut world, &another, 0).handle;
    let append = client.message(&world, &log, handle, 0);
    let whole = other.message(&world, &another, others, 0);
    world.hold_store = true;
    // What keeps the store busy, so that the next two are one batch.
    other.send(&mut world, open(&another, 0, None));
    let lost = client.send(&mut world, Request::Append(append));
    let kept = other.send(&mut world, Request::Append(whole));
    world.run_store();
    let (ticket, ops) = world.at_store.take().expect("a batch");
    assert_eq!(ops.len(), 2);
    let mut replies = world.ledger.apply(world.now.wall, ops).unwrap();
    let first_is_lost = matches!(replies[0], StoreReply::Appended(_));
    assert!(first_is_lost);
    replies[0] = StoreReply::Lost;
    world.input(Input::Stored(ticket, Ok(replies)));
    world.release_store();
    client.receive(&mut world);
    other.receive(&mut world);
    assert!(!client.answers.contains_key(&lost));
    for conn in [client.conn, reader.conn] {
        assert_eq!(world.hangup(conn), Some(Reason::StoreFailed));
    }
    assert!(matches!(other.answers[&kept], Answer::Appended(_)));
    assert_eq!(
        (world.relay.failure(), world.hangup(other.conn)),
        (None, None)
    );
}

// [SPEC 6.201]
#[test]
fn a_batch_that_others_were_faster_than_is_decided_again() {
    let mut world = World::new();
    let mut client = world.client();
    world.ledger.rows().failures = vec![StoreFailure::Conflict; 5];
    client.create(&mut world, &Log::new(1));
    assert!(world.ledger.rows().failures.is_empty());
    // Not for ever.
    world.ledger.rows().failures = vec![StoreFailure::Conflict; 100];
    let code = client.refused(&mut world, create(&Log::new(2), None));
    assert_eq!(code, RefusalCode::StoreFailed);
    assert!(!world.ledger.rows().failures.is_empty());
}

// [SPEC 6.200]
#[test]
fn keys_and_expiry_wait_for_a_store_that_is_away() {
    let mut world = World::new();
    world.hold_records = true;
    world.pass(HOUR_MS);
    let ticket = world.held_record.take().unwrap();
    world.input(Input::KeyRecordPersisted(ticket, Err(AWAY)));
    assert_eq!(world.relay.failure(), None);
    world.pass(HOUR_MS);
    assert!(world.held_record.is_some(), "asked again");
    world.input(Input::StoreFailed(AWAY));
    assert_eq!(world.relay.failure(), None);
}

// [SPEC 6.211]
#[test]
fn readers_of_a_log_whose_part_of_the_store_is_away_wait() {
    let mut world = World::new();
    let (mut client, mut reader) = (world.client(), world.client());
    let log = Log::new(1);
    client.create(&mut world, &log);
    let handle = client.open(&mut world, &log, 0).handle;
    let append = client.message(&world, &log, handle, 0);
    client.ask(&mut world, Request::Append(append));
    world.hold_store = true;
    reader.send(&mut world, open(&log, 0, None));
    world.run_store();
    for _ in 0..2 {
        let (ticket, ops) = world.at_store.take().expect("it is read");
        assert!(matches!(ops.as_slice(), [StoreOp::Read { .. }]));
        let refusal = Refusal::later(RefusalCode::StoreFailed, AWAY_RETRY_S);
        let replies = vec![StoreReply::Refused(refusal)];
        world.input(Input::Stored(ticket, Ok(replies)));
        assert!(world.at_store.is_none(), "not at once");
        world.pass(u64::from(AWAY_RETRY_S) * SECOND_MS);
    }
    world.release_store();
    reader.receive(&mut world);
    let entries = reader.pushes.iter();
    let entries = entries.filter(|(_, push)| matches!(push, Push::Entry(_)));
    assert_eq!(entries.count(), 1);
    assert_eq!(world.hangup(reader.conn), None);
}
