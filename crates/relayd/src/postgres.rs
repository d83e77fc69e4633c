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
//! Where there are several databases, all that an operation is about lies in one of them: see [`cluster`] and `peers`.
//!
//! All rows are sealed once more under keys that the database never sees: see [`ratchet`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use emptyroom_relay::store::{Access, Changes, Expected, RowKey, Rows, StoreFailure};
use emptyroom_wire::time::{DAY_MS, Day, Wall};

pub use address::{Address, AddressFault};
use homes::{Homes, SharedKeys};
pub(crate) use link::LOCKED;
use link::{Link, NO_ANSWER, NO_COMMIT, Phase, failure};
use peers::Peers;
use ratchet::{DayKeys, Turn};
pub use schema::{Seat, Unusable};
use schema::{ServerClock, number};
use standing::{IS_AWAY, Standing};

use crate::clock;
use crate::data::write_private;

mod address;
pub mod chain;
mod changes;
pub mod cluster;
mod fetch;
mod homes;
mod link;
pub(crate) mod moved;
mod peers;
mod pieces;
pub mod ratchet;
mod schema;
pub mod standing;
mod tls;
pub mod upkeep;

/// Days ahead for which entries are made: their tables are there before.
const LIVES: [u32; 3] = [1, 7, 30];

/// Rows in one database.
pub struct PostgresRows {
    link: Link,
    seat: Seat,
    keys: SharedKeys,
    homes: Homes,
    standing: Standing,
    peers: Peers,
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

/// What all databases of a relay have in common.
#[derive(Clone)]
struct Shared {
    keys: SharedKeys,
    homes: Homes,
    standing: Standing,
    addresses: Arc<[Address]>,
}

/// What is known in the middle of a batch, and forgotten with it.
#[derive(Default)]
struct Batch {
    access: Option<Access>,
    /// A transaction was begun.
    begun: bool,
    lasting: BTreeMap<RowKey, Known>,
    entries: BTreeMap<(Day, RowKey), Option<Vec<u8>>>,
    /// Logs that may be made here, and whose homes must be told, with these.
    reserve: BTreeMap<RowKey, u16>,
}

/// A lasting row that was looked up.
#[derive(Default)]
struct Known {
    /// What it holds, if it is not over.
    row: Option<Vec<u8>>,
    is_there: bool,
    /// The log is, or was to be, in that database; until when that stands.
    pointer: Option<(u16, i32)>,
    /// The row is that of another one.
    is_far: bool,
    /// Its home could not be asked.
    is_unasked: bool,
}

impl Known {
    /// The log is, may be, or is about to be in another database.
    // [SPEC 6.210]
    fn is_elsewhere(&self, over_before: Day) -> bool {
        let holds = |(_, day)| day >= number(over_before.0);
        self.is_unasked || self.is_far && (self.row.is_some() || self.pointer.is_some_and(holds))
    }
}

impl PostgresRows {
    /// On a connection to a database that was looked at.
    fn of(link: Link, seat: Seat, shared: &Shared, today: Day) -> Self {
        let Shared {
            keys,
            homes,
            standing,
            addresses,
        } = shared.clone();
        // Nothing is before the first day that has a key.
        let today = today.max(keys.lock().day());
        Self {
            link,
            seat,
            peers: Peers::new(addresses, standing.clone(), keys.clone()),
            keys,
            homes,
            standing,
            days: BTreeSet::new(),
            days_are_stale: true,
            batch: Batch::default(),
            told: today,
            told_at: clock::wall(),
            server: None,
            swept: Turn(0),
        }
    }

    /// Connects if need be. One of several databases that is away is tried beside the batches ([`Self::try_again`]): these wait for nothing.
    // [SPEC 6.211]
    fn connect(&mut self) -> Result<(), StoreFailure> {
        let here = self.seat.shard;
        if self.homes.shards() > 1 && self.standing.is_away(here) {
            return Err(IS_AWAY);
        }
        let outcome = self.reach();
        self.standing.notice(here, &outcome);
        outcome
    }

    /// It had no space, or has stored something.
    fn notice_full(&self, full: bool) {
        self.standing.notice_full(self.seat.shard, full);
    }

    /// Connects to a database that was away. It is back when it commits: one whose replica is missing answers to all else.
    pub fn try_again(&mut self) {
        self.batch = Batch::default();
        let outcome = self.reach().and_then(|()| {
            self.link.run(Phase::Before, async |session| {
                let done = session.client.batch_execute(schema::TOUCH).await;
                done.map_err(|error| failure(&error, Phase::Before))
            })
        });
        self.standing.notice(self.seat.shard, &outcome);
        self.standing.tried(self.seat.shard);
    }

    /// Connects if need be, and looks whether it is the right database.
    fn reach(&mut self) -> Result<(), StoreFailure> {
        // [SPEC 6.204]
        if self.server.is_some_and(|clock| clock.apart().is_some()) {
            self.link.disconnect();
        }
        if !self.link.is_connected() || self.server.is_none() {
            self.link.connect()?;
            let (seat, keys) = (self.seat, self.keys.clone());
            let checked = self.link.run(Phase::Before, async |session| {
                Ok(schema::check(session, &seat, &keys).await)
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

    /// Pointers and rows elsewhere of days before this one are over, whichever way the clocks of nodes are off.
    // [SPEC 6.210]
    fn over_before(&self) -> Day {
        let today = self.today();
        self.server
            .map_or(today, |server| today.min(server.over_for_all()))
    }

    /// Ends days for the keys without asking the database, which may be away, unless the clocks disagree as far as is known.
    // [SPEC 6.205]
    fn advance_days(&mut self, today: Day) -> Result<(), StoreFailure> {
        if self.server.is_none_or(|clock| clock.apart().is_some()) {
            return Ok(());
        }
        let advanced = self.keys.advance_days(today);
        advanced.map_err(|error| error.failure("writing the day keys"))
    }

    /// A table was not there, or not yet.
    fn notice(&mut self, outcome: StoreFailure) -> StoreFailure {
        if outcome == StoreFailure::Conflict {
            self.days_are_stale = true;
        }
        // [SPEC 6.211]
        if outcome == NO_ANSWER || outcome == NO_COMMIT {
            self.standing.notice(self.seat.shard, &Err(NO_ANSWER));
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

/// Connects to a database, and looks whether it is the right one or an empty one: whether it has its tables.
fn look_at(link: &mut Link, seat: &Seat) -> Result<bool, Unusable> {
    link.connect()?;
    link.run(Phase::Before, async |session| {
        Ok(schema::look_at(session, seat).await)
    })?
}

/// Makes the tables of a database if it is empty. The keys are those of the directory, made for the first database of a new relay.
fn bring_up(
    link: &mut Link,
    seat: &Seat,
    keys: Option<DayKeys>,
    (directory, today): (&Path, Day),
) -> Result<DayKeys, Unusable> {
    link.connect()?;
    link.run(Phase::Before, async |session| {
        let make = || {
            write_private(&directory.join(cluster::NOT_BEGUN), b"")?;
            DayKeys::make(directory, today)
        };
        Ok(schema::bring_up(session, seat, keys, make).await)
    })?
}

impl Rows for PostgresRows {
    fn begin(&mut self, access: Access, now: Wall) -> Result<(), StoreFailure> {
        self.batch = Batch::default();
        self.connect()?;
        // Only after the clocks were compared.
        self.tell(now.day());
        self.batch.access = Some(access);
        Ok(())
    }

    fn are_distant(&self) -> bool {
        true
    }

    fn is_elsewhere(&self, key: &RowKey) -> bool {
        let known = self.batch.lasting.get(key);
        known.is_some_and(|known| known.is_elsewhere(self.over_before()))
    }

    fn expect(&mut self, expected: &Expected) -> Result<(), StoreFailure> {
        let fetched = self.fetch(expected);
        let looked = fetched.and_then(|()| self.look_elsewhere(&expected.made));
        looked.map_err(|failed| self.notice(failed))
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
        let day = self.keys.lock().kept_with(day);
        if !self.batch.entries.contains_key(&(day, *key)) {
            let mut expected = Expected::default();
            expected.entries.push((day, *key));
            self.expect(&expected)?;
        }
        Ok(self.batch.entries.get(&(day, *key)).cloned().flatten())
    }

    fn commit(&mut self, changes: Changes) -> Result<(), StoreFailure> {
        let removed = changes.entries.iter().filter(|entry| entry.row.is_none());
        let first = self.keys.lock().day();
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
