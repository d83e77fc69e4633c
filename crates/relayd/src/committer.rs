//! The one thread that writes: it carries out what the pure relay asks of the disk, one thing after the
//! other. The relay hands over everything that came in meanwhile as the next batch: that is the group commit.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use emptyroom_relay::Ticket;
use emptyroom_relay::store::{Ledger, Store, StoreFailure, StoreOp, StoreReply};
use emptyroom_wire::relay_key::KeyRecord;
use tokio::sync::mpsc::UnboundedSender;

use crate::clock;
use crate::data::chain::Chain;
use crate::store::SqliteRows;

/// After so long without work the write-ahead logs are cut, so that nothing deleted stays in them.
const IDLE: Duration = Duration::from_millis(250);

/// What the disk is to do.
pub(crate) enum Job {
    Store(Ticket, Vec<StoreOp>),
    Expire(Ticket),
    Persist(Ticket, KeyRecord),
}

/// What came of it.
pub(crate) enum Done {
    Stored(Ticket, Result<Vec<StoreReply>, StoreFailure>),
    Expired(Ticket, Result<(), StoreFailure>),
    Persisted(Ticket, Result<(), StoreFailure>),
    /// Cutting the write-ahead logs failed: the next job will say so too, but there may be none for long.
    Broken(StoreFailure),
}

/// Everything on disk that changes.
pub(crate) struct Committer {
    pub(crate) store: Ledger<SqliteRows>,
    pub(crate) chain: Chain,
}

impl Committer {
    /// Works until the sender of jobs is dropped, then leaves the files tidy.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>, done: &UnboundedSender<Done>) {
        let mut tidy = false;
        loop {
            // Waiting without an end while there is nothing to tidy: an idle relay does not wake up.
            let job = if tidy {
                jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                jobs.recv_timeout(IDLE)
            };
            let report = match job {
                Ok(job) => {
                    tidy = false;
                    Some(self.carry_out(job))
                }
                Err(RecvTimeoutError::Timeout) => {
                    tidy = true;
                    self.store.rows().tidy().err().map(Done::Broken)
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if let Some(report) = report
                && done.send(report).is_err()
            {
                break;
            }
        }
        // Nobody is left to be told; what was acknowledged is durable without it.
        let _ = self.store.rows().tidy();
    }

    fn carry_out(&mut self, job: Job) -> Done {
        let now = clock::wall();
        match job {
            Job::Store(ticket, ops) => Done::Stored(ticket, self.store.apply(now, ops)),
            Job::Expire(ticket) => Done::Expired(ticket, self.store.expire(now)),
            Job::Persist(ticket, record) => Done::Persisted(ticket, self.chain.append(now, record)),
        }
    }
}
