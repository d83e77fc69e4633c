//! What clients do on a good day, and across a restart.

use emptyroom_wire::address::parse_access_code;
use emptyroom_wire::entry::Ttl;
use emptyroom_wire::op::{Answer, Create, NewLog, Push, RefusalCode, Request};

use crate::client::{Client, Log, name};
use crate::process::{Process, serve};
use crate::scratch::Scratch;

#[test]
fn two_streams_read_what_each_appends() {
    let dir = Scratch::new("two-streams");
    let relay = Process::start(&dir.path().join("data"));
    let log = Log::new();
    let mut one = Client::connect(&relay.address);
    let mut two = Client::connect(&relay.address);
    assert!(!one.terms.code_needed);
    assert_eq!(two.open(&log, 0).err(), Some(RefusalCode::Unknown));
    assert!(matches!(one.create(&log, None), Answer::Created));
    let (of_one, _) = one.open(&log, 0).unwrap();
    let (of_two, _) = two.open(&log, 0).unwrap();
    for text in ["first", "second"] {
        let appended = one.append(of_one.handle, &log, text.as_bytes(), Ttl::Day30);
        let (handle, Push::Entry(entry)) = two.push() else {
            panic!("no entry")
        };
        assert_eq!(handle, of_two.handle);
        assert_eq!(entry.seq, appended.seq);
        assert_eq!(log.read(&entry), text.as_bytes());
        let (_, Push::Entry(own)) = one.push() else {
            panic!("no entry")
        };
        assert_eq!(own.seq, appended.seq);
    }
    // Large and many, in both directions.
    let long = vec![b'x'; 900_000];
    two.append(of_two.handle, &log, &long, Ttl::Day1);
    let (_, Push::Entry(entry)) = one.push() else {
        panic!("no entry")
    };
    assert!(log.read(&entry) == long);
}

#[test]
fn entries_survive_a_restart_and_so_does_the_identity() {
    let dir = Scratch::new("restart");
    let data = dir.path().join("data");
    let log = Log::new();
    let mut last = None;
    for round in 0..3_u64 {
        let relay = Process::start(&data);
        let mut client = Client::connect(&relay.address);
        if round == 0 {
            let new = NewLog {
                header: log.header.clone(),
                first: Some(log.first(b"0")),
            };
            assert!(matches!(
                client.call(Request::Create(Create { new, code: None })),
                Answer::Created
            ));
        }
        let (opened, entries) = client.open(&log, 0).unwrap();
        assert_eq!(entries.len() as u64, round + 1);
        assert_eq!(opened.view.next_seq, round + 1);
        assert!(log.hash_over(&entries) == opened.view.running_hash);
        for (number, entry) in entries.iter().enumerate() {
            assert_eq!(log.read(entry), number.to_string().as_bytes());
        }
        let text = (round + 1).to_string();
        let appended = client.append(opened.handle, &log, text.as_bytes(), Ttl::Day7);
        let identity = *last.get_or_insert(relay.address.identity);
        assert_eq!(relay.address.identity, identity);
        assert_eq!(appended.seq, round + 1);
        let (status, _, _) = relay.signal("TERM");
        assert_eq!(status.code(), Some(0));
    }
}

#[test]
fn an_access_code_is_needed_for_new_logs_only() {
    let dir = Scratch::new("code");
    let data = dir.path().join("data");
    let code_file = dir.path().join("code");
    std::fs::write(&code_file, "correct-horse\n").unwrap();
    let mut command = serve(&data);
    command.arg("--access-code-file").arg(&code_file);
    let relay = Process::spawn(command, &data);
    assert!(relay.address.code.is_none());
    let log = Log::new();
    let mut client = Client::connect(&relay.address);
    assert!(client.terms.code_needed);
    for wrong in [None, Some("correct-hors"), Some("correct-horsf")] {
        let code = wrong.map(|code| parse_access_code(code).unwrap());
        let answer = client.create(&log, code);
        assert!(
            matches!(&answer, Answer::Refused(r) if r.code == RefusalCode::BadCode),
            "{}",
            name(&answer)
        );
    }
    assert!(matches!(
        client.create(&log, parse_access_code("correct-horse").ok()),
        Answer::Created
    ));
    let mut other = Client::connect(&relay.address);
    other.open(&log, 0).unwrap();
}

#[test]
fn a_trimmed_entry_is_gone() {
    let dir = Scratch::new("trim");
    let relay = Process::start(&dir.path().join("data"));
    let log = Log::new();
    let mut client = Client::connect(&relay.address);
    client.create(&log, None);
    let (opened, _) = client.open(&log, 0).unwrap();
    for text in ["a", "b", "c"] {
        client.append(opened.handle, &log, text.as_bytes(), Ttl::Day30);
    }
    assert!(matches!(client.trim(opened.handle, &log, 2), Answer::Done));
    let mut reader = Client::connect(&relay.address);
    let (opened, entries) = reader.open(&log, 0).unwrap();
    assert_eq!(opened.view.first_seq, 2);
    assert_eq!(entries.len(), 1);
    assert_eq!(log.read(&entries[0]), b"c");
}
