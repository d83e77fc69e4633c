//! Which databases of a relay are away or full, for all threads that work with one, and for who asks how the relay fares.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use emptyroom_relay::store::StoreFailure;

use crate::log::{Event, log};

/// Not tried: somebody else does that.
pub(super) const IS_AWAY: StoreFailure = StoreFailure::Away("one of the databases is away");

/// Between two attempts to reach one that is away.
const PAUSE: Duration = Duration::from_secs(1);

/// How the databases of a relay are.
#[derive(Clone, Debug)]
pub struct Standing(Arc<[State]>);

#[derive(Debug, Default)]
struct State {
    is_away: AtomicBool,
    /// It has no space for what grows.
    is_full: AtomicBool,
    /// Its thread tries to connect, or will.
    is_tried: AtomicBool,
    /// It was tried last, then.
    tried: Mutex<Option<Instant>>,
}

impl State {
    fn is_due(&self) -> bool {
        let tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        tried.is_none_or(|at| at.elapsed() > PAUSE)
    }
}

impl Standing {
    /// Of so many databases, none of which is away.
    #[must_use]
    pub fn new(databases: u16) -> Self {
        Self((0..databases).map(|_| State::default()).collect())
    }

    /// How many databases there are.
    #[must_use]
    pub fn databases(&self) -> usize {
        self.0.len()
    }

    /// The numbers of those that are away, from 1.
    #[must_use]
    pub fn away(&self) -> Vec<usize> {
        self.those(|state| &state.is_away)
    }

    /// The numbers of those that are full, from 1.
    #[must_use]
    pub fn full(&self) -> Vec<usize> {
        self.those(|state| &state.is_full)
    }

    fn those(&self, are: impl Fn(&State) -> &AtomicBool) -> Vec<usize> {
        let numbered = (1..).zip(self.0.iter());
        numbered
            .filter(|(_, state)| are(state).load(Ordering::Relaxed))
            .map(|(number, _)| number)
            .collect()
    }

    pub(crate) fn is_away(&self, shard: u16) -> bool {
        self.state(shard)
            .is_some_and(|state| state.is_away.load(Ordering::Relaxed))
    }

    /// What came of connecting. That a relay's only database is away is said by who asked it.
    pub(super) fn notice(&self, shard: u16, outcome: &Result<(), StoreFailure>) {
        let Some(state) = self.state(shard) else {
            return;
        };
        let number = usize::from(shard) + 1;
        let of = self.databases();
        match outcome {
            Ok(()) if state.is_away.swap(false, Ordering::Relaxed) && of > 1 => {
                log(&Event::DatabaseBack { number, of });
            }
            Err(failure @ StoreFailure::Away(_))
                if !state.is_away.swap(true, Ordering::Relaxed) && of > 1 =>
            {
                log(&Event::DatabaseAway {
                    number,
                    of,
                    failure,
                });
            }
            _ => {}
        }
    }

    /// It had no space, or has stored something. That a relay's only database is full is said by who asked it.
    // [SPEC 6.218]
    pub(super) fn notice_full(&self, shard: u16, full: bool) {
        let (number, of) = (usize::from(shard) + 1, self.databases());
        let Some(state) = self.state(shard).filter(|_| of > 1) else {
            return;
        };
        match (state.is_full.swap(full, Ordering::Relaxed), full) {
            (false, true) => log(&Event::DatabaseFull { number, of }),
            (true, false) => log(&Event::DatabaseSpace { number, of }),
            _ => {}
        }
    }

    /// Those that are away and that nobody tries to connect to; from now on somebody does.
    pub(super) fn to_be_tried(&self) -> Vec<u16> {
        let numbered = (0..).zip(self.0.iter());
        numbered
            .filter(|(_, state)| state.is_away.load(Ordering::Relaxed))
            .filter(|(_, state)| state.is_due())
            .filter(|(_, state)| !state.is_tried.swap(true, Ordering::Relaxed))
            .map(|(shard, _)| shard)
            .collect()
    }

    pub(super) fn tried(&self, shard: u16) {
        if let Some(state) = self.state(shard) {
            let mut tried = state.tried.lock().unwrap_or_else(PoisonError::into_inner);
            *tried = Some(Instant::now());
            state.is_tried.store(false, Ordering::Relaxed);
        }
    }

    fn state(&self, shard: u16) -> Option<&State> {
        self.0.get(usize::from(shard))
    }
}
