//! Many connections and few open files.

use std::thread;
use std::time::{Duration, Instant};

use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::op::Answer;

use crate::client::{Client, Log};
use crate::process::{Process, serve, with_descriptors};
use crate::scratch::Scratch;

/// Open files that the relay may have, or each of its threads.
const DESCRIPTORS: u32 = 200;

fn relay(dir: &Scratch, arguments: &[&str]) -> Process {
    let data = dir.path().join("data");
    let mut command = serve(&data);
    command.args(["--open", "--connections-per-address", "2000"]);
    command.args(arguments);
    Process::spawn(with_descriptors(&command, DESCRIPTORS), &data)
}

/// Each one can make logs and gets what others append.
fn are_served(clients: &mut [Client]) {
    let log = Log::new();
    let Some((first, others)) = clients.split_first_mut() else {
        panic!("nobody is there");
    };
    assert!(matches!(first.create(&log, None), Answer::Created));
    let (mine, _) = first.open(&log, 0).unwrap();
    let handles: Vec<_> = others
        .iter_mut()
        .map(|other| other.open(&log, 0).unwrap().0.handle)
        .collect();
    first.append(mine.handle, &log, b"to all", Ttl::Day7);
    for (other, handle) in others.iter_mut().zip(handles) {
        let (to, _) = other.push();
        assert_eq!(to.0, handle.0);
        assert!(matches!(other.create(&Log::new(), None), Answer::Created));
    }
}

/// Somebody finds room as soon as one has left.
fn one_comes_for_one_that_leaves(clients: &mut Vec<Client>, address: &RelayAddress) {
    assert!(Client::try_connect(address).is_err());
    clients.swap_remove(clients.len() / 2);
    let patience = Instant::now();
    loop {
        if let Ok(client) = Client::try_connect(address) {
            clients.push(client);
            return;
        }
        assert!(patience.elapsed() < Duration::from_secs(30));
        thread::yield_now();
    }
}

// [SPEC 6.100]
#[test]
fn threads_with_descriptors_of_their_own_hold_more_connections_than_the_limit() {
    let dir = Scratch::in_memory("lanes");
    let relay = relay(&dir, &["--threads", "4", "--descriptors-per-thread"]);
    let mut clients: Vec<Client> = (0..2 * DESCRIPTORS)
        .map(|_| Client::connect(&relay.address))
        .collect();
    one_comes_for_one_that_leaves(&mut clients, &relay.address);
    are_served(&mut clients);
    let (status, _, stderr) = relay.signal("TERM");
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert_eq!(
        stderr,
        "emptyroom-relay: serving\nemptyroom-relay: stopping\n"
    );
}

// [SPEC 6.53]
#[test]
fn beyond_the_limit_of_open_files_connections_are_ended_and_others_served() {
    let dir = Scratch::in_memory("no-lanes");
    let relay = relay(&dir, &["--threads", "4"]);
    let mut clients: Vec<Client> = (0..DESCRIPTORS / 2)
        .map(|_| Client::connect(&relay.address))
        .collect();
    for _ in 0..DESCRIPTORS {
        assert!(Client::try_connect(&relay.address).is_err());
    }
    one_comes_for_one_that_leaves(&mut clients, &relay.address);
    are_served(&mut clients);
    let (status, _, stderr) = relay.signal("TERM");
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert_eq!(
        stderr,
        "emptyroom-relay: serving\nemptyroom-relay: stopping\n"
    );
}
