//! What is put together and dialled; the whole of it runs in `tests/it`.

use std::path::PathBuf;

use emptyroom_wire::relay_key::RelayIdentity;
use emptyroom_wire::time::{DAY_MS, Wall};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use super::*;
use crate::clock;
use crate::data::{chain::Chain, identity};
use crate::entropy;
use crate::lanes::LaneOptions;
use crate::testing::scratch;

#[test]
fn public_hosts_get_the_port_they_lack() {
    let text = |public: &str| {
        let (first, others) = Public::parse(public).unwrap().hosts(443).unwrap();
        let hosts: Vec<String> = std::iter::once(&first)
            .chain(&others)
            .map(ToString::to_string)
            .collect();
        hosts.join(",")
    };
    assert_eq!(text("relay.example.org"), "relay.example.org:443");
    assert_eq!(text("relay.example.org:8443"), "relay.example.org:8443");
    assert_eq!(text("192.0.2.7"), "192.0.2.7:443");
    assert_eq!(text("2001:db8::7"), "[2001:db8::7]:443");
    assert_eq!(text("[2001:db8::7]"), "[2001:db8::7]:443");
    assert_eq!(text("[2001:db8::7]:8443"), "[2001:db8::7]:8443");
    assert_eq!(
        text("a.example,b.example:8443,2001:db8::7"),
        "a.example:443,b.example:8443,[2001:db8::7]:443"
    );
    for bad in [
        "a,a:443,",
        "a,a:1",
        "a,b,c,d,e",
        "",
        "a b",
        "relay:0",
        "relay:70000",
        "relay:x",
        "http://relay",
        "relay/x",
        "a..b",
    ] {
        assert!(Public::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn addresses_nobody_can_dial_need_a_public_one() {
    let any = "0.0.0.0:443".parse().unwrap();
    assert!(matches!(dialled(None, any), Err(StartError::NoPublic)));
    let public = Public::parse("relay.example.org").unwrap();
    assert_eq!(
        dialled(Some(&public), any).unwrap().0.to_string(),
        "relay.example.org:443"
    );
    let one = "[::1]:7000".parse().unwrap();
    assert_eq!(dialled(None, one).unwrap().0.to_string(), "[::1]:7000");
}

// [SPEC 6.53] [SPEC 6.81]
#[test]
fn descriptors_bound_the_connections() {
    let streams = |descriptors| {
        let mut options = Options::new(PathBuf::new(), "127.0.0.1:0".parse().unwrap());
        options.fit_into_descriptors(descriptors);
        let direct = options.direct;
        let (half_open, of_one) = (direct.half_open_max, direct.per_address_max);
        (options.limits.streams_max, half_open, of_one)
    };
    assert_eq!(streams(1_000_000), (65_536, 1_024, 1_024));
    assert_eq!(streams(20_000), (17_952, 1_024, 1_024));
    assert_eq!(streams(1_024), (512, 256, 128));
}

// [SPEC 6.100]
#[test]
fn lanes_with_descriptors_of_their_own_have_room_each() {
    let fit = |number, descriptors| {
        let mut options = Options::new(PathBuf::new(), "127.0.0.1:0".parse().unwrap());
        options.lanes = LaneOptions {
            number,
            own_descriptors: true,
        };
        options.fit_into_descriptors(descriptors);
        (options.limits.streams_max, options.of_lane_max)
    };
    assert_eq!(fit(4, 20_000), (65_536, 18_976));
    assert_eq!(fit(3, 20_000), (53_856, 18_976));
    assert_eq!(fit(4, 200), (400, 150));
}

// [SPEC 6.82]
#[test]
fn after_a_long_time_away_the_clock_is_doubted() {
    let dir = scratch("long-away");
    let ran = |days_ago: u64| {
        let data = DataDir::open(dir.path()).unwrap();
        let identity = RelayIdentity::from_seed(&identity::load_or_make(&data).unwrap());
        let then = Wall(clock::wall().0 - days_ago * DAY_MS);
        let key = identity.next_stream_key(None, then, &mut entropy::generator());
        let mut chain = Chain::load(&data, &identity.verify_key()).unwrap();
        chain.append(then, key.signed().record.clone()).unwrap();
    };
    let mut options = Options::new(dir.path().to_owned(), "127.0.0.1:0".parse().unwrap());
    let open = |options: &Options| Disk::open(DataDir::open(dir.path()).unwrap(), options);
    // Never ran before, or not long ago.
    drop(open(&options).unwrap());
    ran(41);
    assert!(matches!(
        open(&options).err(),
        Some(StartError::LongAway(41))
    ));
    options.clock_is_right = true;
    drop(open(&options).unwrap());
    options.clock_is_right = false;
    std::fs::remove_file(dir.path().join("key-chain")).unwrap();
    ran(39);
    drop(open(&options).unwrap());
}

/// A carrier that is no socket: nothing above it can tell.
struct Pipes(mpsc::Receiver<DuplexStream>);

impl Carrier for Pipes {
    type Bytes = DuplexStream;

    async fn accept(&mut self) -> DuplexStream {
        match self.0.recv().await {
            Some(stream) => stream,
            None => std::future::pending().await,
        }
    }
}

// [SPEC 6.53]
#[tokio::test]
async fn more_connections_than_places_are_dropped() {
    let (engine, mut incoming) = mpsc::channel(64);
    let (written, _written) = mpsc::unbounded_channel();
    let (dial, pipes) = mpsc::channel(8);
    let entrance = Entrance {
        metrics: Arc::default(),
        places: Arc::new(Places::new(2, 2)),
        numbers: Arc::default(),
        engine,
        written,
        budgets: Arc::new(Budgets::new()),
        pace: Pace::default(),
    };
    let keeping = tokio::spawn(entrance.keep(Pipes(pipes)));
    let connect = async || {
        let (here, there) = duplex(64);
        dial.send(there).await.unwrap();
        here
    };
    let first = connect().await;
    let _second = connect().await;
    for number in 0..2 {
        let Some(Incoming::Connected(id, _)) = incoming.recv().await else {
            panic!()
        };
        assert_eq!(id, ConnId(number));
    }
    let mut third = connect().await;
    assert_eq!(third.read(&mut [0; 1]).await.unwrap(), 0);
    drop(first);
    let Some(Incoming::Disconnected(ConnId(0))) = incoming.recv().await else {
        panic!()
    };
    // The place is given back right after.
    loop {
        let _again = connect().await;
        tokio::task::yield_now().await;
        if let Ok(Incoming::Connected(..)) = incoming.try_recv() {
            break;
        }
    }
    keeping.abort();
}
