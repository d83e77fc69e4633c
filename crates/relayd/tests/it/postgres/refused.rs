//! Databases that are not this relay's, or not as they must be.

use std::fs;

use emptyroom_relayd::postgres::{Unusable, ratchet};

use super::*;

fn try_open(address: &str, seat: Seat, keys: &Path) -> Result<Node, Unusable> {
    let address = Address::parse(address).unwrap();
    let rows = PostgresRows::open(&address, seat, keys, Day(20_000))?;
    Ok(Ledger::new(rows, Box::new(generator())))
}

fn name_of(address: &str) -> &str {
    address.rsplit('/').next().unwrap()
}

// [SPEC 6.203]
#[test]
fn another_relay_another_list_and_a_later_version_are_refused() {
    let server = database::shared();
    let address = server.fresh();
    let (keys, none) = (Scratch::in_memory("keys"), Scratch::in_memory("no-keys"));
    let mut node = try_open(&address, SEAT, keys.path()).unwrap();
    one(&mut node, create(1)).unwrap();
    let file = fs::read(keys.path().join(ratchet::FILE)).unwrap();
    let other = Seat {
        identity: IdentityHash([8; 32]),
        ..SEAT
    };
    let second = Seat {
        shard: 1,
        shards: 2,
        ..SEAT
    };
    let longer = Seat { shards: 2, ..SEAT };
    let refused = |seat, keys: &Scratch| try_open(&address, seat, keys.path()).err().unwrap();
    assert!(matches!(refused(other, &keys), Unusable::OtherIdentity));
    for seat in [second, longer] {
        assert!(matches!(
            refused(seat, &keys),
            Unusable::OtherPlace {
                shard: 0,
                shards: 1
            }
        ));
    }
    // A node without keys makes none, and one with other keys keeps them.
    assert!(matches!(refused(SEAT, &none), Unusable::NoKeys));
    assert!(!none.path().join(ratchet::FILE).exists());
    ratchet::DayKeys::make(none.path(), Day(20_000)).unwrap();
    assert!(matches!(refused(SEAT, &none), Unusable::OtherKeys));
    // A new node gets a copy.
    fs::write(none.path().join(ratchet::FILE), file).unwrap();
    let mut another = try_open(&address, SEAT, none.path()).unwrap();
    assert!(matches!(
        one(&mut another, create(1)),
        Ok(StoreReply::Created)
    ));
    server.execute(name_of(&address), "UPDATE emptyroom SET version = 2");
    assert!(matches!(refused(SEAT, &keys), Unusable::Newer { found: 2 }));
    // Also for a node that runs, when it connects anew.
    server.execute("postgres", &end_sessions(name_of(&address)));
    assert!(matches!(
        one(&mut node, create(2)),
        Err(StoreFailure::Away(_))
    ));
    server.execute(name_of(&address), "UPDATE emptyroom SET version = 1");
    assert!(matches!(one(&mut node, create(2)), Ok(StoreReply::Created)));
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
    for setting in ["synchronous_commit = off", "log_statement = 'all'"] {
        server.execute("postgres", &format!("ALTER DATABASE {name} SET {setting}"));
    }
    let mut node = try_open(&address, SEAT, keys.path()).unwrap();
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
    // Not a word of who it is.
    assert!(!server.log().contains("not replicated: "));
}

// [SPEC 6.202]
#[test]
fn a_database_that_does_not_sync_is_refused() {
    let server = database::Server::start();
    server.execute("postgres", "ALTER SYSTEM SET fsync = off");
    server.execute("postgres", "SELECT pg_reload_conf()");
    let address = server.fresh();
    let keys = Scratch::in_memory("keys");
    let refused = try_open(&address, SEAT, keys.path()).err().unwrap();
    assert!(matches!(refused, Unusable::NoSync));
}
