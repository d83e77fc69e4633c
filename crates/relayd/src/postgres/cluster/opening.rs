//! How a relay comes to its databases: all are looked at, then those that are empty get their tables.

use std::path::{Path, PathBuf};
use std::thread;

use emptyroom_relay::store::StoreFailure;
use emptyroom_wire::relay_key::RelayIdentity;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::Day;

use super::{Cluster, Refused, Shard, THREAD_ENDED};
use crate::data::{DataError, sync_directory};
use crate::medium::mark;
use crate::postgres::homes::{Homes, Remembered, SharedKeys};
use crate::postgres::link::{Link, Phase};
use crate::postgres::ratchet::DayKeys;
use crate::postgres::schema;
use crate::postgres::standing::Standing;
use crate::postgres::{Address, PostgresRows, Seat, Shared, Unusable, bring_up, look_at};

/// Is in a data directory from when its day keys are made until all databases have tables: without it none of them is empty.
// [SPEC 6.214]
pub(in crate::postgres) const NOT_BEGUN: &str = "not-begun";

/// What databases are opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To be served.
    Serving,
    /// To be served, although one of them was lost, and there is an empty one in its place.
    ServingAfterLoss,
    /// Rows are brought in: all may be empty.
    Coming,
    /// Rows are brought out, or that is taken back.
    Leaving,
    /// That is taken back, although one of them was lost.
    StayingAfterLoss,
}

impl Purpose {
    pub(crate) fn serves(self) -> bool {
        matches!(self, Self::Serving | Self::ServingAfterLoss)
    }

    fn takes_empty(self) -> bool {
        matches!(self, Self::ServingAfterLoss | Self::StayingAfterLoss)
    }
}

impl Cluster {
    /// Connects to all databases of a list. The keys lie in a directory.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn open(
        addresses: &[Address],
        seed: &Secret32,
        directory: &Path,
        today: Day,
    ) -> Result<Self, Refused> {
        let at = (directory.to_owned(), today);
        Self::open_for(addresses, seed, at, Purpose::Serving)
    }

    /// The same, for something else.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn open_for(
        addresses: &[Address],
        seed: &Secret32,
        at: (PathBuf, Day),
        purpose: Purpose,
    ) -> Result<Self, Refused> {
        // Not in a thread where other futures run: it waits.
        let opened = thread::scope(|scope| {
            let open = || Self::open_here(addresses, seed, &at, purpose);
            scope.spawn(open).join()
        });
        opened.unwrap_or_else(|_| Err(refused(None, THREAD_ENDED)))
    }

    fn open_here(
        addresses: &[Address],
        seed: &Secret32,
        (directory, today): &(PathBuf, Day),
        purpose: Purpose,
    ) -> Result<Self, Refused> {
        let serves = purpose.serves();
        let (directory, today) = (directory.as_path(), *today);
        let number = u16::try_from(addresses.len()).unwrap_or(u16::MAX);
        let identity = RelayIdentity::from_seed(seed).hash();
        let mut keys = DayKeys::load(directory).map_err(|error| refused(None, error))?;
        let standing = Standing::new(number);
        // All are looked at before one is changed.
        let (mut links, mut found) = (Vec::new(), Vec::new());
        for (shard, address) in (0..number).zip(addresses) {
            let seat = Seat {
                identity,
                shard,
                shards: number,
                serves,
            };
            let mut link = Link::new(address).map_err(|failure| refused(Some(address), failure))?;
            match look_at(&mut link, &seat) {
                // A relay that ran before goes on with the others.
                // [SPEC 6.211]
                Err(Unusable::Failed(failure @ StoreFailure::Away(_)))
                    if keys.is_some() && shard > 0 && serves =>
                {
                    standing.notice(shard, &Err(failure));
                    found.push(Found::Away);
                }
                outcome => {
                    found.push(match outcome.map_err(|why| refused(Some(address), why))? {
                        true => Found::Tables,
                        false => Found::Nothing,
                    })
                }
            }
            links.push((link, seat, address));
        }
        let was_used = was_used(purpose, keys.is_some(), directory);
        let was_used = was_used.map_err(|error| refused(None, error))?;
        if !purpose.takes_empty() {
            expect_none_lost(&mut links, &found, (keys.is_some(), was_used))?;
        }
        for (link, seat, address) in &mut links {
            if !standing.is_away(seat.shard) {
                let known = bring_up(link, seat, keys.take(), (directory, today));
                keys = Some(known.map_err(|why| refused(Some(address), why))?);
            }
        }
        let none = refused(None, StoreFailure::Broken("no database"));
        let shared = Shared {
            keys: SharedKeys::new(keys.ok_or(none)?, number),
            homes: Homes::new(seed, number),
            standing,
            addresses: addresses.into(),
        };
        let cluster = Self::begin(links, shared, today)?;
        if !found.contains(&Found::Away) {
            has_begun(directory).map_err(|error| refused(None, error))?;
        }
        Ok(cluster)
    }

    /// A thread for each.
    fn begin(
        links: Vec<(Link, Seat, &Address)>,
        shared: Shared,
        today: Day,
    ) -> Result<Self, Refused> {
        let mut shards = Vec::new();
        for (link, seat, address) in links {
            let mut rows = PostgresRows::of(link, seat, &shared, today);
            if !shared.standing.is_away(seat.shard) {
                rows.connect().map_err(|why| refused(Some(address), why))?;
            }
            let failed = |_| refused(Some(address), StoreFailure::Broken("no thread"));
            shards.push(Shard::begin(rows).map_err(failed)?);
        }
        Ok(Self {
            shards,
            homes: shared.homes,
            standing: shared.standing,
            remembered: Remembered::default(),
        })
    }
}

/// What there is of a database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Tables,
    Away,
}

/// Whether none of them can be new, whatever is in the others: the keys are those of a relay that has begun.
// [SPEC 6.214]
fn was_used(purpose: Purpose, has_keys: bool, directory: &Path) -> Result<bool, DataError> {
    match purpose {
        Purpose::Serving => {
            let mark = directory.join(NOT_BEGUN);
            let there = mark.try_exists();
            let begins = there.map_err(|error| DataError::io("look for", &mark, error))?;
            Ok(has_keys && !begins || mark::is_there(directory)?)
        }
        Purpose::Leaving => Ok(true),
        Purpose::Coming | Purpose::ServingAfterLoss | Purpose::StayingAfterLoss => Ok(false),
    }
}

/// All databases have tables.
fn has_begun(directory: &Path) -> Result<(), DataError> {
    let mark = directory.join(NOT_BEGUN);
    match std::fs::remove_file(&mark) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(DataError::io("remove", &mark, error))
        }
        // Else a power cut brings it back.
        _ => sync_directory(&mark),
    }
}

/// One that is empty was lost if the relay has run before, or others have rows, or may have. With it is lost where logs of the others are:
/// nobody would find them, and they might be made once more.
// [SPEC 6.214]
fn expect_none_lost(
    links: &mut [(Link, Seat, &Address)],
    found: &[Found],
    (has_keys, was_used): (bool, bool),
) -> Result<(), Refused> {
    let empty = found.iter().position(|found| *found == Found::Nothing);
    let Some(address) = empty.and_then(|at| links.get(at)).map(|link| link.2) else {
        return Ok(());
    };
    if was_used {
        return Err(refused(Some(address), Unusable::Empty));
    }
    for ((link, _, used), found) in links.iter_mut().zip(found) {
        let has_rows = match found {
            Found::Nothing => false,
            Found::Away => true,
            // Where that cannot be told, it may.
            Found::Tables => link
                .run(Phase::Before, async |session| {
                    Ok(schema::has_rows(session).await)
                })
                .map_or(true, |rows| rows.unwrap_or(true)),
        };
        if has_rows {
            return Err(match has_keys {
                true => refused(Some(address), Unusable::Empty),
                false => refused(Some(used), Unusable::NoKeys),
            });
        }
    }
    Ok(())
}

fn refused(address: Option<&Address>, why: impl Into<Unusable>) -> Refused {
    Refused {
        address: address.map_or_else(String::new, Address::to_string),
        why: why.into(),
    }
}
