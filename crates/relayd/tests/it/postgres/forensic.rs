//! What a database keeps of what is gone, and that it is noise.

use std::collections::BTreeMap;
use std::fs;
use std::time::SystemTime;

use emptyroom_relay::store::{Access, Changes, EntryChange, LastingChange, RowKey, Rows};
use emptyroom_relayd::postgres::ratchet::{DayKeys, FILE, Turn};
use emptyroom_relayd::postgres::upkeep::Slice;

use super::*;
use crate::scratch::count_below;

const TODAY: Day = Day(20_000);
const ENTRY: RowKey = RowKey([1; 32]);
const OLD: RowKey = RowKey([2; 32]);
const KEPT: RowKey = RowKey([3; 32]);

fn rows(server: &database::Server, keys: &Scratch) -> (PostgresRows, String) {
    let address = server.fresh();
    let name = address.rsplit('/').next().unwrap().to_owned();
    let rows = PostgresRows::open(&Address::parse(&address).unwrap(), SEAT, keys.path(), TODAY);
    (rows.unwrap(), name)
}

fn commit(rows: &mut PostgresRows, changes: Changes) {
    rows.begin(Access::Write).unwrap();
    rows.commit(changes).unwrap();
}

fn put(key: RowKey, row: &[u8]) -> LastingChange {
    LastingChange::Put {
        key,
        day: Day(TODAY.0 + 100),
        row: row.to_vec(),
    }
}

fn settle(rows: &mut PostgresRows) {
    while rows.upkeep().unwrap() == Slice::More {}
}

// [SPEC 6.205] [SPEC 6.206]
#[test]
fn what_is_over_or_replaced_opens_with_nothing_that_a_node_still_has() {
    let server = database::Server::start();
    let keys = Scratch::in_memory("forensic");
    let (mut rows, name) = rows(&server, &keys);
    let bodies: BTreeMap<RowKey, Vec<u8>> = [(ENTRY, 0x5a), (OLD, 0x6b), (KEPT, 0x7c)]
        .map(|(key, byte)| (key, vec![byte; 4096]))
        .into();
    let day = Day(TODAY.0 + 7);
    let entry = EntryChange {
        day,
        key: ENTRY,
        row: Some(bodies[&ENTRY].clone()),
    };
    commit(
        &mut rows,
        Changes {
            entries: vec![entry],
            lasting: vec![put(OLD, &bodies[&OLD]), put(KEPT, &bodies[&KEPT])],
        },
    );
    commit(
        &mut rows,
        Changes {
            entries: Vec::new(),
            lasting: vec![LastingChange::Remove { key: OLD }],
        },
    );
    server.execute(&name, "CHECKPOINT");
    // Nothing is there in clear, but all of it is there, also what was removed: the keys of now open it.
    let data = server.path("data");
    for body in bodies.values() {
        assert_eq!(count_below(&data, &body[..64]), 0);
    }
    let table = format!("entries_{}", day.0);
    let sealed_entry = server.bytes(&name, &format!("SELECT sealed FROM {table}"));
    let sealed_kept = server.bytes(&name, "SELECT sealed FROM lasting");
    assert!(count_below(&data, &sealed_entry[..64]) > 0);
    let then = Scratch::in_memory("forensic-then");
    fs::copy(keys.path().join(FILE), then.path().join(FILE)).unwrap();
    let turn = Turn::of(TODAY);
    let opened = |at: &Scratch| {
        let mut keys = DayKeys::load(at.path()).unwrap().unwrap();
        let entry = keys.open_entry(day, &ENTRY, sealed_entry.clone());
        let kept = keys.open_lasting(turn, &KEPT, sealed_kept.clone());
        (entry.ok().flatten(), kept.ok().flatten())
    };
    assert_eq!(
        opened(&then),
        (Some(bodies[&ENTRY].clone()), Some(bodies[&KEPT].clone()))
    );
    // The day of the entry is over, and two turns are; the row that is kept was sealed anew.
    for days in 1..=8 {
        rows.expire(Day(TODAY.0 + days)).unwrap();
        settle(&mut rows);
    }
    rows.expire(Day(TODAY.0 + 8)).unwrap();
    assert!(
        count_below(&data, &sealed_entry[..64]) > 0,
        "the journal has it"
    );
    assert_eq!(opened(&keys), (None, None));
    rows.begin(Access::Look).unwrap();
    assert_eq!(rows.lasting(&KEPT).unwrap().as_ref(), Some(&bodies[&KEPT]));
    assert_eq!(rows.lasting(&OLD).unwrap(), None);
    assert_eq!(rows.entry(day, &ENTRY).unwrap(), None);
    // The table of the day is dropped.
    assert_eq!(
        server.number(
            &name,
            &format!("SELECT count(*) FROM information_schema.tables WHERE table_name = '{table}'")
        ),
        0
    );
}

// [SPEC 6.206]
#[test]
fn lasting_rows_that_ran_out_go_in_slices() {
    let keys = Scratch::in_memory("slices");
    let server = database::shared();
    let (mut rows, name) = rows(server, &keys);
    let lasting = (0..600_u32).map(|number| {
        let mut key = [9; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        put(RowKey(key), b"row")
    });
    commit(
        &mut rows,
        Changes {
            entries: Vec::new(),
            lasting: lasting.collect(),
        },
    );
    let later = Day(TODAY.0 + 101);
    rows.expire(later).unwrap();
    // Nobody finds them from now on.
    rows.begin(Access::Look).unwrap();
    let mut key = [9; 32];
    key[..4].fill(0);
    assert_eq!(rows.lasting(&RowKey(key)).unwrap(), None);
    let left = || server.number(&name, "SELECT count(*) FROM lasting");
    let mut counts = vec![left()];
    while rows.upkeep().unwrap() == Slice::More {
        counts.push(left());
    }
    assert_eq!(counts, [600, 344, 88, 0]);
}

/// The server's day: what is over by a node's clock alone stays.
fn today() -> Day {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Day(u32::try_from(since.unwrap().as_secs() / 86_400).unwrap())
}

// [SPEC 6.204] [SPEC 6.206]
#[test]
fn a_node_whose_clock_is_ahead_removes_nothing_of_what_others_keep() {
    let (keys, others) = (Scratch::in_memory("ahead"), Scratch::in_memory("others"));
    let server = database::shared();
    let address = server.fresh();
    let name = address.rsplit('/').next().unwrap().to_owned();
    let address = Address::parse(&address).unwrap();
    let today = today();
    let mut ahead = PostgresRows::open(&address, SEAT, keys.path(), today).unwrap();
    fs::copy(keys.path().join(FILE), others.path().join(FILE)).unwrap();
    let mut other = PostgresRows::open(&address, SEAT, others.path(), today).unwrap();
    let day = Day(today.0 + 1);
    let entry = EntryChange {
        day,
        key: ENTRY,
        row: Some(b"entry".to_vec()),
    };
    let lasting = LastingChange::Put {
        key: KEPT,
        day,
        row: b"lasting".to_vec(),
    };
    commit(
        &mut other,
        Changes {
            entries: vec![entry],
            lasting: vec![lasting],
        },
    );
    ahead.expire(Day(today.0 + 5)).unwrap();
    settle(&mut ahead);
    other.begin(Access::Read).unwrap();
    assert_eq!(other.lasting(&KEPT).unwrap().unwrap(), b"lasting");
    assert_eq!(other.entry(day, &ENTRY).unwrap().unwrap(), b"entry");
    other.end();
    assert_eq!(
        server.number(&name, &format!("SELECT count(*) FROM entries_{}", day.0)),
        1
    );
}

// [SPEC 6.205]
#[test]
fn a_row_whose_turn_is_over_is_as_if_it_were_not_there() {
    let keys = Scratch::in_memory("over");
    let server = database::shared();
    let (mut rows, name) = rows(server, &keys);
    let one = |key| Changes {
        entries: Vec::new(),
        lasting: vec![put(key, b"row")],
    };
    commit(&mut rows, one(OLD));
    // As a backup of the database brings it back.
    server.execute(&name, "UPDATE lasting SET turn = turn - 2");
    rows.begin(Access::Write).unwrap();
    assert_eq!(rows.lasting(&OLD).unwrap(), None);
    rows.commit(one(OLD)).unwrap();
    rows.begin(Access::Look).unwrap();
    assert_eq!(rows.lasting(&OLD).unwrap().unwrap(), b"row");
    // It keeps no turn from ending.
    commit(&mut rows, one(KEPT));
    server.execute(
        &name,
        "UPDATE lasting SET turn = turn - 2 WHERE key = decode(repeat('03', 32), 'hex')",
    );
    for days in 1..=8 {
        rows.expire(Day(TODAY.0 + days)).unwrap();
        settle(&mut rows);
    }
    rows.expire(Day(TODAY.0 + 8)).unwrap();
    let held = DayKeys::load(keys.path()).unwrap().unwrap().turn();
    assert_eq!(held, Turn::of(Day(TODAY.0 + 8)).before());
    rows.begin(Access::Look).unwrap();
    assert_eq!(rows.lasting(&OLD).unwrap().unwrap(), b"row");
}

// [SPEC 6.205]
#[test]
fn day_keys_end_with_their_day_also_while_the_database_is_away() {
    let keys = Scratch::in_memory("away");
    let mut server = database::Server::start();
    let (mut rows, _) = rows(&server, &keys);
    server.kill();
    let later = Day(TODAY.0 + 3);
    assert!(rows.expire(later).is_err());
    let held = DayKeys::load(keys.path()).unwrap().unwrap();
    assert_eq!(held.day(), later);
}
