//! The one thread that writes: it carries out what the pure relay asks of the disk, one thing after the
//! other. The relay hands over everything that came in meanwhile as the next batch: that is the group commit.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use emptyroom_relay::Ticket;
use emptyroom_relay::store::{Ledger, Store, StoreFailure, StoreOp, StoreReply};
use emptyroom_wire::relay_key::KeyRecord;
use emptyroom_wire::time::{DAY_MS, Wall};
use tokio::sync::mpsc::UnboundedSender;

use crate::clock;
use crate::data::chain::Chain;
use crate::medium::Medium;

/// After so long without work the store is tidied, so that nothing deleted stays in a write-ahead log or journal.
// [SPEC 6.67]
const IDLE: Duration = Duration::from_millis(250);
/// And in the middle of work after so long.
const UNTIDY_MAX: Duration = Duration::from_secs(2);
/// On a full disk it is tried again after this.
const FULL_RETRY: Duration = Duration::from_secs(1);
/// A clock that jumps so far ahead would make nearly everything run out: rather stop and ask.
// [SPEC 6.82]
pub(crate) const CLOCK_JUMP_MAX_MS: u64 = 40 * DAY_MS;
const CLOCK_JUMPED: StoreFailure = StoreFailure::Broken("the clock jumped more than 40 days ahead");

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
    /// The store failed, or the clock, whatever was asked for.
    Broken(StoreFailure),
}

/// Everything on disk that changes.
pub(crate) struct Committer {
    pub(crate) store: Ledger<Medium>,
    pub(crate) chain: Chain,
    /// The latest time it was told.
    pub(crate) latest: Wall,
}

impl Committer {
    /// Works until the sender of jobs is dropped, then leaves the files tidy.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>, done: &UnboundedSender<Done>) {
        let mut untidy_since = Some(Instant::now());
        let mut patience = IDLE;
        loop {
            // An idle relay does not wake up.
            let job = match untidy_since {
                Some(_) => jobs.recv_timeout(patience),
                None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let idle = match job {
                Ok(job) => {
                    untidy_since.get_or_insert_with(Instant::now);
                    if done.send(self.carry_out(clock::wall(), job)).is_err() {
                        break;
                    }
                    false
                }
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if idle || untidy_since.is_some_and(|since| since.elapsed() > UNTIDY_MAX) {
                (untidy_since, patience) = match self.store.rows().tidy() {
                    Ok(true) => (None, IDLE),
                    Ok(false) => (Some(Instant::now()), FULL_RETRY),
                    Err(failure) => {
                        let _ = done.send(Done::Broken(failure));
                        break;
                    }
                };
            }
        }
        // Nobody is left to be told; what was acknowledged is durable without it.
        let _ = self.store.rows().tidy();
    }

    pub(crate) fn carry_out(&mut self, now: Wall, job: Job) -> Done {
        // [SPEC 6.82]
        if now.0.saturating_sub(self.latest.0) > CLOCK_JUMP_MAX_MS {
            return Done::Broken(CLOCK_JUMPED);
        }
        self.latest = self.latest.max(now);
        match job {
            Job::Store(ticket, ops) => Done::Stored(ticket, self.store.apply(now, ops)),
            Job::Expire(ticket) => Done::Expired(ticket, self.store.expire(now)),
            Job::Persist(ticket, record) => Done::Persisted(ticket, self.chain.append(now, record)),
        }
    }
}
