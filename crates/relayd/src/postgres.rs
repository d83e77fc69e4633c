//! The relay's rows in a PostgreSQL database that several nodes share.
//!
//! The rules of the protocol, and the sealing under each log's own secret, are `relay`'s (`Ledger`), as for every other store. Here a batch is a
//! transaction:
//!
//! 1. the rows it may change are fetched and locked, in the order of their keys; what these lead to is fetched in a second round trip;
//! 2. `Ledger` decides on what was fetched;
//! 3. all changes go out at once, a statement for each kind, with the commit right behind them.
//!
//! Rows that were not there cannot be locked: they are inserted in a way that fails if another node was faster, and then the batch is decided anew
//! on what is there now ([`StoreFailure::Conflict`]). So does everything that ends a transaction before its commit. Nothing of a row is
//! remembered from one batch to the next: another node may have changed it.
//!
//! All rows are sealed once more under keys that the database never sees: see [`ratchet`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use emptyroom_relay::store::{Access, Changes, Expected, RowKey, Rows, StoreFailure};
use emptyroom_wire::time::{DAY_MS, Day, Wall};

pub use address::{Address, AddressFault};
use link::{Link, Phase, failure};
use ratchet::{DayKeys, Turn};
pub use schema::{Seat, Unusable};
use schema::{ServerClock, number};

use crate::clock;

mod address;
pub mod chain;
mod changes;
mod fetch;
mod link;
pub mod ratchet;
mod schema;
mod tls;
pub mod upkeep;

/// Days ahead for which entries are made: their tables are there before.
const LIVES: [u32; 3] = [1, 7, 30];

/// The keys of all databases of a relay.
pub type SharedKeys = Arc<Mutex<DayKeys>>;

/// Rows in one database.
pub struct PostgresRows {
    link: Link,
    seat: Seat,
    keys: SharedKeys,
    /// Days that are known to have a table.
    days: BTreeSet<Day>,
    /// They are to be looked up before the next batch.
    days_are_stale: bool,
    batch: Batch,
    /// The latest day that was told: no clock goes back behind it.
    told: Day,
    /// Then.
    told_at: Wall,
    /// The server's clock, when it was last asked.
    server: Option<ServerClock>,
    /// Turns before this one have no rows.
    swept: Turn,
}

/// What is known in the middle of a batch, and forgotten with it.
#[derive(Default)]
struct Batch {
    access: Option<Access>,
    /// A transaction was begun.
    begun: bool,
    lasting: BTreeMap<RowKey, Known>,
    entries: BTreeMap<(Day, RowKey), Option<Vec<u8>>>,
}

/// A lasting row that was looked up.
#[derive(Default)]
struct Known {
    /// What it holds, if it is not over.
    row: Option<Vec<u8>>,
    is_there: bool,
}

impl PostgresRows {
    /// Connects to a database, and makes its tables if it is empty. The keys are those of the data directory, made for the
    /// first database of a new relay.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(
        address: &Address,
        seat: Seat,
        directory: &Path,
        today: Day,
    ) -> Result<Self, Unusable> {
        let keys = DayKeys::load(directory)?;
        let mut link = Link::new(address)?;
        let keys = bring_up(&mut link, &seat, keys, (directory, today))?;
        let mut rows = Self {
            link,
            seat,
            keys: Arc::new(Mutex::new(keys)),
            days: BTreeSet::new(),
            days_are_stale: true,
            batch: Batch::default(),
            told: today,
            told_at: clock::wall(),
            server: None,
            swept: Turn(0),
        };
        rows.connect()?;
        Ok(rows)
    }

    /// Connects if need be, and looks whether it is the right database.
    fn connect(&mut self) -> Result<(), StoreFailure> {
        // [SPEC 6.204]
        if self.server.is_some_and(|clock| clock.apart().is_some()) {
            self.link.disconnect();
        }
        if !self.link.is_connected() || self.server.is_none() {
            self.link.connect()?;
            let seat = self.seat;
            let checked = self.link.run(Phase::Before, async |session| {
                Ok(schema::check(session, &seat).await)
            })?;
            match checked {
                Ok(clock) => self.server = Some(clock),
                Err(unusable) => {
                    self.link.disconnect();
                    return Err(unusable.failure());
                }
            }
            self.days_are_stale = true;
        }
        if std::mem::take(&mut self.days_are_stale) {
            let days = self.link.run(Phase::Before, async |session| {
                let days = schema::days(session).await;
                days.map_err(|error| failure(&error, Phase::Before))
            });
            self.days = days.inspect_err(|_| self.days_are_stale = true)?;
        }
        Ok(())
    }

    /// No clock goes back behind what was told.
    fn tell(&mut self, today: Day) {
        if today >= self.told {
            (self.told, self.told_at) = (today, clock::wall());
        }
    }

    /// What was told, and the days since: a machine that slept is told late.
    // [SPEC 6.205]
    fn today(&self) -> Day {
        let since = clock::wall().ms_since(self.told_at) / DAY_MS;
        self.told.plus(u32::try_from(since).unwrap_or(0))
    }

    /// Ends days for the keys without asking the database, which may be away, unless the clocks disagree as far as is known.
    // [SPEC 6.205]
    fn advance_days(&mut self, today: Day) -> Result<(), StoreFailure> {
        if self.server.is_none_or(|clock| clock.apart().is_some()) {
            return Ok(());
        }
        let mut keys = self.keys();
        let turn = keys.turn();
        let advanced = keys.advance(today, turn);
        advanced.map_err(|error| error.failure("writing the day keys"))
    }

    fn keys(&self) -> MutexGuard<'_, DayKeys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A table was not there, or not yet.
    fn notice(&mut self, outcome: StoreFailure) -> StoreFailure {
        if outcome == StoreFailure::Conflict {
            self.days_are_stale = true;
        }
        outcome
    }
}

impl Batch {
    /// How its transaction begins, if it has not yet. A single look needs none; what reads entries wants them as they were when it looked.
    // [SPEC 6.201]
    fn begin(&self) -> Option<&'static str> {
        match self.access.unwrap_or(Access::Look) {
            _ if self.begun => None,
            Access::Look => None,
            Access::Read => Some("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
            Access::Write => Some("BEGIN ISOLATION LEVEL READ COMMITTED"),
        }
    }
}

fn bring_up(
    link: &mut Link,
    seat: &Seat,
    keys: Option<DayKeys>,
    (directory, today): (&Path, Day),
) -> Result<DayKeys, Unusable> {
    link.connect()?;
    link.run(Phase::Before, async |session| {
        let make = || DayKeys::make(directory, today);
        Ok(schema::bring_up(session, seat, keys, make).await)
    })?
}

impl Rows for PostgresRows {
    fn begin(&mut self, access: Access) -> Result<(), StoreFailure> {
        self.batch = Batch::default();
        self.connect()?;
        self.batch.access = Some(access);
        Ok(())
    }

    fn are_distant(&self) -> bool {
        true
    }

    fn expect(&mut self, expected: &Expected) -> Result<(), StoreFailure> {
        self.fetch(expected).map_err(|failed| self.notice(failed))
    }

    fn end(&mut self) {
        if self.batch.begun {
            let ended = self.link.run(Phase::Before, async |session| {
                let ended = session.client.batch_execute("ROLLBACK").await;
                ended.map_err(|error| failure(&error, Phase::Before))
            });
            // Without its connection the server ends it, too.
            if ended.is_err() {
                self.link.disconnect();
            }
        }
        self.batch = Batch::default();
    }

    fn lasting(&mut self, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        if !self.batch.lasting.contains_key(key) {
            let mut expected = Expected::default();
            expected.change.push(*key);
            self.expect(&expected)?;
        }
        let known = self.batch.lasting.get(key);
        Ok(known.and_then(|known| known.row.clone()))
    }

    fn entry(&mut self, day: Day, key: &RowKey) -> Result<Option<Vec<u8>>, StoreFailure> {
        let day = self.keys().kept_with(day);
        if !self.batch.entries.contains_key(&(day, *key)) {
            let mut expected = Expected::default();
            expected.entries.push((day, *key));
            self.expect(&expected)?;
        }
        Ok(self.batch.entries.get(&(day, *key)).cloned().flatten())
    }

    fn commit(&mut self, changes: Changes) -> Result<(), StoreFailure> {
        let removed = changes.entries.iter().filter(|entry| entry.row.is_none());
        let first = self.keys().day();
        let days: Vec<Day> = removed.map(|entry| first.max(entry.day)).collect();
        let sealed = self.know(&days).and_then(|()| self.seal(changes));
        let outcome = sealed.and_then(|sealed| self.send(sealed));
        if outcome.is_err() {
            self.end();
        }
        self.batch = Batch::default();
        outcome.map_err(|failed| self.notice(failed))
    }

    fn expire(&mut self, today: Day) -> Result<(), StoreFailure> {
        self.batch = Batch::default();
        self.advance_days(today)?;
        self.connect()?;
        let outcome = self.try_expire(today);
        outcome.map_err(|failed| self.notice(failed))
    }
}
