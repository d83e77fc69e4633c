//! All rows of the databases, out and in.

use std::thread;
use std::time::{Duration, Instant};

use tokio_postgres::Error;

use super::cluster::{Cluster, Refused};
use super::link::Session;
use super::peers::LEASE_DAYS;
use super::schema::{Movement, entries_of};
use super::*;
use crate::medium::MediumError;
use crate::medium::moved::{Sink, changes};
use crate::moving::{MoveError, Record};
use crate::seal::Table;

/// Rows that are fetched at a time: some have megabytes.
const PAGE_ROWS: i64 = 32;
/// So often something is tried while a database is away, with a pause between.
const TRIES: usize = 40;
const PAUSE: Duration = Duration::from_millis(500);
/// Connections of a program that has just ended may be seen for so long.
const OTHERS_END: Duration = Duration::from_secs(3);

const OTHERS: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'emptyroom-relay' AND pid <> pg_backend_pid()";
const LASTING: &str = "SELECT key, turn, sealed, day, shard FROM lasting
    WHERE key > $1 AND shard IS NULL AND day >= $3 ORDER BY key LIMIT $2";
const POINT: &str = "INSERT INTO lasting (key, day, turn, sealed, shard)
    SELECT k, d, 2147483647, '', $3::int4 FROM unnest($1::bytea[], $2::int4[]) AS u(k, d)
    ON CONFLICT (key) DO UPDATE SET day = excluded.day WHERE lasting.shard = excluded.shard";
const SET: &str = "UPDATE emptyroom SET moving = $1, import = $2 WHERE id = 1";

/// How far the rows of a file have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Coming {
    /// None have.
    New,
    /// Some may have; all, into databases that say so.
    Half,
    /// All have, and nodes may have served them since.
    Served,
}

fn going(was: &[Movement], to: i32) -> Vec<Movement> {
    let going = |movement: &Movement| Movement {
        to,
        import: movement.import.clone(),
    };
    was.iter().map(going).collect()
}

/// Some rows of a table.
struct Page {
    records: Vec<Record>,
    /// The last one that was looked at; none behind the end.
    last: Option<[u8; 32]>,
    /// How many did not open.
    lost: u64,
}

impl PostgresRows {
    fn number_of(&mut self, sql: &'static str) -> Result<i64, StoreFailure> {
        self.connect()?;
        self.link.run(Phase::Before, async |session| {
            let row = session.client.query_one(sql, &[]).await;
            let row = row.map_err(|error| failure(&error, Phase::Before))?;
            row.try_get(0).map_err(|_| fetch::STRANGE)
        })
    }

    /// Where its rows are going.
    fn movement(&mut self) -> Result<Movement, StoreFailure> {
        self.connect()?;
        self.link.run(Phase::Before, async |session| {
            let movement = schema::movement(session).await;
            movement.map_err(|error| failure(&error, Phase::Before))
        })
    }

    fn set_movement(&mut self, set: &Movement) -> Result<(), StoreFailure> {
        self.connect()?;
        self.link.run(Phase::Before, async |session| {
            let Movement { to, import } = set;
            session.take_warning();
            let set = session.client.execute(SET, &[to, import]).await;
            unwarned(session, set)
        })
    }

    /// The days that have entries and are not over.
    fn days_from(&mut self, today: Day) -> Result<Vec<Day>, StoreFailure> {
        self.days_are_stale = true;
        self.connect()?;
        Ok(self.days.range(today..).copied().collect())
    }

    /// Some lasting rows, behind this key.
    fn lasting_after(&mut self, after: [u8; 32], today: Day) -> Result<Page, StoreFailure> {
        let today = number(today.0);
        let rows = self.page(LASTING, after, Some(today))?;
        let shard = self.seat.shard;
        let mut keys = self.keys.lock();
        let mut page = Page::of(&rows)?;
        for row in &rows {
            let day: i32 = row.try_get(3).map_err(|_| fetch::STRANGE)?;
            let (key, turn, sealed) = fetch::lasting_of(row).ok_or(fetch::STRANGE)?;
            // What does not open is lost here, too, and keeps nothing else from going.
            let row = keys.open_lasting(turn, &key, sealed).ok().flatten();
            page.take(row, |row| Record {
                table: Table::Lasting,
                shard,
                day: Day(u32::try_from(day).unwrap_or(0)),
                key,
                row,
            });
        }
        Ok(page)
    }

    /// Some entries of a day, behind this key.
    fn entries_after(&mut self, day: Day, after: [u8; 32]) -> Result<Page, StoreFailure> {
        let name = entries_of(day);
        let sql = format!("SELECT key, sealed FROM {name} WHERE key > $1 ORDER BY key LIMIT $2");
        let rows = self.page(&sql, after, None)?;
        let shard = self.seat.shard;
        let mut keys = self.keys.lock();
        let mut page = Page::of(&rows)?;
        for row in &rows {
            let (key, sealed) = fetch::entry_of(row).ok_or(fetch::STRANGE)?;
            let row = keys.open_entry(day, &key, sealed).ok().flatten();
            page.take(row, |row| Record {
                table: Table::Entries,
                shard,
                day,
                key,
                row,
            });
        }
        Ok(page)
    }

    fn page(
        &mut self,
        sql: &str,
        after: [u8; 32],
        today: Option<i32>,
    ) -> Result<Vec<tokio_postgres::Row>, StoreFailure> {
        self.connect()?;
        self.link.run(Phase::Before, async |session: &mut Session| {
            let before = |error| failure(&error, Phase::Before);
            let statement = session.statement(sql).await.map_err(before)?;
            let after = after.as_slice();
            let client = &session.client;
            let rows = match today {
                Some(today) => {
                    client
                        .query(&statement, &[&after, &PAGE_ROWS, &today])
                        .await
                }
                None => client.query(&statement, &[&after, &PAGE_ROWS]).await,
            };
            rows.map_err(before)
        })
    }

    fn take_in(&mut self, records: Vec<Record>) -> Result<(), StoreFailure> {
        self.begin(Access::Write, clock::wall())?;
        self.commit(changes(records))
    }

    /// Says in this home that logs are elsewhere.
    fn point(&mut self, keys: &[[u8; 32]], days: &[i32], shard: u16) -> Result<(), StoreFailure> {
        self.connect()?;
        let shard = i32::from(shard);
        self.link.run(Phase::Before, async |session: &mut Session| {
            let before = |error| failure(&error, Phase::Before);
            let statement = session.statement(POINT).await.map_err(before)?;
            session.take_warning();
            let keys: Vec<&[u8]> = keys.iter().map(<[u8; 32]>::as_slice).collect();
            let client = &session.client;
            let done = client.execute(&statement, &[&keys, &days, &shard]).await;
            unwarned(session, done)
        })
    }
}

/// What came of a statement that is a transaction: where the server warned, a replica may lack it, and it is done once more.
// [SPEC 6.202]
fn unwarned(session: &Session, outcome: Result<u64, Error>) -> Result<(), StoreFailure> {
    outcome.map_err(|error| failure(&error, Phase::Before))?;
    if session.take_warning() {
        return Err(peers::WARNED);
    }
    Ok(())
}

impl Page {
    fn of(rows: &[tokio_postgres::Row]) -> Result<Self, StoreFailure> {
        let last = rows.last().map(fetch::key_of).transpose()?;
        Ok(Self {
            records: Vec::with_capacity(rows.len()),
            last: last.map(|key| key.0),
            lost: 0,
        })
    }

    fn take(&mut self, row: Option<Vec<u8>>, record: impl FnOnce(Vec<u8>) -> Record) {
        match row {
            Some(row) => self.records.push(record(row)),
            None => self.lost += 1,
        }
    }
}

// [SPEC 6.213] [SPEC 6.215]
impl Cluster {
    /// From now on no node uses these databases.
    pub(crate) fn leave(&mut self) -> Result<(), MoveError> {
        let was = self.movements()?;
        if was.iter().any(|movement| movement.to == schema::COMING) {
            return Err(MoveError::HalfImported);
        }
        self.take_over(&was, &[going(&was, schema::GONE)])
    }

    /// Nodes may use them again: their rows were not brought away. What comes is another thing.
    pub(crate) fn stay(&mut self) -> Result<(), MoveError> {
        let was = self.movements()?;
        if was.iter().any(|movement| movement.to == schema::COMING) {
            return Err(MoveError::HalfImported);
        }
        self.set_movements(&going(&was, schema::STAYS))
    }

    /// How far the file with this hash has come. Where the directory says that it comes, a database that says only that something does means it.
    pub(crate) fn coming(&mut self, hash: &[u8], is_marked: bool) -> Result<Coming, MoveError> {
        let all = self.movements()?;
        let is_this = |movement: &&Movement| match &movement.import {
            Some(import) => import.as_slice() == hash,
            None => is_marked && movement.to == schema::COMING,
        };
        let mut coming = all.iter().filter(|movement| movement.to == schema::COMING);
        if coming.clone().any(|movement| !is_this(&movement)) {
            return Err(MoveError::OtherImport);
        }
        let came = |movement: &Movement| movement.to == schema::STAYS && is_this(&movement);
        Ok(match (coming.next(), all.iter().all(came)) {
            (Some(_), _) => Coming::Half,
            (None, true) => Coming::Served,
            (None, false) => Coming::New,
        })
    }

    /// Whether all rows of the file with this hash are there.
    pub(crate) fn has_all_of(&mut self, hash: &[u8]) -> Result<bool, MediumError> {
        match self.coming(hash, true) {
            Ok(coming) => Ok(coming == Coming::Served),
            Err(MoveError::Store(failure)) => Err(MediumError::Database(Refused {
                address: "of the list".to_owned(),
                why: failure.into(),
            })),
            Err(_) => Ok(false),
        }
    }

    /// No node uses them until all rows of this file are there. Gives those into which rows come: not those that said before that all of theirs
    /// are there, which happens one after the other.
    pub(crate) fn welcome(
        &mut self,
        hash: &[u8; 32],
        coming: Coming,
    ) -> Result<Vec<bool>, MoveError> {
        let was = self.movements()?;
        let import = Some(hash.to_vec());
        let is_whole = |movement: &Movement| {
            coming == Coming::Half && movement.to == schema::STAYS && movement.import == import
        };
        let come: Vec<bool> = was.iter().map(|movement| !is_whole(movement)).collect();
        let forgotten = |movement: &Movement| Movement {
            to: movement.to,
            import: movement.import.clone().filter(|_| is_whole(movement)),
        };
        let comes = |movement: &Movement| match is_whole(movement) {
            true => movement.clone(),
            false => Movement {
                to: schema::COMING,
                import: import.clone(),
            },
        };
        let mut steps = vec![was.iter().map(comes).collect()];
        if coming != Coming::Half {
            steps.insert(0, was.iter().map(forgotten).collect());
        }
        self.take_over(&was, &steps)?;
        Ok(come)
    }

    /// All rows are there.
    pub(crate) fn all_came(&mut self) -> Result<(), MoveError> {
        let was = self.movements()?;
        self.set_movements(&going(&was, schema::STAYS))
    }

    fn movements(&mut self) -> Result<Vec<Movement>, MoveError> {
        Ok(self.patiently(|rows| rows.movement())?)
    }

    fn set_movements(&mut self, to: &[Movement]) -> Result<(), MoveError> {
        for (shard, movement) in (0..).zip(to.iter().cloned()) {
            self.patiently_on(shard, move |rows| rows.set_movement(&movement))?;
        }
        Ok(())
    }

    /// Whoever connects from now on sees it, and whoever was connected before is seen. Where somebody is, all stays as it was.
    fn take_over(&mut self, was: &[Movement], steps: &[Vec<Movement>]) -> Result<(), MoveError> {
        self.expect_no_others()?;
        for step in steps {
            self.set_movements(step)?;
        }
        let alone = self.expect_no_others();
        if alone.is_err() {
            // Each of them, if one cannot be told.
            let told = (0..).zip(was.iter().cloned()).map(|(shard, movement)| {
                self.patiently_on(shard, move |rows| rows.set_movement(&movement))
            });
            if told.fold(Ok(()), Result::and).is_err() {
                return Err(MoveError::HalfTaken);
            }
        }
        alone
    }

    fn expect_no_others(&mut self) -> Result<(), MoveError> {
        let until = Instant::now() + OTHERS_END;
        loop {
            let others = self.patiently(|rows| rows.number_of(OTHERS))?;
            if others.iter().all(|others| *others == 0) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(MoveError::Busy);
            }
            thread::sleep(PAUSE);
        }
    }

    pub(crate) fn is_empty(&mut self) -> Result<bool, MoveError> {
        let first = "SELECT count(*) FROM (SELECT 1 FROM lasting LIMIT 1) AS first";
        let rows = self.patiently(move |rows| rows.number_of(first))?;
        Ok(rows.iter().all(|number| *number == 0))
    }

    /// The same in all databases.
    fn patiently<T: Send + 'static>(
        &mut self,
        work: impl Fn(&mut PostgresRows) -> Result<T, StoreFailure> + Clone + Send + 'static,
    ) -> Result<Vec<T>, StoreFailure> {
        let all = 0..self.shards();
        all.map(|shard| self.patiently_on(shard, work.clone()))
            .collect()
    }

    /// Once more if the database was away meanwhile: done twice, it is the same.
    fn patiently_on<T: Send + 'static>(
        &self,
        shard: u16,
        work: impl Fn(&mut PostgresRows) -> Result<T, StoreFailure> + Clone + Send + 'static,
    ) -> Result<T, StoreFailure> {
        let mut outcome = self.on(shard, work.clone());
        for _ in 1..TRIES {
            match outcome {
                Err(StoreFailure::Full) => break,
                Err(failure) if failure.passes() || failure == StoreFailure::Conflict => {}
                _ => break,
            }
            thread::sleep(PAUSE);
            self.try_again();
            outcome = self.on(shard, work.clone());
        }
        outcome
    }

    /// Gives all rows of all databases that are not over. How many do not open.
    pub(crate) fn each_row(&mut self, today: Day, sink: Sink<'_>) -> Result<u64, MoveError> {
        let mut lost = 0;
        for shard in 0..self.shards() {
            let mut after = Some([0; 32]);
            while let Some(key) = after {
                let page = self.patiently_on(shard, move |rows| rows.lasting_after(key, today))?;
                page.records.iter().try_for_each(&mut *sink)?;
                (after, lost) = (page.last, lost + page.lost);
            }
            for day in self.patiently_on(shard, move |rows| rows.days_from(today))? {
                let mut after = Some([0; 32]);
                while let Some(key) = after {
                    let page =
                        self.patiently_on(shard, move |rows| rows.entries_after(day, key))?;
                    page.records.iter().try_for_each(&mut *sink)?;
                    (after, lost) = (page.last, lost + page.lost);
                }
            }
        }
        Ok(lost)
    }

    /// Takes rows in. Those that lay in one database go to one; homes of logs that are not in them are told where they are. (Which lasting rows are
    /// those of logs and shares nobody can tell: all are told, and what is too much says nothing.)
    /// Into databases that have all of theirs nothing is written: nodes may have served them since.
    pub(crate) fn bring(&mut self, records: &[Record], come: &[bool]) -> Result<(), StoreFailure> {
        let shards = self.shards();
        let comes = |shard: u16| come.get(usize::from(shard)).copied().unwrap_or(true);
        let until = number(clock::wall().day().plus(LEASE_DAYS).0);
        let mut parts: BTreeMap<u16, Vec<Record>> = BTreeMap::new();
        for record in records {
            let shard = record.shard.checked_rem(shards).unwrap_or(0);
            parts.entry(shard).or_default().push(record.clone());
        }
        for (shard, records) in parts {
            let mut pointers: BTreeMap<u16, (Vec<[u8; 32]>, Vec<i32>)> = BTreeMap::new();
            for record in &records {
                let home = self.home(&record.key);
                if record.table == Table::Lasting && home != shard {
                    let (keys, days) = pointers.entry(home).or_default();
                    keys.push(record.key.0);
                    // [SPEC 6.210]
                    days.push(number(record.day.0).min(until));
                }
            }
            for (home, (keys, days)) in pointers.into_iter().filter(|(home, _)| comes(*home)) {
                self.patiently_on(home, move |rows| rows.point(&keys, &days, shard))?;
            }
            if comes(shard) {
                self.patiently_on(shard, move |rows| rows.take_in(records.clone()))?;
            }
        }
        Ok(())
    }
}
