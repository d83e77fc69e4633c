//! A disk without space: what needs none goes on, whatever others write.

use emptyroom_relay::store::StoreFailure;
use emptyroom_wire::op::{Answer, Destroy, Handle, RefusalCode, Renew, Request, Trim};
use emptyroom_wire::proof::{sign_destroy, sign_trim};

use crate::shares::{evaluate, put, share};
use crate::world::{Client, Log, World, create, message, open};

/// What one owner asks for at once, with the ids: append, trim, renew, destroy another log.
fn ask_all(
    world: &mut World,
    client: &mut Client,
    handle: Handle,
    (log, other): (&Log, &Log),
) -> [u32; 4] {
    let trim = Trim {
        handle,
        up_to: 1,
        signature: sign_trim(&log.owner, &world.identity, log.capability().log_id(), 1),
    };
    let destroy = Destroy {
        capability: other.capability(),
        signature: sign_destroy(&other.owner, &world.identity, other.capability().log_id()),
    };
    let renew = Renew {
        handle,
        proof: None,
    };
    [
        Request::Append(message(handle, 9)),
        Request::Trim(trim),
        Request::Renew(renew),
        Request::Destroy(destroy),
    ]
    .map(|request| client.send(world, request))
}

/// A world in which a batch with all of this is at the store, and fails so often.
fn full(times: usize) -> (World, Client, Client, [u32; 4]) {
    let mut world = World::new();
    let (mut owner, mut reader) = (world.client(), world.client());
    let (log, other) = (Log::new(1), Log::new(2));
    owner.create(&mut world, &log);
    owner.create(&mut world, &other);
    let handle = owner.open(&mut world, &log, 0).handle;
    for number in 0..2 {
        let append = owner.message(&world, &log, handle, number);
        owner.ask(&mut world, Request::Append(append));
    }
    // A batch that stays at the store until all of this waits behind it.
    world.hold_store = true;
    world.client().send(&mut world, open(&other, 0, None));
    let ids = ask_all(&mut world, &mut owner, handle, (&log, &other));
    reader.send(&mut world, open(&log, 0, None));
    world.run_store();
    world.ledger.rows().failures = vec![StoreFailure::Full; times];
    world.run_store();
    (world, owner, reader, ids)
}

fn is_full(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused(refusal) if refusal.code == RefusalCode::StorageFull && refusal.retry_after_s > 0)
}

// [SPEC 6.150]
#[test]
fn what_needs_no_space_is_done_although_a_write_of_its_batch_finds_none() {
    let (mut world, mut owner, mut reader, [append, trim, renew, destroy]) = full(1);
    world.release_store();
    owner.receive(&mut world);
    reader.receive(&mut world);
    assert!(is_full(&owner.answers[&append]));
    for id in [trim, renew, destroy] {
        assert!(matches!(owner.answers[&id], Answer::Done));
    }
    assert_eq!(reader.seqs(Handle(0)), [1], "trimmed, and read");
    // Looks and opens again in one batch with what changes, and the destroying after its look.
    assert!(world.batches.ends_with(&[5, 4, 2]));
}

// [SPEC 6.150]
#[test]
fn what_reads_is_done_although_not_even_removing_goes() {
    let (mut world, mut owner, mut reader, [append, trim, renew, destroy]) = full(2);
    world.run_store();
    // Whoever writes on and on delays the reader by no batch.
    let late = owner.send(&mut world, create(&Log::new(3), None));
    world.ledger.rows().failures.push(StoreFailure::Full);
    world.release_store();
    owner.receive(&mut world);
    reader.receive(&mut world);
    for id in [append, trim, renew, late] {
        assert!(is_full(&owner.answers[&id]));
    }
    assert!(matches!(owner.answers[&destroy], Answer::Done));
    assert_eq!(reader.seqs(Handle(0)), [0, 1]);
}

/// Where the store has space for so many rows, what finds none is refused alone.
// [SPEC 6.114]
#[test]
fn of_a_batch_only_what_finds_no_space_for_rows_is_refused() {
    let mut world = World::new();
    let mut owner = world.client();
    let (log, other) = (Log::new(1), Log::new(2));
    owner.create(&mut world, &log);
    owner.create(&mut world, &other);
    let handle = owner.open(&mut world, &log, 0).handle;
    for number in 0..2 {
        let append = owner.message(&world, &log, handle, number);
        owner.ask(&mut world, Request::Append(append));
    }
    let rows = world.ledger.rows();
    // For an append, and no more.
    rows.rows_max = rows.entries.len() + rows.lasting.len() + 4;
    world.hold_store = true;
    world.client().send(&mut world, open(&other, 0, None));
    let fits = owner.message(&world, &log, handle, 2);
    let fits = owner.send(&mut world, Request::Append(fits));
    let [append, trim, renew, destroy] = ask_all(&mut world, &mut owner, handle, (&log, &other));
    let made = owner.send(&mut world, create(&Log::new(3), None));
    let there = owner.send(&mut world, create(&log, None));
    world.run_store();
    world.release_store();
    owner.receive(&mut world);
    assert!(matches!(owner.answers[&fits], Answer::Appended(_)));
    assert!(is_full(&owner.answers[&append]));
    assert!(is_full(&owner.answers[&made]));
    assert!(matches!(owner.answers[&there], Answer::Created));
    for id in [trim, renew, destroy] {
        assert!(matches!(owner.answers[&id], Answer::Done));
    }
    // What was destroyed made room.
    world.hold_store = false;
    assert!(matches!(
        owner.ask(&mut world, create(&Log::new(3), None)),
        Answer::Created
    ));
}

// [SPEC 6.114]
#[test]
fn a_share_that_finds_no_space_for_its_row_is_refused_alone() {
    let mut world = World::new();
    let mut client = world.client();
    let log = Log::new(1);
    client.create(&mut world, &log);
    client.ask(&mut world, put(1, share(9, 10)));
    let rows = world.ledger.rows();
    // For one more.
    rows.rows_max = rows.entries.len() + rows.lasting.len() + 1;
    world.hold_store = true;
    world.client().send(&mut world, open(&log, 0, None));
    let requests = [
        put(2, share(9, 10)),
        put(3, share(9, 10)),
        put(1, share(9, 10)),
        evaluate(1),
    ];
    let [fits, over, there, used] = requests.map(|request| client.send(&mut world, request));
    world.run_store();
    world.release_store();
    client.receive(&mut world);
    for id in [fits, there] {
        assert!(matches!(client.answers[&id], Answer::Done));
    }
    assert!(is_full(&client.answers[&over]));
    assert!(matches!(client.answers[&used], Answer::Evaluated(_)));
    // All in one batch, which was not done again.
    assert!(world.batches.ends_with(&[1, 4]));
}
