//! What readers are sent: everything, once, in order, whatever happens meanwhile.

use emptyroom_relay::{Config, Limits, Reason};
use emptyroom_wire::op::{Answer, Append, Handle, Push, Request};
use emptyroom_wire::time::MINUTE_MS;

use crate::world::{Client, Log, World, body, open};

pub(crate) fn writer(world: &mut World, log: &Log) -> (Client, Handle) {
    let mut client = world.client();
    client.create(world, log);
    let handle = client.open(world, log, 0).handle;
    (client, handle)
}

pub(crate) fn append(
    world: &mut World,
    (client, handle): &mut (Client, Handle),
    log: &Log,
    number: u32,
) {
    let append = client.message(world, log, *handle, number);
    client.send(world, Request::Append(append));
}

fn numbers(client: &Client, handle: Handle) -> Vec<u32> {
    let entries = client.entries(handle);
    let number = |body: &[u8]| u32::from_be_bytes(*body.first_chunk().unwrap());
    entries.iter().map(|entry| number(&entry.body)).collect()
}

/// The handle's pushes are the entries from `from` in order, with "caught up" once among them.
fn assert_whole(client: &Client, handle: Handle, from: u64, end: u64) {
    assert_eq!(client.seqs(handle), (from..end).collect::<Vec<_>>());
    let mut caught_up = Vec::new();
    let mut next = from;
    for (at, push) in &client.pushes {
        match push {
            Push::CaughtUp(seq) if *at == handle => {
                caught_up.push(*seq);
                assert_eq!(*seq, next, "caught up where the stored entries end");
            }
            Push::Entry(entry) if *at == handle => next = entry.seq + 1,
            _ => {}
        }
    }
    assert_eq!(caught_up.len(), 1);
}

// [SPEC 4.56]
#[test]
fn stored_then_live_entries_also_for_the_writer() {
    let mut world = World::new();
    let log = Log::new(1);
    let mut pair = writer(&mut world, &log);
    for number in 0..3 {
        append(&mut world, &mut pair, &log, number);
    }
    let mut reader = world.client();
    let opened = reader.open(&mut world, &log, 1);
    for number in 3..6 {
        append(&mut world, &mut pair, &log, number);
    }
    reader.receive(&mut world);
    assert_whole(&reader, opened.handle, 1, 6);
    let (mut client, handle) = pair;
    client.receive(&mut world);
    assert_whole(&client, handle, 0, 6);
    // From beyond the end: only what comes.
    let beyond = reader.open(&mut world, &log, 1_000).handle;
    let end = reader.open(&mut world, &log, 6).handle;
    append(&mut world, &mut (client, handle), &log, 6);
    reader.receive(&mut world);
    assert_whole(&reader, end, 6, 7);
    assert_eq!(reader.seqs(beyond), [6]);
}

// [SPEC 4.56]
#[test]
fn nothing_is_acknowledged_or_pushed_before_it_is_durable() {
    let mut world = World::new();
    let log = Log::new(1);
    let mut pair = writer(&mut world, &log);
    let mut reader = world.client();
    let handle = reader.open(&mut world, &log, 0).handle;
    world.hold_store = true;
    append(&mut world, &mut pair, &log, 1);
    let answers = pair.0.answers.len();
    pair.0.receive(&mut world);
    reader.receive(&mut world);
    assert_eq!(pair.0.answers.len(), answers);
    assert!(reader.seqs(handle).is_empty() && pair.0.seqs(pair.1).is_empty());
    world.release_store();
    pair.0.receive(&mut world);
    reader.receive(&mut world);
    assert_eq!(pair.0.answers.len(), answers + 1);
    assert_eq!(
        (reader.seqs(handle), pair.0.seqs(pair.1)),
        (vec![0], vec![0])
    );
}

/// `open` races with appends in every way: what is before it and after it in each batch of the store.
// [SPEC 4.56]
#[test]
fn an_open_that_races_with_appends_misses_nothing() {
    for before in 0..4_u32 {
        for during in 0..4 {
            for after in 0..4 {
                let mut world = World::new();
                let log = Log::new(1);
                let mut pair = writer(&mut world, &log);
                let mut reader = world.client();
                let mut number = 0;
                let mut some = |world: &mut World, pair: &mut (Client, Handle), count| {
                    for _ in 0..count {
                        append(world, pair, &log, number);
                        number += 1;
                    }
                };
                some(&mut world, &mut pair, before);
                world.hold_store = true;
                some(&mut world, &mut pair, during);
                let id = reader.send(&mut world, open(&log, 0, None));
                // Each batch that comes back lets the next one go, with appends around the read.
                for _ in 0..6 {
                    some(&mut world, &mut pair, after);
                    world.run_store();
                    some(&mut world, &mut pair, 1);
                }
                world.release_store();
                some(&mut world, &mut pair, 1);
                reader.receive(&mut world);
                assert!(matches!(reader.answers[&id], Answer::Opened(_)));
                let total = u64::from(before + during + 6 * after + 7);
                assert_whole(&reader, Handle(0), 0, total);
                let numbers = numbers(&reader, Handle(0));
                assert!(numbers.into_iter().eq(0..u32::try_from(total).unwrap()));
            }
        }
    }
}

// [SPEC 4.56]
#[test]
fn two_streams_on_one_log_see_one_order() {
    let mut world = World::new();
    let log = Log::new(1);
    let mut one = writer(&mut world, &log);
    let mut two = (world.client(), Handle(0));
    two.1 = two.0.open(&mut world, &log, 0).handle;
    world.hold_store = true;
    for number in 0..20 {
        append(&mut world, &mut one, &log, number * 2);
        append(&mut world, &mut two, &log, number * 2 + 1);
        if number % 3 == 0 {
            world.run_store();
        }
    }
    world.release_store();
    one.0.receive(&mut world);
    two.0.receive(&mut world);
    assert_whole(&one.0, one.1, 0, 40);
    assert_whole(&two.0, two.1, 0, 40);
    assert_eq!(numbers(&one.0, one.1), numbers(&two.0, two.1));
    // What one pushed batch held was the group commit.
    assert!(world.batches.iter().any(|ops| *ops > 1));
}

// [SPEC 6.51]
#[test]
fn a_slow_reader_gets_everything_and_little_waits_for_it() {
    let mut world = World::new();
    let log = Log::new(1);
    let mut pair = writer(&mut world, &log);
    let big = |client: &Client, world: &World, number| Append {
        body: body(number, 256 << 10),
        ..client.message(world, &log, pair.1, number)
    };
    // Stored: 10 MiB. Of them little more than a MiB is read at once.
    for number in 0..40 {
        let append = big(&pair.0, &world, number);
        pair.0.send(&mut world, Request::Append(append));
    }
    world.sockets_take = false;
    let mut reader = world.client();
    let opened = reader.open(&mut world, &log, 0);
    let waits = world.unsent[&reader.conn];
    assert!(waits < 2 << 20, "{waits}");
    // Live: 10 MiB more, while the reader takes nothing.
    for number in 40..80 {
        let append = big(&pair.0, &world, number);
        pair.0.send(&mut world, Request::Append(append));
        let writer = pair.0.conn;
        world.take_all(writer);
    }
    let waits = world.unsent[&reader.conn];
    assert!(waits < 2 << 20, "{waits}");
    // It takes what waits, and everything comes in its order.
    for _ in 0..200 {
        let conn = reader.conn;
        world.take_all(conn);
        reader.receive(&mut world);
    }
    assert_whole(&reader, opened.handle, 0, 80);
    // Live again from here on.
    world.sockets_take = true;
    append(&mut world, &mut pair, &log, 80);
    reader.receive(&mut world);
    assert_whole(&reader, opened.handle, 0, 81);
}

/// Those who take nothing fill the memory for what waits; those who take get their entries, stored and live.
// [SPEC 6.51]
#[test]
fn whoever_takes_nothing_holds_nobody_up() {
    let limits = Limits {
        unsent_total_max: 500_000,
        ..Limits::default()
    };
    let mut world = World::with(Config {
        limits,
        ..Config::open()
    });
    let (bulk, log) = (Log::new(1), Log::new(2));
    let mut hoard = writer(&mut world, &bulk);
    for number in 0..8 {
        let append = Append {
            body: body(number, 256 << 10),
            ..hoard.0.message(&world, &bulk, hoard.1, number)
        };
        hoard.0.send(&mut world, Request::Append(append));
    }
    let mut pair = writer(&mut world, &log);
    let mut reader = world.client();
    let handle = reader.open(&mut world, &log, 0).handle;
    let mut hoarder = world.client();
    let mut newcomer = world.client();
    let (mut second, mut third) = (world.client(), world.client());
    world.sockets_take = false;
    hoarder.send(&mut world, open(&bulk, 0, None));
    let waits = world.unsent[&hoarder.conn];
    assert!((500_000..1_000_000).contains(&waits), "crowded: {waits}");
    let mut others = [reader.conn, pair.0.conn, newcomer.conn]
        .into_iter()
        .cycle();
    newcomer.send(&mut world, open(&log, 0, None));
    for number in 0..12 {
        append(&mut world, &mut pair, &log, number);
        for conn in others.by_ref().take(3) {
            world.take_all(conn);
        }
    }
    reader.receive(&mut world);
    newcomer.receive(&mut world);
    assert_whole(&reader, handle, 0, 12);
    assert_whole(&newcomer, Handle(0), 0, 12);
    // At twice as much the one that holds most has to go, and nobody else.
    second.send(&mut world, open(&bulk, 0, None));
    assert_eq!(world.hangup(hoarder.conn), None);
    third.send(&mut world, open(&bulk, 0, None));
    assert_eq!(world.hangup(hoarder.conn), Some(Reason::Slow));
    for client in [&reader, &newcomer, &second, &third, &pair.0] {
        assert_eq!(world.hangup(client.conn), None);
    }
}

// [SPEC 6.51]
#[test]
fn a_live_reader_that_takes_nothing_falls_behind_and_is_ended() {
    let mut world = World::new();
    let log = Log::new(1);
    let mut pair = writer(&mut world, &log);
    let mut reader = world.client();
    let handle = reader.open(&mut world, &log, 0).handle;
    world.sockets_take = false;
    for number in 0..20 {
        let append = Append {
            body: body(number, 256 << 10),
            ..pair.0.message(&world, &log, pair.1, number)
        };
        pair.0.send(&mut world, Request::Append(append));
        let writer = pair.0.conn;
        world.take_all(writer);
    }
    let waits = world.unsent[&reader.conn];
    assert!(waits < 2 << 20, "{waits}");
    world.pass(2 * MINUTE_MS - 1);
    assert_eq!(world.hangup(reader.conn), None);
    // Taking something gives it two minutes more.
    let conn = reader.conn;
    world.take_all(conn);
    reader.receive(&mut world);
    assert_whole(&reader, handle, 0, 20);
    append(&mut world, &mut pair, &log, 20);
    world.pass(2 * MINUTE_MS);
    assert_eq!(world.hangup(reader.conn), Some(Reason::Slow));
}

// [SPEC 4.62]
#[test]
fn after_leaving_nothing_is_pushed() {
    let mut world = World::new();
    let log = Log::new(1);
    let mut pair = writer(&mut world, &log);
    for number in 0..3 {
        append(&mut world, &mut pair, &log, number);
    }
    let mut reader = world.client();
    world.hold_store = true;
    // Also when a read is under way.
    reader.send(&mut world, open(&log, 0, None));
    world.run_store();
    reader.receive(&mut world);
    reader.send(&mut world, Request::Leave(Handle(0)));
    world.release_store();
    append(&mut world, &mut pair, &log, 3);
    reader.receive(&mut world);
    assert!(reader.pushes.is_empty());
}
