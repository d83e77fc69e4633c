//! What the disk says to somebody who has it.

use std::collections::BTreeSet;

use emptyroom_wire::derive::expand;
use emptyroom_wire::log::{Capability, Flags};
use emptyroom_wire::op::{
    Answer, Append, Destroy, Open, OpenLog, OpenOutcome, RefusalCode, Request, Trim,
};
use emptyroom_wire::proof;
use emptyroom_wire::sign::Signature;
use emptyroom_wire::time::Day;

use crate::world::{Log, World, body, first};

// [SPEC 6.4] [SPEC 6.3]
#[test]
fn the_disk_holds_nothing_in_clear() {
    let mut world = World::new();
    let mut client = world.client();
    let logs = [
        Log::new(1),
        Log::with(2, Flags::RECOVERY),
        Log::with_reader(3),
    ];
    for log in &logs {
        client.create(&mut world, log);
        let handle = client.open(&mut world, log, 0).handle;
        for number in 1..4 {
            let append = client.message(&world, log, handle, number);
            client.ask(&mut world, Request::Append(append));
        }
        let append = Append {
            next: vec![Log::new(log.header.salt.0[0] + 10).new_log(Some(first(3)))],
            ..client.message(&world, log, handle, 9)
        };
        client.ask(&mut world, Request::Append(append));
    }
    let disk = world.disk();
    let rows: Vec<&[u8]> = disk
        .entries
        .values()
        .chain(disk.lasting.values().map(|(_, row)| row))
        .map(Vec::as_slice)
        .collect();
    let keys: Vec<[u8; 32]> = disk
        .entries
        .keys()
        .map(|(_, key)| key.0)
        .chain(disk.lasting.keys().map(|key| key.0))
        .collect();
    let mut marks: Vec<Vec<u8>> = vec![body(1, 64), vec![0x5a; 32], vec![3; 16], vec![0; 32]];
    for log in &logs {
        marks.push(log.capability().expose().to_vec());
        marks.push(log.capability().log_id().0.to_vec());
        marks.push(log.header.salt.0.to_vec());
        marks.push(log.append.verify_key().0.to_vec());
        marks.push(log.owner.verify_key().0.to_vec());
    }
    for mark in marks {
        let found = rows
            .iter()
            .any(|row| row.windows(mark.len()).any(|part| part == mark));
        assert!(!found && !keys.iter().any(|key| key[..] == mark[..]));
    }
    // Lasting rows of all kinds look alike, and entries are as long as their class says.
    let multiples = disk.lasting.values().all(|(_, row)| row.len() % 512 == 0);
    assert!(multiples);
    let lengths: BTreeSet<usize> = disk.entries.values().map(Vec::len).collect();
    assert_eq!(lengths.len(), 1);
}

/// The same content twice is two different rows under two different keys.
// [SPEC 6.3]
#[test]
fn equal_entries_make_unequal_rows() {
    let mut world = World::new();
    let mut client = world.client();
    for number in 1..3 {
        client.ask(
            &mut world,
            crate::world::create(&Log::new(number), Some(first(7))),
        );
    }
    let disk = world.disk();
    let rows: BTreeSet<&Vec<u8>> = disk.entries.values().collect();
    assert_eq!((disk.entries.len(), rows.len()), (2, 2));
    let days: BTreeSet<Day> = disk.entries.keys().map(|(day, _)| *day).collect();
    assert_eq!(days.len(), 1, "a day, and no time");
}

/// A row that was moved to another key, or whose bits changed, does not open.
// [SPEC 6.3]
#[test]
fn rows_are_bound_to_their_keys() {
    let mut world = World::new();
    let mut client = world.client();
    let log = Log::new(1);
    client.create(&mut world, &log);
    let handle = client.open(&mut world, &log, 0).handle;
    for number in 1..3 {
        let append = client.message(&world, &log, handle, number);
        client.ask(&mut world, Request::Append(append));
    }
    let rows = world.ledger.rows();
    let keys: Vec<_> = rows.entries.keys().copied().collect();
    let swapped = [
        rows.entries[&keys[1]].clone(),
        rows.entries[&keys[0]].clone(),
    ];
    for (key, row) in keys.iter().zip(swapped) {
        rows.entries.insert(*key, row);
    }
    client.send(&mut world, crate::world::open(&log, 0, None));
    assert!(matches!(world.stopped, Some(Err(_))), "the relay stops");
}

/// Whoever knows a log's capability can compute the seed of its account; it opens nothing.
// [SPEC 6.30]
#[test]
fn an_accounts_seed_is_no_capability() {
    let mut world = World::new();
    let mut client = world.client();
    let log = Log::new(1);
    client.create(&mut world, &log);
    let handle = client.open(&mut world, &log, 0).handle;
    let append = Append {
        next: vec![Log::new(2).new_log(None)],
        ..client.message(&world, &log, handle, 1)
    };
    client.ask(&mut world, Request::Append(append));
    let secret = expand::<32>(log.capability().expose(), "emptyroom v1 row secret", &[]);
    let seed = expand(secret.expose(), "emptyroom v1 row budget", &[]);
    let account = Capability::new(*seed.expose());
    let signature = Signature([0; 64]);
    let destroy = Request::Destroy(Destroy {
        capability: account.clone(),
        signature,
    });
    let code = client.refused(&mut world, destroy);
    assert_eq!(code, RefusalCode::Unknown);
    let open = OpenLog {
        capability: account,
        from: 0,
        proof: None,
    };
    let open = Request::Open(Open { logs: vec![open] });
    let Answer::Opened(opened) = client.ask(&mut world, open) else {
        panic!("not answered");
    };
    assert!(
        matches!(opened.logs[0], OpenOutcome::Refused(refusal) if refusal.code == RefusalCode::Unknown)
    );
    assert_eq!(world.stopped, None);
}

/// What made room for others, or was trimmed, is not merely hidden.
// [SPEC 6.12] [SPEC 4.58]
#[test]
fn what_is_dropped_or_trimmed_leaves_the_disk() {
    let mut world = World::new();
    let mut client = world.client();
    let (recovery, plain) = (Log::with(1, Flags::RECOVERY), Log::new(2));
    for (log, count) in [(&recovery, 70), (&plain, 10)] {
        client.create(&mut world, log);
        let handle = client.open(&mut world, log, 0).handle;
        for number in 0..count {
            let append = client.message(&world, log, handle, number);
            client.send(&mut world, Request::Append(append));
        }
    }
    assert_eq!(world.disk().entries.len(), 64 + 10);
    let handle = client.open(&mut world, &plain, 0).handle;
    let log = plain.capability().log_id();
    let signature = proof::sign_trim(&plain.owner, &world.identity, log, 7);
    let trim = Trim {
        handle,
        up_to: 7,
        signature,
    };
    client.ask(&mut world, Request::Trim(trim));
    assert_eq!(world.disk().entries.len(), 64 + 3);
}
