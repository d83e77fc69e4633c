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
/// When lasting rows run out.
const LATER: Day = Day(TODAY.0 + 100);

/// A cluster of one database, and the database's name.
fn cluster(server: &database::Server, keys: &Scratch) -> (Node, String) {
    let address = server.fresh();
    let name = name_of(&address).to_owned();
    let node = try_open(&[address], 7, keys.path(), TODAY);
    (
        node.unwrap_or_else(|refused| panic!("{}", refused.why)),
        name,
    )
}

fn commit(node: &mut Node, entries: Vec<(Day, RowKey, Vec<u8>)>, lasting: Vec<Lasting>) {
    rows(node, move |rows| {
        rows.begin(Access::Write, NOW)?;
        let entries = entries.iter().cloned();
        let lasting = lasting.iter().cloned();
        rows.commit(Changes {
            entries: entries
                .map(|(day, key, row)| EntryChange {
                    day,
                    key,
                    row: Some(row),
                })
                .collect(),
            lasting: lasting.map(Lasting::change).collect(),
        })
    });
}

#[derive(Clone)]
enum Lasting {
    Put(RowKey, Day, Vec<u8>),
    Remove(RowKey),
}

impl Lasting {
    fn change(self) -> LastingChange {
        match self {
            Self::Put(key, day, row) => LastingChange::Put { key, day, row },
            Self::Remove(key) => LastingChange::Remove { key },
        }
    }
}

fn settle(node: &mut Node) {
    while node.upkeep().unwrap() == Slice::More {}
}

fn expire(node: &mut Node, day: u32) {
    node.expire(Wall(u64::from(day) * DAY_MS)).unwrap();
}

// [SPEC 6.205] [SPEC 6.206]
#[test]
fn what_is_over_or_replaced_opens_with_nothing_that_a_node_still_has() {
    let server = database::Server::start();
    let keys = Scratch::in_memory("forensic");
    let (mut node, name) = cluster(&server, &keys);
    let bodies: BTreeMap<RowKey, Vec<u8>> = [(ENTRY, 0x5a), (OLD, 0x6b), (KEPT, 0x7c)]
        .map(|(key, byte)| (key, vec![byte; 4096]))
        .into();
    let day = Day(TODAY.0 + 7);
    let put = |key| Lasting::Put(key, LATER, bodies[&key].clone());
    let entry = (day, ENTRY, bodies[&ENTRY].clone());
    commit(&mut node, vec![entry], vec![put(OLD), put(KEPT)]);
    commit(&mut node, Vec::new(), vec![Lasting::Remove(OLD)]);
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
        expire(&mut node, TODAY.0 + days);
        settle(&mut node);
    }
    expire(&mut node, TODAY.0 + 8);
    assert!(
        count_below(&data, &sealed_entry[..64]) > 0,
        "the journal has it"
    );
    assert_eq!(opened(&keys), (None, None));
    let found = rows(&mut node, move |rows| {
        rows.begin(Access::Look, NOW)?;
        let entry = rows.entry(day, &ENTRY)?;
        Ok((rows.lasting(&KEPT)?, rows.lasting(&OLD)?, entry))
    });
    assert_eq!(found, (Some(bodies[&KEPT].clone()), None, None));
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
    let (mut node, name) = cluster(server, &keys);
    let lasting = (0..600_u32).map(|number| {
        let mut key = [9; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        Lasting::Put(RowKey(key), LATER, b"row".to_vec())
    });
    commit(&mut node, Vec::new(), lasting.collect());
    expire(&mut node, TODAY.0 + 101);
    // Nobody finds them from now on.
    let mut key = [9; 32];
    key[..4].fill(0);
    let found = rows(&mut node, move |rows| {
        rows.begin(Access::Look, NOW)?;
        rows.lasting(&RowKey(key))
    });
    assert_eq!(found, None);
    let left = || server.number(&name, "SELECT count(*) FROM lasting");
    let mut counts = vec![left()];
    while node.upkeep().unwrap() == Slice::More {
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
    let addresses = [server.fresh()];
    let name = name_of(&addresses[0]).to_owned();
    let today = today();
    let open = |keys: &Scratch| {
        let node = try_open(&addresses, 7, keys.path(), today);
        node.unwrap_or_else(|refused| panic!("{}", refused.why))
    };
    let mut ahead = open(&keys);
    fs::copy(keys.path().join(FILE), others.path().join(FILE)).unwrap();
    let mut other = open(&others);
    let day = Day(today.0 + 1);
    commit(
        &mut other,
        vec![(day, ENTRY, b"entry".to_vec())],
        vec![Lasting::Put(KEPT, day, b"lasting".to_vec())],
    );
    expire(&mut ahead, today.0 + 5);
    settle(&mut ahead);
    let found = rows(&mut other, move |rows| {
        rows.begin(Access::Read, NOW)?;
        let found = (rows.lasting(&KEPT)?, rows.entry(day, &ENTRY)?);
        rows.end();
        Ok(found)
    });
    let kept = (Some(b"lasting".to_vec()), Some(b"entry".to_vec()));
    assert_eq!(found, kept);
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
    let (mut node, name) = cluster(server, &keys);
    let put = |key| vec![Lasting::Put(key, LATER, b"row".to_vec())];
    let find = |node: &mut Node| {
        rows(node, |rows| {
            rows.begin(Access::Write, NOW)?;
            let found = rows.lasting(&OLD)?;
            rows.end();
            Ok(found)
        })
    };
    commit(&mut node, Vec::new(), put(OLD));
    // As a backup of the database brings it back.
    server.execute(&name, "UPDATE lasting SET turn = turn - 2");
    assert_eq!(find(&mut node), None);
    commit(&mut node, Vec::new(), put(OLD));
    assert_eq!(find(&mut node).unwrap(), b"row");
    // It keeps no turn from ending.
    commit(&mut node, Vec::new(), put(KEPT));
    server.execute(
        &name,
        "UPDATE lasting SET turn = turn - 2 WHERE key = decode(repeat('03', 32), 'hex')",
    );
    for days in 1..=8 {
        expire(&mut node, TODAY.0 + days);
        settle(&mut node);
    }
    expire(&mut node, TODAY.0 + 8);
    let held = DayKeys::load(keys.path()).unwrap().unwrap().turn();
    assert_eq!(held, Turn::of(Day(TODAY.0 + 8)).before());
    assert_eq!(find(&mut node).unwrap(), b"row");
}

// [SPEC 6.205]
#[test]
fn day_keys_end_with_their_day_also_while_the_database_is_away() {
    let keys = Scratch::in_memory("away");
    let mut server = database::Server::start();
    let (mut node, _) = cluster(&server, &keys);
    server.kill();
    let later = Day(TODAY.0 + 3);
    assert!(node.expire(Wall(u64::from(later.0) * DAY_MS)).is_err());
    let held = DayKeys::load(keys.path()).unwrap().unwrap();
    assert_eq!(held.day(), later);
}
