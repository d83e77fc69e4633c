//! Logs in different databases, and operations that are about two of them.

use std::thread;
use std::time::{Duration, Instant};

use emptyroom_relayd::postgres::upkeep::Slice;
use emptyroom_wire::op::First;

use super::refused::end_sessions;
use super::*;
use crate::client::{self, Client};
use crate::operator;
use crate::process::binary;

/// Logs that others make.
const NEXT: std::ops::Range<u8> = 100..108;

/// An append that makes another log.
pub(super) fn making(log: u8, number: u64, next: u8) -> StoreOp {
    let StoreOp::Append(mut append) = append(log, number, 0) else {
        unreachable!()
    };
    let first = First {
        ttl: Ttl::Day30,
        nonce: [next; 16],
        body: vec![next; 100],
    };
    append.next.push(NewPlace::new(&header(next), Some(first)));
    StoreOp::Append(append)
}

fn look(node: &mut Node, log: u8) -> Option<u64> {
    match one(node, StoreOp::Look { place: place(log) }) {
        Ok(StoreReply::Looked(looked)) => Some(looked.view.next_seq),
        Ok(StoreReply::Refused(refusal)) if refusal.code == RefusalCode::Unknown => None,
        _ => panic!("neither there nor unknown"),
    }
}

fn names(subject: &Subjected) -> impl Iterator<Item = &str> {
    let names = subject.addresses.iter();
    names.map(|address| name_of(address))
}

/// A log that lies in this database, made for it.
pub(super) fn root(subject: &mut Subjected, database: usize) -> u8 {
    for log in 0..32 {
        let before = rows_in(subject);
        one(&mut subject.node, create(log)).unwrap();
        if rows_in(subject)[database] > before[database] {
            return log;
        }
    }
    panic!("all logs lie elsewhere");
}

pub(super) fn rows_of(subject: &Subjected, log: u8, which: &str) -> Vec<i64> {
    let key = key_of(log);
    let sql = format!("SELECT count(*) FROM lasting WHERE key = {key} AND {which}");
    names(subject)
        .map(|name| database::shared().number(name, &sql))
        .collect()
}

/// Which of the logs that others make have their home in the first database, and which in the second. It is the same for all relays of this seed.
pub(super) fn homes() -> (Vec<u8>, Vec<u8>) {
    let mut subject = Subjected::on(2);
    let log = root(&mut subject, 0);
    for (number, next) in (0..).zip(NEXT) {
        one(&mut subject.node, making(log, number, next)).unwrap();
    }
    NEXT.partition(|next| rows_of(&subject, *next, "shard IS NOT NULL") == [0, 0])
}

pub(super) fn is_refused(reply: &StoreReply) -> bool {
    matches!(reply, StoreReply::Refused(refusal) if refusal.code == RefusalCode::StoreFailed)
}

pub(super) fn is_appended(reply: &StoreReply) -> bool {
    matches!(reply, StoreReply::Appended(_) | StoreReply::Already(_))
}

pub(super) fn key_of(log: u8) -> String {
    let key = place(log).key().0;
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("decode('{key}', 'hex')")
}

/// A database takes no writes from now on, or does again.
pub(super) fn set_read_only(name: &str, to: &str) {
    let sql = format!("ALTER DATABASE {name} SET default_transaction_read_only = {to}");
    database::shared().execute("postgres", &sql);
    database::shared().execute("postgres", &end_sessions(name));
}

/// Does it until it is done, for a while.
pub(super) fn until(mut is_done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_done() {
        assert!(Instant::now() < until, "it does not come back");
        thread::sleep(Duration::from_millis(50));
    }
}

/// How many rows of logs lie in each database.
pub(super) fn rows_in(subject: &Subjected) -> Vec<i64> {
    let sql = "SELECT count(*) FROM lasting WHERE shard IS NULL";
    names(subject)
        .map(|name| database::shared().number(name, sql))
        .collect()
}

fn pointers(subject: &Subjected) -> i64 {
    let sql = "SELECT count(*) FROM lasting WHERE shard IS NOT NULL";
    names(subject)
        .map(|name| database::shared().number(name, sql))
        .sum()
}

fn in_each(subject: &Subjected, sql: &str) {
    for name in names(subject) {
        database::shared().execute(name, sql);
    }
}

// [SPEC 6.209] [SPEC 6.210]
#[test]
fn what_a_log_makes_lies_with_it_and_is_found_by_every_node() {
    let mut subject = Subjected::on(2);
    for log in 0..8 {
        one(&mut subject.node, create(log)).unwrap();
    }
    // Some here, some there.
    let before = rows_in(&subject);
    assert_eq!(before.iter().sum::<i64>(), 8);
    assert!(before.iter().all(|rows| *rows > 0), "{before:?}");
    // Of eight that are made by one, all lie with it.
    for (number, next) in (0..).zip(NEXT) {
        let made = one(&mut subject.node, making(0, number, next));
        assert!(matches!(made, Ok(StoreReply::Appended(_))));
    }
    let after = rows_in(&subject);
    let grown = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| after > before);
    assert_eq!(grown.count(), 1, "{before:?} {after:?}");
    let mut other = subject.another();
    for next in NEXT {
        assert_eq!(look(&mut other, next), Some(1));
        assert!(matches!(
            one(&mut other, append(next, 1, 0)),
            Ok(StoreReply::Appended(placed)) if placed.seq == 1
        ));
        assert_eq!(seqs(&mut subject.node, next), [0, 1]);
        // It is not made again in its home.
        assert!(matches!(
            one(&mut other, create(next)),
            Ok(StoreReply::Refused(refusal)) if refusal.code == RefusalCode::Exists
        ));
    }
    // Nor by logs in the other database: for them it is there.
    for log in 1..8 {
        let again = one(&mut other, making(log, 1, 100));
        assert!(matches!(again, Ok(StoreReply::Appended(_))));
    }
    assert_eq!(seqs(&mut other, 100), [0, 1]);
}

// [SPEC 6.210]
#[test]
fn an_append_that_is_not_committed_makes_no_log() {
    let mut subject = Subjected::on(2);
    one(&mut subject.node, create(0)).unwrap();
    // A commit fails after the homes of the new logs were told.
    in_each(
        &subject,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN IF NEW.shard IS NULL THEN RAISE EXCEPTION ''no''; END IF; RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER fail AFTER INSERT OR UPDATE ON lasting
           DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()",
    );
    let appends = || (0..).zip(NEXT);
    for (number, next) in appends() {
        assert!(matches!(
            one(&mut subject.node, making(0, number, next)),
            Ok(StoreReply::Lost)
        ));
    }
    in_each(&subject, "DROP TRIGGER fail ON lasting");
    assert!(pointers(&subject) > 0, "nothing was cut off in the middle");
    let mut node = subject.another();
    assert_eq!(look(&mut node, 0), Some(0));
    for (_, next) in appends() {
        assert_eq!(look(&mut node, next), None);
    }
    // The same appends again do all of it.
    for (number, next) in appends() {
        assert!(matches!(
            one(&mut node, making(0, number, next)),
            Ok(StoreReply::Appended(placed)) if placed.seq == number
        ));
        assert_eq!(look(&mut node, next), Some(1));
    }
}

// [SPEC 6.210]
#[test]
fn pointers_live_as_long_as_their_logs_and_no_longer() {
    let mut subject = Subjected::on(2);
    one(&mut subject.node, create(0)).unwrap();
    for (number, next) in (0..).zip(NEXT) {
        one(&mut subject.node, making(0, number, next)).unwrap();
    }
    let all = pointers(&subject);
    assert!(all > 0);
    let pass = |subject: &mut Subjected, days: u64| {
        subject.node.expire(Wall(NOW.0 + days * DAY_MS)).unwrap();
        while subject.node.upkeep().unwrap() == Slice::More {}
    };
    pass(&mut subject, 10);
    assert_eq!(pointers(&subject), all);
    let mut other = subject.another();
    for next in NEXT {
        assert_eq!(look(&mut other, next), Some(1));
    }
    // Twice: one that is looked at before its log went stands for a day more.
    pass(&mut subject, 200);
    pass(&mut subject, 201);
    assert_eq!(pointers(&subject), 0);
}

// [SPEC 6.210]
#[test]
fn a_log_is_decided_on_only_where_it_lies() {
    let mut subject = Subjected::on(2);
    let log = root(&mut subject, 0);
    let far = homes().1[0];
    one(&mut subject.node, making(log, 0, far)).unwrap();
    // Later nobody has looked after its pointer.
    for (number, later) in [(1, 0), (2, 3)] {
        let now = Wall(NOW.0 + later * DAY_MS);
        let mut node = subject.another();
        if later > 0 {
            node.expire(now).unwrap();
        }
        // A node that has not seen it asks its home, and so does the second, which names itself.
        let new = 120 + u8::try_from(number).unwrap();
        // They come behind the last piece that a batch is cut into, so both are decided at once.
        let mut ops = Vec::new();
        for next in 0..15 {
            let next = 200 + next + 16 * u8::try_from(number).unwrap();
            ops.push(making(log, 100 * number + u64::from(next), next));
            ops.push(StoreOp::Look { place: place(next) });
        }
        ops.extend([making(far, number, new), making(far, 9, far)]);
        let replies = node.apply(now, ops).unwrap().split_off(30);
        assert!(is_appended(&replies[0]));
        assert!(matches!(
            &replies[1],
            StoreReply::Refused(refusal) if refusal.code == RefusalCode::Malformed
        ));
        assert_eq!(rows_of(&subject, far, "shard IS NULL"), [1, 0]);
        assert_eq!(rows_of(&subject, new, "shard IS NULL"), [1, 0]);
    }
}

// [SPEC 6.210]
#[test]
fn what_would_make_a_log_that_another_may_be_making_is_refused_alone() {
    let mut subject = Subjected::on(2);
    let log = root(&mut subject, 0);
    let next = homes().0[0];
    // Somebody in the other database said that it makes this log, and was not heard of again.
    let (key, day) = (key_of(next), NOW.day().0 + 2);
    let sql = format!(
        "INSERT INTO lasting (key, day, turn, sealed, shard) VALUES ({key}, {day}, 2147483647, '', 1)"
    );
    let name = names(&subject).next().unwrap().to_owned();
    database::shared().execute(&name, &sql);
    let ops = || vec![append(log, 0, 0), making(log, 1, next), append(log, 2, 0)];
    let replies = subject.node.apply(NOW, ops()).unwrap();
    assert!(is_appended(&replies[0]) && is_appended(&replies[2]));
    assert!(is_refused(&replies[1]));
    // When that is over it is made.
    let now = Wall(NOW.0 + 3 * DAY_MS);
    let replies = subject.node.apply(now, ops()).unwrap();
    assert!(is_appended(&replies[1]));
    assert_eq!(rows_of(&subject, next, "shard IS NULL"), [1, 0]);
}

// [SPEC 6.203] [SPEC 6.211]
#[test]
fn while_one_database_is_away_the_other_serves() {
    let mut subject = Subjected::on(2);
    let log = root(&mut subject, 0);
    let other = root(&mut subject, 1);
    let (near, far) = homes();
    one(&mut subject.node, making(log, 0, far[0])).unwrap();
    let name = names(&subject).nth(1).unwrap().to_owned();
    set_read_only(&name, "on");
    let ops = |number: u64| {
        let mut ops = vec![
            append(log, number, 0),
            append(other, number, 0),
            making(log, number + 1, far[1]),
            append(far[0], number, 0),
        ];
        ops.extend((200..216).map(create));
        ops
    };
    // The node finds it away; then a new one starts while it is.
    for number in [10, 20] {
        let replies = subject.node.apply(NOW, ops(number)).unwrap();
        assert!(is_appended(&replies[0]));
        assert!(is_refused(&replies[1]) && is_refused(&replies[2]));
        // It lies here, and only who does not know that must ask.
        assert!(is_appended(&replies[3]) == (number == 10));
        let creates = &replies[4..];
        let refused = creates.iter().filter(|reply| is_refused(reply)).count();
        assert!(refused > 0 && refused < creates.len());
        assert_eq!(subject.node.standing().away(), [2]);
        subject.node = subject.another();
    }
    let replies = subject
        .node
        .apply(NOW, vec![making(log, 30, near[0])])
        .unwrap();
    assert!(is_appended(&replies[0]));
    // It comes back with rows under other keys than those of the node, which did not see it before.
    let server = database::shared();
    let check = server.bytes(&name, "SELECT keys_check FROM emptyroom");
    let set_check = |check: &str| {
        let set = format!("UPDATE emptyroom SET keys_check = decode('{check}', 'hex')");
        server.execute(&name, &format!("BEGIN READ WRITE; {set}; COMMIT"));
    };
    set_check(&"00".repeat(32));
    set_read_only(&name, "off");
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        let replies = subject.node.apply(NOW, ops(20)).unwrap();
        assert!(is_appended(&replies[0]) && is_refused(&replies[1]));
        thread::sleep(Duration::from_millis(200));
    }
    let check: String = check.iter().map(|byte| format!("{byte:02x}")).collect();
    set_check(&check);
    until(|| {
        let replies = subject.node.apply(NOW, ops(20)).unwrap();
        let is_back = !replies.iter().any(is_refused);
        assert!(!is_back || replies[..4].iter().all(is_appended));
        is_back
    });
    assert!(subject.node.standing().away().is_empty());
}

// [SPEC 6.210]
#[test]
fn a_log_is_unknown_only_if_its_home_said_so() {
    let mut subject = Subjected::on(2);
    let log = root(&mut subject, 0);
    let far = homes().1[0];
    one(&mut subject.node, making(log, 0, far)).unwrap();
    // Now the node knows where it lies; then it is gone from there.
    assert_eq!(look(&mut subject.node, far), Some(1));
    let sql = format!("DELETE FROM lasting WHERE key = {}", key_of(far));
    let databases: Vec<String> = names(&subject).map(str::to_owned).collect();
    database::shared().execute(&databases[0], &sql);
    set_read_only(&databases[1], "on");
    let is_refused = |node: &mut Node| {
        let look = StoreOp::Look { place: place(far) };
        is_refused(&one(node, look).unwrap())
    };
    assert!(is_refused(&mut subject.node));
    set_read_only(&databases[1], "off");
    until(|| !is_refused(&mut subject.node));
    assert_eq!(look(&mut subject.node, far), None);
}

// [SPEC 6.126] [SPEC 6.211] [SPEC 6.217]
#[test]
fn the_operator_is_told_which_database_is_away() {
    let databases = [(); 2].map(|()| database::shared().fresh());
    let data = Scratch::new("two-databases");
    let [first, second] = databases.each_ref();
    let nobody = "nats://127.0.0.1:1";
    let arguments = ["--store", first, "--store", second, "--wake", nobody];
    let (relay, port) = operator::start(data.path(), &arguments);
    let health = || operator::get(&port, "/health");
    let mut client = Client::connect(&relay.address);
    let mut created = || {
        let logs = (0..16).map(|_| client.create(&client::Log::new(), None));
        let names: Vec<String> = logs.map(|answer| client::name(&answer)).collect();
        let created = names.iter().filter(|name| *name == "created").count();
        assert!(created > 0, "{names:?}");
        created
    };
    let status = || {
        let mut status = binary();
        status.args(["status", "--data"]).arg(data.path());
        let output = status.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), said)
    };
    assert_eq!(created(), 16);
    let name = name_of(second);
    set_read_only(name, "on");
    assert!(created() < 16);
    let (code, said) = status();
    assert!(
        code == 7 && said.contains("database 2 of 2 is away"),
        "{said}"
    );
    // Who looks whether a node serves takes none away for it.
    let health_then = health();
    assert!(health_then.starts_with("HTTP/1.1 200 "), "{health_then}");
    assert!(health_then.contains("database 2 of 2 is away"));
    set_read_only(name, "off");
    until(|| created() == 16);
    assert_eq!(status().0, 0);
    let shown = operator::get(&port, "/status.json");
    for what in [
        r#""kind":"postgres""#,
        r#""news":"away""#,
        r#""databases":2"#,
    ] {
        assert!(shown.contains(what), "{what}: {shown}");
    }
    assert!(health().starts_with("HTTP/1.1 200 "));
    let said = std::fs::read_to_string(data.path().with_extension("stderr")).unwrap();
    let count = |what: &str| said.matches(what).count();
    assert_eq!(count("database 2 of 2"), 2, "{said}");
    assert_eq!(count("database 2 of 2 is back"), 1);
    // With all of them away there is nothing left to be served.
    for address in &databases {
        set_read_only(name_of(address), "on");
    }
    until(|| {
        // Whoever is refused all goes on.
        let _ = client.create(&client::Log::new(), None);
        health().starts_with("HTTP/1.1 503 ")
    });
    drop(relay);
}

// [SPEC 6.211]
#[test]
fn a_database_whose_commits_have_no_end_is_away_and_not_waited_for() {
    let hangs = database::Server::start();
    let addresses = vec![database::shared().fresh(), hangs.fresh()];
    let keys = Scratch::in_memory("hangs");
    let mut node = open(&addresses, keys.path());
    let logs = 0..16;
    for log in logs.clone() {
        one(&mut node, create(log)).unwrap();
    }
    let appends = |number| logs.clone().map(|log| append(log, number, 0)).collect();
    // Its replica is gone: all but commits goes on there.
    hangs.execute(
        "postgres",
        "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
    );
    hangs.number("postgres", "SELECT pg_reload_conf()::int::int8");
    let mut number = 0;
    until(|| {
        number += 1;
        let replies = node.apply(NOW, appends(number)).unwrap();
        let is_lost = |reply: &&StoreReply| matches!(reply, StoreReply::Lost);
        let lost = replies.iter().filter(is_lost).count();
        // Nobody knows what became of those there; the others are done.
        assert!(
            replies
                .iter()
                .all(|reply| is_lost(&reply) || is_appended(reply))
        );
        lost > 0 && lost < replies.len()
    });
    assert_eq!(node.standing().away(), [2]);
    // Meanwhile its thread tries it again, and waits for as long.
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(4) {
        number += 1;
        let asked = Instant::now();
        let mut ops: Vec<StoreOp> = appends(number);
        ops.extend((200..216).map(create));
        let replies = node.apply(NOW, ops).unwrap();
        let refused = replies.iter().filter(|reply| is_refused(reply)).count();
        assert!(refused > 0 && refused < replies.len());
        let _ = node.upkeep();
        let _ = node.expire(NOW);
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(8), "it was waited for: {took:?}");
        thread::sleep(Duration::from_millis(200));
    }
    hangs.execute("postgres", "ALTER SYSTEM RESET synchronous_standby_names");
    hangs.number("postgres", "SELECT pg_reload_conf()::int::int8");
    until(|| {
        let replies = node.apply(NOW, appends(number + 1)).unwrap();
        replies.iter().all(is_appended)
    });
}
