//! The real program gives up what it does not need, and does its work all the same: all other tests of it run so.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::machine;
use crate::process::{Process, binary, serve};
use crate::scratch::Scratch;

fn sandbox(data: &Path) -> String {
    let status = binary()
        .args(["status", "--json", "--data"])
        .arg(data)
        .output()
        .unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    status["sandbox"].as_str().unwrap().to_owned()
}

// [SPEC 11.94]
#[test]
fn a_relay_that_serves_is_confined() {
    let (dir, elsewhere) = (Scratch::new("confined"), Scratch::new("confined-elsewhere"));
    let (config, data) = (dir.path().join("relay.toml"), dir.path().join("data"));
    let text = format!(
        "data = {data:?}\nlisten = \"127.0.0.1:0\"\nopen = true\nthreads = 3\ndescriptors-per-thread = true\n"
    );
    fs::write(&config, &text).unwrap();
    let mut command = binary();
    command.arg("serve").arg("--config").arg(&config);
    let relay = Process::spawn(command, &data);
    let tasks = format!("/proc/{}/task", relay.id());
    let mut threads = 0;
    for task in fs::read_dir(tasks).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        assert!(status.contains("Seccomp:\t2"), "{status}");
        threads += 1;
    }
    assert!(threads > 3, "{threads}");
    assert_eq!(sandbox(&data), machine::sandbox());

    // What it is told is read anew, wherever it lies by now.
    let log = data.with_extension("stderr");
    let reload = |says: &str| {
        relay.send("HUP");
        let patience = Instant::now();
        while !fs::read_to_string(&log).unwrap().contains(says) {
            assert!(patience.elapsed() < Duration::from_secs(20), "{says}");
            std::thread::yield_now();
        }
    };
    let other = elsewhere.path().join("relay.toml");
    let moved = format!("{text}[limits]\nstreams = 0\n");
    fs::write(&other, &moved).unwrap();
    fs::remove_file(&config).unwrap();
    symlink(&other, &config).unwrap();
    reload("the limits stay as they were");
    fs::write(&other, &text).unwrap();
    reload("limits reloaded");
    let (ended, _, log) = relay.signal("TERM");
    assert!(ended.success());
    let is_whole = machine::sandbox() == "full";
    assert_eq!(log.contains("going on without"), !is_whole, "{log}");
}

/// What the operator spread over disks is there, where links lie directly in the data directory.
// [SPEC 11.94]
#[test]
fn links_in_the_data_directory_are_followed() {
    let (dir, elsewhere) = (
        Scratch::new("confined-links"),
        Scratch::new("confined-disk"),
    );
    let data = dir.path().join("data");
    let serve = || {
        let mut command = serve(&data);
        command.arg("--open").env("HOME", elsewhere.path());
        Process::spawn(command, &data)
    };
    assert!(serve().signal("TERM").0.success());
    // Also to the home of a user that has nothing else.
    fs::remove_dir(elsewhere.path()).unwrap();
    fs::rename(data.join("segments"), elsewhere.path()).unwrap();
    symlink(elsewhere.path(), data.join("segments")).unwrap();
    let relay = serve();
    assert_eq!(sandbox(&data), machine::sandbox());
    assert!(relay.signal("TERM").0.success());
}

/// Keys are opened to be overwritten, so they are not behind a link that lies deeper.
// [SPEC 11.94]
#[test]
fn nothing_is_written_outside_of_the_data_directory() {
    let (dir, elsewhere) = (Scratch::new("confined-in"), Scratch::new("confined-out"));
    let data = dir.path().join("data");
    assert!(Process::start(&data).signal("TERM").0.success());
    let segments = fs::read_dir(data.join("segments")).unwrap();
    let files = segments.map(|entry| entry.unwrap().path());
    let is_key = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "key");
    for key in files.filter(is_key) {
        let outside = elsewhere.path().join(key.file_name().unwrap());
        fs::rename(&key, &outside).unwrap();
        symlink(&outside, &key).unwrap();
    }
    let command = |switch| {
        let mut command = serve(&data);
        command.arg("--open").env("EMPTYROOM_SANDBOX", switch);
        command
    };
    if machine::sandbox() == "full" {
        let refused = command("on").output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(4), "{said}");
        assert!(said.contains("EMPTYROOM_SANDBOX=off"), "{said}");
    }
    let relay = Process::spawn(command("off"), &data);
    assert!(relay.signal("TERM").0.success());
}

/// Without it the relay is as it was.
// [SPEC 11.94]
#[test]
fn the_sandbox_can_be_switched_off() {
    let dir = Scratch::new("confined-off");
    let data = dir.path().join("data");
    let mut command = binary();
    command.args(["serve", "--listen", "127.0.0.1:0", "--open"]);
    command.arg("--data").arg(&data);
    command.env("EMPTYROOM_SANDBOX", "off");
    let relay = Process::spawn(command, &data);
    assert_eq!(sandbox(&data), "none");
    let (ended, _, log) = relay.signal("TERM");
    assert!(ended.success());
    assert!(log.contains("going on without a sandbox"), "{log}");
}

/// Wrong use makes no directory.
#[test]
fn nothing_is_made_for_a_relay_that_nobody_could_dial() {
    let dir = Scratch::new("confined-wrong");
    let data = dir.path().join("data");
    let refused = binary()
        .args(["serve", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(!refused.status.success());
    assert!(!data.exists());
}
