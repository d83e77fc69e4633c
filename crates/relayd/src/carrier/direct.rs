//! The direct carrier: TCP, TLS 1.3, and limits on what a stranger may cost before the handshake is done.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Carrier;
use crate::console::say;
use crate::tls::Tls;

/// After an error of `accept` (no descriptors, mostly) nothing is accepted for this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Finished handshakes that may wait to be taken.
const READY_MAX: usize = 64;

/// What strangers may cost.
#[derive(Clone, Copy, Debug)]
pub struct DirectLimits {
    /// How long a handshake may take.
    pub handshake: Duration,
    /// Handshakes at a time.
    pub half_open_max: usize,
    /// Handshakes at a time from one address (IPv6: from one /64).
    pub half_open_per_address_max: u16,
}

// [SPEC 6.73]
impl Default for DirectLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            half_open_max: 1024,
            half_open_per_address_max: 64,
        }
    }
}

/// Listens on one address.
pub struct Direct {
    ready: mpsc::Receiver<TlsStream<TcpStream>>,
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
            addresses: Arc::new(Addresses {
                max: limits.half_open_per_address_max,
                counts: Mutex::default(),
            }),
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
    type Bytes = TlsStream<TcpStream>;

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
    ready: mpsc::Sender<TlsStream<TcpStream>>,
}

impl Door {
    async fn keep(self, listener: TcpListener) {
        let mut complained = false;
        loop {
            match listener.accept().await {
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
    // [SPEC 6.73]
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
    ready: mpsc::Sender<TlsStream<TcpStream>>,
    place: (OwnedSemaphorePermit, Visit),
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
    let _ = ready.send(stream).await;
}

/// How many handshakes each address has under way. In memory for this alone, and gone with the handshake.
struct Addresses {
    max: u16,
    counts: Mutex<HashMap<IpAddr, u16>>,
}

/// One handshake of an address.
struct Visit {
    addresses: Arc<Addresses>,
    from: IpAddr,
}

impl Visit {
    fn of(addresses: &Arc<Addresses>, from: IpAddr) -> Option<Self> {
        let from = network(from);
        let mut counts = addresses
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(from).or_insert(0);
        if *count >= addresses.max {
            return None;
        }
        *count = count.saturating_add(1);
        drop(counts);
        Some(Self {
            addresses: Arc::clone(addresses),
            from,
        })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut counts = self
            .addresses
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.from) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

/// Whoever has one IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 6.73]
    #[test]
    fn handshakes_are_counted_per_address_and_forgotten() {
        let addresses = Arc::new(Addresses {
            max: 2,
            counts: Mutex::default(),
        });
        let at = |text: &str| Visit::of(&addresses, text.parse().unwrap());
        let first = at("192.0.2.1").unwrap();
        let second = at("::ffff:192.0.2.1").unwrap();
        assert!(at("192.0.2.1").is_none());
        let other = at("192.0.2.2").unwrap();
        drop(first);
        let third = at("192.0.2.1").unwrap();
        let near = (at("2001:db8::1").unwrap(), at("2001:db8::ffff").unwrap());
        assert!(at("2001:db8::2:1").is_none());
        assert!(at("2001:db8:0:1::1").is_some());
        drop((second, third, other, near));
        assert!(addresses.counts.lock().unwrap().is_empty());
    }
}
