//! What an image of the running relay's memory holds of logs that are no longer open.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use emptyroom_wire::derive::expand;
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::op::{Answer, PutShare, Request};
use emptyroom_wire::share::{Share, ShareId, ShareKey};
use emptyroom_wire::sign::VerifyKey;
use rand_core::Rng;

use crate::client::{Client, Log, generator};
use crate::machine;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::shares::evaluate;

/// All memory of a process that can be read.
fn image(id: u32) -> io::Result<Vec<u8>> {
    let maps = fs::read_to_string(format!("/proc/{id}/maps"))?;
    let memory = File::open(format!("/proc/{id}/mem"))?;
    let mut image = Vec::new();
    for line in maps.lines().filter(|line| line.contains("rw")) {
        let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [from, to] = [from, to].map(|end| u64::from_str_radix(end, 16).unwrap());
        let mut part = vec![0; usize::try_from(to - from).unwrap()];
        if memory.read_exact_at(&mut part, from).is_ok() {
            image.extend_from_slice(&part);
        }
    }
    assert!(!image.is_empty());
    Ok(image)
}

fn holds(image: &[u8], bytes: &[u8]) -> bool {
    image.windows(bytes.len()).any(|window| window == bytes)
}

// [SPEC 6.80]
#[test]
fn memory_forgets_logs_and_entries_that_are_not_open() {
    let dir = Scratch::new("memory");
    let relay = Process::start(&dir.path().join("data"));
    let log = Log::new();
    let mut client = Client::connect(&relay.address);
    assert!(matches!(client.create(&log, None), Answer::Created));
    let (opened, _) = client.open(&log, 0).unwrap();
    let mut marks = vec![
        ("capability", log.capability().expose().to_vec()),
        ("salt", log.header.salt.0.to_vec()),
        ("log id", log.capability().log_id().0.to_vec()),
    ];
    for _ in 0..8 {
        let append = client.append_request(opened.handle, &log, b"entry", Ttl::Day7);
        marks.push(("entry", append.body[100..164].to_vec()));
        assert!(matches!(
            client.call(Request::Append(append)),
            Answer::Appended(_)
        ));
    }
    let Some(open) = machine::as_root(image(relay.id())) else {
        return;
    };
    // The image is one, and of the right process.
    assert!(holds(&open, &relay.address.identity.0));
    let held: Vec<&str> = marks
        .iter()
        .filter(|(_, mark)| holds(&open, mark))
        .map(|(what, _)| *what)
        .collect();
    assert_eq!(held, ["log id"]);
    drop(client);
    forgets(&relay, &marks);
    let limits = fs::read_to_string(format!("/proc/{}/limits", relay.id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(
        core.split_whitespace().collect::<Vec<_>>()[4..6],
        ["0", "0"]
    );
}

/// The relay notices by itself that a client is gone; how soon is the kernel's affair. Stacks keep what was last on them until somebody
/// else's request comes.
fn forgets(relay: &Process, marks: &[(&str, Vec<u8>)]) {
    let patience = Instant::now();
    loop {
        let other = Log::new();
        let mut client = Client::connect(&relay.address);
        client.create(&other, None);
        let (opened, _) = client.open(&other, 0).unwrap();
        client.append(opened.handle, &other, b"other", Ttl::Day7);
        let image = image(relay.id()).unwrap();
        let left: Vec<&str> = marks
            .iter()
            .filter(|(_, mark)| holds(&image, mark))
            .map(|(what, _)| *what)
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(
            patience.elapsed() < Duration::from_secs(20),
            "left in memory: {left:?}"
        );
    }
}

// [SPEC 6.176]
#[test]
fn memory_forgets_shares() {
    let dir = Scratch::new("memory-shares");
    let relay = Process::start(&dir.path().join("data"));
    let mut client = Client::connect(&relay.address);
    let mut marks = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..8 {
        let (mut id, mut key) = ([0; 32], [0; 32]);
        generator().fill_bytes(&mut id);
        // Below the group's order.
        generator().fill_bytes(&mut key[..31]);
        let put = Request::SharePut(PutShare {
            id: ShareId::new(id),
            share: Share {
                owner: VerifyKey([1; 32]),
                key: ShareKey::new(key).unwrap(),
                uses: 2,
                days: 10,
                policy: None,
            },
            code: None,
        });
        assert!(matches!(client.call(put), Answer::Done));
        let row_secret = expand::<32>(&id, "emptyroom v1 share row secret", &[]);
        marks.extend([
            ("id", id.to_vec()),
            ("key", key.to_vec()),
            ("row secret", row_secret.expose().to_vec()),
        ]);
        ids.push(ShareId::new(id));
    }
    for id in &ids {
        let answer = client.call(evaluate(id));
        assert!(matches!(answer, Answer::Evaluated(_)));
    }
    let Some(open) = machine::as_root(image(relay.id())) else {
        return;
    };
    assert!(holds(&open, &relay.address.identity.0));
    // Also while its connection stands: nothing of a share is kept for it.
    forgets(&relay, &marks);
    assert!(matches!(
        client.call(evaluate(&ids[0])),
        Answer::Evaluated(_)
    ));
    forgets(&relay, &marks);
}
