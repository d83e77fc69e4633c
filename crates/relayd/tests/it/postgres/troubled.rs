//! Several databases, one of which is in trouble: what the others do meanwhile.

use emptyroom_wire::op::{Answer, Request};

use super::apart::{homes, is_appended, is_refused, key_of, making, root};
use super::*;
use crate::client::{Client, Log};
use crate::disk::SmallDisk;
use crate::operator;

// [SPEC 6.210] [SPEC 6.211]
#[test]
fn a_log_that_is_about_to_be_over_in_its_home_holds_up_only_what_would_make_it() {
    let mut subject = Subjected::on(2);
    let log = root(&mut subject, 0);
    let far = homes().1[0];
    let server = database::shared();
    // For the databases it is still this day, for the node the next one.
    let hour_ago = "SELECT floor((extract(epoch FROM clock_timestamp()) - 3600) / 86400)::int8";
    let day = u64::try_from(server.number("postgres", hour_ago)).unwrap();
    let (before, after) = (Wall(day * DAY_MS), Wall((day + 1) * DAY_MS));
    subject.node.expire(before).unwrap();
    // The first one has run out since.
    let made = subject.node.apply(before, vec![create(log), create(far)]);
    let made = made.unwrap();
    assert!(made.iter().all(|made| matches!(made, StoreReply::Created)));
    let key = key_of(far);
    let name = name_of(&subject.addresses[1]);
    let last_day = format!("UPDATE lasting SET day = {day} WHERE key = {key}");
    server.execute(name, &last_day);
    subject.node.expire(after).unwrap();
    for number in [0, 10] {
        let ops = vec![
            append(log, number, 0),
            making(log, number + 1, far),
            append(log, number + 2, 0),
        ];
        let replies = subject.node.apply(after, ops).unwrap();
        assert!(is_appended(&replies[0]) && is_appended(&replies[2]));
        assert!(is_refused(&replies[1]));
    }
    // A day later it is over for all, and can be made.
    let over = format!("UPDATE lasting SET day = {} WHERE key = {key}", day - 1);
    server.execute(name, &over);
    let made = subject.node.apply(after, vec![making(log, 20, far)]);
    assert!(is_appended(&made.unwrap()[0]));
}

// [SPEC 6.211]
#[test]
fn a_database_that_another_cannot_ask_is_not_away() {
    let server = database::shared();
    let limited = server.fresh();
    let name = name_of(&limited);
    // One connection, for its own rows; the other database's thread gets none.
    server.execute(
        "postgres",
        &format!(
            "CREATE ROLE one_only LOGIN PASSWORD '{}' CONNECTION LIMIT 1;
             ALTER DATABASE {name} OWNER TO one_only",
            database::PASSWORD
        ),
    );
    let limited = limited.replace("//emptyroom:", "//one_only:");
    let addresses = vec![server.fresh(), limited];
    let keys = Scratch::in_memory("one-only");
    let node = open(&addresses, keys.path());
    let mut subject = Subjected {
        addresses,
        keys,
        node,
    };
    let log = root(&mut subject, 0);
    let other = root(&mut subject, 1);
    let far = homes().1[0];
    for number in [0, 10, 20] {
        let ops = vec![
            append(log, number, 0),
            append(other, number, 0),
            making(log, number + 1, far),
            append(other, number + 1, 0),
        ];
        let replies = subject.node.apply(NOW, ops).unwrap();
        for at in [0, 1, 3] {
            assert!(is_appended(&replies[at]), "{at}");
        }
        assert!(is_refused(&replies[2]));
        assert!(subject.node.standing().away().is_empty());
    }
    server.execute("postgres", "ALTER ROLE one_only CONNECTION LIMIT -1");
    apart::until(|| is_appended(&one(&mut subject.node, making(log, 30, far)).unwrap()));
}

// [SPEC 6.211]
#[test]
fn a_pointer_that_somebody_holds_holds_up_only_what_would_make_its_log() {
    let mut subject = Subjected::on(2);
    let log = root(&mut subject, 0);
    let far = homes().1[0];
    let insert = format!(
        "INSERT INTO lasting (key, day, turn, sealed, shard) VALUES ({}, 0, 0, '', 0)",
        key_of(far)
    );
    let name = name_of(&subject.addresses[1]);
    let held = database::shared().changing(name, &insert);
    for number in [0, 10] {
        let ops = vec![
            append(log, number, 0),
            making(log, number + 1, far),
            append(log, number + 2, 0),
        ];
        let replies = subject.node.apply(NOW, ops).unwrap();
        assert!(is_appended(&replies[0]) && is_appended(&replies[2]));
        assert!(is_refused(&replies[1]));
    }
    drop(held);
    apart::until(|| is_appended(&one(&mut subject.node, making(log, 20, far)).unwrap()));
}

// [SPEC 6.207] [SPEC 6.211] [SPEC 6.218]
#[test]
fn a_database_that_is_really_full_keeps_reading_and_holds_up_nobody() {
    let disk = Scratch::in_memory("full");
    let Some(_mounted) = SmallDisk::mount(disk.path(), 24 << 20) else {
        return;
    };
    // Its own: where one database has no space, a server makes no others.
    let server = database::Server::start();
    server.give(disk.path());
    server.execute(
        "postgres",
        &format!(
            "CREATE TABLESPACE small LOCATION '{}'",
            disk.path().display()
        ),
    );
    let full = server.fresh_in("small");
    let addresses = vec![database::shared().fresh(), full];
    let keys = Scratch::in_memory("full-keys");
    let node = open(&addresses, keys.path());
    let mut subject = Subjected {
        addresses,
        keys,
        node,
    };
    let far = homes().1[0];
    let name = name_of(&subject.addresses[1]).to_owned();
    for log in 0..16 {
        one(&mut subject.node, create(log)).unwrap();
    }
    let is_there = |log: &u8| {
        let sql = format!("SELECT count(*) FROM lasting WHERE key = {}", key_of(*log));
        server.number(&name, &sql) == 1
    };
    let log = (0..16).find(|log| !is_there(log)).unwrap();
    let other = (0..16).find(is_there).unwrap();
    let ballast = "CREATE TABLE ballast (x bytea);
        ALTER TABLE ballast ALTER COLUMN x SET STORAGE EXTERNAL;
        INSERT INTO ballast SELECT convert_to(repeat('x', 1048576), 'UTF8') FROM generate_series(1, 4)";
    server.execute(&name, ballast);
    let is_full = |reply: &StoreReply| matches!(reply, StoreReply::Refused(refusal) if refusal.code == RefusalCode::StorageFull);
    let ops = |number: u64| {
        let mut ops: Vec<StoreOp> = (0..64)
            .map(|more| append(other, number + more, 0))
            .collect();
        ops.push(append(log, number, 0));
        ops.push(StoreOp::Look {
            place: place(other),
        });
        ops
    };
    let mut number = 0;
    let filled = loop {
        assert!(number < 16_384, "it is never full");
        let replies = subject.node.apply(NOW, ops(number)).unwrap();
        assert!(is_appended(&replies[64]));
        assert!(matches!(replies[65], StoreReply::Looked(_)));
        if is_full(&replies[0]) {
            break replies;
        }
        number += 64;
    };
    // Whatever is refused for space makes nobody else wait, and it is not away.
    assert!(filled[..64].iter().all(is_full));
    assert!(subject.node.standing().away().is_empty());
    // That others store something says nothing of it.
    assert_eq!(subject.node.standing().full(), [2]);
    one(&mut subject.node, append(log, number + 100, 0)).unwrap();
    assert_eq!(subject.node.standing().full(), [2]);
    assert_eq!(seqs(&mut subject.node, other).last(), Some(&(number - 1)));
    let replies = vec![append(log, number + 1, 0), making(log, number + 2, far)];
    let replies = subject.node.apply(NOW, replies).unwrap();
    // A pointer may still fit.
    assert!(is_appended(&replies[0]));
    server.execute(&name, "DROP TABLE ballast");
    apart::until(|| {
        let replies = subject.node.apply(NOW, ops(number)).unwrap();
        is_appended(&replies[0]) && is_appended(&replies[63])
    });
    assert!(subject.node.standing().full().is_empty());
}

// [SPEC 6.126] [SPEC 6.217] [SPEC 6.218] [SPEC 6.220]
#[test]
fn the_operator_is_told_which_database_is_full() {
    let databases = [(); 2].map(|()| database::shared().fresh());
    let data = Scratch::new("two-full");
    let [first, second] = databases.each_ref();
    let (relay, port) = operator::start(data.path(), &["--store", first, "--store", second]);
    let mut client = Client::connect(&relay.address);
    let logs: Vec<Log> = (0..16).map(|_| Log::new()).collect();
    let mut handles = Vec::new();
    for log in &logs {
        client.create(log, None);
        handles.push(client.open(log, 0).unwrap().0.handle);
    }
    let mut append_to_all = || {
        let answers = handles.iter().zip(&logs).map(|(handle, log)| {
            let append = client.append_request(*handle, log, b"text", Ttl::Day1);
            client.call(Request::Append(append))
        });
        let appended = answers.filter(|answer| matches!(answer, Answer::Appended(_)));
        appended.count()
    };
    assert_eq!(append_to_all(), logs.len());
    let server = database::shared();
    server.execute(
        name_of(second),
        "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN RAISE EXCEPTION ''no space'' USING ERRCODE = ''53100''; END';
         CREATE TRIGGER no_space BEFORE INSERT OR UPDATE ON lasting
           FOR EACH ROW EXECUTE FUNCTION no_space()",
    );
    for _ in 0..4 {
        let appended = append_to_all();
        assert!(appended > 0 && appended < logs.len(), "{appended}");
    }
    let status = |more: &[&str]| {
        let at = ["--data", data.path().to_str().unwrap()];
        operator::status(&[&at, more].concat())
    };
    let (code, _, said) = status(&[]);
    assert!(
        code == 7 && said.contains("database 2 of 2 is full"),
        "{said}"
    );
    assert_eq!(status(&["--alive"]).0, 0);
    let health = operator::get(&port, "/health");
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    assert!(health.contains("database-full"), "{health}");
    let metrics = operator::get(&port, "/metrics");
    assert_eq!(operator::metric(&metrics, "databases_full"), 1);
    server.execute(name_of(second), "DROP TRIGGER no_space ON lasting");
    apart::until(|| append_to_all() == logs.len());
    assert_eq!(status(&[]).0, 0);
    let said = std::fs::read_to_string(data.path().with_extension("stderr")).unwrap();
    for once in ["2 of 2 has no space left", "2 of 2 has space again"] {
        assert_eq!(said.matches(once).count(), 1, "{said}");
    }
    assert!(!said.contains("no space left for the data directory"));
}
