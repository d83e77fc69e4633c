//! Several nodes on one store: what news do, and that nothing depends on them.

use emptyroom_relay::conformance::MemoryRows;
use emptyroom_relay::limits::SWEEP_LOGS;
use emptyroom_relay::store::{Ledger, RowKey, StoreFailure};
use emptyroom_relay::{Config, Input, Nodes, Reason};
use emptyroom_wire::op::{Cast, Destroy, Handle, Push, RefusalCode, Request};
use emptyroom_wire::proof;
use emptyroom_wire::relay_key::{KeyRecord, RelayIdentity};
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::{DAY_MS, HOUR_MS};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::readers::{append, writer};
use crate::world::{Client, Log, World, open};

const SWEEP_MS: u64 = 30_000;

/// Two nodes, which take turns with one store.
struct Two {
    nodes: [World; 2],
    rows: MemoryRows,
}

const HERE: usize = 0;
const THERE: usize = 1;

impl Two {
    fn new() -> Two {
        let node = |number: u64| {
            let config = Config {
                nodes: Some(Nodes {
                    sweep_every_ms: SWEEP_MS,
                }),
                ..Config::open()
            };
            let wall_ms = 20_000 * DAY_MS + number;
            World::from(config, MemoryRows::default(), Vec::new(), wall_ms)
        };
        Two {
            nodes: [node(0), node(1)],
            rows: MemoryRows::default(),
        }
    }

    /// Whatever a node does, it does on what the other one left in the store.
    fn at<T>(&mut self, node: usize, deed: impl FnOnce(&mut World) -> T) -> T {
        let world = &mut self.nodes[node];
        let rng = Box::new(ChaCha20Rng::seed_from_u64(9));
        world.ledger = Ledger::new(self.rows.clone(), rng);
        let done = deed(world);
        self.rows = world.disk();
        done
    }

    /// What a node told since the last time.
    fn news(&mut self, node: usize) -> Vec<(RowKey, Push)> {
        std::mem::take(&mut self.nodes[node].news)
    }

    fn deliver(&mut self, node: usize, news: Vec<(RowKey, Push)>) {
        for (log, news) in news {
            self.at(node, |world| world.input(Input::News(log, news)));
        }
    }
}

/// Somebody writes here, and somebody reads there.
struct Talk {
    two: Two,
    log: Log,
    pair: (Client, Handle),
    reader: Client,
    handle: Handle,
}

impl Talk {
    fn new() -> Talk {
        let (mut two, log) = (Two::new(), Log::new(1));
        let pair = two.at(HERE, |world| writer(world, &log));
        let mut reader = two.at(THERE, World::client);
        let opened = two.at(THERE, |world| reader.open(world, &log, 0));
        Talk {
            two,
            log,
            pair,
            reader,
            handle: opened.handle,
        }
    }

    fn write(&mut self, number: u32) {
        let Talk { two, log, pair, .. } = self;
        two.at(HERE, |world| append(world, pair, log, number));
    }

    fn read(&mut self) -> Vec<u64> {
        let Talk { two, reader, .. } = self;
        two.at(THERE, |world| reader.receive(world));
        self.reader.seqs(self.handle)
    }
}

// [SPEC 6.232]
#[test]
fn news_of_another_node_are_pushed_once_and_in_order() {
    let mut talk = Talk::new();
    for number in 0..4 {
        talk.write(number);
    }
    let news = talk.two.news(HERE);
    assert_eq!(news.len(), 4);
    talk.two.deliver(THERE, news[..1].to_vec());
    assert_eq!(talk.read(), [0]);
    // The second is lost: the third makes the reader read.
    talk.two.deliver(THERE, news[2..3].to_vec());
    assert_eq!(talk.read(), [0, 1, 2, 3]);
    // What comes late, or twice, is nothing new.
    talk.two.deliver(THERE, news);
    assert_eq!(talk.read(), [0, 1, 2, 3]);
    assert_eq!(talk.two.nodes[THERE].news.len(), 0, "nobody echoes");
}

// [SPEC 6.232]
#[test]
fn news_may_name_nothing_but_a_number() {
    let mut talk = Talk::new();
    let row = talk.two.nodes[THERE].watched[0];
    talk.write(0);
    talk.two.deliver(THERE, vec![(row, Push::CaughtUp(0))]);
    assert_eq!(talk.read(), []);
    talk.two.deliver(THERE, vec![(row, Push::CaughtUp(1))]);
    assert_eq!(talk.read(), [0]);
    // Of a log that nobody has open.
    let other = vec![(RowKey([9; 32]), Push::CaughtUp(7))];
    talk.two.deliver(THERE, other);
    // More than there is: it is looked for, and not found.
    talk.two.deliver(THERE, vec![(row, Push::CaughtUp(5))]);
    talk.write(1);
    let news = talk.two.news(HERE);
    talk.two.deliver(THERE, news);
    assert_eq!(talk.read(), [0, 1]);
}

// [SPEC 6.233]
#[test]
fn without_any_news_a_sweep_finds_what_was_written_and_what_is_gone() {
    let mut talk = Talk::new();
    talk.write(0);
    talk.write(1);
    assert_eq!(talk.read(), []);
    talk.two.at(THERE, |world| world.pass(SWEEP_MS));
    assert_eq!(talk.read(), [0, 1]);
    let Talk {
        two,
        log,
        pair: (client, _),
        ..
    } = &mut talk;
    let capability = log.capability();
    let identity = two.nodes[HERE].identity;
    let signature = proof::sign_destroy(&log.owner, &identity, capability.log_id());
    two.at(HERE, |world| {
        client.ask(
            world,
            Request::Destroy(Destroy {
                capability,
                signature,
            }),
        )
    });
    assert!(matches!(two.news(HERE)[2].1, Push::Gone(_)));
    two.at(THERE, |world| world.pass(SWEEP_MS));
    talk.read();
    let (_, last) = talk.reader.pushes.last().unwrap();
    assert!(matches!(last, Push::Gone(refusal) if refusal.code == RefusalCode::Destroyed));
    assert!(talk.two.nodes[THERE].watched.is_empty());
}

// [SPEC 6.232]
#[test]
fn what_was_written_before_news_come_is_looked_for() {
    let mut talk = Talk::new();
    let watched = talk.two.nodes[THERE].watched.clone();
    assert_eq!(watched.len(), 1);
    talk.write(0);
    talk.two
        .at(THERE, |world| world.input(Input::Watched(watched)));
    assert_eq!(talk.read(), [0]);
    // And when they were lost.
    talk.write(1);
    talk.two.at(THERE, |world| world.input(Input::NewsLost));
    assert_eq!(talk.read(), [0, 1]);
}

/// The read was decided before the other node wrote, and its answer comes after the news.
// [SPEC 6.232]
#[test]
fn news_that_overtake_a_read_are_not_forgotten() {
    let mut talk = Talk::new();
    talk.write(0);
    let row = talk.two.nodes[THERE].watched[0];
    talk.two.at(THERE, |world| world.hold_store = true);
    talk.two.deliver(THERE, vec![(row, Push::CaughtUp(1))]);
    talk.write(1);
    let news = talk.two.news(HERE);
    let world = &mut talk.two.nodes[THERE];
    for (log, news) in news {
        world.input(Input::News(log, news));
    }
    // On what was in the store before.
    world.run_store();
    talk.two.at(THERE, World::release_store);
    assert_eq!(talk.read(), [0, 1]);
}

/// The log was looked at before the other node wrote, and that is answered after the news: somebody else here had them, and the
/// one who comes must have them, too.
// [SPEC 6.232]
#[test]
fn news_that_overtake_an_open_are_not_forgotten() {
    for with_entry in [true, false] {
        let mut talk = Talk::new();
        let row = talk.two.nodes[THERE].watched[0];
        let mut second = talk.two.at(THERE, World::client);
        talk.two.at(THERE, |world| world.hold_store = true);
        let asked = open(&talk.log, 0, None);
        talk.two.at(THERE, |world| second.send(world, asked));
        talk.write(0);
        let mut news = talk.two.news(HERE);
        if !with_entry {
            news = vec![(row, Push::CaughtUp(1))];
        }
        let world = &mut talk.two.nodes[THERE];
        for (log, news) in news {
            world.input(Input::News(log, news));
        }
        // On what was in the store before.
        world.run_store();
        talk.two.at(THERE, World::release_store);
        assert_eq!(talk.read(), [0]);
        talk.two.at(THERE, |world| second.receive(world));
        assert_eq!(second.seqs(Handle(0)), [0], "with the entry: {with_entry}");
        assert_eq!(talk.two.nodes[THERE].hangup(second.conn), None);
    }
}

/// As after a failover to a database that lacked the last commits.
// [SPEC 6.233]
#[test]
fn a_log_that_went_back_ends_the_connections_that_had_more() {
    let mut talk = Talk::new();
    talk.write(0);
    let before = talk.two.rows.clone();
    talk.write(1);
    talk.write(2);
    let news = talk.two.news(HERE);
    talk.two.deliver(THERE, news);
    assert_eq!(talk.read(), [0, 1, 2]);
    talk.two.rows = before;
    // One who comes now has nothing more than there is.
    let mut late = talk.two.at(THERE, World::client);
    let opened = talk.two.at(THERE, |world| late.open(world, &talk.log, 0));
    assert_eq!(opened.view.next_seq, 1);
    for node in [HERE, THERE] {
        talk.two.at(node, |world| world.pass(SWEEP_MS));
    }
    let (writer, reader) = (talk.pair.0.conn, talk.reader.conn);
    let [here, there] = &talk.two.nodes;
    assert_eq!(here.hangup(writer), Some(Reason::StoreWentBack));
    assert_eq!(there.hangup(reader), Some(Reason::StoreWentBack));
    assert_eq!(there.hangup(late.conn), None);
}

/// A handle that is behind does not read for ever what was heard of and is lost.
// [SPEC 6.233]
#[test]
fn news_of_entries_that_are_lost_end_nothing_but_a_wait() {
    let mut talk = Talk::new();
    let row = talk.two.nodes[THERE].watched[0];
    talk.two.at(THERE, |world| world.hold_store = true);
    // The first makes it read, and the second comes while it does.
    for _ in 0..2 {
        talk.two.deliver(THERE, vec![(row, Push::CaughtUp(5))]);
    }
    talk.two.at(THERE, World::release_store);
    talk.write(0);
    let news = talk.two.news(HERE);
    talk.two.deliver(THERE, news);
    assert_eq!(talk.read(), [0]);
}

// [SPEC 6.233]
#[test]
fn news_that_overtake_a_look_are_no_loss() {
    let mut talk = Talk::new();
    talk.two.at(THERE, |world| {
        world.hold_store = true;
        world.pass(SWEEP_MS);
    });
    talk.write(0);
    for (log, news) in talk.two.news(HERE) {
        talk.two.nodes[THERE].input(Input::News(log, news));
    }
    // On what was in the store before.
    talk.two.nodes[THERE].run_store();
    talk.two.at(THERE, World::release_store);
    assert_eq!(talk.read(), [0]);
    assert_eq!(talk.two.nodes[THERE].hangup(talk.reader.conn), None);
}

// [SPEC 6.233]
#[test]
fn a_look_that_failed_is_done_again_and_none_before_it() {
    let mut two = Two::new();
    let all = SWEEP_LOGS + 5;
    let world = &mut two.nodes[HERE];
    let mut client = world.client();
    for number in 0..all {
        let mut log = Log::new(1);
        let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
        log.header.salt.0[..2].copy_from_slice(&[high, low]);
        client.create(world, &log);
        client.open(world, &log, 0);
    }
    world.hold_store = true;
    world.batches.clear();
    world.pass(SWEEP_MS);
    world.run_store();
    assert_eq!(world.batches, [SWEEP_LOGS, 5]);
    for _ in 0..3 {
        let (ticket, _) = world.at_store.take().unwrap();
        let away = StoreFailure::Away("restarting");
        world.input(Input::Stored(ticket, Err(away)));
        assert!(world.at_store.is_none());
        world.pass(3_000);
    }
    assert_eq!(world.batches, [SWEEP_LOGS, 5, 5, 5, 5]);
    // When all is done, it begins anew.
    world.release_store();
    world.pass(SWEEP_MS);
    assert_eq!(world.batches[5..], [SWEEP_LOGS, 5]);
}

#[test]
fn casts_reach_those_on_other_nodes() {
    let mut talk = Talk::new();
    let Talk { two, pair, log, .. } = &mut talk;
    let (client, handle) = pair;
    // Casts are for those who may append.
    let proved = client.message(&two.nodes[HERE], log, *handle, 0);
    two.at(HERE, |world| client.send(world, Request::Append(proved)));
    let cast = Request::Cast(Cast {
        handle: *handle,
        bytes: vec![1, 2, 3],
    });
    two.at(HERE, |world| client.send(world, cast));
    let news = two.news(HERE);
    two.deliver(THERE, news);
    talk.read();
    let heard = talk.reader.pushes.iter();
    let casts =
        heard.filter(|(_, push)| matches!(push, Push::Cast(cast) if cast.bytes == [1, 2, 3]));
    assert_eq!(casts.count(), 1);
}

// [SPEC 6.231]
#[test]
fn a_record_that_another_node_overtook_is_made_again_behind_it() {
    let mut world = World::with(Config {
        nodes: Some(Nodes::default()),
        ..Config::open()
    });
    let identity = RelayIdentity::from_seed(&Secret32::new([7; 32]));
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    world.hold_records = true;
    world.pass(HOUR_MS);
    let ticket = world.held_record.take().unwrap();
    let own = world.records.pop().unwrap();
    let first = world.records[0].clone();
    assert!(own.previous == first.hash(&world.identity));
    let others = identity.next_stream_key(Some(&first), world.now.wall, &mut rng);
    let others = others.signed().record.clone();
    world.records.push(others.clone());
    world.input(Input::KeyRecordOvertaken(ticket, vec![others.clone()]));
    let again = world.records.last().unwrap().clone();
    assert!(again.previous == others.hash(&world.identity) && again.number > others.number);
    let ticket = world.held_record.take().unwrap();
    world.input(Input::KeyRecordPersisted(ticket, Ok(())));
    // A third node's, of which this one has heard nothing, is read when somebody asks.
    let third = identity.next_stream_key(Some(&again), world.now.wall, &mut rng);
    world.records.push(third.signed().record.clone());
    let mut client = world.client();
    let records = key_records(&mut world, &mut client);
    assert!(records == world.records);
}

fn key_records(world: &mut World, client: &mut Client) -> Vec<KeyRecord> {
    match client.ask(world, Request::KeyRecords(0)) {
        emptyroom_wire::op::Answer::KeyRecords(records) => records.records,
        other => panic!("{other:?}"),
    }
}

/// Writers and readers on both nodes; news are lost, late, double and out of order.
// [SPEC 6.232] [SPEC 6.233]
#[test]
fn whatever_becomes_of_news_readers_get_everything_once() {
    for seed in 0..60 {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let (mut two, log) = (Two::new(), Log::new(1));
        let mut ends = vec![two.at(HERE, |world| writer(world, &log))];
        let mut nodes = vec![HERE];
        let mut on_their_way: Vec<(usize, RowKey, Push)> = Vec::new();
        let mut written = 0;
        for _ in 0..60 {
            match rng.next_u32() % 6 {
                0 if ends.len() < 6 => {
                    let node = ends.len() % 2;
                    let mut client = two.at(node, World::client);
                    let opened = two.at(node, |world| client.open(world, &log, 0));
                    ends.push((client, opened.handle));
                    nodes.push(node);
                }
                0..=2 => {
                    let end = rng.next_u32() as usize % ends.len();
                    two.at(nodes[end], |world| {
                        append(world, &mut ends[end], &log, written);
                    });
                    written += 1;
                    for (row, news) in two.news(nodes[end]) {
                        on_their_way.push((1 - nodes[end], row, news));
                    }
                }
                3 | 4 if !on_their_way.is_empty() => {
                    let at = rng.next_u32() as usize % on_their_way.len();
                    let (node, row, news) = match rng.next_u32() % 4 {
                        0 => on_their_way[at].clone(),
                        _ => on_their_way.swap_remove(at),
                    };
                    two.deliver(node, vec![(row, news)]);
                }
                _ => {
                    let lost = rng.next_u32() as usize % (on_their_way.len() + 1);
                    on_their_way.truncate(lost);
                }
            }
        }
        for node in [HERE, THERE] {
            two.at(node, |world| world.pass(SWEEP_MS));
        }
        let all: Vec<u64> = (0..u64::from(written)).collect();
        for (number, (client, handle)) in ends.iter_mut().enumerate() {
            two.at(nodes[number], |world| client.receive(world));
            assert_eq!(client.seqs(*handle), all, "seed {seed}, reader {number}");
        }
    }
}
