//! Whoever asks for much waits for himself. What others ask is taken, and decided with one of the next batches, whoever floods.

use std::sync::LazyLock;

use emptyroom_relay::{Config, Limits, Reason};
use emptyroom_wire::log::Capability;
use emptyroom_wire::op::{
    Answer, Append, Handle, Open, OpenLog, OpenOutcome, RefusalCode, Request,
};

use crate::readers::{append, writer};
use crate::world::{Client, Log, World, body, message, open};

/// What a connection can flood with.
#[derive(Clone, Copy, Debug)]
enum Flood {
    /// Entries of this length.
    Entries(usize),
    /// Requests to open 64 logs each.
    Opens,
    /// Both.
    Mixed,
}

const FLOODS: [Flood; 4] = [
    Flood::Entries(4 << 20),
    Flood::Entries(4 << 10),
    Flood::Opens,
    Flood::Mixed,
];

/// A connection that asks for as much as it may, again and again.
struct Flooder {
    client: Client,
    handle: Handle,
    number: u32,
}

impl Flooder {
    /// Floods a log that needs no proofs.
    fn new(world: &mut World, log: &Log) -> Flooder {
        let mut client = world.client();
        client.create(world, log);
        let handle = client.open(world, log, 0).handle;
        Flooder {
            client,
            handle,
            number: 0,
        }
    }

    fn request(&mut self, flood: Flood) -> Request {
        self.number += 1;
        let mut append = message(self.handle, self.number);
        append.nonce[4..12].copy_from_slice(&self.client.conn.0.to_be_bytes());
        match flood {
            Flood::Mixed if self.number.is_multiple_of(2) => open_many(64),
            Flood::Opens => open_many(64),
            Flood::Mixed => Request::Append(append),
            Flood::Entries(len) => Request::Append(Append {
                body: body(self.number, len),
                ..append
            }),
        }
    }

    /// Sends until it is refused.
    fn fill(&mut self, world: &mut World, flood: Flood) {
        loop {
            let request = self.request(flood);
            let id = self.client.send(world, request);
            self.client.receive(world);
            self.client.pushes.clear();
            if matches!(self.client.answers.get(&id), Some(Answer::Refused(_))) {
                self.client.answers.clear();
                return;
            }
        }
    }
}

/// The capabilities of 64 logs, which are dear to compute.
static MANY: LazyLock<Vec<[u8; 32]>> = LazyLock::new(|| {
    let logs = (0..64).map(|number| Log::new(number ^ 0x80).capability());
    logs.map(|capability| *capability.expose()).collect()
});

fn open_many(count: usize) -> Request {
    let logs = MANY.iter().take(count).map(|bytes| OpenLog {
        capability: Capability::new(*bytes),
        from: 0,
        proof: None,
    });
    Request::Open(Open {
        logs: logs.collect(),
    })
}

fn anybodys(number: u8) -> Log {
    let mut log = Log::new(number);
    log.header.append_key = None;
    log
}

/// Batches that the store decides until the client has this answer, while the flooders go on.
fn batches_until(
    world: &mut World,
    (client, id): (&mut Client, u32),
    (flooders, flood): (&mut [Flooder], Flood),
) -> usize {
    for batches in 0..1_000 {
        client.receive(world);
        if client.answers.contains_key(&id) {
            return batches;
        }
        world.run_store();
        for flooder in flooders.iter_mut() {
            flooder.fill(world, flood);
        }
    }
    panic!("no answer after a thousand batches")
}

/// Many ask for all they may; somebody else appends, opens and reads.
fn others_are_served(flooders: u8, flood: Flood, one_log: bool, batches_max: usize) {
    let mut world = World::new();
    let log = Log::new(200);
    let mut pair = writer(&mut world, &log);
    append(&mut world, &mut pair, &log, 0);
    let mut reader = world.client();
    let mut flooders: Vec<Flooder> = (0..flooders)
        .map(|number| Flooder::new(&mut world, &anybodys(if one_log { 0 } else { number })))
        .collect();
    world.hold_store = true;
    for flooder in &mut flooders {
        flooder.fill(&mut world, flood);
    }
    for number in 1..4 {
        let entry = pair.0.message(&world, &log, pair.1, number);
        let id = pair.0.send(&mut world, Request::Append(entry));
        let batches = batches_until(&mut world, (&mut pair.0, id), (&mut flooders, flood));
        let answer = &pair.0.answers[&id];
        assert!(
            matches!(answer, Answer::Appended(_)),
            "{flood:?} {answer:?}"
        );
        assert!(batches <= batches_max, "{flood:?} {batches}");
    }
    let id = reader.send(&mut world, open(&log, 0, None));
    let batches = batches_until(&mut world, (&mut reader, id), (&mut flooders, flood));
    assert!(batches <= batches_max, "{flood:?} {batches}");
    let answer = &reader.answers[&id];
    assert!(matches!(answer, Answer::Opened(_)), "{flood:?} {answer:?}");
    for _ in 0..batches_max {
        world.run_store();
        for flooder in &mut flooders {
            flooder.fill(&mut world, flood);
        }
    }
    reader.receive(&mut world);
    assert_eq!(reader.seqs(Handle(0)), [0, 1, 2, 3], "{flood:?}");
}

// [SPEC 6.145]
#[test]
fn one_flooder_delays_others_by_the_batch_under_way_and_one_more() {
    for flood in FLOODS {
        others_are_served(1, flood, false, 2);
    }
}

// [SPEC 6.145]
#[test]
fn many_flooders_share_what_one_would_get() {
    for flood in FLOODS {
        others_are_served(16, flood, false, 5);
    }
}

// [SPEC 6.145]
#[test]
fn a_flood_on_one_log_holds_up_no_other() {
    others_are_served(16, Flood::Entries(4 << 10), true, 3);
}

// [SPEC 6.52]
#[test]
fn who_has_most_waiting_is_refused_and_not_who_comes_last() {
    let mut world = World::new();
    let mut flooder = Flooder::new(&mut world, &anybodys(0));
    let log = Log::new(200);
    let mut pair = writer(&mut world, &log);
    world.hold_store = true;
    flooder.fill(&mut world, Flood::Entries(4 << 20));
    // Not even with the largest entry there is.
    let large = Append {
        body: body(1, 4 << 20),
        ..pair.0.message(&world, &log, pair.1, 1)
    };
    let id = pair.0.send(&mut world, Request::Append(large));
    pair.0.receive(&mut world);
    assert!(!pair.0.answers.contains_key(&id));
    // In its place the flooder's newest was refused, with the time to come back.
    flooder.client.receive(&mut world);
    let refused: Vec<_> = flooder.client.answers.iter().collect();
    assert!(
        matches!(refused[..], [(_, Answer::Refused(refusal))]
            if refusal.code == RefusalCode::Busy && refusal.retry_after_s > 0),
        "{refused:?}"
    );
    world.release_store();
    pair.0.receive(&mut world);
    assert!(matches!(pair.0.answers[&id], Answer::Appended(_)));
    // What was not refused was done, in its order.
    flooder.client.receive(&mut world);
    let entries = flooder.client.entries(flooder.handle);
    let number = |body: &[u8]| u32::from_be_bytes(*body.first_chunk().unwrap());
    let done: Vec<u32> = entries.iter().map(|entry| number(&entry.body)).collect();
    assert_eq!(done, (1..=15).collect::<Vec<_>>());
}

/// A client that catches up with much takes its turn with others that do, and with those who append.
// [SPEC 6.145]
#[test]
fn who_reads_much_holds_nobody_up() {
    let mut world = World::new();
    let bulk = anybodys(0);
    let mut hoard = Flooder::new(&mut world, &bulk);
    for number in 0..40 {
        let append = Append {
            body: body(number, 1 << 20),
            ..message(hoard.handle, number)
        };
        hoard.client.ask(&mut world, Request::Append(append));
    }
    let log = Log::new(200);
    let mut pair = writer(&mut world, &log);
    let mut readers: Vec<Client> = (0..50).map(|_| world.client()).collect();
    let mut late = world.client();
    world.hold_store = true;
    for reader in &mut readers {
        reader.send(&mut world, open(&bulk, 0, None));
    }
    let mut none = [];
    world.run_store();
    for number in 0..10 {
        let entry = pair.0.message(&world, &log, pair.1, number);
        let id = pair.0.send(&mut world, Request::Append(entry));
        let floods = (&mut none[..], Flood::Opens);
        let batches = batches_until(&mut world, (&mut pair.0, id), floods);
        assert!(batches <= 2, "{batches}");
        assert!(pair.0.seqs(pair.1).contains(&u64::from(number)), "and live");
    }
    // Somebody who has little to catch up with gets it while they are at it.
    late.send(&mut world, open(&log, 0, None));
    for _ in 0..8 {
        world.run_store();
    }
    late.receive(&mut world);
    assert_eq!(late.seqs(Handle(0)).len(), 10);
    for reader in &mut readers {
        reader.receive(&mut world);
        assert!(reader.seqs(Handle(0)).len() < 40, "not all at once");
    }
}

// [SPEC 6.146]
#[test]
fn a_million_handles_leave_some_for_others() {
    let limits = Limits {
        handles_total_max: 1 << 18,
        ..Limits::default()
    };
    let mut world = World::with(Config {
        limits,
        ..Config::open()
    });
    let mut first = world.client();
    for number in 0..64 {
        first.create(&mut world, &Log::new(number ^ 0x80));
    }
    // As many connections as one address may have, each with all the handles it gets.
    let mut flooders = Vec::new();
    let mut handles = 0;
    for _ in 0..1_024 {
        let mut client = world.client();
        let mut own = 0;
        for _ in 0..16 {
            match client.ask(&mut world, open_many(64)) {
                Answer::Opened(opened) => own += opened.logs.len(),
                Answer::Refused(refusal) => {
                    assert!(refusal.code == RefusalCode::Busy && refusal.retry_after_s > 0);
                    break;
                }
                other => panic!("{other:?}"),
            }
            client.pushes.clear();
        }
        handles += own;
        flooders.push(client);
    }
    assert!(handles > 1 << 16, "{handles}");
    // Others open what they need.
    for _ in 0..100 {
        let mut other = world.client();
        let Answer::Opened(opened) = other.ask(&mut world, open_many(20)) else {
            panic!("refused")
        };
        let is_open = |outcome: &OpenOutcome| matches!(outcome, OpenOutcome::Open(_));
        assert!(opened.logs.iter().all(is_open));
    }
}

// [SPEC 6.147]
#[test]
fn a_stream_gets_each_entry_so_often_and_no_more() {
    let mut world = World::new();
    let log = anybodys(1);
    let mut flooder = Flooder::new(&mut world, &log);
    for _ in 0..15 {
        flooder.client.open(&mut world, &log, 0);
    }
    let Answer::Opened(opened) = flooder.client.ask(&mut world, open(&log, 0, None)) else {
        panic!("not answered")
    };
    assert!(matches!(&opened.logs[0], OpenOutcome::Refused(refusal)
        if refusal.code == RefusalCode::TooMany));
    // Leaving makes room, and other streams have theirs.
    flooder.client.ask(&mut world, Request::Leave(Handle(3)));
    flooder.client.open(&mut world, &log, 0);
    let mut other = world.client();
    other.open(&mut world, &log, 0);
    flooder.client.pushes.clear();
    let request = flooder.request(Flood::Entries(4 << 10));
    flooder.client.ask(&mut world, request);
    flooder.client.receive(&mut world);
    assert_eq!(flooder.client.pushes.len(), 16);
}

/// Requests that need no store are answered at once, and whoever does not take the answers is ended.
// [SPEC 6.51]
#[test]
fn a_flood_of_pings_is_answered_in_between_or_ended() {
    let mut world = World::new();
    let log = Log::new(1);
    let mut pair = writer(&mut world, &log);
    let mut flooder = world.client();
    let conn = flooder.conn;
    world.sockets_take = false;
    let mut pings = 0_usize;
    while world.hangup(conn).is_none() {
        flooder.send(&mut world, Request::Ping);
        pings += 1;
        if pings.is_multiple_of(1_000) {
            let number = u32::try_from(pings).unwrap();
            append(&mut world, &mut pair, &log, number);
            let writer = pair.0.conn;
            world.take_all(writer);
        }
        assert!(pings < 100_000);
    }
    assert_eq!(world.hangup(conn), Some(Reason::Slow));
    assert!(world.unsent[&conn] <= (8 << 20) + 1_024);
    pair.0.receive(&mut world);
    assert_eq!(pair.0.seqs(pair.1).len(), pings / 1_000);
}
