//! A running relay: everything put together, and taken apart again.
//!
//! ```text
//! carrier → connection tasks   ⇄   engine task (the pure relay)   ⇄   committer thread (the disk)
//! └── in each lane, a thread ──┘
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc as threads};
use std::thread;
use std::time::Duration;

use emptyroom_relay::ConnId;
use emptyroom_relay::store::StoreFailure;
use emptyroom_wire::address::{Host, RelayAddress};
use emptyroom_wire::framing;
use tokio::select;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::carrier::Carrier;
use crate::carrier::direct::{Direct, Door};
use crate::carrier::listening::{Listening, Places, Seats};
use crate::clock::Clock;
use crate::committer::CLOCK_JUMPED;
use crate::connection::{Budgets, Incoming, Line, Pace, Written, carry};
use crate::data::{DataDir, DataError, address};
use crate::engine::{Engine, Inlets};
use crate::lanes::{Fallen, Lanes};
use crate::medium::MediumError;
use crate::metrics::Metrics;
use crate::outbox::Wakes;
use crate::postgres::cluster::Refused;
use crate::status::{Board, Guide, Order};
use crate::tls::{Tls, TlsUnusable};

mod disk;
mod options;
mod watch;

use disk::Disk;
pub(crate) use disk::check_clock;
pub use options::{Options, Public};
pub use watch::StatusPort;
use watch::{Bound, Watch};

/// Frames that may wait for the engine. Their bytes are bounded apart.
const INCOMING_MAX: usize = 1_024;
/// Orders of the operator that may wait for the engine.
const ORDERS_MAX: usize = 16;
/// How long connections may take to say goodbye when the relay stops.
const GOODBYE: Duration = Duration::from_secs(5);

/// Why a relay did not start.
#[derive(Debug)]
pub enum StartError {
    /// The data directory.
    Data(DataError),
    /// The store in it.
    Store(MediumError),
    /// By the clock, the relay did not run for so many days.
    LongAway(u64),
    /// The address to listen on.
    Listen(SocketAddr, io::Error),
    /// Nobody can dial the address, and no other was given.
    NoPublic,
    /// The TLS certificate.
    Tls(TlsUnusable),
    /// The thread that writes could not be started.
    Thread(io::Error),
    /// The status port's address is one that others reach.
    StatusNotLocal,
    /// The status port's address cannot be listened on.
    Status(SocketAddr, io::Error),
    /// The control socket cannot be made.
    Control(io::Error),
}

impl From<DataError> for StartError {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data(error) => error.fmt(f),
            Self::Store(MediumError::Store(failure)) => {
                write!(f, "cannot open the store: {failure}")
            }
            Self::Store(MediumError::File { path, failure, .. }) => {
                write!(f, "cannot open the store, {}: {failure}", path.display())
            }
            Self::Store(MediumError::Other { found }) => write!(
                f,
                "the data directory holds a store of the other kind; start with --store {}, or with none",
                found.name()
            ),
            Self::Store(MediumError::Embedded { .. }) => f.write_str(
                "the data directory holds a store of its own, and a database is to be the store",
            ),
            Self::Store(MediumError::HalfImported) => {
                f.write_str("an import into the data directory is not whole")
            }
            Self::Store(MediumError::Exported) => f.write_str(
                "the rows of the data directory were exported, and may be served elsewhere",
            ),
            Self::Store(MediumError::Node) => f.write_str(
                "the data directory is that of a relay on databases, and no database was named",
            ),
            Self::Store(MediumError::Database(Refused { address, why })) => {
                write!(f, "cannot use the database {address}: {why}")
            }
            Self::LongAway(days) => {
                write!(f, "by the clock this relay did not run for {days} days")
            }
            Self::Listen(address, error) => write!(f, "cannot listen at {address}: {error}"),
            Self::NoPublic => write!(f, "the listening address is none that others can dial"),
            Self::Tls(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "cannot start a thread: {error}"),
            Self::StatusNotLocal => write!(f, "the status address is one that others can reach"),
            Self::Status(address, error) => {
                write!(f, "cannot serve the status at {address}: {error}")
            }
            Self::Control(error) => write!(f, "cannot make the control socket: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Why a relay stopped by itself.
#[derive(Debug)]
pub enum Ended {
    /// The store failed; nothing was acknowledged after that.
    Store(StoreFailure),
    /// The clock jumped; nothing was done after that.
    Clock,
    /// A thread cannot take connections.
    Lane(io::Error),
    /// A bug; the panic's place was printed.
    Bug,
}

impl From<StoreFailure> for Ended {
    fn from(failure: StoreFailure) -> Self {
        match failure {
            CLOCK_JUMPED => Self::Clock,
            failure => Self::Store(failure),
        }
    }
}

/// A relay whose engine runs in the current tokio runtime.
pub struct Server {
    address: RelayAddress,
    listening: Arc<Listening>,
    lanes: Lanes,
    drain: Option<oneshot::Sender<()>>,
    engine: JoinHandle<Result<(), StoreFailure>>,
    minutes: JoinHandle<()>,
    door: Arc<Door>,
    orders: mpsc::Sender<Order>,
    metrics: Arc<Metrics>,
    watch: Watch,
    committer: Option<thread::JoinHandle<()>>,
    places: Arc<Places>,
    /// The lock goes last.
    _data: DataDir,
}

impl Server {
    /// What can be said of options before anything is touched.
    ///
    /// # Errors
    /// [`StartError::NoPublic`].
    pub fn check(options: &Options) -> Result<(), StartError> {
        if options.public.is_none() && options.listen.ip().is_unspecified() {
            return Err(StartError::NoPublic);
        }
        Ok(())
    }

    /// Opens the data directory, listens, and serves.
    ///
    /// # Errors
    /// A [`StartError`]; nothing runs then.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        Self::check(&options)?;
        let data = DataDir::open(&options.data)?;
        let not_listening = |error| StartError::Listen(options.listen, error);
        let listening = Listening::bind(options.listen).map_err(not_listening)?;
        // Before anything of the store is open.
        let lanes = Lanes::start(options.lanes).map_err(StartError::Thread)?;
        let disk = Disk::open(data, &options)?;
        let tls = Tls::fresh(framing::ALPN).map_err(StartError::Tls)?;
        let (host, others) = dialled(options.public.as_ref(), listening.address())?;
        let address = RelayAddress {
            host,
            others,
            identity: disk.identity.hash(),
            code: disk.code.clone(),
        };
        listening.begin().map_err(not_listening)?;
        address::store(&disk.data, &address)?;
        let bound = Bound::bind(&disk.data, options.status).await?;
        let open = Open {
            tls,
            listening,
            lanes,
            bound,
        };
        Self::run(disk, open, address, &options)
    }

    /// Starts the thread and the tasks, and ties them together.
    fn run(
        mut disk: Disk,
        open: Open,
        address: RelayAddress,
        options: &Options,
    ) -> Result<Self, StartError> {
        let Open {
            tls,
            listening,
            lanes,
            bound,
        } = open;
        let clock = Clock::start();
        let metrics = Arc::new(Metrics::default());
        let (wake, others) = disk.wake(options, &metrics).map_err(StartError::Thread)?;
        let (relay, committer, data) = disk.begin(&clock, tls.spki_hash, options, &metrics);
        let (jobs, to_do) = threads::channel();
        let (reports, done) = mpsc::unbounded_channel();
        let committer = committer
            .begin(to_do, reports)
            .map_err(StartError::Thread)?;
        let (engine, incoming) = mpsc::channel(INCOMING_MAX);
        let (wrote, written) = mpsc::unbounded_channel();
        let (drain, drained) = oneshot::channel();
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let board = Arc::new(Board::new(options.sums_every));
        let watch = bound.keep(|| Guide {
            orders: orders.clone(),
            metrics: Arc::clone(&metrics),
            board: Arc::clone(&board),
            data: options.data.clone(),
            jobs: Some(jobs.clone()),
            any_host: true,
        });
        let inlets = Inlets {
            incoming,
            written,
            done,
            orders: ordered,
            others,
            drain: drained,
        };
        let entrance = Entrance {
            places: Arc::new(Places::new(options.places_max, options.limits.streams_max)),
            numbers: Arc::default(),
            engine,
            written: wrote,
            budgets: Arc::new(Budgets::new()),
            metrics: Arc::clone(&metrics),
            pace: options.pace,
        };
        let places = Arc::clone(&entrance.places);
        let engine = Engine::new(relay, clock, jobs, wake, Arc::clone(&metrics));
        let listening = Arc::new(listening);
        let (door, lanes) = entrance.open(&listening, &tls, lanes, options);
        Ok(Self {
            address,
            listening,
            lanes,
            drain: Some(drain),
            engine: tokio::spawn(engine.run(inlets)),
            minutes: tokio::spawn({
                let door = Arc::clone(&door);
                async move { door.count_minutes().await }
            }),
            door,
            orders,
            metrics,
            watch,
            committer: Some(committer),
            places,
            _data: data,
        })
    }

    /// What clients need to know.
    #[must_use]
    pub fn address(&self) -> &RelayAddress {
        &self.address
    }

    /// Where it listens, with the port that was got.
    #[must_use]
    pub fn listening(&self) -> SocketAddr {
        self.listening.address()
    }

    /// From now on the limits of these options hold for what comes; what is there stays.
    // [SPEC 6.129]
    pub async fn set_limits(&self, options: &Options) {
        self.door.set_per_address(options.direct.per_address_max);
        self.places.allow(options.limits.streams_max);
        // If the engine has ended, so has the relay, and whoever waits for that is told.
        let order = Order::Limits(options.limits, options.reconnect_spread_s);
        let _ = self.orders.send(order).await;
    }

    /// Waits until the relay ends by itself, which only a failure makes it do. May be dropped and called
    /// again.
    pub async fn ended(&mut self) -> Ended {
        select! {
            ended = &mut self.engine => match ended {
                Ok(Err(failure)) => failure.into(),
                Ok(Ok(())) | Err(_) => Ended::Bug,
            },
            fallen = self.lanes.fallen() => match fallen {
                Fallen::Idle(error) => Ended::Lane(error),
                Fallen::Panicked => Ended::Bug,
            },
        }
    }

    /// Stops: takes no more connections and requests, answers what came before, says goodbye, and leaves
    /// the files tidy.
    ///
    /// # Errors
    /// What failed on the way.
    // [SPEC 6.78]
    pub async fn stop(mut self) -> Result<(), Ended> {
        self.metrics.stops();
        self.lanes.close();
        self.listening.end();
        self.watch.release().await;
        if let Some(drain) = self.drain.take() {
            let _ = drain.send(());
        }
        let outcome = match (&mut self.engine).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err(failure.into()),
            Err(_) => Err(Ended::Bug),
        };
        let _ = timeout(GOODBYE, self.places.left()).await;
        self.minutes.abort();
        drop(self.lanes);
        // The engine and the control socket took the senders of jobs with them, so the thread is at its end.
        if let Some(committer) = self.committer.take() {
            let joined = tokio::task::spawn_blocking(move || committer.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                return Err(Ended::Bug);
            }
        }
        outcome
    }
}

/// What is open before anything runs.
struct Open {
    tls: Tls,
    listening: Listening,
    lanes: Lanes,
    bound: Bound,
}

/// What is written into addresses and links.
fn dialled(
    public: Option<&Public>,
    listening: SocketAddr,
) -> Result<(Host, Vec<Host>), StartError> {
    let hosts = match public {
        Some(public) => public.hosts(listening.port()),
        None if listening.ip().is_unspecified() => return Err(StartError::NoPublic),
        None => Host::parse(&listening.to_string()).map(|host| (host, Vec::new())),
    };
    hosts.map_err(|_| StartError::NoPublic)
}

/// Where connections come in.
#[derive(Clone)]
struct Entrance {
    places: Arc<Places>,
    /// Of connections, over all lanes.
    numbers: Arc<AtomicU64>,
    engine: mpsc::Sender<Incoming>,
    written: mpsc::UnboundedSender<Written>,
    budgets: Arc<Budgets>,
    metrics: Arc<Metrics>,
    pace: Pace,
}

impl Entrance {
    /// Opens the door in every lane.
    fn open(
        self,
        listening: &Arc<Listening>,
        tls: &Tls,
        mut lanes: Lanes,
        options: &Options,
    ) -> (Arc<Door>, Lanes) {
        let seats = Seats::new(
            options.lanes.number,
            options.of_lane_max,
            Arc::clone(&self.places),
        );
        let door = Arc::new(Door::new(
            Arc::clone(listening),
            seats,
            (tls, options.direct),
            Arc::clone(&self.metrics),
        ));
        let at = Arc::clone(&door);
        lanes.work(|number| {
            let (door, entrance) = (Arc::clone(&at), self.clone());
            Box::new(move || {
                Box::pin(async move {
                    entrance.keep(Direct::begin(door, number)?).await;
                    Ok(())
                })
            })
        });
        (door, lanes)
    }

    /// Numbers connections and gives each a task, as long as there are places.
    async fn keep<C: Carrier>(self, mut carrier: C) {
        let lane = Arc::new(Wakes::default());
        tokio::spawn(Arc::clone(&lane).pass_on());
        loop {
            let bytes = carrier.accept().await;
            // [SPEC 6.53]
            let Some(place) = self.places.take() else {
                self.metrics.turned_away_places.add_one();
                continue;
            };
            let line = Line {
                id: ConnId(self.numbers.fetch_add(1, Ordering::Relaxed)),
                engine: self.engine.clone(),
                written: self.written.clone(),
                budgets: Arc::clone(&self.budgets),
                pace: self.pace,
                lane: Arc::clone(&lane),
            };
            tokio::spawn(async move {
                carry(bytes, line).await;
                drop(place);
            });
        }
    }
}

#[cfg(test)]
mod tests;
