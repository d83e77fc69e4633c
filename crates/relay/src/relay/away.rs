//! A store on another machine that went away, and may be back for the next batch.

use std::collections::BTreeSet;

use emptyroom_wire::time::Now;

use super::job::{Asker, Purpose};
use super::{NO_BATCH, Relay, requests};
use crate::io::{ConnId, Reason, Ticket};
use crate::store::RowKey;

impl Relay {
    /// Nothing of the batch was done. Reads are done later, everything else is refused: who asked may ask again.
    // [SPEC 6.200]
    pub(super) fn store_away(&mut self, now: Now, ticket: Ticket) {
        let Ok(purposes) = self.queue.failed(ticket) else {
            return self.stop(Err(NO_BATCH));
        };
        for purpose in purposes {
            self.refuse_job(now, purpose, requests::store_away());
        }
    }

    /// Nobody knows what of the batch was done: neither must be said to who asked, and who reads one of its logs may miss an entry.
    pub(super) fn store_lost(&mut self, now: Now, ticket: Ticket) {
        let Ok(purposes) = self.queue.failed(ticket) else {
            return self.stop(Err(NO_BATCH));
        };
        self.lost(now, purposes);
    }

    /// The same of what was asked for.
    // [SPEC 6.200] [SPEC 6.211]
    pub(super) fn lost(&mut self, now: Now, purposes: Vec<Purpose>) {
        let mut ended: BTreeSet<ConnId> = BTreeSet::new();
        for purpose in purposes {
            match &purpose {
                Purpose::Append(asker, entry) => {
                    ended.insert(asker.conn);
                    ended.extend(self.readers_of(entry.log));
                }
                Purpose::Change(asker, place, _) => {
                    ended.insert(asker.conn);
                    ended.extend(self.readers_of(place.key()));
                }
                Purpose::Create(Asker { conn, .. }) => {
                    ended.insert(*conn);
                }
                Purpose::Share(asker, asked) if asked.writes() => {
                    ended.insert(asker.conn);
                }
                Purpose::Open(..)
                | Purpose::DestroyLook(..)
                | Purpose::CatchUp(..)
                | Purpose::LookAgain(..)
                | Purpose::LookBack(..)
                | Purpose::Share(..) => self.refuse_job(now, purpose, requests::store_away()),
            }
        }
        for conn in ended {
            self.end(conn, Reason::StoreFailed);
        }
    }

    fn readers_of(&self, log: RowKey) -> impl Iterator<Item = ConnId> + use<> {
        let readers = self.open_logs.readers(log);
        readers.into_iter().map(|(conn, _)| conn)
    }
}
