//! The thread that writes: when it cuts the write-ahead logs, and when it would rather stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use emptyroom_relay::Ticket;
use emptyroom_relay::store::{Ledger, StoreFailure};
use emptyroom_wire::relay_key::RelayIdentity;
use emptyroom_wire::secret::Secret32;
use emptyroom_wire::time::{DAY_MS, Wall};
use tokio::sync::mpsc::unbounded_channel;

use super::*;
use crate::committer::{Committer, Done, Job};
use crate::data::{DataDir, chain::Chain};
use crate::medium::{Keeper, Medium};

fn committer(dir: &Scratch, rows: SqliteRows, latest: Wall) -> Committer {
    let data = DataDir::open(&dir.path().join("data")).unwrap();
    let identity = RelayIdentity::from_seed(&Secret32::new([1; 32]));
    Committer {
        store: Keeper::Here(Box::new(Ledger::new(
            Medium::Sqlite(Box::new(rows)),
            Box::new(entropy::generator()),
        ))),
        chain: crate::chain::KeptChain::Own(Chain::load(&data, &identity.verify_key()).unwrap()),
        latest,
        metrics: Arc::default(),
    }
}

// [SPEC 6.67] [SPEC 6.69]
#[test]
fn on_a_full_disk_the_logs_are_cut_when_there_is_space() {
    static FULL: AtomicBool = AtomicBool::new(true);
    let dir = scratch("tidy-full");
    let mut rows = open(&dir);
    rows.commit(put(1, 1, b"row")).unwrap();
    let log = dir.path().join("day-20001.db-wal");
    let log_len = || fs::metadata(&log).unwrap().len();
    assert!(log_len() > 0);
    rows.fault = Fault::at(
        |step| step == Step::Tidy && FULL.load(Ordering::SeqCst),
        StoreFailure::Full,
    );
    assert_eq!(rows.tidy(), Ok(false));
    let committer = committer(&dir, rows, Wall(0));
    let (jobs, to_do) = mpsc::channel::<Job>();
    let (reports, mut done) = unbounded_channel();
    let writing = committer.begin(to_do, reports).unwrap();
    // Longer than it is idle: it has tried, and nobody asks it for anything.
    std::thread::sleep(Duration::from_millis(600));
    assert!(log_len() > 0);
    FULL.store(false, Ordering::SeqCst);
    let patience = Instant::now();
    while log_len() > 0 {
        assert!(patience.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(done.try_recv().is_err(), "a full disk is no failure");
    drop(jobs);
    writing.join().unwrap();
}

// [SPEC 6.82]
#[test]
fn a_clock_that_jumps_far_ahead_stops_the_relay_and_removes_nothing() {
    let dir = scratch("jump");
    let mut rows = open(&dir);
    rows.commit(put(1, 1, b"row")).unwrap();
    let start = Wall(20_000 * DAY_MS);
    let mut committer = committer(&dir, rows, start);
    let mut expire =
        |days| committer.carry_out(start.plus_ms(days * DAY_MS), Job::Expire(Ticket(1)));
    assert!(matches!(expire(1), Done::Expired(_, Ok(()))));
    assert!(matches!(
        expire(42),
        Done::Broken(StoreFailure::Broken(
            "the clock jumped more than 40 days ahead"
        ))
    ));
    let Keeper::Here(mut store) = committer.store else {
        unreachable!()
    };
    let left = store.rows().entry(day(1), &key(1)).unwrap();
    assert_eq!(left.unwrap(), b"row");
}
