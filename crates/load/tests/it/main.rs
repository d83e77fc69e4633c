//! A tiny load on a real relay: everything that is acknowledged arrives, in both loops and both layouts.

mod peers;

use emptyroom_load::drive::Aim;
use emptyroom_load::relay::{Logs, Relay};
use emptyroom_load::scratch::Scratch;
use emptyroom_load::session::{Load, Shape, Work, session};
use emptyroom_relayd::data::access::Access;
use emptyroom_relayd::server::{Options, Server};
use std::time::Duration;
use tokio::runtime::Builder;

#[test]
fn what_is_acknowledged_arrives() {
    let scratch = Scratch::new("tiny").unwrap();
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let mut options = Options::new(scratch.path.join("relay"), "127.0.0.1:0".parse().unwrap());
    options.access = Access::Open;
    let server = runtime.block_on(Server::start(options)).unwrap();
    let this = ("relay", std::process::id());
    for (run, logs, aim) in [
        (1, Logs::Pairs(2), Aim::Own),
        (2, Logs::Mesh(3), Aim::All(3)),
    ] {
        let relay = Relay::new(server.address().clone(), this, logs, run).unwrap();
        let shape = Shape {
            senders: 3,
            recipients: 3,
            aim,
        };
        let work = |load| Work {
            load,
            lasts: Duration::from_millis(200),
            payload_len: 4_096,
        };
        session(&relay, shape, |session| {
            let fast = session.run(work(Load::Saturate(2)))?;
            assert!(fast.acknowledged > 0);
            assert_eq!(fast.delivered, fast.acknowledged);
            assert_eq!(fast.delivery.count(), fast.delivered);
            let paced = session.run(work(Load::PerSecond(50.0)))?;
            // Ten are due in that time, however fast they are answered.
            assert_eq!((paced.acknowledged, paced.delivered), (10, 10));
            assert_eq!(paced.acknowledgement.count(), 10);
            Ok(())
        })
        .unwrap();
    }
    runtime.block_on(server.stop()).unwrap();
}

#[test]
fn a_server_that_is_not_there_ends_the_session() {
    let nobody = "127.0.0.1:1/";
    let relay = emptyroom_wire::relay_key::RelayIdentity::from_seed(
        &emptyroom_wire::secret::Secret32::new([1; 32]),
    );
    let address = emptyroom_wire::address::RelayAddress {
        host: emptyroom_wire::address::Host::parse(nobody.trim_end_matches('/')).unwrap(),
        others: Vec::new(),
        identity: relay.hash(),
        code: None,
    };
    let relay = Relay::new(address, ("nobody", 1), Logs::Pairs(1), 1).unwrap();
    let shape = Shape {
        senders: 1,
        recipients: 1,
        aim: Aim::Own,
    };
    let why = session(&relay, shape, |_| Ok(())).unwrap_err();
    assert!(why.to_string().starts_with("nobody: "), "{why}");
}
