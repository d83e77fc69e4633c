//! Copies of a relay, and relays that come back from one.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::op::{Answer, RefusalCode};

use crate::client::{Client, Log};
use crate::process::{Process, binary, serve};
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
        // Others go on appending before, while and after it is made; what they are told is stored is there or came after.
        let (address, stored) = (relay.address.clone(), Arc::new(AtomicU64::new(0)));
        let enough = Arc::new(AtomicBool::new(false));
        let (count, until) = (Arc::clone(&stored), Arc::clone(&enough));
        let busy = std::thread::spawn(move || {
            let log = Log::new();
            let mut client = Client::connect(&address);
            client.create(&log, None);
            let (opened, _) = client.open(&log, 0).unwrap();
            while !until.load(Ordering::SeqCst) {
                client.append(opened.handle, &log, b"busy", Ttl::Day7);
                count.fetch_add(1, Ordering::SeqCst);
            }
            log
        });
        let more = |than: u64| {
            while stored.load(Ordering::SeqCst) <= than {
                std::thread::yield_now();
            }
        };
        more(0);
        let (code, says) = backup(&data, &copy, &["--with-entries"]);
        assert_eq!(code, 0, "{says}");
        more(stored.load(Ordering::SeqCst));
        enough.store(true, Ordering::SeqCst);
        let other = busy.join().unwrap();
        let in_all = stored.load(Ordering::SeqCst);
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
        let (opened, entries) = client.open(&other, 0).unwrap();
        assert_eq!(entries.len() as u64, opened.view.next_seq);
        assert!(other.hash_over(&entries) == opened.view.running_hash);
        assert!((1..in_all).contains(&opened.view.next_seq));
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
    let (code, says) = backup(&data, &copy, &[]);
    let are_there = says.contains("it is there already") && says.contains("give another path");
    assert!(code == 4 && are_there, "{says}");
    let chain = copy.join("key-chain");
    let mut bytes = fs::read(&chain).unwrap();
    bytes[20] ^= 1;
    fs::write(&chain, &bytes).unwrap();
    let (code, says) = restore(&copy, &new, &[]);
    assert!(code == 4 && says.contains("key-chain is damaged"), "{says}");
    assert!(!new.exists(), "nothing was made");
    fs::remove_file(copy.join("backup.json")).unwrap();
    let (code, says) = restore(&copy, &new, &[]);
    assert!(code == 4 && says.contains("no backup"), "{says}");
    assert!(!to.exists());
}

/// A backup that copies a file of so many zeros in the store.
fn begin(data: &Path, copy: &Path, zeros: u64) -> Child {
    let file = File::create(data.join("segments/zeros")).unwrap();
    file.set_len(zeros).unwrap();
    let child = binary()
        .args(["backup", "--with-entries", "--data"])
        .args([data, Path::new("--to"), copy])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !copy.join("identity.key").exists() {
        std::thread::yield_now();
    }
    child
}

fn end(child: Child) -> (i32, String) {
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

// [SPEC 6.135]
#[test]
fn a_backup_that_fails_or_is_stopped_leaves_nothing() {
    let dir = Scratch::new("backup-fails");
    let (data, copy) = (dir.path().join("data"), dir.path().join("copy"));
    Process::start(&data).signal("TERM");
    for signal in ["INT", "TERM", "HUP"] {
        let child = begin(&data, &copy, 1 << 42);
        let id = child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.unwrap().success());
        let (code, says) = end(child);
        assert!(code == 4 && says.contains("stopped by a signal"), "{says}");
        assert!(says.contains("nothing is left in"), "{says}");
        assert!(!copy.exists());
    }
    fs::remove_file(data.join("segments/zeros")).unwrap();
    // A file that the disk does not give.
    symlink("/proc/self/mem", data.join("segments/unreadable")).unwrap();
    let (code, says) = backup(&data, &copy, &["--with-entries"]);
    assert!(code == 4 && says.contains("cannot copy"), "{says}");
    assert!(says.contains("nothing is left in"), "{says}");
    assert!(!copy.exists());
}

// [SPEC 6.133] [SPEC 6.135]
#[test]
fn a_hold_that_ends_before_the_copy_makes_it_void() {
    let dir = Scratch::new("backup-void");
    let (data, copy) = (dir.path().join("data"), dir.path().join("copy"));
    let relay = Process::start(&data);
    let child = begin(&data, &copy, 4 << 30);
    relay.kill();
    let (code, says) = end(child);
    assert!(
        code == 8 && says.contains("before the copy was done"),
        "{says}"
    );
    assert!(!copy.exists());
}

// [SPEC 6.136]
#[test]
fn a_restore_that_was_cut_off_is_done_again_and_refusals_change_nothing() {
    let dir = Scratch::new("restore-again");
    let (data, copy, new) = (
        dir.path().join("data"),
        dir.path().join("copy"),
        dir.path().join("new"),
    );
    Process::start(&data).signal("TERM");
    // Without a lock and a version, as after a move by hand: neither is made by looking.
    for name in ["lock", "version"] {
        fs::remove_file(data.join(name)).unwrap();
    }
    fs::set_permissions(&data, Permissions::from_mode(0o750)).unwrap();
    assert_eq!(backup(&data, &copy, &["--with-entries"]).0, 0);
    assert_eq!(restore(&copy, &data, &[]).0, 4);
    assert!(!data.join("lock").exists() && !data.join("version").exists());
    let mode = fs::metadata(&data).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
    // A store that nobody knows stays; what an unfinished restore left is replaced.
    fs::create_dir_all(new.join("store")).unwrap();
    fs::write(new.join("store/half"), "x").unwrap();
    assert_eq!(restore(&copy, &new, &[]).0, 4);
    fs::write(new.join("restoring"), "").unwrap();
    does_not_start(&new);
    let (code, says) = restore(&copy, &new, &[]);
    assert_eq!(code, 0, "{says}");
    assert!(!new.join("store/half").exists() && !new.join("restoring").exists());
    assert!(new.join("identity.key").exists());
    // Cut off at the very end, when all is there but not for sure on the disk.
    fs::write(new.join("restoring"), "").unwrap();
    does_not_start(&new);
    assert_eq!(backup(&new, &dir.path().join("other"), &[]).0, 4);
    assert_eq!(restore(&copy, &new, &[]).0, 0);
    Process::start(&new).signal("TERM");
}

/// Nor is anything changed there.
// [SPEC 6.138]
fn does_not_start(data: &Path) {
    let before = files_below(data);
    let Output { status, stderr, .. } = serve(data).output().unwrap();
    let says = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(4), "{says}");
    assert!(
        says.contains("a restore into this data directory was cut off"),
        "{says}"
    );
    assert!(
        says.contains("hint: run `emptyroom-relay restore` again"),
        "{says}"
    );
    let lock = data.join("lock");
    let after: Vec<_> = files_below(data)
        .into_iter()
        .filter(|file| *file != lock)
        .collect();
    assert!(before.iter().filter(|file| **file != lock).eq(&after));
}
