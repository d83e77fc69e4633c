//! What a client may do on a stream, and how it ends.

use emptyroom_relay::{Config, Input, Limits, Reason};
use emptyroom_wire::op::{
    Answer, Cast, FromClient, Handle, Open, OpenLog, OpenOutcome, RefusalCode, Renew, Request, Trim,
};
use emptyroom_wire::sign::Signature;
use emptyroom_wire::time::{DAY_MS, MINUTE_MS};

use crate::world::{Log, World, create, message, open};

// [SPEC 4.41]
#[test]
fn a_frame_that_does_not_open_ends_the_stream() {
    for at in [0, 100, 527] {
        let mut world = World::new();
        let mut client = world.client();
        let ping = FromClient {
            id: 5,
            request: Request::Ping,
        }
        .encode()
        .unwrap();
        let mut frame = client.stream.seal(world.now.mono, &ping).unwrap();
        frame[at] ^= 1;
        world.input(Input::Frame(client.conn, frame));
        client.receive(&mut world);
        assert!(matches!(client.answers[&0], Answer::Refused(_)));
        assert_eq!(world.hangup(client.conn), Some(Reason::Malformed));
        // What comes after goes nowhere.
        world.input(Input::Frame(client.conn, vec![0; 528]));
        assert!(world.frame(client.conn).is_none());
    }
    // Frames in another order are not the next ones.
    let mut world = World::new();
    let mut client = world.client();
    let ping = FromClient {
        id: 5,
        request: Request::Ping,
    }
    .encode()
    .unwrap();
    let _lost = client.stream.seal(world.now.mono, &ping).unwrap();
    let second = client.stream.seal(world.now.mono, &ping).unwrap();
    world.input(Input::Frame(client.conn, second));
    assert_eq!(world.hangup(client.conn), Some(Reason::Malformed));
}

// [SPEC 4.46]
#[test]
fn handles_have_a_limit() {
    let limits = Limits {
        handles_max: 3,
        ..Limits::default()
    };
    let mut world = World::with(Config {
        limits,
        ..Config::open()
    });
    let mut client = world.client();
    let log = Log::new(1);
    client.create(&mut world, &log);
    let open_many = |count| {
        let logs = (0..count).map(|_| OpenLog {
            capability: log.capability(),
            from: 0,
            proof: None,
        });
        Request::Open(Open {
            logs: logs.collect(),
        })
    };
    assert_eq!(
        client.refused(&mut world, open_many(4)),
        RefusalCode::TooMany
    );
    // Those that are asked for count before they are given.
    world.hold_store = true;
    let first = client.send(&mut world, open_many(3));
    assert_eq!(
        client.refused(&mut world, open_many(1)),
        RefusalCode::TooMany
    );
    world.release_store();
    client.receive(&mut world);
    assert!(matches!(&client.answers[&first], Answer::Opened(opened) if opened.logs.len() == 3));
    assert_eq!(
        client.refused(&mut world, open_many(1)),
        RefusalCode::TooMany
    );
    assert_eq!(
        client.ask(&mut world, Request::Leave(Handle(1))),
        Answer::Done
    );
    let opened = client.open(&mut world, &log, 0);
    assert_eq!(opened.handle, Handle(3), "no handle twice");
    // Logs that are not there take no place.
    client.ask(&mut world, Request::Leave(Handle(0)));
    for _ in 0..3 {
        client.ask(&mut world, open(&Log::new(9), 0, None));
    }
    client.open(&mut world, &log, 0);
}

// [SPEC 4.46]
#[test]
fn handles_of_all_streams_have_a_limit() {
    let limits = Limits {
        handles_total_max: 3,
        ..Limits::default()
    };
    let mut world = World::with(Config {
        limits,
        ..Config::open()
    });
    let (mut one, mut two) = (world.client(), world.client());
    let log = Log::new(1);
    one.create(&mut world, &log);
    one.open(&mut world, &log, 0);
    for _ in 0..2 {
        two.open(&mut world, &log, 0);
    }
    assert_eq!(
        one.refused(&mut world, open(&log, 0, None)),
        RefusalCode::Busy
    );
    // Leaving and going make room.
    two.ask(&mut world, Request::Leave(Handle(0)));
    one.open(&mut world, &log, 0);
    assert_eq!(
        one.refused(&mut world, open(&log, 0, None)),
        RefusalCode::Busy
    );
    world.input(Input::Disconnected(two.conn));
    // One place is left, and two ask for it while the store is busy.
    let mut three = world.client();
    world.hold_store = true;
    let first = one.send(&mut world, open(&log, 0, None));
    let second = three.send(&mut world, open(&log, 0, None));
    world.release_store();
    one.receive(&mut world);
    three.receive(&mut world);
    let outcome = |answer: &Answer| match answer {
        Answer::Opened(opened) => opened.logs[0].clone(),
        other => panic!("not answered but {other:?}"),
    };
    assert!(matches!(
        outcome(&one.answers[&first]),
        OpenOutcome::Open(_)
    ));
    assert!(
        matches!(outcome(&three.answers[&second]), OpenOutcome::Refused(refusal) if refusal.code == RefusalCode::Busy)
    );
}

// [SPEC 4.47]
#[test]
fn unanswered_requests_have_a_limit() {
    let limits = Limits {
        requests_max: 2,
        ..Limits::default()
    };
    let mut world = World::with(Config {
        limits,
        ..Config::open()
    });
    let mut client = world.client();
    world.hold_store = true;
    for number in 1..=2 {
        client.send(&mut world, create(&Log::new(number), None));
    }
    assert_eq!(
        client.refused(&mut world, Request::Ping),
        RefusalCode::TooMany
    );
    let late = create(&Log::new(3), None);
    assert_eq!(client.refused(&mut world, late), RefusalCode::TooMany);
    world.release_store();
    client.receive(&mut world);
    assert_eq!(client.answers.len(), 2);
    assert_eq!(client.ask(&mut world, Request::Ping), Answer::Done);
    // What was refused was not done.
    let third = client.ask(&mut world, open(&Log::new(3), 0, None));
    let Answer::Opened(opened) = third else {
        panic!("no outcomes");
    };
    assert!(matches!(opened.logs[..], [OpenOutcome::Refused(_)]));
}

// [SPEC 4.48]
#[test]
fn too_many_offences_end_the_stream() {
    let mut world = World::new();
    let mut client = world.client();
    let log = Log::new(1);
    client.create(&mut world, &log);
    let handle = client.open(&mut world, &log, 0).handle;
    for offences in 1..=8 {
        assert_eq!(world.hangup(client.conn), None);
        let code = client.refused(&mut world, Request::Append(message(handle, offences)));
        assert_eq!(code, RefusalCode::BadProof);
    }
    assert_eq!(world.hangup(client.conn), Some(Reason::Abuse));
    // Nothing of it sticks to the log or to anybody else.
    let mut other = world.client();
    let handle = other.open(&mut world, &log, 0).handle;
    let append = Request::Append(other.message(&world, &log, handle, 1));
    assert!(matches!(other.ask(&mut world, append), Answer::Appended(_)));
}

// [SPEC 4.62]
#[test]
fn handles_of_nobody_and_of_others_are_unknown() {
    let mut world = World::new();
    let (mut client, mut other) = (world.client(), world.client());
    let log = Log::new(1);
    client.create(&mut world, &log);
    let handle = client.open(&mut world, &log, 0).handle;
    let asks = |handle| {
        let signature = Signature([1; 64]);
        [
            Request::Append(message(handle, 1)),
            Request::Renew(Renew {
                handle,
                proof: None,
            }),
            Request::Trim(Trim {
                handle,
                up_to: 1,
                signature,
            }),
            Request::Leave(handle),
            Request::Cast(Cast {
                handle,
                bytes: vec![1],
            }),
        ]
    };
    for request in asks(handle) {
        assert_eq!(other.refused(&mut world, request), RefusalCode::Unknown);
    }
    for request in asks(Handle(u32::MAX)) {
        assert_eq!(client.refused(&mut world, request), RefusalCode::Unknown);
    }
    assert_eq!(client.ask(&mut world, Request::Leave(handle)), Answer::Done);
    for request in asks(handle) {
        assert_eq!(client.refused(&mut world, request), RefusalCode::Unknown);
    }
}

#[test]
fn a_stream_turns_its_keys_and_lives_a_day() {
    let mut world = World::new();
    let mut client = world.client();
    for _ in 0..100 {
        world.pass(10 * MINUTE_MS);
        assert_eq!(client.ask(&mut world, Request::Ping), Answer::Done);
    }
    world.pass(DAY_MS - 1_000 * MINUTE_MS - 1);
    assert_eq!(client.ask(&mut world, Request::Ping), Answer::Done);
    assert_eq!(world.hangup(client.conn), None);
    world.pass(1);
    assert_eq!(world.hangup(client.conn), Some(Reason::Age));
}

// [SPEC 6.51]
#[test]
fn who_asks_and_does_not_listen_is_ended() {
    let mut world = World::new();
    let mut client = world.client();
    let mut quiet = world.client();
    world.sockets_take = false;
    let mut asked = 0;
    while world.hangup(client.conn).is_none() {
        client.send(&mut world, Request::Ping);
        asked += 1;
        assert!(asked < 40_000, "never ended");
    }
    assert_eq!(world.hangup(client.conn), Some(Reason::Slow));
    let waits = world.unsent[&client.conn];
    assert!((8 << 20..9 << 20).contains(&waits), "{waits}");
    // One answer that nobody takes for two minutes.
    quiet.send(&mut world, Request::Ping);
    world.pass(2 * MINUTE_MS - 1);
    assert_eq!(world.hangup(quiet.conn), None);
    world.pass(1);
    assert_eq!(world.hangup(quiet.conn), Some(Reason::Slow));
}
