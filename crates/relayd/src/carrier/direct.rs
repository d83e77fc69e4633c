//! The direct carrier: TCP, TLS 1.3, and limits on what a stranger may cost before the handshake is done.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Carrier;
use super::addresses::{Addresses, Allowance, Visit};
use super::listening::{Listening, Seat, Seats, Turn};
use crate::log::{Event, log};
use crate::metrics::Metrics;
use crate::tls::Tls;

/// After an error of `accept` (no descriptors, mostly) nothing is accepted for this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Finished handshakes that may wait to be taken.
const READY_MAX: usize = 64;
const MINUTE: Duration = Duration::from_secs(60);

/// What strangers may cost.
#[derive(Clone, Copy, Debug)]
pub struct DirectLimits {
    /// How long a handshake may take.
    pub handshake: Duration,
    /// Handshakes at a time.
    pub half_open_max: usize,
    /// Handshakes at a time from one address (IPv6: from one /64).
    pub half_open_per_address_max: usize,
    /// Connections at a time from one address, and new ones in a minute.
    pub per_address_max: usize,
}

// [SPEC 6.73] [SPEC 6.81]
impl Default for DirectLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            half_open_max: 1024,
            half_open_per_address_max: 64,
            per_address_max: 1024,
        }
    }
}

/// What all lanes share of the direct carrier: the limits are for all of them together.
pub struct Door {
    listening: Arc<Listening>,
    seats: Arc<Seats>,
    acceptor: TlsAcceptor,
    handshake: Duration,
    half_open: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    /// It was said that connections cannot be accepted.
    complained: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Door {
    /// The way in from a socket, with so many seats.
    #[must_use]
    pub fn new(
        listening: Arc<Listening>,
        seats: Seats,
        (tls, limits): (&Tls, DirectLimits),
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            listening,
            seats: Arc::new(seats),
            acceptor: TlsAcceptor::from(Arc::clone(&tls.config)),
            handshake: limits.handshake,
            half_open: Arc::new(Semaphore::new(limits.half_open_max)),
            addresses: Arc::new(Addresses::new(Allowance {
                handshakes: limits.half_open_per_address_max,
                connections: limits.per_address_max,
            })),
            complained: AtomicBool::new(false),
            metrics,
        }
    }

    /// From now on one address may have so many connections, and so many new ones in a minute; those that stand stay.
    // [SPEC 6.129]
    pub fn set_per_address(&self, connections: usize) {
        self.addresses.set_connections(connections);
    }

    /// Forgets each minute what each address did in it. Never ends.
    pub async fn count_minutes(&self) {
        let mut minute = interval_at(Instant::now() + MINUTE, MINUTE);
        loop {
            minute.tick().await;
            self.addresses.new_minute();
        }
    }
}

/// The direct carrier in one lane.
pub struct Direct {
    ready: mpsc::Receiver<Box<Guest>>,
    accepting: JoinHandle<()>,
}

impl Direct {
    /// Begins to accept in the runtime of this lane.
    ///
    /// # Errors
    /// The runtime cannot watch the socket.
    pub fn begin(door: Arc<Door>, lane: usize) -> io::Result<Self> {
        let socket = TcpListener::from_std(door.listening.socket().try_clone()?)?;
        let (sender, ready) = mpsc::channel(READY_MAX);
        let porter = Porter {
            door,
            lane,
            ready: sender,
        };
        Ok(Self {
            ready,
            accepting: tokio::spawn(porter.keep(socket)),
        })
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Carrier for Direct {
    /// In a box: the task of a connection would keep a copy of its place for each call that hands it on.
    type Bytes = Box<Guest>;

    async fn accept(&mut self) -> Self::Bytes {
        match self.ready.recv().await {
            Some(stream) => stream,
            // Nothing comes any more: the relay is stopping.
            None => std::future::pending().await,
        }
    }
}

/// Takes connections for one lane and brings them through the handshake.
struct Porter {
    door: Arc<Door>,
    lane: usize,
    ready: mpsc::Sender<Box<Guest>>,
}

impl Porter {
    async fn keep(self, socket: TcpListener) {
        loop {
            self.door.seats.turn_comes(self.lane).await;
            match socket.accept().await {
                Ok((socket, from)) => self.admit(socket, from.ip()),
                // It does not listen any more.
                Err(e) if e.kind() == io::ErrorKind::InvalidInput => return,
                Err(_) => {
                    if !self.door.complained.swap(true, Ordering::Relaxed) {
                        log(&Event::CannotAccept);
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Starts the handshake in a task of its own, which ends with it: what a handshake needs is not kept
    /// with the connection. Beyond the limits the newcomer is dropped unheard.
    // [SPEC 6.53] [SPEC 6.73] [SPEC 6.81]
    fn admit(&self, socket: TcpStream, from: IpAddr) {
        let metrics = &self.door.metrics;
        if self.door.seats.turn(self.lane) == Turn::End {
            return metrics.turned_away_places.add_one();
        }
        let seat = Seat::take(&self.door.seats, self.lane);
        let Ok(place) = Arc::clone(&self.door.half_open).try_acquire_owned() else {
            return metrics.turned_away_handshakes.add_one();
        };
        let Some(visit) = Visit::of(&self.door.addresses, from) else {
            return metrics.turned_away_address.add_one();
        };
        let _ = socket.set_nodelay(true);
        tokio::spawn(greet(
            self.door.acceptor.accept(socket),
            self.door.handshake,
            (self.ready.clone(), Arc::clone(metrics)),
            (place, visit, seat),
        ));
    }
}

async fn greet(
    accepting: tokio_rustls::Accept<TcpStream>,
    limit: Duration,
    (ready, metrics): (mpsc::Sender<Box<Guest>>, Arc<Metrics>),
    (place, mut visit, seat): (OwnedSemaphorePermit, Visit, Seat),
) {
    // Whatever went wrong is the stranger's affair; nothing is said about it.
    let Ok(Ok(stream)) = timeout(limit, accepting).await else {
        return metrics.handshakes_failed.add_one();
    };
    // [SPEC 6.72]
    if stream.get_ref().1.alpn_protocol().is_none() {
        return metrics.handshakes_failed.add_one();
    }
    metrics.accepted.add_one();
    drop(place);
    visit.arrived();
    let guest = Box::new(Guest {
        stream,
        _visit: visit,
        _seat: seat,
    });
    let _ = ready.send(guest).await;
}

/// A connection that counts for its address and its lane as long as it lasts.
pub struct Guest {
    stream: TlsStream<TcpStream>,
    _visit: Visit,
    _seat: Seat,
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
