//! Writing what a batch changes: all statements and the commit in one round trip.

use emptyroom_relay::store::{EntryChange, LastingChange};
use futures_util::future::try_join_all;
use tokio_postgres::types::ToSql;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::{Error, Statement};

use super::link::{LOCKED, Session, forget_refusals};
use super::schema::{create_entries, entries_of};
use super::*;

/// Fails if one of the rows is there: it was not when the batch was decided.
// [SPEC 6.201]
const INSERT: &str = "INSERT INTO lasting (key, day, turn, sealed)
    SELECT k, d, $3::int4, s FROM unnest($1::bytea[], $2::int4[], $4::bytea[]) AS u(k, d, s)";
const PUT: &str = "INSERT INTO lasting (key, day, turn, sealed)
    SELECT k, d, $3::int4, s FROM unnest($1::bytea[], $2::int4[], $4::bytea[]) AS u(k, d, s)
    ON CONFLICT (key) DO UPDATE SET day = excluded.day, turn = excluded.turn,
        sealed = excluded.sealed, shard = NULL";
const MOVE: &str = "UPDATE lasting SET day = u.d
    FROM unnest($1::bytea[], $2::int4[]) AS u(k, d) WHERE lasting.key = u.k";
const REMOVE: &str = "DELETE FROM lasting WHERE key = ANY($1)";

const UNENCODED: StoreFailure = StoreFailure::Away("rows that cannot be sent");
/// No clock is so far ahead.
const NO_KEY: StoreFailure = StoreFailure::Away("a day or turn without its key");

/// Lasting rows to be written.
#[derive(Default)]
pub(super) struct Puts {
    keys: Vec<[u8; 32]>,
    days: Vec<i32>,
    rows: Vec<Vec<u8>>,
}

impl Puts {
    pub(super) fn push(&mut self, key: RowKey, day: i32, sealed: Vec<u8>) {
        self.keys.push(key.0);
        self.days.push(day);
        self.rows.push(sealed);
    }
}

/// Changes, ready for the database.
pub(super) struct Sealed {
    turn: Turn,
    new: Puts,
    puts: Puts,
    moves: Puts,
    removes: Vec<[u8; 32]>,
    entries: BTreeMap<Day, Entries>,
}

/// Changes of the entries of a day.
#[derive(Default)]
struct Entries {
    /// It has no table yet.
    create: bool,
    keys: Vec<[u8; 32]>,
    rows: Vec<Vec<u8>>,
    removes: Vec<[u8; 32]>,
}

/// A statement with what it is about.
struct Step<'a> {
    statement: Statement,
    values: Vec<&'a (dyn ToSql + Sync)>,
}

impl PostgresRows {
    /// Seals all rows once more.
    pub(super) fn seal(&mut self, changes: Changes) -> Result<Sealed, StoreFailure> {
        let turn = Turn::of(self.today());
        let over_before = self.over_before();
        let mut keys = self.keys.lock();
        let turn = keys.take_turn(turn).ok_or(NO_KEY)?;
        let mut sealed = Sealed {
            turn,
            new: Puts::default(),
            puts: Puts::default(),
            moves: Puts::default(),
            removes: Vec::new(),
            entries: BTreeMap::new(),
        };
        for EntryChange { day, key, row } in changes.entries {
            let day = keys.kept_with(day);
            let is_there = self.days.contains(&day);
            match row {
                Some(row) => {
                    let of_day = sealed.entries.entry(day).or_default();
                    of_day.create = !is_there;
                    of_day.keys.push(key.0);
                    let row = keys.seal_entry(day, &key, &row).ok_or(NO_KEY)?;
                    of_day.rows.push(row);
                }
                // Without a table there is nothing to remove.
                None if is_there => sealed.entries.entry(day).or_default().removes.push(key.0),
                None => {}
            }
        }
        for change in changes.lasting {
            match change {
                LastingChange::Put { key, day, row } => {
                    let known = self.batch.lasting.get(&key);
                    // Nobody decides to write it; and if, it must not be.
                    // [SPEC 6.210]
                    if known.is_some_and(|known| known.is_elsewhere(over_before)) {
                        return Err(StoreFailure::Conflict);
                    }
                    let is_new = known.is_some_and(|known| !known.is_there);
                    let row = keys.seal_lasting(turn, &key, &row).ok_or(NO_KEY)?;
                    let to = if is_new {
                        &mut sealed.new
                    } else {
                        &mut sealed.puts
                    };
                    to.push(key, number(keys.kept_with(day).0), row);
                }
                LastingChange::Move { key, day } => {
                    let day = keys.kept_with(day);
                    sealed.moves.push(key, number(day.0), Vec::new());
                }
                LastingChange::Remove { key } => sealed.removes.push(key.0),
            }
        }
        Ok(sealed)
    }

    /// Sends everything, and the commit behind it.
    pub(super) fn send(&mut self, sealed: Sealed) -> Result<(), StoreFailure> {
        if !self.batch.reserve.is_empty() {
            let written = sealed.new.keys.iter().chain(&sealed.puts.keys);
            let written: Vec<RowKey> = written.copied().map(RowKey).collect();
            // Decided anew, only what makes logs there is refused.
            // [SPEC 6.211]
            self.reserve(&written).map_err(|failure| match failure {
                StoreFailure::Away(_) | StoreFailure::Full => StoreFailure::Conflict,
                failure => failure,
            })?;
        }
        let begin = (!self.batch.begun).then_some("BEGIN ISOLATION LEVEL READ COMMITTED");
        self.batch.begun = true;
        let made = self.link.run(Phase::Before, async |session| {
            let made = sealed.make_tables(session, begin).await;
            made.map_err(|error| failure(&error, Phase::Before))
        });
        // Another node may have made the table, and be writing to it.
        made.map_err(|failure| match failure {
            LOCKED => StoreFailure::Conflict,
            failure => failure,
        })?;
        self.link
            .run(Phase::Commit, async |session| sealed.write(session).await)?;
        forget_refusals();
        let made = sealed.entries.iter().filter(|(_, entries)| entries.create);
        self.days.extend(made.map(|(day, _)| *day));
        Ok(())
    }
}

impl Sealed {
    /// Once for each day; else there is nothing to do.
    async fn make_tables(
        &self,
        session: &mut Session,
        begin: Option<&'static str>,
    ) -> Result<(), Error> {
        if let Some(begin) = begin {
            session.client.batch_execute(begin).await?;
        }
        for (day, entries) in &self.entries {
            if entries.create {
                session.client.batch_execute(&create_entries(*day)).await?;
            }
        }
        Ok(())
    }

    async fn write(&self, session: &mut Session) -> Result<(), StoreFailure> {
        let before = |error: Error| failure(&error, Phase::Before);
        let turn = number(self.turn.0);
        let arrays = Arrays::of(self);
        let steps = arrays.steps(&turn, session).await.map_err(before)?;
        // The commit is sent right behind: a statement that cannot even be encoded must be seen before.
        encode_all(&steps)?;
        session.take_warning();
        let client = &session.client;
        let written = async {
            let steps = steps.iter().map(async |step| {
                let done = client.execute(&step.statement, &step.values).await;
                done.map_err(|error| step_failure(&error))
            });
            try_join_all(steps).await
        };
        let committed = async {
            let done = client.batch_execute("COMMIT").await;
            done.map_err(|error| failure(&error, Phase::Commit))
        };
        // Whatever fails of the first makes the second a rollback.
        let (written, committed) = tokio::join!(biased; written, committed);
        written?;
        committed?;
        // [SPEC 6.202]
        if session.take_warning() {
            return Err(StoreFailure::Lost("the database warned at a commit"));
        }
        Ok(())
    }
}

/// Whether all that is to be sent can be.
fn encode_all(steps: &[Step<'_>]) -> Result<(), StoreFailure> {
    let mut encoded = BytesMut::new();
    for Step { statement, values } in steps {
        if statement.params().len() != values.len() {
            return Err(UNENCODED);
        }
        for (value, kind) in values.iter().zip(statement.params()) {
            encoded.clear();
            let outcome = value.to_sql_checked(kind, &mut encoded);
            outcome.map_err(|_| UNENCODED)?;
        }
    }
    Ok(())
}

/// An error of the server says that the transaction is undone. Without one the commit may have come through.
fn step_failure(error: &Error) -> StoreFailure {
    let phase = match error.as_db_error() {
        Some(_) => Phase::Before,
        None => Phase::Commit,
    };
    failure(error, phase)
}

/// The same as slices, as statements take them.
struct Arrays<'a> {
    new: PutArrays<'a>,
    puts: PutArrays<'a>,
    moves: PutArrays<'a>,
    removes: Vec<&'a [u8]>,
    entries: Vec<EntryArrays<'a>>,
}

struct PutArrays<'a> {
    keys: Vec<&'a [u8]>,
    days: &'a [i32],
    rows: &'a [Vec<u8>],
}

struct EntryArrays<'a> {
    day: Day,
    keys: Vec<&'a [u8]>,
    rows: &'a [Vec<u8>],
    removes: Vec<&'a [u8]>,
}

fn slices(keys: &[[u8; 32]]) -> Vec<&[u8]> {
    keys.iter().map(<[u8; 32]>::as_slice).collect()
}

impl<'a> PutArrays<'a> {
    fn of(puts: &'a Puts) -> Self {
        Self {
            keys: slices(&puts.keys),
            days: &puts.days,
            rows: &puts.rows,
        }
    }
}

impl<'a> Arrays<'a> {
    fn of(sealed: &'a Sealed) -> Self {
        let entries = sealed.entries.iter();
        Self {
            new: PutArrays::of(&sealed.new),
            puts: PutArrays::of(&sealed.puts),
            moves: PutArrays::of(&sealed.moves),
            removes: slices(&sealed.removes),
            entries: entries
                .map(|(day, entries)| EntryArrays {
                    day: *day,
                    keys: slices(&entries.keys),
                    rows: &entries.rows,
                    removes: slices(&entries.removes),
                })
                .collect(),
        }
    }

    /// The statements that have something to do.
    async fn steps<'s>(
        &'s self,
        turn: &'s i32,
        session: &mut Session,
    ) -> Result<Vec<Step<'s>>, Error> {
        let mut steps: Vec<Step<'s>> = Vec::new();
        for (sql, puts) in [(INSERT, &self.new), (PUT, &self.puts)] {
            if !puts.keys.is_empty() {
                steps.push(Step {
                    statement: session.statement(sql).await?,
                    values: vec![&puts.keys, &puts.days, turn, &puts.rows],
                });
            }
        }
        if !self.moves.keys.is_empty() {
            steps.push(Step {
                statement: session.statement(MOVE).await?,
                values: vec![&self.moves.keys, &self.moves.days],
            });
        }
        if !self.removes.is_empty() {
            steps.push(Step {
                statement: session.statement(REMOVE).await?,
                values: vec![&self.removes],
            });
        }
        for of_day in &self.entries {
            let name = entries_of(of_day.day);
            if !of_day.keys.is_empty() {
                let put = format!(
                    "INSERT INTO {name} (key, sealed) SELECT * FROM unnest($1::bytea[], $2::bytea[])
                     ON CONFLICT (key) DO UPDATE SET sealed = excluded.sealed"
                );
                steps.push(Step {
                    statement: session.statement(&put).await?,
                    values: vec![&of_day.keys, &of_day.rows],
                });
            }
            if !of_day.removes.is_empty() {
                let remove = format!("DELETE FROM {name} WHERE key = ANY($1)");
                steps.push(Step {
                    statement: session.statement(&remove).await?,
                    values: vec![&of_day.removes],
                });
            }
        }
        Ok(steps)
    }
}
