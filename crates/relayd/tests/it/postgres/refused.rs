//! Databases that are not this relay's, or not as they must be.

use std::fs;

use emptyroom_relayd::postgres::{Unusable, ratchet};

use super::*;
use crate::process::{binary, serve};

const TODAY: Day = Day(20_000);

fn open_today(address: &str, keys: &Scratch) -> Result<Node, Refused> {
    try_open(&[address.to_owned()], 7, keys.path(), TODAY)
}

// [SPEC 6.203]
#[test]
fn another_relay_another_list_and_a_later_version_are_refused() {
    let server = database::shared();
    let address = server.fresh();
    let (keys, none) = (Scratch::in_memory("keys"), Scratch::in_memory("no-keys"));
    let mut node = open_today(&address, &keys).unwrap();
    one(&mut node, create(1)).unwrap();
    let file = fs::read(keys.path().join(ratchet::FILE)).unwrap();
    let all = [address.clone(), server.fresh()];
    let refused = |addresses: &[String], seed, keys: &Scratch| {
        let refused = try_open(addresses, seed, keys.path(), TODAY).err();
        refused.unwrap().why
    };
    let this = &all[..1];
    assert!(matches!(refused(this, 8, &keys), Unusable::OtherIdentity));
    let twice = [address.clone(), address.clone()];
    for list in [&all[..], &twice] {
        assert!(matches!(
            refused(list, 7, &keys),
            Unusable::OtherPlace {
                shard: 0,
                shards: 1
            }
        ));
    }
    // A node without keys makes none, and one with other keys keeps them.
    assert!(matches!(refused(this, 7, &none), Unusable::NoKeys));
    assert!(!none.path().join(ratchet::FILE).exists());
    ratchet::DayKeys::make(none.path(), Day(20_000)).unwrap();
    assert!(matches!(refused(this, 7, &none), Unusable::OtherKeys));
    // A new node gets a copy.
    fs::write(none.path().join(ratchet::FILE), file).unwrap();
    let mut another = open_today(&address, &none).unwrap();
    assert!(matches!(
        one(&mut another, create(1)),
        Ok(StoreReply::Created)
    ));
    server.execute(name_of(&address), "UPDATE emptyroom SET version = 2");
    assert!(matches!(
        refused(this, 7, &keys),
        Unusable::Newer { found: 2 }
    ));
    // Also for a node that runs, when it connects anew.
    server.execute("postgres", &end_sessions(name_of(&address)));
    assert!(matches!(
        one(&mut node, create(2)),
        Err(StoreFailure::Away(_))
    ));
    server.execute(name_of(&address), "UPDATE emptyroom SET version = 1");
    assert!(matches!(one(&mut node, create(2)), Ok(StoreReply::Created)));
    // Nor does one go on when rows under other keys were brought there.
    let other = "UPDATE emptyroom SET keys_check = decode(repeat('00', 32), 'hex')";
    server.execute(name_of(&address), other);
    server.execute("postgres", &end_sessions(name_of(&address)));
    let refused = one(&mut node, create(3));
    assert!(matches!(&refused, Err(failure) if failure.to_string().contains("other day keys")));
}

pub(super) fn end_sessions(name: &str) -> String {
    format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
}

// [SPEC 6.202]
#[test]
fn a_commit_is_synchronous_and_one_with_a_warning_is_not_acknowledged() {
    let server = database::shared();
    let address = server.fresh();
    let name = name_of(&address);
    let keys = Scratch::in_memory("keys");
    for setting in ["synchronous_commit = remote_write", "log_statement = 'all'"] {
        server.execute("postgres", &format!("ALTER DATABASE {name} SET {setting}"));
    }
    let mut node = open_today(&address, &keys).unwrap();
    assert!(server.log().contains("SET synchronous_commit = on"));
    server.execute(
        name,
        "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN RAISE WARNING ''not replicated''; RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON lasting
           DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION warn()",
    );
    assert!(matches!(
        one(&mut node, create(1)),
        Err(StoreFailure::Lost(_))
    ));
    server.execute(name, "DROP TRIGGER warn ON lasting");
    assert!(matches!(one(&mut node, create(1)), Ok(StoreReply::Created)));
    // Nor is one at which it has no space any more: what became of it is open, and asking again settles it.
    server.execute(
        name,
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN RAISE EXCEPTION USING ERRCODE = ''53100''; RETURN NULL; END';
         CREATE CONSTRAINT TRIGGER full_disk AFTER INSERT ON lasting
           DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION full_disk()",
    );
    assert!(matches!(
        one(&mut node, create(2)),
        Err(StoreFailure::Lost(_))
    ));
    server.execute(name, "DROP TRIGGER full_disk ON lasting");
    assert!(matches!(one(&mut node, create(2)), Ok(StoreReply::Created)));
}

// [SPEC 6.202]
#[test]
fn a_database_that_does_not_sync_is_refused() {
    let server = database::Server::start();
    server.execute("postgres", "ALTER SYSTEM SET fsync = off");
    server.execute("postgres", "SELECT pg_reload_conf()");
    let address = server.fresh();
    let keys = Scratch::in_memory("keys");
    let refused = open_today(&address, &keys).err().unwrap();
    assert!(matches!(refused.why, Unusable::NoSync));
}

// [SPEC 6.207] [SPEC 6.208]
#[test]
fn a_program_without_its_database_shows_no_password_and_may_be_started_again() {
    let data = Scratch::new("no-database");
    let start = |option: &str, address: &str| {
        let output = serve(data.path()).args([option, address]).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(!said.contains("s3cret") && !said.contains("joe"), "{said}");
        (output.status.code().unwrap(), said)
    };
    for (store, why) in [
        (
            "postgres://joe:s3cret@127.0.0.1:port/relay",
            "is not of the form",
        ),
        ("postgres://joe:s3cret@127.0.0.1", "names no database"),
        ("postgres://joe:s3cret@db.example.org/relay", "sslrootcert"),
        ("postgress://joe:s3cret@127.0.0.1/relay", "none of"),
    ] {
        let (code, said) = start("--store", store);
        assert!(code == 2 && said.contains(why), "{code} {said}");
    }
    for (servers, why) in [
        ("natss://joe:s3cret@127.0.0.1", "nats:// or tls://"),
        ("nats://joe:s3cret@127.0.0.1:port", "--wake"),
        ("nats://joe:s3cret@127.0.0.1", "alone"),
    ] {
        let (code, said) = start("--wake", servers);
        assert!(code == 2 && said.contains(why), "{code} {said}");
    }
    // It starts before its database: the system starts it again.
    let (code, said) = start("--store", "postgres://joe:s3cret@127.0.0.1:1/relay");
    assert!(code == 6 && said.contains("127.0.0.1:1/relay"), "{said}");
    // Its entries are in no backup.
    ratchet::DayKeys::make(data.path(), Day(20_000)).unwrap();
    let mut backup = binary();
    backup.args(["backup", "--with-entries", "--data"]);
    backup
        .arg(data.path())
        .arg("--to")
        .arg(data.path().join("copy"));
    let output = backup.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!data.path().join("copy").exists());
}
