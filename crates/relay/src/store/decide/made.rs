//! New logs: whether they are there already, how they begin, and who pays for them.

use std::collections::BTreeSet;

use emptyroom_wire::op::{Refusal, RefusalCode};
use emptyroom_wire::rng;

use super::super::account::{self, Account, AccountPlace};
use super::super::allowance::Stop;
use super::super::logrow::{Denied, Funds, LogRow, Room, Row, Share};
use super::super::nonces::Nonces;
use super::super::rowseal::RowSeal;
use super::super::{NewEntry, NewPlace, Place, RowKey, Rows, StoreFailure};
use super::{Decision, Writing};
use crate::limits::AWAY_RETRY_S;

/// A new log and where its first entry goes.
pub(super) struct Made<'n> {
    new: &'n NewPlace,
    log: LogRow,
    room: Option<(&'n NewEntry, Room)>,
}

impl<R: Rows> Decision<'_, R> {
    /// Whether exactly this log is there already; refuses if another one, or what was one, stands in its place.
    pub(super) fn is_made(&mut self, new: &NewPlace) -> Result<bool, Stop> {
        match self.row(&new.place)? {
            None => Ok(false),
            // [SPEC 6.23]
            Some(Row::Tombstone(_)) => Err(RefusalCode::Destroyed.into()),
            Some(Row::Log(log)) if log.is_closed() => Err(RefusalCode::Closed.into()),
            // [SPEC 4.42]
            Some(Row::Log(log)) if log.has_origin(new.first.as_ref()) => Ok(true),
            Some(Row::Log(_)) => Err(RefusalCode::Exists.into()),
        }
    }

    /// The logs of `next` that are not there yet.
    pub(super) fn prepare_next<'n>(
        &mut self,
        parent: &Place,
        next: &'n [NewPlace],
    ) -> Result<Vec<Made<'n>>, Stop> {
        // [SPEC 4.54]
        let keys = next.iter().map(|new| new.place.key());
        let distinct: BTreeSet<RowKey> = keys.chain([parent.key()]).collect();
        if distinct.len() <= next.len() {
            return Err(RefusalCode::Malformed.into());
        }
        let seed = self.account_seed(parent)?;
        let mut made = Vec::new();
        for new in next {
            if !self.is_made(new)? {
                let share = Share { seed, prepaid: 0 };
                made.push(self.prepare(new, Funds::Budget(share))?);
            }
        }
        Ok(made)
    }

    /// A new log, not yet written.
    pub(super) fn prepare<'n>(
        &mut self,
        new: &'n NewPlace,
        funds: Funds,
    ) -> Result<Made<'n>, Stop> {
        // [SPEC 6.210]
        if self.shelves.is_elsewhere(new.place.key_ref()) {
            let later = Refusal::later(RefusalCode::StoreFailed, AWAY_RETRY_S);
            return Err(Stop::Refused(later));
        }
        let birth = rng::bytes(self.shelves.rng());
        let mut log = LogRow::new(new.rules, birth, funds, self.today());
        let room = match &new.first {
            None => None,
            Some(first) => match log.begin(first, self.today()) {
                Ok(room) => Some((first, room)),
                Err(Denied::Stale) => return Err(RefusalCode::Malformed.into()),
                Err(Denied::Refused(code)) => return Err(code.into()),
            },
        };
        Ok(Made { new, log, room })
    }

    /// Writes a new log.
    pub(super) fn settle(&mut self, made: Made<'_>) -> Result<(), StoreFailure> {
        let Made { new, mut log, room } = made;
        if let Some((entry, room)) = &room {
            let key = self.nonce_key(&new.place, &log, &entry.aad.nonce);
            let nonces = Nonces::of(key, log.birth, None);
            let writing = Writing {
                entry,
                room,
                nonces,
            };
            self.write(&new.place, &mut log, writing)?;
        }
        self.put(&new.place, Row::Log(log));
        Ok(())
    }

    /// Takes the bytes of an append, and the logs and first entries it makes, from what pays for them.
    pub(super) fn pay(
        &mut self,
        place: &Place,
        log: &mut LogRow,
        entry: &NewEntry,
        made: &mut [Made<'_>],
    ) -> Result<(), Stop> {
        // [SPEC 6.30]
        let own = account::cost(entry);
        let owed = match &mut log.funds {
            Funds::Code => None,
            Funds::Budget(share) if share.prepaid >= own => {
                share.prepaid -= own;
                None
            }
            Funds::Budget(share) => Some(share),
        };
        if owed.is_none() && made.is_empty() {
            return Ok(());
        }
        let at = AccountPlace::of(&self.account_seed(place)?);
        let today = self.now.day();
        let seal = RowSeal::of(at.secret.expose());
        let account = self.shelves.load::<Account>(&at.key, &seal)?;
        let mut account = account.unwrap_or_else(|| Account::new(today));
        account.begin(today);
        let over = |_| Stop::Refused(account::refusal(self.now));
        if let Some(share) = owed {
            share.prepaid += account.take_bytes(own).map_err(over)?;
            share.prepaid -= own;
        }
        for made in made {
            account.take_log().map_err(over)?;
            if let (Some((first, _)), Funds::Budget(share)) = (&made.room, &mut made.log.funds) {
                let own = account::cost(first);
                share.prepaid = account.take_bytes(own).map_err(over)? - own;
            }
        }
        let day = account::last_day(today);
        self.shelves.save(at.key, &seal, day, &account)?;
        Ok(())
    }

    /// The seed of the account that pays for what this log makes.
    pub(super) fn account_seed(&mut self, place: &Place) -> Result<[u8; 32], Stop> {
        Ok(match self.log(place)?.funds {
            Funds::Code => account::seed_of_root(place),
            Funds::Budget(share) => share.seed,
        })
    }
}
