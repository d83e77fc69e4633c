//! The other databases of a relay, as one of them needs them: to say that a log is made here, and to look at logs that are elsewhere.

use std::time::{Duration, Instant};

use super::link::{LOCKED, Session};
use super::*;

/// So long another database is not asked again that was asked in vain.
const VAIN: Duration = Duration::from_secs(3);
/// What stands there is over soon, and not yet.
const CLOSED: StoreFailure = StoreFailure::Away("a row that is not over and does not open");

/// A pointer may not have reached its replica: a log that is found by it alone must not be made.
pub(super) const WARNED: StoreFailure = StoreFailure::Away("the database warned at a commit");

/// How long a pointer stands that leads to nothing, in days.
// [SPEC 6.210]
const EMPTY_POINTER_DAYS: u32 = 2;
/// How long one stands at most until it is looked after again.
// [SPEC 6.210]
pub(super) const LEASE_DAYS: u32 = 8;
/// Pointers looked after by one slice.
const SLICE_POINTERS: i64 = 256;

/// With what is over by the clock there.
// [SPEC 6.204]
const FIND: &str = "SELECT key, turn, sealed, day, shard,
        CAST(floor((extract(epoch FROM clock_timestamp()) - 3600) / 86400) AS int4)
    FROM lasting WHERE key = ANY($1)";
/// Whoever was first decides where the log is, until what stands there is over, there as well as here.
// [SPEC 6.204]
const RESERVE: &str = "INSERT INTO lasting (key, day, turn, sealed, shard)
    SELECT k, $2::int4, 2147483647, '', $3::int4 FROM unnest($1::bytea[]) AS u(k)
    ON CONFLICT (key) DO UPDATE SET day = greatest(lasting.day, excluded.day), turn = excluded.turn,
            sealed = excluded.sealed, shard = excluded.shard
        WHERE lasting.shard = excluded.shard OR lasting.day < least($4::int4,
            CAST(floor((extract(epoch FROM clock_timestamp()) - 3600) / 86400) AS int4))
    RETURNING key";
const DUE: &str = "SELECT key, shard FROM lasting
    WHERE day < $1 AND shard IS NOT NULL AND NOT (shard = ANY($3)) LIMIT $2";
const ALIVE: &str = "SELECT key, day FROM lasting WHERE key = ANY($1) AND shard IS NULL";
const KEEP: &str = "UPDATE lasting SET day = least(greatest(u.d, $3::int4), $4::int4)
    FROM unnest($1::bytea[], $2::int4[]) AS u(k, d)
    WHERE lasting.key = u.k AND lasting.shard IS NOT NULL";
/// Not one that was reserved again since.
const FORGET: &str = "DELETE FROM lasting WHERE key = ANY($1) AND day < $2 AND shard IS NOT NULL";

/// Connections to the other databases, made when they are needed.
pub(super) struct Peers {
    addresses: Arc<[Address]>,
    standing: Standing,
    keys: SharedKeys,
    links: BTreeMap<u16, Link>,
    /// They were asked in vain, then.
    vain: BTreeMap<u16, Instant>,
    /// Pointers that were to be written while somebody held them, then.
    held: BTreeMap<RowKey, Instant>,
}

/// What stands under a log's key in another database.
pub(super) enum Found {
    Row(Vec<u8>),
    /// It leads there, and stands until that day.
    Pointer(u16, i32),
    /// Something that is not over and does not open.
    Closed,
}

impl Peers {
    pub(super) fn new(addresses: Arc<[Address]>, standing: Standing, keys: SharedKeys) -> Self {
        Self {
            addresses,
            standing,
            keys,
            links: BTreeMap::new(),
            vain: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    fn is_held(&self, key: &RowKey) -> bool {
        self.held.get(key).is_some_and(|at| at.elapsed() < VAIN)
    }

    fn note_held(&mut self, keys: &[[u8; 32]]) {
        self.held.retain(|_, at| at.elapsed() < VAIN);
        let now = Instant::now();
        self.held.extend(keys.iter().map(|key| (RowKey(*key), now)));
    }

    /// Does something in one of them. It is no part of a transaction here: if it fails, that is not committed.
    fn run<T>(
        &mut self,
        seat: Seat,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, StoreFailure>,
    ) -> Result<T, StoreFailure> {
        let gone = StoreFailure::Broken("a database that is in no list");
        // [SPEC 6.211]
        let vain = self.vain.get(&seat.shard);
        if self.standing.is_away(seat.shard) || vain.is_some_and(|at| at.elapsed() < VAIN) {
            return Err(IS_AWAY);
        }
        if !self.links.contains_key(&seat.shard) {
            let address = self.addresses.get(usize::from(seat.shard)).ok_or(gone)?;
            self.links.insert(seat.shard, Link::new(address)?);
        }
        let link = self.links.get_mut(&seat.shard).ok_or(gone)?;
        if !link.is_connected() {
            reach(link, seat, &self.keys).inspect_err(|_| {
                self.vain.insert(seat.shard, Instant::now());
            })?;
        }
        let outcome = link.run(Phase::Before, work);
        // What others find there is their affair: this connection alone may be at fault.
        if matches!(outcome, Err(failure @ (StoreFailure::Away(_) | StoreFailure::Full)) if failure != LOCKED)
        {
            self.vain.insert(seat.shard, Instant::now());
        }
        outcome
    }
}

fn reach(link: &mut Link, seat: Seat, keys: &SharedKeys) -> Result<(), StoreFailure> {
    link.connect()?;
    let checked = link.run(Phase::Before, async |session| {
        Ok(schema::check(session, &seat, keys).await)
    })?;
    checked.map(drop).map_err(|unusable| {
        link.disconnect();
        unusable.failure()
    })
}

impl PostgresRows {
    fn at(&self, shard: u16) -> Seat {
        Seat { shard, ..self.seat }
    }

    /// Logs that a batch may make, if they are not here: where else they may be.
    // [SPEC 6.210]
    pub(super) fn look_elsewhere(&mut self, made: &[RowKey]) -> Result<(), StoreFailure> {
        if self.homes.shards() == 1 {
            return Ok(());
        }
        for key in made {
            let home = self.homes.of(key);
            if home != self.seat.shard {
                self.batch.reserve.insert(*key, home);
            }
            let looked = match self.peers.is_held(key) {
                true => Err(LOCKED),
                false => self.look_for(home, key),
            };
            match looked {
                // Only what would make this log is refused.
                // [SPEC 6.211]
                Err(StoreFailure::Away(_)) => {
                    self.batch.lasting.entry(*key).or_default().is_unasked = true;
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    fn look_for(&mut self, home: u16, key: &RowKey) -> Result<(), StoreFailure> {
        let here = self.seat.shard;
        let known = self.batch.lasting.get(key);
        let found = match known.and_then(|known| known.pointer) {
            Some((shard, day)) => Some(Found::Pointer(shard, day)),
            None if home == here => return Ok(()),
            None => self.find(home, key)?,
        };
        let (row, pointer) = match found {
            None => return Ok(()),
            Some(Found::Row(row)) => (Some(row), None),
            Some(Found::Closed) => return Err(CLOSED),
            Some(Found::Pointer(shard, _)) if shard == here => return Ok(()),
            Some(Found::Pointer(shard, day)) => match self.find(shard, key)? {
                Some(Found::Row(row)) => (Some(row), Some((shard, day))),
                Some(Found::Closed) => return Err(CLOSED),
                Some(Found::Pointer(..)) | None => (None, Some((shard, day))),
            },
        };
        let known = self.batch.lasting.entry(*key).or_default();
        (known.row, known.pointer, known.is_far) = (row, pointer, true);
        Ok(())
    }

    fn find(&mut self, shard: u16, key: &RowKey) -> Result<Option<Found>, StoreFailure> {
        let keys = [key.0];
        let seat = self.at(shard);
        let rows = self
            .peers
            .run(seat, async |session| query(session, FIND, &keys).await)?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        if let Some((shard, day)) = fetch::pointer_of(row)? {
            return Ok(Some(Found::Pointer(shard, day)));
        }
        let day: i32 = row.try_get(3).map_err(|_| fetch::STRANGE)?;
        // What ran out there may be made anew.
        let over_there: i32 = row.try_get(5).map_err(|_| fetch::STRANGE)?;
        if day < number(self.over_before().0).min(over_there) {
            return Ok(None);
        }
        let mut keys = self.keys.lock();
        let (_, known) = fetch::known_of(row, &mut keys)?;
        Ok(Some(known.row.map_or(Found::Closed, Found::Row)))
    }

    /// Says in the homes of new logs that they are made here. Before these are committed: a pointer that leads to nothing says nothing.
    // [SPEC 6.210]
    pub(super) fn reserve(&mut self, written: &[RowKey]) -> Result<(), StoreFailure> {
        let mut by_home: BTreeMap<u16, Vec<[u8; 32]>> = BTreeMap::new();
        for key in written {
            if let Some(home) = self.batch.reserve.get(key) {
                by_home.entry(*home).or_default().push(key.0);
            }
        }
        let over_before = number(self.over_before().0);
        let day = number(self.today().0.saturating_add(EMPTY_POINTER_DAYS));
        let here = i32::from(self.seat.shard);
        for (home, keys) in by_home {
            if home == self.seat.shard {
                continue;
            }
            let seat = self.at(home);
            let reserved = self.peers.run(seat, async |session| {
                let slices: Vec<&[u8]> = keys.iter().map(<[u8; 32]>::as_slice).collect();
                let before = |error| failure(&error, Phase::Before);
                let statement = session.statement(RESERVE).await.map_err(before)?;
                session.take_warning();
                let client = &session.client;
                let rows = client
                    .query(&statement, &[&slices, &day, &here, &over_before])
                    .await;
                let rows = rows.map_err(before)?;
                // [SPEC 6.202] [SPEC 6.214]
                if session.take_warning() {
                    return Err(WARNED);
                }
                Ok(rows.len())
            });
            if reserved == Err(LOCKED) {
                self.peers.note_held(&keys);
            }
            let reserved = reserved?;
            // Another was faster: the log is elsewhere.
            if reserved < keys.len() {
                return Err(StoreFailure::Conflict);
            }
        }
        Ok(())
    }

    /// Where logs are that are not in their home, which this database is.
    ///
    /// # Errors
    /// The database failed.
    pub fn pointers(&mut self, keys: &[RowKey]) -> Result<BTreeMap<RowKey, u16>, StoreFailure> {
        let keys: Vec<[u8; 32]> = keys.iter().map(|key| key.0).collect();
        let rows = match self.find_here(&keys) {
            // The connection had ended.
            Err(StoreFailure::Conflict) => self.find_here(&keys)?,
            outcome => outcome?,
        };
        let mut found = BTreeMap::new();
        for row in rows {
            let key = fetch::key_of(&row)?;
            found.extend(fetch::pointer_of(&row)?.map(|(shard, _)| (key, shard)));
        }
        Ok(found)
    }

    fn find_here(&mut self, keys: &[[u8; 32]]) -> Result<Vec<tokio_postgres::Row>, StoreFailure> {
        self.batch = Batch::default();
        self.connect()?;
        self.link.run(Phase::Before, async |session| {
            query(session, FIND, keys).await
        })
    }

    /// Pointers whose time is over stand on as long as their log, or go if there is none. Gives how many it is done with: those into a
    /// database that is away stay.
    // [SPEC 6.210]
    pub(super) fn tend_pointers(&mut self) -> Result<usize, StoreFailure> {
        if self.homes.shards() == 1 {
            return Ok(0);
        }
        let today = number(self.over_before().0);
        let until = number(self.today().0.saturating_add(LEASE_DAYS));
        // Those into a database that is away keep nobody from looking after others.
        let away = (0..self.homes.shards()).filter(|shard| self.standing.is_away(*shard));
        let away: Vec<i32> = away.map(i32::from).collect();
        let due = self.link.run(Phase::Before, async |session| {
            let before = |error| failure(&error, Phase::Before);
            let statement = session.statement(DUE).await.map_err(before)?;
            let client = &session.client;
            let rows = client
                .query(&statement, &[&today, &SLICE_POINTERS, &away])
                .await;
            rows.map_err(before)
        })?;
        let mut by_shard: BTreeMap<u16, Vec<[u8; 32]>> = BTreeMap::new();
        for row in &due {
            let shard: i32 = row.try_get(1).map_err(|_| fetch::STRANGE)?;
            let shard = u16::try_from(shard).map_err(|_| fetch::STRANGE)?;
            by_shard
                .entry(shard)
                .or_default()
                .push(fetch::key_of(row)?.0);
        }
        let mut done = 0;
        for (shard, keys) in by_shard {
            let seat = self.at(shard);
            done += keys.len();
            let alive = self
                .peers
                .run(seat, async |session| query(session, ALIVE, &keys).await)?;
            let mut kept: Vec<[u8; 32]> = Vec::new();
            let mut days: Vec<i32> = Vec::new();
            for row in alive {
                kept.push(fetch::key_of(&row)?.0);
                days.push(row.try_get(1).map_err(|_| fetch::STRANGE)?);
            }
            self.link.run(Phase::Before, async |session| {
                let before = |error| failure(&error, Phase::Before);
                let keep = session.statement(KEEP).await.map_err(before)?;
                let forget = session.statement(FORGET).await.map_err(before)?;
                let kept: Vec<&[u8]> = kept.iter().map(<[u8; 32]>::as_slice).collect();
                let all: Vec<&[u8]> = keys.iter().map(<[u8; 32]>::as_slice).collect();
                let client = &session.client;
                let done = client.execute(&keep, &[&kept, &days, &today, &until]).await;
                done.map_err(before)?;
                let done = client.execute(&forget, &[&all, &today]).await;
                done.map_err(before).map(drop)
            })?;
        }
        Ok(done)
    }
}

async fn query(
    session: &mut Session,
    sql: &'static str,
    keys: &[[u8; 32]],
) -> Result<Vec<tokio_postgres::Row>, StoreFailure> {
    let before = |error| failure(&error, Phase::Before);
    let slices: Vec<&[u8]> = keys.iter().map(<[u8; 32]>::as_slice).collect();
    let statement = session.statement(sql).await.map_err(before)?;
    let client = &session.client;
    client.query(&statement, &[&slices]).await.map_err(before)
}
