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

/// It was killed behind its last step: run again, it says so.
fn had_ended(data: &Path, arguments: &[&[&str]]) -> bool {
    let (code, text) = match data.join("importing").exists() {
        true => return false,
        false => run(arguments),
    };
    // Else it had not begun, and is whole now.
    assert!(
        code == 0 || code == 4 && text.contains("had ended"),
        "{text}"
    );
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
    // In the middle of the second reading of the file.
    let rows = fs::read(&there).unwrap();
    let slow = place("slow");
    pipe(&slow);
    let import = ["import", "--data", at(&node), "--from", at(&slow)];
    killed_at(&[&import, &store], || {
        fs::write(&slow, &rows).unwrap();
        // It says what comes, and opens it again.
        let since = Instant::now();
        while !node.join("importing").exists() {
            assert!(since.elapsed() < PATIENCE, "it does not begin");
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
    let import = ["import", "--data", at(&back), "--from", at(&home)];
    killed(&[&import], || {
        if back.join("importing").exists() {
            not_served("not whole", &back, &[]);
        }
        back.join("identity.key").exists() && had_ended(&back, &[&import])
    });
    let relay = Process::start(&back);
    go_on(&relay.address, &logs, 3);
    stop(relay);
}
