//! The one thread that writes: it carries out what the pure relay asks of the disk, one thing after the
//! other. The relay hands over everything that came in meanwhile as the next batch: that is the group commit.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use emptyroom_relay::Ticket;
use emptyroom_relay::store::{StoreFailure, StoreOp, StoreReply};
use emptyroom_wire::relay_key::KeyRecord;
use emptyroom_wire::time::{DAY_MS, Wall};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::chain::{Appended, KeptChain};
use crate::clock;
use crate::log::{Event, log};
use crate::medium::Keeper;
use crate::metrics::Metrics;
use crate::segments::Settled;
use crate::stack;

/// After so long without work the store is tidied, so that nothing deleted stays in a write-ahead log or journal.
// [SPEC 6.67]
const IDLE: Duration = Duration::from_millis(250);
/// And in the middle of work after so long.
const UNTIDY_MAX: Duration = Duration::from_secs(2);
/// On a full disk it is tried again after this.
const FULL_RETRY: Duration = Duration::from_secs(1);
/// A backup may hold the store for this long: a little longer than its connection lasts, which ends first.
// [SPEC 6.133]
pub(crate) const HOLD_MAX: Duration = Duration::from_secs(605);
/// A clock that jumps so far ahead would make nearly everything run out: rather stop and ask.
// [SPEC 6.82]
pub(crate) const CLOCK_JUMP_MAX_MS: u64 = 40 * DAY_MS;
pub(crate) const CLOCK_JUMPED: StoreFailure =
    StoreFailure::Broken("the clock jumped more than 40 days ahead");

/// What the disk is to do.
pub(crate) enum Job {
    Store(Ticket, Vec<StoreOp>),
    Expire(Ticket),
    Persist(Ticket, KeyRecord),
    /// Read the chain after the record with this number.
    ReadChain(Ticket, u64),
    /// Stand still, say so, and go on when the other side is dropped.
    Hold {
        ready: oneshot::Sender<()>,
        released: Receiver<Infallible>,
    },
}

impl Job {
    /// What comes of it after a failure, unless it only reads: it may have waited already when that came.
    // [SPEC 6.5] [SPEC 6.152]
    fn after(&self, failure: StoreFailure) -> Option<Done> {
        match self {
            Self::Store(ticket, ops) => {
                let writes = ops.iter().any(StoreOp::writes);
                writes.then_some(Done::Stored(*ticket, Err(failure)))
            }
            Self::Expire(ticket) => Some(Done::Expired(*ticket, Err(failure))),
            Self::Persist(ticket, _) => Some(Done::Persisted(*ticket, Err(failure))),
            Self::ReadChain(ticket, _) => Some(Done::ChainRead(*ticket, Err(failure))),
            Self::Hold { .. } => Some(Done::Failed(failure)),
        }
    }
}

/// What came of it.
pub(crate) enum Done {
    Stored(Ticket, Result<Vec<StoreReply>, StoreFailure>),
    Expired(Ticket, Result<(), StoreFailure>),
    Persisted(Ticket, Result<(), StoreFailure>),
    /// Another node's record was there first, with these.
    Overtaken(Ticket, Vec<KeyRecord>),
    ChainRead(Ticket, Result<Vec<KeyRecord>, StoreFailure>),
    /// The store stood still for a while.
    Held,
    /// The store failed although nothing was asked of it.
    Failed(StoreFailure),
    /// The clock failed: the relay must stop.
    Broken(StoreFailure),
}

impl Done {
    /// Why nothing must be written from now on.
    fn failure(&self) -> Option<StoreFailure> {
        let failure = match self {
            Self::Stored(_, outcome) => outcome.as_ref().err(),
            Self::Expired(_, outcome) | Self::Persisted(_, outcome) => outcome.as_ref().err(),
            // Asked for again by whoever needs it.
            Self::Held | Self::Overtaken(..) | Self::ChainRead(..) => None,
            Self::Failed(failure) | Self::Broken(failure) => Some(failure),
        };
        failure.copied().filter(|failure| !failure.passes())
    }
}

/// How tidy the store is.
enum Tidying {
    Tidy,
    /// Untidy since then; begun when so long nothing is to be done.
    Waits(Instant, Duration),
    UnderWay,
}

/// Everything on disk that changes.
pub(crate) struct Committer {
    pub(crate) store: Keeper,
    pub(crate) chain: KeptChain,
    /// The latest time it was told.
    pub(crate) latest: Wall,
    pub(crate) metrics: Arc<Metrics>,
}

impl Committer {
    /// Starts its thread.
    ///
    /// # Errors
    /// What the system says where it gives none.
    pub(crate) fn begin(
        self,
        jobs: Receiver<Job>,
        done: UnboundedSender<Done>,
    ) -> io::Result<JoinHandle<()>> {
        thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || self.run(&jobs, &done))
    }

    /// Works until the sender of jobs is dropped, then leaves the files tidy.
    fn run(mut self, jobs: &Receiver<Job>, done: &UnboundedSender<Done>) {
        let mut tidying = Tidying::Waits(Instant::now(), IDLE);
        // Something was written since the tidying that is under way began.
        let mut untidy = false;
        let mut failed: Option<StoreFailure> = None;
        loop {
            let job = match tidying {
                // An idle relay does not wake up.
                Tidying::Tidy => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Tidying::Waits(_, patience) => jobs.recv_timeout(patience),
                Tidying::UnderWay => jobs.recv_timeout(Duration::ZERO),
            };
            let idle = match job {
                Ok(job) => {
                    untidy = true;
                    let refused = failed.and_then(|failure| job.after(failure));
                    let report = refused.unwrap_or_else(|| self.carry_out(clock::wall(), job));
                    failed = failed.or(report.failure());
                    stack::wipe();
                    if done.send(report).is_err() {
                        break;
                    }
                    false
                }
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let due = self.store.slices_due();
            tidying = match tidying {
                // [SPEC 6.5]
                _ if failed.is_some() => Tidying::Tidy,
                Tidying::Tidy => Tidying::Waits(Instant::now(), IDLE),
                Tidying::Waits(since, _) if idle || due > 0 || since.elapsed() > UNTIDY_MAX => {
                    untidy = false;
                    Tidying::UnderWay
                }
                other => other,
            };
            if matches!(tidying, Tidying::UnderWay) {
                tidying = match self.tidy(due.max(1)) {
                    Ok(Settled::More) => Tidying::UnderWay,
                    Ok(Settled::Done) if untidy => Tidying::Waits(Instant::now(), IDLE),
                    Ok(Settled::Done) => Tidying::Tidy,
                    Ok(Settled::Full) => Tidying::Waits(Instant::now(), FULL_RETRY),
                    Err(failure) => {
                        failed = Some(failure);
                        let _ = done.send(Done::Failed(failure));
                        Tidying::Tidy
                    }
                };
            }
        }
        // Nobody is left to be told; what was acknowledged is durable without it.
        if failed.is_none() {
            let _ = self.store.tidy_all();
        }
    }

    /// Some slices: what was committed meanwhile waits for them.
    // [SPEC 6.110]
    fn tidy(&mut self, slices: u64) -> Result<Settled, StoreFailure> {
        let mut settled = Settled::More;
        for _ in 0..slices {
            if settled == Settled::More {
                settled = self.store.tidy()?;
            }
        }
        Ok(settled)
    }

    pub(crate) fn carry_out(&mut self, now: Wall, job: Job) -> Done {
        // [SPEC 6.82]
        if now.0.saturating_sub(self.latest.0) > CLOCK_JUMP_MAX_MS {
            return Done::Broken(CLOCK_JUMPED);
        }
        self.latest = self.latest.max(now);
        match job {
            Job::Store(ticket, ops) => {
                let (number, since) = (ops.len(), Instant::now());
                let writes = ops.iter().any(StoreOp::writes);
                let outcome = self.store.apply(now, ops);
                if writes {
                    self.metrics.batch(number, since);
                }
                self.metrics.set_rows(self.store.count());
                Done::Stored(ticket, outcome)
            }
            Job::Expire(ticket) => Done::Expired(ticket, self.store.expire(now)),
            Job::Persist(ticket, record) => match self.chain.append(now, record) {
                Ok(Appended::Last) => Done::Persisted(ticket, Ok(())),
                Ok(Appended::Overtaken(records)) => Done::Overtaken(ticket, records),
                Err(failure) => Done::Persisted(ticket, Err(failure)),
            },
            Job::ReadChain(ticket, after) => Done::ChainRead(ticket, self.chain.after(after)),
            Job::Hold { ready, released } => self.hold(ready, &released),
        }
    }

    /// Stands still for whoever copies the files, with as little in the journal as the disk allows.
    fn hold(&mut self, ready: oneshot::Sender<()>, released: &Receiver<Infallible>) -> Done {
        if let Err(failure) = self.store.tidy_all() {
            return Done::Failed(failure);
        }
        log(&Event::BackupBegins);
        if ready.send(()).is_ok() {
            let _ = released.recv_timeout(HOLD_MAX);
        }
        log(&Event::BackupEnds);
        Done::Held
    }
}

#[cfg(test)]
mod tests {
    use emptyroom_relay::store::{NewPlace, Place};
    use emptyroom_wire::log::{Capability, Flags, Header};
    use emptyroom_wire::relay_key::RelayIdentity;
    use emptyroom_wire::secret::{Private, Secret32};

    use super::*;
    use crate::data::DataDir;
    use crate::data::chain::Chain;
    use crate::medium::Wanted;
    use crate::testing::scratch;

    /// A store with a checkpoint under way, and a commit behind it.
    fn untidy(data: &DataDir) -> Committer {
        let now = clock::wall();
        let identity = RelayIdentity::from_seed(&Secret32::new([1; 32]));
        let seed = Secret32::new([1; 32]);
        let store = Keeper::open(data, &seed, &Wanted::default(), now.day()).unwrap();
        let mut committer = Committer {
            store,
            chain: KeptChain::Own(Chain::load(data, &identity.verify_key()).unwrap()),
            latest: now,
            metrics: Arc::default(),
        };
        for salt in 0..2 {
            let header = Header {
                salt: Private([salt; 32]),
                append_key: None,
                read_key: None,
                owner_key: None,
                flags: Flags::NONE,
            };
            let create = StoreOp::Create(NewPlace::new(&header, None));
            committer.store.apply(now, vec![create]).unwrap();
            if salt == 0 {
                assert_eq!(committer.store.tidy(), Ok(Settled::More));
            }
        }
        assert!(journal_bytes(data) > 0);
        committer
    }

    /// What stands in journals, behind their heads.
    fn journal_bytes(data: &DataDir) -> u64 {
        let files = std::fs::read_dir(data.join("segments")).unwrap();
        let files = files.map(Result::unwrap);
        let logs = files.filter(|file| file.file_name().to_string_lossy().ends_with(".log"));
        logs.map(|log| log.metadata().unwrap().len() - 16).sum()
    }

    // [SPEC 6.115]
    #[test]
    fn nothing_stands_in_journals_after_the_end() {
        let dir = scratch("graceful-end");
        let data = DataDir::open(dir.path()).unwrap();
        let (jobs, to_do) = std::sync::mpsc::channel();
        let (reports, _done) = tokio::sync::mpsc::unbounded_channel();
        drop(jobs);
        untidy(&data).run(&to_do, &reports);
        assert_eq!(journal_bytes(&data), 0);
    }

    // [SPEC 6.115] [SPEC 6.133]
    #[test]
    fn nothing_stands_in_journals_while_files_are_copied() {
        let dir = scratch("held");
        let data = DataDir::open(dir.path()).unwrap();
        let mut committer = untidy(&data);
        let (ready, mut begun) = oneshot::channel();
        let (release, released) = std::sync::mpsc::channel();
        drop(release);
        let hold = Job::Hold { ready, released };
        assert!(matches!(
            committer.carry_out(clock::wall(), hold),
            Done::Held
        ));
        assert!(begun.try_recv().is_ok());
        assert_eq!(journal_bytes(&data), 0);
    }

    // [SPEC 6.152]
    #[test]
    fn what_waits_behind_a_failure_is_not_written() {
        let broken = StoreFailure::Broken("sync");
        let place = || Place::of(&Capability::new([1; 32]));
        let look = || StoreOp::Look { place: place() };
        let destroy = StoreOp::Destroy { place: place() };
        let after = |job: Job| job.after(broken);
        assert!(after(Job::Store(Ticket(1), vec![look()])).is_none());
        assert!(matches!(
            after(Job::Store(Ticket(2), vec![look(), destroy])),
            Some(Done::Stored(Ticket(2), Err(StoreFailure::Broken(_))))
        ));
        assert!(matches!(
            after(Job::Expire(Ticket(3))),
            Some(Done::Expired(Ticket(3), Err(_)))
        ));
        let (ready, mut waits) = oneshot::channel();
        let (_release, released) = std::sync::mpsc::channel();
        let held = after(Job::Hold { ready, released });
        assert!(matches!(held, Some(Done::Failed(_))));
        assert!(waits.try_recv().is_err(), "no copy begins");
        // A full disk is no such failure.
        assert!(
            Done::Stored(Ticket(4), Err(StoreFailure::Full))
                .failure()
                .is_none()
        );
    }
}
