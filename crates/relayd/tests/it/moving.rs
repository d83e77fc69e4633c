//! Relays that move from one store to another, and back.

use std::fs;
use std::path::Path;
use std::process::Output;

use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::entry::Ttl;

use crate::client::{Client, Log};
use crate::database;
use crate::process::{Process, binary};
use crate::scratch::Scratch;

const LOGS: usize = 12;

fn run(arguments: &[&[&str]]) -> (i32, String) {
    let arguments = arguments.concat();
    let Output {
        status,
        stdout,
        stderr,
    } = binary().args(arguments).output().unwrap();
    let text = String::from_utf8([stdout, stderr].concat()).unwrap();
    (status.code().unwrap(), text)
}

fn done(arguments: &[&[&str]]) {
    let (code, text) = run(arguments);
    assert_eq!(code, 0, "{text}");
}

fn at(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Appends to each log, after it was seen that what was appended before is there.
fn go_on(address: &RelayAddress, logs: &[Log], before: usize) {
    for log in logs {
        let mut client = Client::connect(address);
        let (opened, entries) = client.open(log, 0).unwrap();
        assert_eq!(entries.len(), before);
        for (number, entry) in entries.iter().enumerate() {
            assert_eq!(log.read(entry), format!("entry {number}").into_bytes());
        }
        let text = format!("entry {before}");
        let ttl = [Ttl::Day7, Ttl::Day30][before % 2];
        client.append(opened.handle, log, text.as_bytes(), ttl);
    }
}

fn stop(relay: Process) {
    let (status, _, _) = relay.signal("TERM");
    assert!(status.success());
}

/// A refusal with this exit code, which says this.
fn refused(code: i32, what: &str, arguments: &[&[&str]]) {
    let (got, text) = run(arguments);
    assert!(got == code && text.contains(what), "{got} {text}");
}

/// A relay on its own disk that has written twice to each log, and is stopped.
fn on_disk(data: &Path) -> Vec<Log> {
    let logs: Vec<Log> = (0..LOGS).map(|_| Log::new()).collect();
    let relay = Process::start(data);
    let mut client = Client::connect(&relay.address);
    for log in &logs {
        client.create(log, None);
    }
    drop(client);
    go_on(&relay.address, &logs, 0);
    go_on(&relay.address, &logs, 1);
    stop(relay);
    logs
}

/// Another data directory of the same identity, with the same chain of keys.
fn twin(data: &Path, copy: &Path, to: &Path) {
    done(&[&["backup", "--data", at(data), "--to", at(copy)]]);
    done(&[&["restore", "--from", at(copy), "--data", at(to)]]);
}

// [SPEC 6.213]
#[test]
fn a_relay_moves_to_databases_and_back() {
    for databases in [1, 2] {
        let dir = Scratch::in_memory("moving");
        let place = |name: &str| dir.path().join(name);
        let [disk, node, back] = ["disk", "node", "back"].map(place);
        let [there, home, list] = ["there", "home", "databases"].map(place);
        let server = database::shared();
        let addresses: Vec<String> = (0..databases).map(|_| server.fresh()).collect();
        fs::write(&list, addresses.join("\n")).unwrap();
        let store = format!("file:{}", at(&list));
        let logs = on_disk(&disk);
        twin(&disk, &place("copy"), &node);
        done(&[&["export", "--data", at(&disk), "--to", at(&there)]]);
        // What was brought away is served in one place, unless that was undone.
        refused(
            4,
            "exported",
            &[&["serve", "--listen", "127.0.0.1:0", "--data", at(&disk)]],
        );
        done(&[&["export", "--data", at(&disk), "--undo"]]);
        stop(Process::start(&disk));
        let import = ["import", "--data", at(&node), "--store", &store, "--from"];
        done(&[&import, &[at(&there)]]);
        // Not twice.
        refused(4, "not empty", &[&import, &[at(&there)]]);
        let relay = Process::start_with(&node, &["--store", &store]);
        go_on(&relay.address, &logs, 2);
        // A relay that runs is not exported, nor is one whose other nodes run.
        let export = ["export", "--data", at(&node), "--store", &store, "--to"];
        refused(3, "running", &[&export, &[at(&home)]]);
        let second = place("second");
        done(&[&[
            "restore",
            "--from",
            at(&place("copy")),
            "--data",
            at(&second),
        ]]);
        fs::copy(node.join("day-keys"), second.join("day-keys")).unwrap();
        let elsewhere = ["export", "--data", at(&second), "--store", &store, "--to"];
        refused(3, "running", &[&elsewhere, &[at(&home)]]);
        assert!(!home.exists());
        go_on(&relay.address, &logs, 3);
        stop(relay);
        // With another list of databases it is another relay's.
        let wrong = format!("{}?application_name=x", server.fresh());
        let wrong = [
            "export",
            "--data",
            at(&node),
            "--store",
            &wrong,
            "--store",
            &store,
            "--to",
        ];
        refused(4, "of a list of", &[&wrong, &[at(&home)]]);
        done(&[&export, &[at(&home)]]);
        refused(
            4,
            "exported",
            &[&[
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--data",
                at(&node),
                "--store",
                &store,
            ]],
        );
        twin(&node, &place("later"), &back);
        let chain = |data: &Path| fs::read(data.join("key-chain")).unwrap();
        assert!(
            chain(&back).len() > chain(&second).len(),
            "the nodes' keys are in it"
        );
        let bring = ["import", "--data", at(&back), "--store", "sqlite"];
        done(&[&bring, &["--from", at(&home)]]);
        let relay = Process::start(&back);
        go_on(&relay.address, &logs, 4);
        go_on(&relay.address, &logs, 5);
        stop(relay);
    }
}

// [SPEC 6.213]
#[test]
fn what_was_cut_off_goes_on_and_nothing_else_is_changed() {
    let dir = Scratch::in_memory("moving-cut");
    let place = |name: &str| dir.path().join(name);
    let [disk, node, there, half] = ["disk", "node", "there", "half"].map(place);
    let logs = on_disk(&disk);
    twin(&disk, &place("copy"), &node);
    // A file that is there is left alone, and so is the store then.
    fs::write(&there, "something else").unwrap();
    refused(
        4,
        "there",
        &[&["export", "--data", at(&disk), "--to", at(&there)]],
    );
    assert_eq!(fs::read(&there).unwrap(), b"something else");
    assert!(!disk.join("exported").exists());
    fs::remove_file(&there).unwrap();
    // One that was cut off is made again.
    done(&[&["export", "--data", at(&disk), "--to", at(&there)]]);
    let again = place("again");
    done(&[&["export", "--data", at(&disk), "--to", at(&again)]]);
    assert_eq!(fs::read(&again).unwrap(), fs::read(&there).unwrap());
    done(&[&["export", "--data", at(&disk), "--undo"]]);
    let relay = Process::start(&disk);
    go_on(&relay.address, &logs, 2);
    stop(relay);
    let later = place("later");
    done(&[&["export", "--data", at(&disk), "--to", at(&later)]]);
    let address = database::shared().fresh();
    let import = ["import", "--data", at(&node), "--store", &address, "--from"];
    let whole = fs::read(&there).unwrap();
    let mut changed = whole.clone();
    changed[1_000] ^= 1;
    for damaged in [&whole[..whole.len() - 40], &whole[..1_000], &changed] {
        fs::write(&half, damaged).unwrap();
        refused(4, "damaged", &[&import, &[at(&half)]]);
    }
    let other = place("other");
    stop(Process::start(&other));
    refused(
        4,
        "another identity",
        &[&["import", "--data", at(&other), "--from", at(&there)]],
    );
    assert!(!node.join("day-keys").exists(), "nothing was changed");
    // As if an import had been cut off: some rows are there, and who served them would say that the others never were.
    done(&[&import, &[at(&there)]]);
    fs::write(node.join("importing"), &whole[whole.len() - 32..]).unwrap();
    let name = address.rsplit('/').next().unwrap();
    let server = database::shared();
    server.execute(name, "UPDATE emptyroom SET moving = 1");
    server.execute(
        name,
        "DELETE FROM lasting WHERE ctid = (SELECT min(ctid) FROM lasting)",
    );
    refused(
        4,
        "not whole",
        &[&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data",
            at(&node),
            "--store",
            &address,
        ]],
    );
    let second = place("second");
    done(&[&[
        "restore",
        "--from",
        at(&place("copy")),
        "--data",
        at(&second),
    ]]);
    fs::copy(node.join("day-keys"), second.join("day-keys")).unwrap();
    refused(
        4,
        "not whole",
        &[&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data",
            at(&second),
            "--store",
            &address,
        ]],
    );
    refused(
        4,
        "not whole",
        &[&[
            "export",
            "--data",
            at(&node),
            "--store",
            &address,
            "--to",
            at(&half.with_extension("x")),
        ]],
    );
    refused(4, "another file", &[&import, &[at(&later)]]);
    done(&[&import, &[at(&there)]]);
    let relay = Process::start_with(&node, &["--store", &address]);
    go_on(&relay.address, &logs, 2);
    stop(relay);
}
