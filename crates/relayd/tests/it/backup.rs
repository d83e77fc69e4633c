//! Copies of a relay, and relays that come back from one.

use std::fs;
use std::path::Path;
use std::process::Output;

use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::op::{Answer, RefusalCode};

use crate::client::{Client, Log};
use crate::process::{Process, binary};
use crate::scratch::{Scratch, files_below};

fn run(arguments: &[&str]) -> (i32, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = binary().args(arguments).output().unwrap();
    let text = String::from_utf8([stdout, stderr].concat()).unwrap();
    (status.code().unwrap(), text)
}

fn backup(data: &Path, to: &Path, more: &[&str]) -> (i32, String) {
    let places = [
        "backup",
        "--data",
        data.to_str().unwrap(),
        "--to",
        to.to_str().unwrap(),
    ];
    run(&[&places, more].concat())
}

fn restore(from: &Path, data: &Path, more: &[&str]) -> (i32, String) {
    let places = [
        "restore",
        "--from",
        from.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
    ];
    run(&[&places, more].concat())
}

/// By a client of its own, which leaves.
fn append(address: &RelayAddress, log: &Log, texts: &[&str]) {
    let mut client = Client::connect(address);
    let (opened, _) = client.open(log, 0).unwrap();
    for text in texts {
        client.append(opened.handle, log, text.as_bytes(), Ttl::Day7);
    }
}

// [SPEC 6.132] [SPEC 6.134]
#[test]
fn a_backup_is_the_relay_without_what_it_keeps() {
    let dir = Scratch::new("backup");
    let (data, copy, new) = (
        dir.path().join("data"),
        dir.path().join("copy"),
        dir.path().join("new"),
    );
    let relay = Process::start(&data);
    let log = Log::new();
    let mut client = Client::connect(&relay.address);
    client.create(&log, None);
    append(&relay.address, &log, &["a", "b"]);
    let (code, says) = backup(&data, &copy, &[]);
    assert_eq!(code, 0, "{says}");
    let mut names: Vec<String> = files_below(&copy)
        .iter()
        .map(|file| {
            file.strip_prefix(&copy)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["backup.json", "identity.key", "key-chain", "version"]
    );
    // Never over something that is there.
    assert_eq!(backup(&data, &copy, &[]).0, 4);
    assert_eq!(restore(&copy, &data, &[]).0, 3, "a relay runs there");
    let identity = relay.address.identity;
    relay.kill();
    let (code, says) = restore(&copy, &data, &[]);
    assert!(
        code == 4 && says.contains("there is a relay in this data directory already"),
        "{says}"
    );
    let (code, says) = restore(&copy, &new, &[]);
    assert_eq!(code, 0, "{says}");
    // The same relay, which has forgotten.
    let relay = Process::start(&new);
    assert!(relay.address.identity == identity);
    let mut client = Client::connect(&relay.address);
    assert_eq!(client.open(&log, 0).err(), Some(RefusalCode::Unknown));
    assert!(matches!(client.create(&log, None), Answer::Created));
}

// [SPEC 6.133] [SPEC 6.134]
#[test]
fn a_backup_with_entries_is_one_moment_of_a_running_relay() {
    for kind in ["sqlite", "segments"] {
        let dir = Scratch::new("backup-entries");
        let (data, copy, new) = (
            dir.path().join("data"),
            dir.path().join("copy"),
            dir.path().join("new"),
        );
        let relay = Process::start_with(&data, &["--store", kind]);
        let log = Log::new();
        let mut client = Client::connect(&relay.address);
        client.create(&log, None);
        append(&relay.address, &log, &["a", "b"]);
        // Others go on appending while it is made; what they are told is stored is there or came after.
        let address = relay.address.clone();
        let busy = std::thread::spawn(move || {
            let log = Log::new();
            let mut client = Client::connect(&address);
            client.create(&log, None);
            let texts: Vec<String> = (0..200).map(|number| number.to_string()).collect();
            append(
                &address,
                &log,
                &texts.iter().map(String::as_str).collect::<Vec<_>>(),
            );
            log
        });
        let (code, says) = backup(&data, &copy, &["--with-entries"]);
        assert_eq!(code, 0, "{says}");
        let other = busy.join().unwrap();
        append(&relay.address, &log, &["later"]);
        let (_, _, said) = relay.signal("TERM");
        assert!(
            said.contains("holding the store for a backup") && said.contains("the store goes on"),
            "{said}"
        );
        assert_eq!(restore(&copy, &new, &[]).0, 0);
        let relay = Process::start(&new);
        let mut client = Client::connect(&relay.address);
        let (opened, entries) = client.open(&log, 0).unwrap();
        // It is older, and whole.
        assert_eq!(opened.view.next_seq, 2);
        assert!(log.hash_over(&entries) == opened.view.running_hash);
        if let Ok((opened, entries)) = client.open(&other, 0) {
            assert_eq!(entries.len() as u64, opened.view.next_seq);
            assert!(other.hash_over(&entries) == opened.view.running_hash);
        }
        append(&relay.address, &log, &["other"]);
    }
}

// [SPEC 6.133]
#[test]
fn entries_of_an_old_backup_stay_away() {
    let dir = Scratch::new("backup-old");
    let (data, copy, new) = (
        dir.path().join("data"),
        dir.path().join("copy"),
        dir.path().join("new"),
    );
    Process::start(&data).signal("TERM");
    let (code, says) = backup(&data, &copy, &["--with-entries", "--days", "1"]);
    assert_eq!(code, 0, "{says}");
    let list = copy.join("backup.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&list).unwrap()).unwrap();
    json["entries_until_s"] = 1_000_000_000.into();
    fs::write(&list, json.to_string()).unwrap();
    let (code, says) = restore(&copy, &new, &[]);
    assert!(code == 4 && says.contains("--without-entries"), "{says}");
    assert!(!new.exists());
    assert_eq!(restore(&copy, &new, &["--without-entries"]).0, 0);
    assert!(!new.join("store").exists());
}

// [SPEC 6.134]
#[test]
fn a_damaged_backup_is_not_restored() {
    let dir = Scratch::new("backup-damaged");
    let (data, copy, new) = (
        dir.path().join("data"),
        dir.path().join("copy"),
        dir.path().join("new"),
    );
    let to = new.join("identity.key");
    Process::start(&data).signal("TERM");
    assert_eq!(backup(&data, &copy, &[]).0, 0);
    let chain = copy.join("key-chain");
    let mut bytes = fs::read(&chain).unwrap();
    bytes[20] ^= 1;
    fs::write(&chain, &bytes).unwrap();
    let (code, says) = restore(&copy, &new, &[]);
    assert!(code == 4 && says.contains("key-chain is damaged"), "{says}");
    assert!(!to.exists());
    fs::remove_file(copy.join("backup.json")).unwrap();
    let (code, says) = restore(&copy, &new, &[]);
    assert!(code == 4 && says.contains("cut off"), "{says}");
    assert!(!to.exists());
}
