//! Moves that are killed, anywhere.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::*;

/// How often a program is killed, each time a little later.
const KILLS: u32 = 24;
const LATER: Duration = Duration::from_millis(4);

/// Kills the program again and again, wherever it is by then, and lets it end at last. In between it is found out whether it had done all.
fn killed(arguments: &[&[&str]], mut is_done: impl FnMut() -> bool) {
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
        if is_done() {
            return;
        }
    }
    done(arguments);
}

/// Begins an import of these rows, and kills it in the middle of its second reading.
fn cut_off(data: &Path, store: &[&str], rows: &[u8], slow: &Path) {
    pipe(slow);
    let mut command = binary();
    command.args(["import", "--data", at(data), "--from", at(slow)]);
    let command = command
        .args(store)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut running = command.spawn().unwrap();
    let (half, reached) = mpsc::channel();
    let (rows, slow, mark) = (rows.to_vec(), slow.to_owned(), data.join("importing"));
    thread::spawn(move || {
        fs::write(&slow, &rows).unwrap();
        // It says what comes, and opens it again.
        while !mark.exists() {
            thread::sleep(Duration::from_millis(1));
        }
        let mut again = fs::OpenOptions::new().write(true).open(&slow).unwrap();
        again.write_all(&rows[..rows.len() / 2]).unwrap();
        let _ = half.send(again);
    });
    let since = Instant::now();
    let _kept = loop {
        match reached.recv_timeout(Duration::from_millis(50)) {
            Ok(kept) => break kept,
            Err(_) => assert!(since.elapsed() < PATIENCE, "it does not begin"),
        }
        assert!(running.try_wait().unwrap().is_none(), "it has ended");
    };
    running.kill().unwrap();
    running.wait().unwrap();
    assert!(data.join("importing").exists());
}

/// Whether it was killed behind its last step: run again, it says so then.
fn had_ended(data: &Path, arguments: &[&[&str]]) -> bool {
    if data.join("importing").exists() {
        return false;
    }
    expect(4, "that had ended", arguments);
    true
}

/// Waits until the server has no connection of a program of the relay's any more.
fn ended(address: &str) {
    let of_it = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'emptyroom-relay'",
        database::name_of(address)
    );
    let since = Instant::now();
    while database::shared().number("postgres", &of_it) > 0 {
        assert!(since.elapsed() < PATIENCE, "its connection does not end");
    }
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
    expect(4, "part", &[&export]);
    assert_eq!(fs::read(&victim).unwrap(), b"somebody's");
    assert!(!disk.join("exported").exists());
    fs::remove_file(&part).unwrap();
    // What another export left there goes.
    fs::write(&part, b"EREXPT01 and some rows").unwrap();
    let is_there = || {
        // It may be whole, and not said so.
        let _ = fs::remove_file(&there);
        false
    };
    killed(&[&export], is_there);
    assert!(!part.exists());
    not_served("exported", &disk, &[]);
    let address = database::shared().fresh();
    let store = ["--store", address.as_str()];
    let rows = fs::read(&there).unwrap();
    cut_off(&node, &store, &rows, &place("slow"));
    assert_eq!(moving(&address), 1);
    not_served("not whole", &node, &store);
    let import = ["import", "--data", at(&node), "--from", at(&there)];
    killed(&[&import, &store], || {
        // What the killed one had asked for may still be done.
        ended(&address);
        // Whoever serves it, serves all.
        if moving(&address) == 1 {
            not_served("not whole", &node, &store);
        }
        had_ended(&node, &[&import, &store])
    });
    let relay = Process::start_with(&node, &store);
    go_on(&relay.address, &logs, 2);
    stop(relay);
    let export = ["export", "--data", at(&node), "--to", at(&home)];
    killed(&[&export, &store], || {
        let _ = fs::remove_file(&home);
        false
    });
    not_served("exported", &node, &store);
    let back = place("back");
    twin(&node, &place("later"), &back);
    cut_off(&back, &[], &fs::read(&home).unwrap(), &place("slow-home"));
    let import = ["import", "--data", at(&back), "--from", at(&home)];
    killed(&[&import], || {
        if back.join("importing").exists() {
            not_served("not whole", &back, &[]);
        }
        had_ended(&back, &[&import])
    });
    let relay = Process::start(&back);
    go_on(&relay.address, &logs, 3);
    stop(relay);
}
