//! What takes longer than the engine may be held up, and needs the vault now and then: changes of what opens it.
//!
//! One thread does one job after the other; the vault stays with the engine, which does what a job asks of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::end::refuse;
use super::{Engine, Message};
use crate::factors::{Access, Work};

/// How long locking waits for jobs, which are told that it does. What is cut off then is finished after the next opening.
#[derive(Clone, Copy)]
pub(crate) enum Patience {
    /// A command that ends: what it does not come to would have to be done by the next one, again with the same relays.
    Long,
    /// A daemon that is told to lock, and whoever hears that nobody may be there any more: keys are to be gone from memory within seconds.
    Short,
}

impl Patience {
    fn time(self) -> Duration {
        match self {
            Self::Long => Duration::from_secs(35),
            Self::Short => Duration::from_secs(3),
        }
    }
}

/// How long the end waits for a job that finds the vault gone, so that it can destroy what it made.
const THREAD_TIME_MAX: Duration = Duration::from_secs(5);

pub(super) type Job = Box<dyn FnOnce(&dyn Access) + Send>;

/// The jobs of an engine.
pub(super) struct Jobs {
    engine: mpsc::Sender<Message>,
    /// To the thread, once there is one; and how many there were.
    thread: Option<Sender<Job>>,
    number: u32,
    open: usize,
    /// Somebody waits for the end.
    hurried: Arc<AtomicBool>,
    /// Ends with the thread.
    ended: Option<Receiver<()>>,
}

impl Jobs {
    pub(super) fn new(engine: mpsc::Sender<Message>) -> Self {
        Self {
            engine,
            thread: None,
            number: 0,
            open: 0,
            hurried: Arc::default(),
            ended: None,
        }
    }

    /// Has a job done when those before are. Without a thread it falls, and whoever waits for it is told so by its end.
    pub(super) fn begin(&mut self, job: Job) {
        if self.thread.is_none() || self.have_fallen() {
            (self.thread, self.open) = (self.thread(), 0);
        }
        if let Some(thread) = &self.thread
            && thread.send(job).is_ok()
        {
            self.open += 1;
        }
    }

    fn thread(&mut self) -> Option<Sender<Job>> {
        let (sender, jobs) = channel::<Job>();
        let engine = ToVault(self.engine.clone(), self.hurried.clone());
        let (alive, ended) = channel();
        self.number = self.number.wrapping_add(1);
        let number = self.number;
        let run = move || {
            let _alive: Sender<()> = alive;
            for job in jobs {
                job(&engine);
                if engine.0.blocking_send(Message::Done(number)).is_err() {
                    return;
                }
            }
        };
        let named = std::thread::Builder::new().name("factors".to_owned());
        named.spawn(run).ok()?;
        self.ended = Some(ended);
        Some(sender)
    }

    /// Whether one is under way, or waits.
    pub(super) fn are_under_way(&self) -> bool {
        self.open > 0 && !self.have_fallen()
    }

    /// Whether the thread has ended, as one of them fell.
    fn have_fallen(&self) -> bool {
        let ended = self.ended.as_ref().map(Receiver::try_recv);
        ended == Some(Err(TryRecvError::Disconnected))
    }

    /// What ends when the thread does, once these are gone.
    pub(super) fn thread_end(&mut self) -> Option<Receiver<()>> {
        self.ended.take()
    }

    /// The thread of this number has done one: one that fell meanwhile had others.
    pub(super) fn done(&mut self, number: u32) {
        if number == self.number {
            self.open = self.open.saturating_sub(1);
        }
    }
}

/// Lets the thread come to its end.
pub(super) fn wait_for(thread: Option<Receiver<()>>) {
    if let Some(ended) = thread {
        // Nothing is ever sent: it fails when the thread has ended, or when the time is over.
        let _ = ended.recv_timeout(THREAD_TIME_MAX);
    }
}

impl Engine {
    /// Lets jobs come to their end, though not for ever; whoever wants something else is refused.
    pub(super) async fn finish_jobs(&mut self, messages: &mut mpsc::Receiver<Message>) {
        self.jobs.hurried.store(true, Ordering::Relaxed);
        let mut until = Instant::now() + self.patience.time();
        // [SPEC 11.66] What destroys waits for nothing.
        while self.jobs.are_under_way() && !self.is_destroying() {
            match timeout_at(until, messages.recv()).await {
                Ok(Some(Message::Vault(work))) => work(&mut self.vault),
                Ok(Some(Message::Done(number))) => self.jobs.done(number),
                // [SPEC 11.66]
                Ok(Some(Message::Ordered(ordered))) => self.ordered(ordered),
                // [SPEC 11.91]
                Ok(Some(Message::Leave)) => {
                    until = until.min(Instant::now() + Patience::Short.time());
                }
                // He hears of the end.
                Ok(Some(Message::Watch(watcher))) => self.newcomers.push(watcher),
                Ok(Some(other)) => refuse(other, None),
                Ok(None) | Err(_) => return,
            }
        }
    }
}

struct ToVault(mpsc::Sender<Message>, Arc<AtomicBool>);

impl Access for ToVault {
    fn send(&self, work: Work) -> bool {
        self.0.blocking_send(Message::Vault(work)).is_ok()
    }

    fn is_hurried(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Told late by one that fell, and not taken for one of the thread in its place.
    // [SPEC 12.31]
    #[test]
    fn what_a_fallen_thread_did_ends_nothing_of_the_next() {
        let (sender, mut messages) = mpsc::channel(8);
        let mut jobs = Jobs::new(sender);
        jobs.begin(Box::new(|_| {}));
        jobs.begin(Box::new(|_| panic!("as a job may")));
        let since = std::time::Instant::now();
        while !jobs.have_fallen() {
            assert!(since.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(1));
        }
        let (release, hangs) = channel::<()>();
        jobs.begin(Box::new(move |_| {
            let _ = hangs.recv();
        }));
        let Ok(Message::Done(late)) = messages.try_recv() else {
            panic!("the first job was done");
        };
        jobs.done(late);
        assert!(jobs.are_under_way());
        drop(release);
        let Some(Message::Done(done)) = messages.blocking_recv() else {
            panic!("it is done");
        };
        jobs.done(done);
        assert!(!jobs.are_under_way());
    }
}
