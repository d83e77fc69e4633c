//! Fetching what a batch looks up: everything that is known to be wanted in one round trip.

use std::sync::Once;

use futures_util::future::try_join_all;
use tokio_postgres::{Error, Row};

use super::link::Session;
use super::schema::entries_of;
use super::*;
use crate::log::{Event, log};

const LOOK: &str = "SELECT key, turn, sealed, day, shard FROM lasting WHERE key = ANY($1)";
/// In one order on all nodes, so that none waits for another that waits for it.
// [SPEC 6.201]
const LOCK: &str =
    "SELECT key, turn, sealed, day, shard FROM lasting WHERE key = ANY($1) ORDER BY key FOR UPDATE";

/// Rows to be fetched.
#[derive(Default)]
struct Wanted {
    begin: Option<&'static str>,
    lock: Vec<[u8; 32]>,
    look: Vec<[u8; 32]>,
    entries: BTreeMap<Day, Vec<[u8; 32]>>,
}

/// What came.
struct Fetched {
    lasting: Vec<Row>,
    entries: Vec<(Day, Vec<Row>)>,
}

impl PostgresRows {
    pub(super) fn fetch(&mut self, expected: &Expected) -> Result<(), StoreFailure> {
        let first = self.keys.lock().day();
        let days: Vec<Day> = expected
            .entries
            .iter()
            .map(|(day, _)| first.max(*day))
            .collect();
        self.know(&days)?;
        let wanted = self.wanted(expected, first);
        if wanted.lock.is_empty() && wanted.look.is_empty() && wanted.entries.is_empty() {
            return Ok(());
        }
        let begins = wanted.begin.is_some();
        let fetched = self.link.run(Phase::Before, async |session| {
            let fetched = wanted.fetch(session).await;
            fetched.map_err(|error| failure(&error, Phase::Before))
        });
        self.batch.begun |= begins;
        self.take(&wanted, fetched?)
    }

    /// What of it is not known yet.
    fn wanted(&mut self, expected: &Expected, first: Day) -> Wanted {
        let known = &self.batch.lasting;
        let unknown = |keys: &[RowKey]| -> BTreeSet<[u8; 32]> {
            let unknown = keys.iter().filter(|key| !known.contains_key(key));
            unknown.map(|key| key.0).collect()
        };
        let access = self.batch.access.unwrap_or(Access::Look);
        let (mut lock, mut look) = (unknown(&expected.change), unknown(&expected.look));
        lock.append(&mut unknown(&expected.made));
        if access == Access::Write {
            look.retain(|key| !lock.contains(key));
        } else {
            look.append(&mut lock);
        }
        let mut entries: BTreeMap<Day, Vec<[u8; 32]>> = BTreeMap::new();
        for (day, key) in &expected.entries {
            let day = &first.max(*day);
            if self.batch.entries.contains_key(&(*day, *key)) {
                continue;
            }
            if self.days.contains(day) {
                entries.entry(*day).or_default().push(key.0);
            } else {
                self.batch.entries.insert((*day, *key), None);
            }
        }
        Wanted {
            begin: self.batch.begin(),
            lock: lock.into_iter().collect(),
            look: look.into_iter().collect(),
            entries,
        }
    }

    /// Where one of these days has no table as far as is known, asks in the batch's transaction: another node may have made it. The rows that lead
    /// to its entries were read or locked before.
    // [SPEC 6.201]
    pub(super) fn know(&mut self, days: &[Day]) -> Result<(), StoreFailure> {
        if days.iter().all(|day| self.days.contains(day)) {
            return Ok(());
        }
        let begin = self.batch.begin();
        let days = self.link.run(Phase::Before, async |session| {
            if let Some(begin) = begin {
                let begun = session.client.batch_execute(begin).await;
                begun.map_err(|error| failure(&error, Phase::Before))?;
            }
            let days = schema::days(session).await;
            days.map_err(|error| failure(&error, Phase::Before))
        });
        self.batch.begun |= begin.is_some();
        self.days = days?;
        Ok(())
    }

    fn take(&mut self, wanted: &Wanted, fetched: Fetched) -> Result<(), StoreFailure> {
        let asked = wanted.lock.iter().chain(&wanted.look);
        let absent = asked.map(|key| (RowKey(*key), Known::default()));
        self.batch.lasting.extend(absent);
        for (day, keys) in &wanted.entries {
            let keys = keys.iter().map(|key| ((*day, RowKey(*key)), None));
            self.batch.entries.extend(keys);
        }
        let mut keys = self.keys.lock();
        for row in &fetched.lasting {
            let (key, known) = known_of(row, &mut keys)?;
            self.batch.lasting.insert(key, known);
        }
        for (day, rows) in fetched.entries {
            for row in rows {
                let (key, sealed) = entry_of(&row).ok_or(STRANGE)?;
                let row = keys.open_entry(day, &key, sealed)?;
                self.batch.entries.insert((day, key), row);
            }
        }
        Ok(())
    }
}

/// A database that was restored from an old backup has such rows, or one whose nodes all stood still for days.
// [SPEC 6.205]
fn say_once_over() {
    static SAID: Once = Once::new();
    SAID.call_once(|| log(&Event::RowsOver));
}

pub(super) const STRANGE: StoreFailure = StoreFailure::Broken("a row of another shape");

impl Wanted {
    /// All statements are under way at once, in this order.
    async fn fetch(&self, session: &mut Session) -> Result<Fetched, Error> {
        let lock = session.statement(LOCK).await?;
        let look = session.statement(LOOK).await?;
        let mut statements = Vec::with_capacity(self.entries.len());
        for day in self.entries.keys() {
            let name = entries_of(*day);
            let sql = format!("SELECT key, sealed FROM {name} WHERE key = ANY($1)");
            statements.push((*day, session.statement(&sql).await?));
        }
        let client = &session.client;
        let begin = async {
            match self.begin {
                Some(begin) => client.batch_execute(begin).await,
                None => Ok(()),
            }
        };
        let query = async |statement, keys: &[[u8; 32]]| {
            if keys.is_empty() {
                return Ok(Vec::new());
            }
            let keys: Vec<&[u8]> = keys.iter().map(<[u8; 32]>::as_slice).collect();
            client.query(statement, &[&keys]).await
        };
        let entries = statements.iter().map(async |(day, statement)| {
            let keys = self.entries.get(day).map_or(&[][..], Vec::as_slice);
            Ok((*day, query(statement, keys).await?))
        });
        let ((), mut lasting, looked, entries) = tokio::try_join!(
            biased;
            begin,
            query(&lock, &self.lock),
            query(&look, &self.look),
            try_join_all(entries),
        )?;
        lasting.extend(looked);
        Ok(Fetched { lasting, entries })
    }
}

/// A lasting row, opened.
pub(super) fn known_of(row: &Row, keys: &mut DayKeys) -> Result<(RowKey, Known), StoreFailure> {
    if let Some(pointer) = pointer_of(row)? {
        let known = Known {
            is_there: true,
            pointer: Some(pointer),
            is_far: true,
            ..Known::default()
        };
        return Ok((key_of(row)?, known));
    }
    let (key, turn, sealed) = lasting_of(row).ok_or(STRANGE)?;
    let day: i32 = row.try_get(3).map_err(|_| STRANGE)?;
    // Its removal is still to come, and no clock that is set back makes it live again.
    let is_over = day < number(keys.day().0);
    let row = match is_over {
        true => None,
        false => keys.open_lasting(turn, &key, sealed)?,
    };
    if row.is_none() && !is_over {
        say_once_over();
    }
    let known = Known {
        row,
        is_there: true,
        ..Known::default()
    };
    Ok((key, known))
}

/// Where a pointer leads, and until when it stands; `None` for a row.
pub(super) fn pointer_of(row: &Row) -> Result<Option<(u16, i32)>, StoreFailure> {
    let shard: Option<i32> = row.try_get(4).map_err(|_| STRANGE)?;
    let day: i32 = row.try_get(3).map_err(|_| STRANGE)?;
    let shard = shard.map(u16::try_from).transpose();
    Ok(shard.map_err(|_| STRANGE)?.map(|shard| (shard, day)))
}

pub(super) fn key_of(row: &Row) -> Result<RowKey, StoreFailure> {
    let key: &[u8] = row.try_get(0).map_err(|_| STRANGE)?;
    key.try_into().map(RowKey).map_err(|_| STRANGE)
}

pub(super) fn lasting_of(row: &Row) -> Option<(RowKey, Turn, Vec<u8>)> {
    let key: &[u8] = row.try_get(0).ok()?;
    let turn: i32 = row.try_get(1).ok()?;
    let sealed: Vec<u8> = row.try_get(2).ok()?;
    let key = RowKey(key.try_into().ok()?);
    Some((key, Turn(u32::try_from(turn).ok()?), sealed))
}

pub(super) fn entry_of(row: &Row) -> Option<(RowKey, Vec<u8>)> {
    let key: &[u8] = row.try_get(0).ok()?;
    Some((RowKey(key.try_into().ok()?), row.try_get(1).ok()?))
}
