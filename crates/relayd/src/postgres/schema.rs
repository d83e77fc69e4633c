//! The tables, and whose they are.
//!
//! ```text
//! emptyroom      one row: version, whose database it is, which one of how many, what shows the right day keys
//! lasting        headers, nonces, tombstones, shares, entries that live as long as their log; with last day and turn. Where `shard`
//!                is set, a pointer instead of a row
//! entries_20785  entries that expire with that day
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::time::Instant;

use emptyroom_relay::store::StoreFailure;
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::time::{Day, HOUR_MS, Wall};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Transaction};

use super::homes::SharedKeys;
use super::link::{Phase, Session, failure};
use super::ratchet::DayKeys;
use crate::clock;
use crate::data::DataError;

pub(super) use movement::{COMING, GONE, Movement, STAYS, movement};

mod movement;

/// The version of the tables. A later one may add tables and columns, and nothing else.
// [SPEC 6.203]
pub(super) const VERSION: i32 = 1;
/// Clocks further apart would confuse days and turns.
// [SPEC 6.204]
const CLOCKS_APART_MAX_MS: u64 = HOUR_MS;
/// The day whose keys are compared lies so far ahead.
const CHECK_AHEAD_DAYS: u32 = 40;
/// And is moved on before it comes nearer than this.
const CHECK_NEAR_DAYS: u32 = 20;

const FIRST_TABLE: &str = "CREATE TABLE IF NOT EXISTS emptyroom (
    id int4 PRIMARY KEY,
    version int4 NOT NULL,
    identity bytea NOT NULL,
    shard int4 NOT NULL,
    shards int4 NOT NULL,
    keys_day int4 NOT NULL,
    keys_check bytea NOT NULL)";
/// What came later, by table and name.
const MORE_COLUMNS: &[(&str, &str, &str)] = &[
    ("emptyroom", "moving", "int4 NOT NULL DEFAULT 0"),
    ("emptyroom", "import", "bytea"),
    ("lasting", "shard", "int4"),
];
const COLUMNS: &str = "SELECT table_name || '.' || column_name FROM information_schema.columns
    WHERE table_schema = current_schema() AND table_name IN ('emptyroom', 'lasting')";
/// Changes nothing, and is committed.
pub(super) const TOUCH: &str = "UPDATE emptyroom SET version = version WHERE id = 1";
/// Pages have room for a row's next version: most rows are written again and again.
const TABLES: &str = "
    CREATE TABLE lasting (
        key bytea PRIMARY KEY,
        day int4 NOT NULL,
        turn int4 NOT NULL,
        sealed bytea NOT NULL,
        shard int4) WITH (fillfactor = 70);
    ALTER TABLE lasting ALTER COLUMN sealed SET STORAGE EXTERNAL;
    CREATE INDEX lasting_day ON lasting (day);
    CREATE INDEX lasting_turn ON lasting (turn);";

/// The name of the table of a day.
pub(super) fn entries_of(day: Day) -> String {
    format!("entries_{}", day.0)
}

/// Makes the table of a day.
pub(super) fn create_entries(day: Day) -> String {
    let name = entries_of(day);
    format!(
        "CREATE TABLE IF NOT EXISTS {name} (key bytea PRIMARY KEY, sealed bytea NOT NULL);
         ALTER TABLE {name} ALTER COLUMN sealed SET STORAGE EXTERNAL"
    )
}

/// Which relay a database belongs to, and which part of its rows it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seat {
    /// The relay's identity.
    pub identity: IdentityHash,
    /// The database's place in the list, from 0.
    pub shard: u16,
    /// How long the list is.
    pub shards: u16,
    /// It is to be served; else rows are brought in or out.
    pub serves: bool,
}

/// Why a database cannot be used.
#[derive(Debug)]
pub enum Unusable {
    /// It belongs to another relay.
    OtherIdentity,
    /// It has another place in another list of databases.
    OtherPlace {
        /// Its place there, from 0.
        shard: i32,
        /// How long that list is.
        shards: i32,
    },
    /// A later program has its tables.
    Newer {
        /// Their version.
        found: i32,
    },
    /// Rows were being brought into it, and not all of them are there.
    HalfImported,
    /// Its rows were exported.
    Exported,
    /// It is empty, and the relay is not new.
    Empty,
    /// It has rows, and the data directory no day keys.
    NoKeys,
    /// Its rows are sealed under other day keys than those in the data directory.
    OtherKeys,
    /// It runs without syncing.
    NoSync,
    /// Its clock and this machine's are so many seconds apart.
    Clock(u64),
    /// The file of day keys.
    Keys(DataError),
    /// It failed.
    Failed(StoreFailure),
}

impl From<StoreFailure> for Unusable {
    fn from(failure: StoreFailure) -> Self {
        Self::Failed(failure)
    }
}

impl From<DataError> for Unusable {
    fn from(error: DataError) -> Self {
        Self::Keys(error)
    }
}

impl From<Error> for Unusable {
    fn from(error: Error) -> Self {
        Self::Failed(failure(&error, Phase::Before))
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherIdentity => f.write_str("it belongs to a relay of another identity"),
            Self::OtherPlace { shard, shards } => write!(
                f,
                "it is number {} of a list of {shards} databases",
                i64::from(*shard) + 1
            ),
            Self::Newer { found } => write!(
                f,
                "its tables are of version {found}; this program knows up to {VERSION}"
            ),
            Self::HalfImported => f.write_str("an import into it is not whole"),
            Self::Exported => f.write_str("its rows were exported, and may be served elsewhere"),
            Self::Empty => f.write_str("it is empty, and this relay is not new"),
            Self::NoKeys => f.write_str("it is in use, and this data directory has no day keys"),
            Self::OtherKeys => {
                f.write_str("its rows are sealed under other day keys than this data directory's")
            }
            Self::NoSync => f.write_str("it runs with fsync = off and can lose what it took"),
            Self::Clock(seconds) => write!(
                f,
                "its clock and this machine's are {seconds} seconds apart"
            ),
            Self::Keys(error) => error.fmt(f),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for Unusable {}

impl Unusable {
    /// What it is once the relay runs.
    pub(super) fn failure(&self) -> StoreFailure {
        StoreFailure::Away(match self {
            Self::OtherIdentity => "the database belongs to another relay",
            Self::OtherPlace { .. } => "the database has another place in another list",
            Self::Newer { .. } => "the database has tables of a later program",
            Self::HalfImported => "an import into the database is not whole",
            Self::Exported => "the rows of the database were exported",
            Self::Empty => "the database is empty",
            Self::NoKeys | Self::OtherKeys => "the database has other day keys",
            Self::NoSync => "the database runs with fsync = off",
            Self::Clock(_) => "the clocks of the database and this machine are too far apart",
            Self::Keys(_) => "the file of day keys",
            Self::Failed(failure) => return *failure,
        })
    }
}

/// Looks whether a database is this relay's and as it must be: with every connection.
pub(super) async fn check(
    session: &mut Session,
    seat: &Seat,
    keys: &SharedKeys,
) -> Result<ServerClock, Unusable> {
    let clock = check_server(session).await?;
    if seat.serves {
        movement::check(session).await?;
    }
    if !check_seat(session, seat).await? {
        let gone = StoreFailure::Away("the tables of the relay are not in the database");
        return Err(Unusable::Failed(gone));
    }
    let row = session.client.query_one(
        "SELECT keys_day, keys_check FROM emptyroom WHERE id = 1",
        &[],
    );
    let row = row.await?;
    check_keys(&keys.lock(), row.try_get(0)?, row.try_get(1)?)?;
    Ok(clock)
}

/// The same, for one that may still be empty: whether it has its tables.
pub(super) async fn look_at(session: &mut Session, seat: &Seat) -> Result<bool, Unusable> {
    check_server(session).await?;
    let has_tables = check_seat(session, seat).await?;
    if seat.serves {
        movement::check(session).await?;
    }
    Ok(has_tables)
}

/// Whether it has rows.
pub(super) async fn has_rows(session: &mut Session) -> Result<bool, Unusable> {
    let sql = "SELECT EXISTS (SELECT 1 FROM lasting)";
    Ok(session.client.query_one(sql, &[]).await?.try_get(0)?)
}

/// Whether it has its tables; they are this relay's.
async fn check_seat(session: &mut Session, seat: &Seat) -> Result<bool, Unusable> {
    let row = session.client.query_opt(
        "SELECT version, identity, shard, shards FROM emptyroom WHERE id = 1",
        &[],
    );
    let row = match row.await {
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(false),
        row => row?,
    };
    // Another node may be about to make them.
    let Some(row) = row else {
        return Ok(false);
    };
    check_row(&row, seat)?;
    Ok(true)
}

fn check_row(row: &tokio_postgres::Row, seat: &Seat) -> Result<(), Unusable> {
    // [SPEC 6.203]
    let found: i32 = row.try_get(0)?;
    if found > VERSION {
        return Err(Unusable::Newer { found });
    }
    let identity: &[u8] = row.try_get(1)?;
    if identity != seat.identity.0 {
        return Err(Unusable::OtherIdentity);
    }
    let (shard, shards): (i32, i32) = (row.try_get(2)?, row.try_get(3)?);
    if (shard, shards) != (i32::from(seat.shard), i32::from(seat.shards)) {
        return Err(Unusable::OtherPlace { shard, shards });
    }
    Ok(())
}

/// What the server's clock said, and when.
#[derive(Clone, Copy)]
pub(super) struct ServerClock {
    said: Wall,
    at: Instant,
}

impl ServerClock {
    fn now(self) -> Wall {
        let since = u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.said.plus_ms(since)
    }

    /// By how many seconds this machine's clock is too far from it: one of them was set, or this machine slept.
    // [SPEC 6.204]
    pub(super) fn apart(self) -> Option<u64> {
        apart(clock::wall(), self.now())
    }

    /// Days before this one are over for every node that may use the database, whichever way its clock is off.
    // [SPEC 6.206]
    pub(super) fn over_for_all(self) -> Day {
        Wall(self.now().0.saturating_sub(CLOCKS_APART_MAX_MS)).day()
    }
}

async fn check_server(session: &mut Session) -> Result<ServerClock, Unusable> {
    // [SPEC 6.202]
    let sync = session.client.query_one("SHOW fsync", &[]).await?;
    if sync.try_get::<_, &str>(0)? == "off" {
        return Err(Unusable::NoSync);
    }
    read_clock(session).await
}

/// Asks the server for the time.
// [SPEC 6.204]
pub(super) async fn read_clock(session: &mut Session) -> Result<ServerClock, Unusable> {
    let at = Instant::now();
    let now = session.client.query_one(
        "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS int8)",
        &[],
    );
    let there: i64 = now.await?.try_get(0)?;
    let said = Wall(u64::try_from(there).unwrap_or(0));
    let clock = ServerClock { said, at };
    match clock.apart() {
        Some(seconds) => Err(Unusable::Clock(seconds)),
        None => Ok(clock),
    }
}

/// By how many seconds clocks are apart, if that is too much.
// [SPEC 6.204]
fn apart(one: Wall, other: Wall) -> Option<u64> {
    let apart = one.0.abs_diff(other.0);
    (apart > CLOCKS_APART_MAX_MS).then_some(apart / 1000)
}

/// Makes the tables of an empty database, or looks whether it is the right one; and the keys that go with it.
// [SPEC 6.203]
pub(super) async fn bring_up(
    session: &mut Session,
    seat: &Seat,
    keys: Option<DayKeys>,
    make_keys: impl FnOnce() -> Result<DayKeys, DataError>,
) -> Result<DayKeys, Unusable> {
    check_server(session).await?;
    match session.client.batch_execute(FIRST_TABLE).await {
        // Two nodes at once: the other was faster.
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {}
        outcome => outcome?,
    }
    let transaction = session.client.transaction().await?;
    transaction
        .batch_execute("LOCK TABLE emptyroom IN EXCLUSIVE MODE")
        .await?;
    let row = transaction.query_opt(
        "SELECT version, identity, shard, shards, keys_day, keys_check FROM emptyroom WHERE id = 1",
        &[],
    );
    let keys = match row.await? {
        None => {
            let keys = match keys {
                Some(keys) => keys,
                None => make_keys()?,
            };
            transaction.batch_execute(TABLES).await?;
            let day = Day(keys.day().0.saturating_add(CHECK_AHEAD_DAYS));
            write_row(&transaction, seat, (day, &keys)).await?;
            keys
        }
        Some(row) => {
            check_row(&row, seat)?;
            let keys = keys.ok_or(Unusable::NoKeys)?;
            check_keys(&keys, row.try_get(4)?, row.try_get(5)?)?;
            keys
        }
    };
    add_columns(&transaction).await?;
    transaction.commit().await?;
    Ok(keys)
}

/// What tables of a program before do not have. Nothing is locked for what is there.
// [SPEC 6.203]
async fn add_columns(transaction: &Transaction<'_>) -> Result<(), Error> {
    let rows = transaction.query(COLUMNS, &[]).await?;
    let there: Result<BTreeSet<String>, Error> = rows.iter().map(|row| row.try_get(0)).collect();
    let there = there?;
    for (table, column, kind) in MORE_COLUMNS {
        if !there.contains(&format!("{table}.{column}")) {
            let sql = format!("ALTER TABLE {table} ADD COLUMN {column} {kind}");
            transaction.batch_execute(&sql).await?;
        }
    }
    Ok(())
}

async fn write_row(
    transaction: &Transaction<'_>,
    seat: &Seat,
    (day, keys): (Day, &DayKeys),
) -> Result<(), Unusable> {
    let check = keys.check_at(day).ok_or(Unusable::OtherKeys)?;
    let (shard, shards) = (i32::from(seat.shard), i32::from(seat.shards));
    let identity = seat.identity.0;
    let values: [&(dyn ToSql + Sync); 6] = [
        &VERSION,
        &identity.as_slice(),
        &shard,
        &shards,
        &number(day.0),
        &check.as_slice(),
    ];
    transaction
        .execute(
            "INSERT INTO emptyroom (id, version, identity, shard, shards, keys_day, keys_check)
             VALUES (1, $1, $2, $3, $4, $5, $6)",
            &values,
        )
        .await?;
    Ok(())
}

/// Whether these keys are those that a database's rows are sealed under. Where the day is over by them, that was
/// long ago, and the rows themselves tell.
// [SPEC 6.203]
fn check_keys(keys: &DayKeys, day: i32, check: &[u8]) -> Result<(), Unusable> {
    let day = Day(u32::try_from(day).unwrap_or(0));
    match keys.check_at(day) {
        Some(own) if own != *check => Err(Unusable::OtherKeys),
        _ => Ok(()),
    }
}

/// Moves on the day whose keys are compared.
pub(super) async fn move_check(
    session: &mut Session,
    keys_at: impl Fn(Day) -> Option<[u8; 32]>,
    today: Day,
) -> Result<(), Error> {
    let day = Day(today.0.saturating_add(CHECK_AHEAD_DAYS));
    let Some(check) = keys_at(day) else {
        return Ok(());
    };
    let near = number(today.0.saturating_add(CHECK_NEAR_DAYS));
    session
        .client
        .execute(
            "UPDATE emptyroom SET keys_day = $1, keys_check = $2 WHERE id = 1 AND keys_day < $3",
            &[&number(day.0), &check.as_slice(), &near],
        )
        .await?;
    Ok(())
}

/// The days that have a table.
pub(super) async fn days(session: &mut Session) -> Result<BTreeSet<Day>, Error> {
    let rows = session.client.query(
        "SELECT table_name::text FROM information_schema.tables WHERE table_schema = current_schema()",
        &[],
    );
    let mut days = BTreeSet::new();
    for row in rows.await? {
        let name: &str = row.try_get(0)?;
        let day = name
            .strip_prefix("entries_")
            .and_then(|day| day.parse().ok());
        days.extend(day.map(Day));
    }
    Ok(days)
}

/// A day or turn as the database has it.
pub(super) fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 6.204]
    #[test]
    fn clocks_may_be_minutes_apart_and_not_hours() {
        let now = Wall(1_800_000_000_000);
        assert_eq!(apart(now, Wall(now.0 - 15 * 60_000)), None);
        assert_eq!(apart(now, Wall(now.0 + 15 * 60_000)), None);
        assert_eq!(apart(now, now.plus_ms(2 * HOUR_MS)), Some(7_200));
        assert_eq!(apart(now.plus_ms(2 * HOUR_MS), now), Some(7_200));
    }
}
