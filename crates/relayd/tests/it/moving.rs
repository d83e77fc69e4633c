//! Relays that move from one store to another, and back.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

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

/// `serve` refuses it as wrong data, and says this.
fn not_served(what: &str, data: &Path, store: &[&str]) {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", at(data)];
    refused(4, what, &[&serve, store]);
}

/// The data directory of another node, from a copy of the first one's.
fn second_node(copy: &Path, first: &Path, to: &Path) {
    done(&[&["restore", "--from", at(copy), "--data", at(to)]]);
    fs::copy(first.join("day-keys"), to.join("day-keys")).unwrap();
}

/// Where the rows of a database are going.
fn moving(address: &str) -> i64 {
    let sql = "SELECT moving::int8 FROM emptyroom";
    database::shared().number(database::name_of(address), sql)
}

fn set_moving(address: &str, to: i64) {
    let sql = format!("UPDATE emptyroom SET moving = {to}");
    database::shared().execute(database::name_of(address), &sql);
}

/// Another data directory of the same identity, with the same chain of keys.
fn twin(data: &Path, copy: &Path, to: &Path) {
    done(&[&["backup", "--data", at(data), "--to", at(copy)]]);
    done(&[&["restore", "--from", at(copy), "--data", at(to)]]);
}

// [SPEC 6.213] [SPEC 6.216]
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
        not_served("exported", &disk, &[]);
        // Nor by a backup of it; what does not have its rows may be made.
        let entries = ["backup", "--with-entries", "--data", at(&disk), "--to"];
        refused(4, "exported", &[&entries, &[at(&place("entries"))]]);
        assert!(!place("entries").exists());
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
        second_node(&place("copy"), &node, &second);
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
        not_served("exported", &node, &["--store", &store]);
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

// [SPEC 6.213] [SPEC 6.215]
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
    let name = database::name_of(&address);
    let server = database::shared();
    set_moving(&address, 1);
    server.execute(
        name,
        "DELETE FROM lasting WHERE ctid = (SELECT min(ctid) FROM lasting)",
    );
    let second = place("second");
    second_node(&place("copy"), &node, &second);
    let store = ["--store", address.as_str()];
    not_served("not whole", &node, &store);
    not_served("not whole", &second, &store);
    // Nor does it help to take back an export that there was not.
    for data in [&node, &second] {
        let undo = ["export", "--data", at(data), "--store", &address, "--undo"];
        refused(4, "not whole", &[&undo]);
    }
    let away = half.with_extension("x");
    let export = ["export", "--data", at(&node), "--store", &address, "--to"];
    refused(4, "not whole", &[&export, &[at(&away)]]);
    refused(4, "another file", &[&import, &[at(&later)]]);
    // While the server still has the connection of the one that was cut off, nothing changes.
    let left = server.connection(name, "emptyroom-relay");
    refused(3, "running", &[&import, &[at(&there)]]);
    assert_eq!(moving(&address), 1);
    drop(left);
    done(&[&import, &[at(&there)]]);
    let relay = Process::start_with(&node, &store);
    go_on(&relay.address, &logs, 2);
    stop(relay);
    // Cut off behind its last row it is whole: what nodes have written since is not overwritten.
    fs::write(node.join("importing"), &whole[whole.len() - 32..]).unwrap();
    done(&[&import, &[at(&there)]]);
    let relay = Process::start_with(&node, &store);
    go_on(&relay.address, &logs, 3);
    stop(relay);
}

/// How often a program is killed, each time a little later.
const KILLS: u32 = 24;
const LATER: Duration = Duration::from_millis(4);

/// Kills the program again and again, wherever it is by then, and lets it end at last.
fn killed(arguments: &[&[&str]], mut between: impl FnMut()) {
    for number in 1..=KILLS {
        let mut command = binary();
        command.args(arguments.concat());
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = command.spawn().unwrap();
        std::thread::sleep(LATER * number);
        let _ = running.kill();
        if running.wait().unwrap().success() {
            return;
        }
        between();
    }
    done(arguments);
}

/// Waits until it has done what is in front of something that blocks it, and kills it there.
fn killed_at<T>(arguments: &[&[&str]], work: impl FnOnce() -> T) {
    let mut command = binary();
    command.args(arguments.concat());
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = command.spawn().unwrap();
    let _kept = work();
    assert!(running.try_wait().unwrap().is_none(), "it has ended");
    running.kill().unwrap();
    running.wait().unwrap();
}

fn pipe(path: &Path) {
    assert!(
        std::process::Command::new("mkfifo")
            .arg(path)
            .status()
            .unwrap()
            .success()
    );
}

// [SPEC 6.213] [SPEC 6.215]
#[test]
fn moves_that_are_killed_go_on() {
    let dir = Scratch::in_memory("moving-killed");
    let place = |name: &str| dir.path().join(name);
    let [disk, node, there, home] = ["disk", "node", "there", "home"].map(place);
    let logs = on_disk(&disk);
    twin(&disk, &place("copy"), &node);
    let export = ["export", "--data", at(&disk), "--to", at(&there)];
    // What somebody else put in its way is neither written nor removed.
    let (part, victim) = (there.with_extension("part"), place("victim"));
    fs::write(&victim, b"somebody's").unwrap();
    std::os::unix::fs::symlink(&victim, &part).unwrap();
    refused(4, "part", &[&export]);
    assert_eq!(fs::read(&victim).unwrap(), b"somebody's");
    assert!(!disk.join("exported").exists());
    fs::remove_file(&part).unwrap();
    // What another export left there goes.
    fs::write(&part, b"EREXPT01 and some rows").unwrap();
    let is_there = || {
        // It may be whole, and not said so.
        let _ = fs::remove_file(&there);
    };
    killed(&[&export], is_there);
    assert!(!part.exists());
    not_served("exported", &disk, &[]);
    let address = database::shared().fresh();
    let store = ["--store", address.as_str()];
    // In the middle of the second reading of the file.
    let rows = fs::read(&there).unwrap();
    let slow = place("slow");
    pipe(&slow);
    let import = ["import", "--data", at(&node), "--from", at(&slow)];
    killed_at(&[&import, &store], || {
        fs::write(&slow, &rows).unwrap();
        // It says what comes, and opens it again.
        while !node.join("importing").exists() {
            std::thread::yield_now();
        }
        let mut half = fs::OpenOptions::new().write(true).open(&slow).unwrap();
        half.write_all(&rows[..rows.len() / 2]).unwrap();
        half
    });
    assert_eq!(moving(&address), 1);
    not_served("not whole", &node, &store);
    let import = ["import", "--data", at(&node), "--from", at(&there)];
    killed(&[&import, &store], || {
        // Whoever serves it, serves all.
        if node.join("importing").exists() {
            not_served("not whole", &node, &store);
        }
    });
    let relay = Process::start_with(&node, &store);
    go_on(&relay.address, &logs, 2);
    stop(relay);
    let export = ["export", "--data", at(&node), "--to", at(&home)];
    killed(&[&export, &store], || {
        let _ = fs::remove_file(&home);
    });
    not_served("exported", &node, &store);
    let back = place("back");
    twin(&node, &place("later"), &back);
    done(&[&["import", "--data", at(&back), "--from", at(&home)]]);
    let relay = Process::start(&back);
    go_on(&relay.address, &logs, 3);
    stop(relay);
}

// [SPEC 6.215]
#[test]
fn an_import_ends_one_database_after_the_other() {
    let dir = Scratch::in_memory("moving-two");
    let place = |name: &str| dir.path().join(name);
    let [disk, node, there] = ["disk", "node", "there"].map(place);
    let logs = on_disk(&disk);
    twin(&disk, &place("copy"), &node);
    done(&[&["export", "--data", at(&disk), "--to", at(&there)]]);
    let server = database::shared();
    let addresses = [(); 2].map(|()| server.fresh());
    let [first, second] = addresses.each_ref();
    let store = ["--store", first, "--store", second];
    let import = ["import", "--data", at(&node), "--from", at(&there)];
    done(&[&import, &store]);
    let relay = Process::start_with(&node, &store);
    go_on(&relay.address, &logs, 2);
    stop(relay);
    // It was cut off between both, and then the second, which has no logs of it but pointers, lost them.
    let pointers = "SELECT count(*) FROM lasting WHERE shard IS NOT NULL";
    let all = server.number(database::name_of(second), pointers);
    assert!(all > 0);
    server.execute(database::name_of(second), "DELETE FROM lasting");
    set_moving(second, 1);
    not_served("not whole", &node, &store);
    done(&[&import, &store]);
    assert_eq!(server.number(database::name_of(second), pointers), all);
    // Over what was written into the first since nothing is put.
    let relay = Process::start_with(&node, &store);
    go_on(&relay.address, &logs, 3);
    stop(relay);
    // An empty one in the place of one of them is not served by mistake, nor do rows come from there.
    let empty = server.fresh();
    let lost = ["--store", first, "--store", &empty];
    not_served("--database-was-lost", &node, &lost);
    let away = place("away");
    let export = ["export", "--data", at(&node), "--to", at(&away)];
    refused(4, "is empty", &[&export, &lost]);
    not_served("--database-was-lost", &node, &lost);
    stop(Process::start_with(
        &node,
        &[&lost[..], &["--database-was-lost"]].concat(),
    ));
    stop(Process::start_with(&node, &lost));
}
