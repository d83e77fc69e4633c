//! The direct carrier: TCP, TLS 1.3, and limits on what a stranger may cost before the handshake is done.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Carrier;
use super::addresses::{Addresses, Allowance, Visit};
use crate::console::say;
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

/// Listens on one address.
pub struct Direct {
    ready: mpsc::Receiver<Guest>,
    listening: JoinHandle<()>,
    address: SocketAddr,
}

impl Direct {
    /// Starts to listen.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn listen(address: SocketAddr, tls: &Tls, limits: DirectLimits) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(READY_MAX);
        let door = Door {
            acceptor: TlsAcceptor::from(Arc::clone(&tls.config)),
            handshake: limits.handshake,
            half_open: Arc::new(Semaphore::new(limits.half_open_max)),
            addresses: Arc::new(Addresses::new(Allowance {
                handshakes: limits.half_open_per_address_max,
                connections: limits.per_address_max,
            })),
            ready: sender,
        };
        let listening = tokio::spawn(door.keep(listener));
        Ok(Self {
            ready,
            listening,
            address,
        })
    }

    /// The address with the port that was got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Carrier for Direct {
    type Bytes = Guest;

    async fn accept(&mut self) -> Self::Bytes {
        match self.ready.recv().await {
            Some(stream) => stream,
            // The door is only closed by dropping this value.
            None => std::future::pending().await,
        }
    }
}

/// Takes connections and brings them through the handshake.
struct Door {
    acceptor: TlsAcceptor,
    handshake: Duration,
    half_open: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    ready: mpsc::Sender<Guest>,
}

impl Door {
    async fn keep(self, listener: TcpListener) {
        let mut complained = false;
        let mut minute = interval(MINUTE);
        loop {
            let accepted = select! {
                accepted = listener.accept() => accepted,
                _ = minute.tick() => {
                    self.addresses.new_minute();
                    continue;
                }
            };
            match accepted {
                Ok((socket, from)) => self.admit(socket, from.ip()),
                Err(_) => {
                    if !complained {
                        say("cannot accept connections (too many open files?); going on trying");
                        complained = true;
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Starts the handshake in a task of its own, which ends with it: what a handshake needs is not kept
    /// with the connection. Beyond the limits the newcomer is dropped unheard.
    // [SPEC 6.73] [SPEC 6.81]
    fn admit(&self, socket: TcpStream, from: IpAddr) {
        let Ok(place) = Arc::clone(&self.half_open).try_acquire_owned() else {
            return;
        };
        let Some(visit) = Visit::of(&self.addresses, from) else {
            return;
        };
        let _ = socket.set_nodelay(true);
        let accepting = self.acceptor.accept(socket);
        tokio::spawn(greet(
            accepting,
            self.handshake,
            self.ready.clone(),
            (place, visit),
        ));
    }
}

async fn greet(
    accepting: tokio_rustls::Accept<TcpStream>,
    limit: Duration,
    ready: mpsc::Sender<Guest>,
    (place, mut visit): (OwnedSemaphorePermit, Visit),
) {
    // Whatever went wrong is the stranger's affair; nothing is said about it.
    let Ok(Ok(stream)) = timeout(limit, accepting).await else {
        return;
    };
    // [SPEC 6.72]
    if stream.get_ref().1.alpn_protocol().is_none() {
        return;
    }
    drop(place);
    visit.arrived();
    let _ = ready
        .send(Guest {
            stream,
            _visit: visit,
        })
        .await;
}

/// A connection that counts for its address as long as it lasts.
pub struct Guest {
    stream: TlsStream<TcpStream>,
    _visit: Visit,
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
