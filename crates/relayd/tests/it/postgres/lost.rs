//! Databases of a list that lost what they had, and tables that a program before made.

use std::fs;

use emptyroom_relayd::postgres::Unusable;

use super::apart::{making, root, rows_in};
use super::*;

/// Says in a directory that its databases do not all have tables yet.
const NOT_BEGUN: &str = "not-begun";

// [SPEC 6.214]
#[test]
fn an_empty_database_beside_used_ones_is_refused_unless_it_was_lost() {
    let subject = Subjected::on(2);
    // So far nobody has used any: a start that was cut off goes on.
    let begins = subject.keys.path().join(NOT_BEGUN);
    assert!(!begins.exists());
    fs::write(&begins, b"").unwrap();
    database::shared().execute(
        name_of(&subject.addresses[1]),
        "DROP TABLE emptyroom, lasting",
    );
    let mut subject = Subjected {
        node: subject.another(),
        ..subject
    };
    assert!(!begins.exists());
    root(&mut subject, 0);
    root(&mut subject, 1);
    for (lost, used) in [(0, 1), (1, 0)] {
        let mut addresses = subject.addresses.clone();
        addresses[lost] = database::shared().fresh();
        let refused = try_open(&addresses, 7, subject.keys.path(), BEFORE).err();
        let refused = refused.unwrap();
        assert!(matches!(refused.why, Unusable::Empty));
        assert!(addresses[lost].ends_with(&refused.address[refused.address.find('/').unwrap()..]));
        let none = Scratch::in_memory("lost-no-keys");
        let new = try_open(&addresses, 7, none.path(), BEFORE).err().unwrap();
        assert!(matches!(new.why, Unusable::NoKeys));
        // Nor while nobody can tell whether the other is used.
        if used == 1 {
            apart::set_read_only(name_of(&addresses[used]), "on");
            let refused = try_open(&addresses, 7, subject.keys.path(), BEFORE).err();
            assert!(matches!(refused.unwrap().why, Unusable::Empty));
            apart::set_read_only(name_of(&addresses[used]), "off");
        }
        let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'";
        let name = name_of(&addresses[lost]);
        assert_eq!(
            database::shared().number(name, tables),
            0,
            "nothing was changed"
        );
        let mut node = open_after_loss(&addresses, subject.keys.path());
        for log in 40..56 {
            one(&mut node, create(log)).unwrap();
        }
        // From then on it is as the others are.
        let mut node = open(&addresses, subject.keys.path());
        assert!(matches!(
            one(&mut node, append(40, 0, 0)),
            Ok(StoreReply::Appended(_))
        ));
    }
}

// [SPEC 6.214]
#[test]
fn the_only_database_is_not_empty_once_it_was_served() {
    let mut subject = Subjected::new();
    let empty = [database::shared().fresh()];
    let is_refused = |today| {
        let refused = try_open(&empty, 7, subject.keys.path(), today).err();
        assert!(matches!(refused.unwrap().why, Unusable::Empty));
        let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'";
        assert_eq!(database::shared().number(name_of(&empty[0]), tables), 0);
    };
    // On the same day, to which its keys have come.
    subject.node.expire(NOW).unwrap();
    is_refused(NOW.day());
    try_open(&subject.addresses, 7, subject.keys.path(), NOW.day()).unwrap();
    // Nor for a node that has a copy of the keys.
    let another = Scratch::in_memory("lost-another");
    let keys = subject.keys.path().join("day-keys");
    fs::copy(keys, another.path().join("day-keys")).unwrap();
    let refused = try_open(&empty, 7, another.path(), NOW.day()).err();
    assert!(matches!(refused.unwrap().why, Unusable::Empty));
}

// [SPEC 6.202] [SPEC 6.214]
#[test]
fn a_pointer_that_may_not_have_reached_a_replica_makes_no_log() {
    let mut subject = Subjected::on(2);
    let log = root(&mut subject, 0);
    let second = name_of(&subject.addresses[1]).to_owned();
    let server = database::shared();
    server.execute(
        &second,
        "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN RAISE WARNING ''not replicated''; RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER warn AFTER INSERT OR UPDATE ON lasting
           DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION warn()",
    );
    let before = rows_in(&subject)[0];
    let mut refused = 0;
    for (number, next) in (0..).zip(100..116) {
        let ops = vec![append(log, 100 + number, 0), making(log, number, next)];
        let replies = subject.node.apply(NOW, ops).unwrap();
        // Whoever makes nothing there is not held up.
        assert!(matches!(replies[0], StoreReply::Appended(_)));
        refused += i64::from(matches!(replies[1], StoreReply::Refused(_)));
    }
    assert!(refused > 0 && refused < 16, "{refused}");
    assert!(rows_in(&subject)[0] > before);
    server.execute(&second, "DROP TRIGGER warn ON lasting");
    let retry = std::time::Duration::from_secs(3);
    std::thread::sleep(retry);
    for (number, next) in (0..).zip(100..116) {
        let made = one(&mut subject.node, making(log, number, next)).unwrap();
        assert!(matches!(
            made,
            StoreReply::Appended(_) | StoreReply::Already(_)
        ));
    }
}

// [SPEC 6.203]
#[test]
fn tables_of_a_program_before_get_what_they_lack() {
    let mut subject = Subjected::new();
    one(&mut subject.node, create(1)).unwrap();
    one(&mut subject.node, append(1, 0, 0)).unwrap();
    let name = name_of(&subject.addresses[0]).to_owned();
    let server = database::shared();
    server.execute(
        &name,
        "ALTER TABLE lasting DROP COLUMN shard;
         ALTER TABLE emptyroom DROP COLUMN moving, DROP COLUMN import",
    );
    // Somebody who copies the database keeps nobody from starting, once they are there.
    let mut node = subject.another();
    one(&mut node, append(1, 1, 0)).unwrap();
    assert_eq!(seqs(&mut node, 1), [0, 1]);
    let copying = server.reading(&name, "lasting");
    let mut node = subject.another();
    one(&mut node, append(1, 2, 0)).unwrap();
    drop(copying);
    assert_eq!(seqs(&mut node, 1), [0, 1, 2]);
}
