//! What the disk holds, and when there is no more of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use emptyroom_relay::store::{
    Append, Ledger, NewEntry, NewPlace, Place, Store, StoreOp, StoreReply,
};
use emptyroom_relayd::sqlite::SqliteRows;
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::op::{Answer, RefusalCode, Request};
use emptyroom_wire::time::{DAY_MS, Day, Wall};

use crate::client::{Client, Log, generator, name};
use crate::machine;
use crate::process::{Process, serve, with_descriptors};
use crate::scratch::{Scratch, count_below, files_below};

/// Everything that a thief of the disk would look for.
struct Marks(Vec<(&'static str, Vec<u8>)>);

impl Marks {
    fn of(log: &Log) -> Self {
        let capability = log.capability();
        Self(vec![
            ("capability", capability.expose().to_vec()),
            ("log id", capability.log_id().0.to_vec()),
            ("salt", log.header.salt.0.to_vec()),
            ("owner key", log.header.owner_key.unwrap().0.to_vec()),
        ])
    }

    fn found_below(&self, directory: &Path) -> Vec<&'static str> {
        let found = |(_, bytes): &&(&'static str, Vec<u8>)| count_below(directory, bytes) > 0;
        self.0.iter().filter(found).map(|(what, _)| *what).collect()
    }
}

// [SPEC 6.4] [SPEC 6.65] [SPEC 6.67]
#[test]
fn nothing_on_disk_names_a_log_or_shows_an_entry() {
    leaves_no_mark("sqlite", "db");
}

// [SPEC 6.4] [SPEC 6.93]
#[test]
fn nothing_in_segments_names_a_log_or_shows_an_entry() {
    leaves_no_mark("segments", "data");
}

fn leaves_no_mark(store: &str, ending: &str) {
    let dir = Scratch::new("marks");
    let data = dir.path().join("data");
    let relay = Process::start_with(&data, &["--store", store]);
    let log = Log::new();
    let mut marks = Marks::of(&log);
    let mut client = Client::connect(&relay.address);
    client.create(&log, None);
    let (opened, _) = client.open(&log, 0).unwrap();
    let plain = b"a text that must not be anywhere";
    marks.0.push(("plaintext", plain.to_vec()));
    for ttl in [Ttl::Day1, Ttl::Day7, Ttl::Day30] {
        let append = client.append_request(opened.handle, &log, plain, ttl);
        marks.0.push(("append nonce", append.nonce.to_vec()));
        // Not even the entry as it was sealed by its sender.
        marks.0.push(("entry", append.body[100..164].to_vec()));
        assert!(matches!(
            client.call(Request::Append(append)),
            Answer::Appended(_)
        ));
    }
    // Soon after the last write nothing is left in a write-ahead log or journal.
    let patience = Instant::now();
    while files_below(&data).iter().any(|file| {
        let len = fs::metadata(file).map_or(0, |file| file.len());
        let name = file.to_str().unwrap();
        name.ends_with("-wal") && len > 0 || name.ends_with(".log") && len > 16
    }) {
        assert!(patience.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
    let days = files_below(&data)
        .iter()
        .filter(|file| file.extension().is_some_and(|e| e == ending))
        .count();
    assert_eq!(days, 4);
    assert_eq!(marks.found_below(&data), Vec::<&str>::new());
    let (status, _, _) = relay.signal("TERM");
    assert_eq!(status.code(), Some(0));
    assert_eq!(marks.found_below(&data), Vec::<&str>::new());
    // What the search would find is there to be found.
    fs::write(data.join("planted"), &marks.0[5].1).unwrap();
    assert_eq!(marks.found_below(&data), ["append nonce"]);
}

fn append_to(log: &Log, ttl: Ttl) -> StoreOp {
    let first = log.first(b"entry");
    let aad = emptyroom_wire::entry::Aad {
        log_id: log.capability().log_id(),
        expect_slots: 0,
        commit: false,
        close: false,
        ttl,
        nonce: first.nonce,
        next_hash: [0; 32],
    };
    let entry = NewEntry {
        aad,
        body: first.body.into(),
    };
    StoreOp::Append(Append {
        place: Place::of(&log.capability()),
        entry,
        next: vec![],
    })
}

fn names(directory: &Path) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<String> = files_below(directory).iter().map(name).collect();
    names.retain(|name| name.ends_with(".db") && name.starts_with("day-"));
    names.sort();
    names
}

// [SPEC 6.62] [SPEC 6.65]
#[test]
fn a_day_that_is_over_takes_its_file_and_key_along() {
    let dir = Scratch::new("days");
    let mut store = Ledger::new(
        SqliteRows::open(dir.path(), Day(0)).unwrap(),
        Box::new(generator()),
    );
    let start = Wall(20_000 * DAY_MS + DAY_MS / 2);
    let log = Log::new();
    store
        .apply(
            start,
            vec![StoreOp::Create(NewPlace::new(&log.header, None))],
        )
        .unwrap();
    for ttl in [Ttl::Day1, Ttl::Day7, Ttl::Day30] {
        let replies = store.apply(start, vec![append_to(&log, ttl)]).unwrap();
        assert!(matches!(replies[0], StoreReply::Appended(_)));
    }
    let before = names(dir.path());
    assert_eq!(before.len(), 3);
    let mut left = before.clone();
    for days in 0..40 {
        let now = start.plus_ms(days * DAY_MS);
        store.expire(now).unwrap();
        let today = format!("day-{}.db", now.day().0);
        left.retain(|name| *name >= today);
        assert_eq!(names(dir.path()), left, "after {days} days");
        for gone in before.iter().filter(|name| !left.contains(name)) {
            assert!(!dir.path().join(gone.replace(".db", ".key")).exists());
        }
    }
    assert!(left.is_empty());
    // The log itself lives on, with its counters.
    let place = Place::of(&log.capability());
    let replies = store
        .apply(start.plus_ms(40 * DAY_MS), vec![StoreOp::Look { place }])
        .unwrap();
    let StoreReply::Looked(looked) = &replies[0] else {
        panic!("the log is gone")
    };
    assert_eq!((looked.view.first_seq, looked.view.next_seq), (3, 3));
}

/// A file system of a few megabytes, where this process may mount one.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub fn mount(at: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={bytes},mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at);
        machine::as_root(machine::succeeds(&mut mount)).map(|()| Self(at.to_owned()))
    }
}

impl SmallDisk {
    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        let status = Command::new("mount")
            .args(["-o", &options])
            .arg(&self.0)
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

// [SPEC 6.69]
#[test]
fn on_a_read_only_disk_nothing_starts_and_the_cause_is_said() {
    for store in ["sqlite", "segments"] {
        let dir = Scratch::new(store);
        let data = dir.path().join("data");
        let Some(disk) = SmallDisk::mount(&data, 64 << 20) else {
            return;
        };
        let try_start = || serve(&data).args(["--store", store]).output().unwrap();
        // Before the first start, and after one that left everything tidy.
        for used in [false, true] {
            if used {
                disk.remount("rw");
                Process::start_with(&data, &["--store", store]).signal("TERM");
            }
            disk.remount("ro");
            let before = files_below(&data);
            let output = try_start();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(4), "{stderr}");
            assert!(stderr.contains("Read-only file system"), "{stderr}");
            assert!(stderr.contains("hint: "), "{stderr}");
            assert!(output.stdout.is_empty());
            assert_eq!(files_below(&data), before);
        }
    }
}

/// A start that can open no more files says that, and not that the disk is full.
// [SPEC 6.117]
#[test]
fn a_start_without_descriptors_says_so() {
    let dir = Scratch::new("descriptors");
    let data = dir.path().join("data");
    assert_eq!(Process::start(&data).signal("TERM").0.code(), Some(0));
    let mut seen = 0;
    for limit in 5..200 {
        let mut command = serve(&data);
        command.arg("--open");
        let mut command = with_descriptors(&command, limit);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        if !line.is_empty() {
            child.kill().unwrap();
            child.wait().unwrap();
            break;
        }
        let output = child.wait_with_output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(!words.contains("no space left"), "{limit}: {words}");
        if words.contains("cannot open the store") {
            assert!(words.contains("too many open files"), "{limit}: {words}");
            seen += 1;
        }
    }
    assert!(seen > 0);
}

// [SPEC 6.69]
#[test]
fn a_full_disk_refuses_loses_nothing_and_goes_on() {
    for store in ["sqlite", "segments"] {
        full_disk(store);
    }
}

fn full_disk(store: &str) {
    let dir = Scratch::new("full");
    let data = dir.path().join("data");
    let Some(_disk) = SmallDisk::mount(&data, 3 << 20) else {
        return;
    };
    let ballast = data.join("ballast");
    fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let relay = Process::start_with(&data, &["--store", store]);
    let log = Log::new();
    let mut client = Client::connect(&relay.address);
    client.create(&log, None);
    let (opened, _) = client.open(&log, 0).unwrap();
    let try_append = |client: &mut Client, text: &[u8]| {
        let append = client.append_request(opened.handle, &log, text, Ttl::Day7);
        client.call(Request::Append(append))
    };
    let mut acknowledged = 0;
    loop {
        match try_append(&mut client, &[0; 10_000]) {
            Answer::Appended(appended) => acknowledged = appended.seq + 1,
            Answer::Refused(refusal) => {
                assert_eq!(refusal.code, RefusalCode::StorageFull);
                break;
            }
            answer => panic!("{}", name(&answer)),
        }
    }
    assert!(acknowledged > 10);
    // It goes on to answer, and to refuse.
    let mut reader = Client::connect(&relay.address);
    let (view, entries) = reader.open(&log, 0).unwrap();
    assert_eq!(view.view.next_seq, acknowledged);
    assert_eq!(entries.len() as u64, acknowledged);
    assert!(matches!(
        try_append(&mut client, &[0; 10_000]),
        Answer::Refused(_)
    ));
    // Space is back.
    fs::remove_file(&ballast).unwrap();
    let patience = Instant::now();
    loop {
        match try_append(&mut client, b"again") {
            Answer::Appended(appended) => {
                assert_eq!(appended.seq, acknowledged);
                break;
            }
            _ => assert!(patience.elapsed() < Duration::from_secs(30)),
        }
    }
    relay.kill();
    let relay = Process::start(&data);
    let mut reader = Client::connect(&relay.address);
    let (_, entries) = reader.open(&log, 0).unwrap();
    assert_eq!(entries.len() as u64, acknowledged + 1);
    assert_eq!(log.read(entries.last().unwrap()), b"again");
    let (status, _, stderr) = relay.signal("TERM");
    assert_eq!(status.code(), Some(0));
    assert!(stderr.contains("no space left"), "{stderr}");
    assert!(stderr.contains("there is space again"), "{stderr}");
}

/// The real program on a damaged segment and a damaged journal.
// [SPEC 6.111]
#[test]
fn damage_is_named_and_the_rest_is_served() {
    let dir = Scratch::new("damage");
    let data = dir.path().join("data");
    let segments = ["--store", "segments"];
    let relay = Process::start_with(&data, &segments);
    let log = Log::new();
    let mut client = Client::connect(&relay.address);
    client.create(&log, None);
    let (opened, _) = client.open(&log, 0).unwrap();
    for ttl in [Ttl::Day1, Ttl::Day30] {
        let append = client.append_request(opened.handle, &log, b"entry", ttl);
        assert!(matches!(
            client.call(Request::Append(append)),
            Answer::Appended(_)
        ));
    }
    assert_eq!(relay.signal("TERM").0.code(), Some(0));
    // The segment of the first day: the entry that lives for one.
    let mut indexes = files_below(&data);
    indexes.retain(|file| file.extension().is_some_and(|e| e == "index"));
    indexes.sort();
    let mut bytes = fs::read(&indexes[0]).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&indexes[0], bytes).unwrap();
    let relay = Process::start(&data);
    let mut client = Client::connect(&relay.address);
    let (opened, entries) = client.open(&log, 0).unwrap();
    // The log knows of both, and has one.
    assert_eq!(opened.view.next_seq, 2);
    assert_eq!(entries.iter().map(|e| e.seq).collect::<Vec<_>>(), [1]);
    let append = client.append_request(opened.handle, &log, b"more", Ttl::Day7);
    assert!(matches!(
        client.call(Request::Append(append)),
        Answer::Appended(_)
    ));
    let (status, _, stderr) = relay.signal("TERM");
    assert_eq!(status.code(), Some(0));
    let name = indexes[0].file_stem().unwrap().to_str().unwrap();
    assert!(stderr.contains(&format!("{name}.* is damaged")), "{stderr}");
    assert!(
        data.join("segments/quarantine")
            .join(name)
            .with_extension("data")
            .exists()
    );
    // A journal without its key.
    let mut keys = files_below(&data.join("segments"));
    keys.retain(|file| {
        file.to_str().unwrap().contains("journal") && file.extension().is_some_and(|e| e == "key")
    });
    let journal = keys[0].with_extension("log");
    let mut bytes = fs::read(&journal).unwrap();
    bytes.resize(200, 1);
    fs::write(&journal, bytes).unwrap();
    fs::remove_file(&keys[0]).unwrap();
    let refused = crate::process::serve(&data).output().unwrap();
    assert_eq!(refused.status.code(), Some(4));
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains(journal.to_str().unwrap()), "{words}");
    assert!(words.contains("--quarantine-damage"), "{words}");
    let relay = Process::start_with(&data, &["--quarantine-damage"]);
    let (_, entries) = Client::connect(&relay.address).open(&log, 0).unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(relay.signal("TERM").0.code(), Some(0));
}
