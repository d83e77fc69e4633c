//! The threads on which sockets live.
//!
//! A lane is a thread with a runtime of its own: a socket is accepted, read, written and closed in one lane. The engine and the
//! disk have threads apart.
//!
//! Lanes may have descriptor tables of their own, so that the limit of open files counts for each of them. A number then names
//! different files in different threads, and this holds it together:
//!
//! - A thread wakes a runtime by writing to a descriptor of that runtime. All runtimes are made before any lane gets its own
//!   table, so those numbers name the same objects in every table, as long as the runtimes live.
//! - What was open before stays open in each table until its thread ends. So lanes begin before the store is opened; the
//!   listening socket is shut down and not only closed; the data directory's lock is given back by name.
//! - A socket is dropped by its lane's runtime and nobody else.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::mpsc as threads;
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::select;
use tokio::sync::{mpsc, oneshot, watch};

use crate::platform;

/// How many lanes, and whether each has a table of descriptors for itself.
#[derive(Clone, Copy, Debug)]
pub struct LaneOptions {
    /// Threads for sockets, at least one.
    pub number: usize,
    /// The limit of open files counts for each of them apart.
    pub own_descriptors: bool,
}

impl Default for LaneOptions {
    /// One for each core.
    fn default() -> Self {
        Self {
            number: thread::available_parallelism().map_or(1, usize::from),
            own_descriptors: false,
        }
    }
}

/// What a lane does as long as connections are taken, or why it cannot begin. It is made and run in the lane.
pub(crate) type Work = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = io::Result<()>>>> + Send>;

/// Why a lane takes no connections although it should.
pub(crate) enum Fallen {
    /// Its work could not begin.
    Idle(io::Error),
    Panicked,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// No more connections; those that are there go on.
    Closing,
    Ended,
}

/// All lanes. They end when this is dropped.
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    phase: watch::Sender<Phase>,
    fallen: mpsc::UnboundedReceiver<Fallen>,
}

struct Lane {
    work: Option<oneshot::Sender<Work>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Lanes {
    /// Starts the threads; they wait for work.
    ///
    /// # Errors
    /// There are no threads or descriptors for them, or the system gives none a table of its own.
    pub(crate) fn start(options: LaneOptions) -> io::Result<Self> {
        let runtimes: Vec<Runtime> = (0..options.number.max(1))
            .map(|_| Builder::new_current_thread().enable_all().build())
            .collect::<io::Result<_>>()?;
        let (phase, watched) = watch::channel(Phase::Serving);
        let (fall, fallen) = mpsc::unbounded_channel();
        let (apart, are_apart) = threads::channel();
        let mut all = Self {
            lanes: Vec::new(),
            phase,
            fallen,
        };
        for runtime in runtimes {
            let (work, todo) = oneshot::channel();
            let mut watched = watched.clone();
            let (apart, fall) = (apart.clone(), Fall(fall.clone()));
            let run = move || {
                let separated = match options.own_descriptors {
                    true => platform::own_descriptor_table(),
                    false => Ok(()),
                };
                let _ = apart.send(separated);
                runtime.block_on(live(todo, &mut watched, &fall));
            };
            let thread = thread::Builder::new().name("lane".to_owned()).spawn(run)?;
            all.lanes.push(Lane {
                work: Some(work),
                thread: Some(thread),
            });
        }
        drop(apart);
        // Nothing is opened by others before all have left.
        for _ in &all.lanes {
            are_apart.recv().map_err(io::Error::other)??;
        }
        Ok(all)
    }

    /// Gives each lane its work, by its number.
    pub(crate) fn work(&mut self, mut work: impl FnMut(usize) -> Work) {
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(give) = lane.work.take() {
                let _ = give.send(work(number));
            }
        }
    }

    /// Waits for a lane to fall.
    pub(crate) async fn fallen(&mut self) -> Fallen {
        match self.fallen.recv().await {
            Some(fallen) => fallen,
            None => std::future::pending().await,
        }
    }

    /// Takes no more connections.
    pub(crate) fn close(&self) {
        self.phase.send_replace(Phase::Closing);
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Ended);
        for lane in &mut self.lanes {
            if let Some(thread) = lane.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

/// Says that a lane fell.
struct Fall(mpsc::UnboundedSender<Fallen>);

impl Drop for Fall {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(Fallen::Panicked);
        }
    }
}

async fn live(todo: oneshot::Receiver<Work>, phase: &mut watch::Receiver<Phase>, fall: &Fall) {
    let mut closing = phase.clone();
    let serve = async {
        if let Ok(work) = todo.await
            && let Err(error) = work().await
        {
            let _ = fall.0.send(Fallen::Idle(error));
        }
    };
    select! {
        () = serve => {}
        _ = closing.wait_for(|phase| *phase >= Phase::Closing) => {}
    }
    // Connections are tasks of this runtime, and go on until the lane ends.
    let _ = phase.wait_for(|phase| *phase == Phase::Ended).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lane_that_cannot_begin_says_so() {
        let options = LaneOptions {
            number: 2,
            own_descriptors: false,
        };
        let mut lanes = Lanes::start(options).unwrap();
        lanes.work(|number| {
            Box::new(move || {
                Box::pin(async move {
                    match number {
                        0 => std::future::pending().await,
                        _ => Err(io::ErrorKind::QuotaExceeded.into()),
                    }
                })
            })
        });
        let fallen = lanes.fallen().await;
        assert!(
            matches!(fallen, Fallen::Idle(error) if error.kind() == io::ErrorKind::QuotaExceeded)
        );
    }
}
