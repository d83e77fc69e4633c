//! Relays that move from one store to another, and back.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use emptyroom_relayd::clock;
use emptyroom_relayd::data::chain::Chain;
use emptyroom_relayd::data::{DataDir, identity};
use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::relay_key::RelayIdentity;
use emptyroom_wire::time::{DAY_MS, Wall};

use crate::client::{Client, Log, generator};
use crate::database;
use crate::process::{Process, binary};
use crate::scratch::Scratch;

mod killed;

const LOGS: usize = 12;
/// A program that has not ended by then does not end: it serves what it was to refuse.
const PATIENCE: Duration = Duration::from_secs(120);

fn run(arguments: &[&[&str]]) -> (i32, String) {
    let mut command = binary();
    command.args(arguments.concat()).stdin(Stdio::null());
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = command.spawn().unwrap();
    let pid = running.id().to_string();
    let (end, ended) = mpsc::channel();
    thread::spawn(move || end.send(running.wait_with_output().unwrap()));
    let (is_late, output) = match ended.recv_timeout(PATIENCE) {
        Ok(output) => (false, output),
        Err(_) => {
            // It may end by itself just now.
            let _ = Command::new("kill").args(["-9", &pid]).status();
            (true, ended.recv().unwrap())
        }
    };
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!is_late, "it goes on and on: {arguments:?}: {text}");
    (output.status.code().unwrap(), text)
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

/// It ends with this exit code, and says this.
fn expect(code: i32, what: &str, arguments: &[&[&str]]) {
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
    expect(4, what, &[&serve, store]);
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

/// The number of tables in a database.
fn tables(address: &str) -> i64 {
    let sql = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'";
    database::shared().number(database::name_of(address), sql)
}

/// Puts a record into the chain of a data directory, as if it had run for the last time then.
fn last_ran(data: &Path, days_ago: u64) {
    let data = DataDir::open(data).unwrap();
    let identity = RelayIdentity::from_seed(&identity::load_or_make(&data).unwrap());
    let then = Wall(clock::wall().0 - days_ago * DAY_MS);
    let key = identity.next_stream_key(None, then, &mut generator());
    let _ = fs::remove_file(data.join("key-chain"));
    let mut chain = Chain::load(&data, &identity.verify_key()).unwrap();
    chain.append(then, key.signed().record.clone()).unwrap();
}

// [SPEC 6.82] [SPEC 6.216]
#[test]
fn what_a_node_has_of_its_own_says_nothing_of_when_it_ran() {
    let dir = Scratch::in_memory("moving-clock");
    let place = |name: &str| dir.path().join(name);
    let [node, late, rows] = ["node", "late", "rows"].map(place);
    let server = database::shared();
    let store = ["--store", &server.fresh()];
    stop(Process::start_with(&node, &store));
    // Of the day on which it was made from a backup.
    last_ran(&node, 41);
    stop(Process::start_with(&node, &store));
    let export = ["export", "--data", at(&node)];
    done(&[&export, &store, &["--to", at(&rows)]]);
    // It has the nodes' chain now, which does not go on from what was there.
    done(&[&export, &store, &["--undo"]]);
    stop(Process::start_with(&node, &store));
    // Where the chain says so, it counts.
    last_ran(&late, 41);
    let store = ["--store", &server.fresh()];
    not_served("41 days", &late, &store);
    let export = ["export", "--data", at(&late), "--undo"];
    expect(4, "41 days", &[&export, &store]);
    done(&[&export, &store, &["--clock-is-right"]]);
    stop(Process::start_with(
        &late,
        &[&store[..], &["--clock-is-right"]].concat(),
    ));
    stop(Process::start_with(&late, &store));
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
        expect(4, "exported", &[&entries, &[at(&place("entries"))]]);
        assert!(!place("entries").exists());
        done(&[&["export", "--data", at(&disk), "--undo"]]);
        stop(Process::start(&disk));
        let import = ["import", "--data", at(&node), "--store", &store, "--from"];
        done(&[&import, &[at(&there)]]);
        // Not twice: whoever did not see the end of the first one is told that there was one.
        expect(4, "not empty", &[&import, &[at(&there)]]);
        expect(4, "that had ended", &[&import, &[at(&there)]]);
        let relay = Process::start_with(&node, &["--store", &store]);
        go_on(&relay.address, &logs, 2);
        // A relay that runs is not exported, nor is one whose other nodes run.
        let export = ["export", "--data", at(&node), "--store", &store, "--to"];
        expect(3, "running", &[&export, &[at(&home)]]);
        let second = place("second");
        second_node(&place("copy"), &node, &second);
        let elsewhere = ["export", "--data", at(&second), "--store", &store, "--to"];
        expect(3, "running", &[&elsewhere, &[at(&home)]]);
        assert!(!home.exists());
        go_on(&relay.address, &logs, 3);
        stop(relay);
        // Nothing goes from an empty one, nor does that make it one that may be served.
        let empty = server.fresh();
        let wrong = ["export", "--data", at(&node), "--store", &empty];
        if databases == 1 {
            expect(4, "is empty", &[&wrong, &["--to", at(&home)]]);
            expect(4, "is empty", &[&wrong, &["--undo"]]);
            assert_eq!(tables(&empty), 0);
            not_served("--database-was-lost", &node, &["--store", &empty]);
        }
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
        expect(4, "of a list of", &[&wrong, &[at(&home)]]);
        done(&[&export, &[at(&home)]]);
        not_served("exported", &node, &["--store", &store]);
        twin(&node, &place("later"), &back);
        let chain = |data: &Path| fs::read(data.join("key-chain")).unwrap();
        assert!(
            chain(&back).len() > chain(&second).len(),
            "the nodes' keys are in it"
        );
        let (mut back, mut home, mut written) = (back, home, 4);
        if databases == 2 {
            // To another list, where most of them have another home.
            let three = place("three");
            let addresses = [(); 3].map(|()| server.fresh());
            fs::write(&three, addresses.join("\n")).unwrap();
            let store = ["--store", &format!("file:{}", at(&three))];
            let import = ["import", "--data", at(&back), "--from", at(&home)];
            done(&[&import, &store]);
            let relay = Process::start_with(&back, &store);
            go_on(&relay.address, &logs, written);
            stop(relay);
            written += 1;
            let (rows, next) = (place("rows"), place("next"));
            let export = ["export", "--data", at(&back), "--to", at(&rows)];
            done(&[&export, &store]);
            twin(&back, &place("latest"), &next);
            (back, home) = (next, rows);
        }
        let bring = ["import", "--data", at(&back), "--store", "sqlite"];
        done(&[&bring, &["--from", at(&home)]]);
        expect(4, "that had ended", &[&bring, &["--from", at(&home)]]);
        let relay = Process::start(&back);
        go_on(&relay.address, &logs, written);
        go_on(&relay.address, &logs, written + 1);
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
    expect(
        4,
        "there",
        &[&["export", "--data", at(&disk), "--to", at(&there)]],
    );
    assert_eq!(fs::read(&there).unwrap(), b"something else");
    // Nor is it given up for one that cannot be written.
    let nowhere = place("nowhere").join("rows");
    let export = ["export", "--data", at(&disk), "--to", at(&nowhere)];
    expect(4, "there is no such", &[&export]);
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
        expect(4, "damaged", &[&import, &[at(&half)]]);
    }
    let other = place("other");
    stop(Process::start(&other));
    expect(
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
        expect(4, "not whole", &[&undo]);
    }
    let away = half.with_extension("x");
    let export = ["export", "--data", at(&node), "--store", &address, "--to"];
    expect(4, "not whole", &[&export, &[at(&away)]]);
    expect(4, "another file", &[&import, &[at(&later)]]);
    // While the server still has the connection of the one that was cut off, nothing changes.
    let left = server.connection(name, "emptyroom-relay");
    expect(3, "running", &[&import, &[at(&there)]]);
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
    // Whichever of them had come by the time at which it was cut off.
    for which in [&addresses[..1], &addresses[1..], &addresses] {
        for address in which {
            server.execute(database::name_of(address), "DELETE FROM lasting");
            set_moving(address, 1);
        }
        not_served("not whole", &node, &store);
        done(&[&import, &store]);
    }
    let relay = Process::start_with(&node, &store);
    go_on(&relay.address, &logs, 2);
    stop(relay);
    // Another node that had begun it sees that it is done, and does not take another one for it.
    let rows = fs::read(&there).unwrap();
    let other = place("other");
    second_node(&place("copy"), &node, &other);
    let begun = other.join("importing");
    fs::write(&begun, [0; 32]).unwrap();
    not_served("not whole", &other, &store);
    fs::write(&begun, &rows[rows.len() - 32..]).unwrap();
    stop(Process::start_with(&other, &store));
    assert!(!begun.exists());
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
    expect(4, "is empty", &[&export, &lost]);
    not_served("--database-was-lost", &node, &lost);
    stop(Process::start_with(
        &node,
        &[&lost[..], &["--database-was-lost"]].concat(),
    ));
    stop(Process::start_with(&node, &lost));
    // In the middle of an export there is a way back.
    let again = server.fresh();
    let lost = ["--store", first, "--store", &again];
    set_moving(first, 2);
    let undo = ["export", "--data", at(&node), "--undo"];
    expect(4, "is empty", &[&undo, &lost]);
    done(&[&undo, &lost, &["--database-was-lost"]]);
    stop(Process::start_with(&node, &lost));
    // A row that does not open keeps no other from going.
    server.execute(
        database::name_of(first),
        "UPDATE lasting SET sealed = decode(repeat('00', 64), 'hex')
         WHERE ctid = (SELECT min(ctid) FROM lasting WHERE shard IS NULL)",
    );
    expect(4, "1 rows did not open", &[&export, &lost]);
    assert!(away.exists());
}
