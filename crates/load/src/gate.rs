//! A gate that threads pass together, or not at all once one of them failed.
//!
//! Whoever waits looks again each millisecond: a wake-up across threads would need a descriptor that both have.

use crate::Trouble;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long any thread may keep the others waiting.
const WAIT_MAX: Duration = Duration::from_secs(600);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The gate of so many threads.
pub struct Gate {
    threads: usize,
    arrived: AtomicUsize,
    failure: Mutex<Option<String>>,
}

/// One thread's way through the gate, again and again.
pub struct Ticket<'a> {
    gate: &'a Gate,
    passes: usize,
}

impl Gate {
    /// For so many threads.
    #[must_use]
    pub fn new(threads: usize) -> Gate {
        Gate {
            threads,
            arrived: AtomicUsize::new(0),
            failure: Mutex::new(None),
        }
    }

    /// For one of the threads.
    #[must_use]
    pub fn ticket(&self) -> Ticket<'_> {
        Ticket {
            gate: self,
            passes: 0,
        }
    }

    /// Nobody passes any more; the first reason is kept.
    pub fn fail(&self, why: &str) {
        if let Ok(mut failure) = self.failure.lock() {
            failure.get_or_insert_with(|| why.to_owned());
        }
    }

    /// # Errors
    /// When one of the threads failed.
    pub fn check(&self) -> Result<(), Trouble> {
        match self.failure.lock() {
            Ok(failure) => failure
                .as_ref()
                .map_or(Ok(()), |why| Err(why.clone().into())),
            Err(_) => Err("a thread of the generator panicked".into()),
        }
    }
}

impl Ticket<'_> {
    /// Waits until all threads are here.
    ///
    /// # Errors
    /// When one of them failed or does not come.
    pub async fn pass(&mut self) -> Result<(), Trouble> {
        let deadline = self.arrive();
        while !self.is_open(deadline)? {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// The same for a thread without a runtime.
    ///
    /// # Errors
    /// When one of them failed or does not come.
    pub fn pass_blocking(&mut self) -> Result<(), Trouble> {
        self.pass_telling(WAIT_MAX, || {})
    }

    /// The same, and tells something each time that so long has passed.
    ///
    /// # Errors
    /// When one of them failed or does not come.
    pub fn pass_telling(&mut self, every: Duration, tell: impl Fn()) -> Result<(), Trouble> {
        let deadline = self.arrive();
        let mut told = Instant::now();
        while !self.is_open(deadline)? {
            std::thread::sleep(LOOK_AGAIN);
            if told.elapsed() > every {
                told = Instant::now();
                tell();
            }
        }
        Ok(())
    }

    fn arrive(&mut self) -> Instant {
        self.passes += 1;
        self.gate.arrived.fetch_add(1, Ordering::AcqRel);
        Instant::now() + WAIT_MAX
    }

    fn is_open(&self, deadline: Instant) -> Result<bool, Trouble> {
        self.gate.check()?;
        if self.gate.arrived.load(Ordering::Acquire) >= self.passes * self.gate.threads {
            return Ok(true);
        }
        if Instant::now() > deadline {
            let why = "a thread of the generator did not come to its end in time";
            self.gate.fail(why);
            return Err(why.into());
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pass_together_and_none_after_a_failure() {
        let gate = Gate::new(2);
        let seen = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let mut ticket = gate.ticket();
                seen.fetch_add(1, Ordering::SeqCst);
                ticket.pass_blocking().unwrap();
                ticket.pass_blocking().unwrap_err().to_string()
            });
            let mut ticket = gate.ticket();
            ticket.pass_blocking().unwrap();
            assert_eq!(seen.load(Ordering::SeqCst), 1);
            gate.fail("no more");
            assert_eq!(other.join().unwrap(), "no more");
        });
    }
}
