//! The socket that all lanes accept from, and how they share what comes.
//!
//! There is one listening socket, not one for each lane: who has room takes the next connection. With a socket for each the kernel
//! would send some to lanes that are full.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::net::{self, AddressFamily, Shutdown, SocketFlags, SocketType, sockopt};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Connections that the system holds until a lane takes them; it may allow fewer.
const BACKLOG: i32 = 4_096;
/// A lane may have so many connections more than the one that has least.
const SLACK: usize = 16;

/// A socket with an address, which listens once it is told to.
pub struct Listening {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listening {
    /// Takes the address.
    ///
    /// # Errors
    /// It cannot be listened on.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        net::bind(&socket, &address)?;
        let socket = TcpListener::from(socket);
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Lets clients connect.
    ///
    /// # Errors
    /// Somebody else listens on the address.
    pub fn begin(&self) -> io::Result<()> {
        Ok(net::listen(&self.socket, BACKLOG)?)
    }

    /// Turns away whoever waits and whoever comes. Closing would not do: other threads may hold the socket in tables of their own.
    pub fn end(&self) {
        let _ = net::shutdown(&self.socket, Shutdown::Read);
    }

    /// The address with the port that was got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn socket(&self) -> &TcpListener {
        &self.socket
    }
}

/// Where finished handshakes are counted, of all lanes.
pub struct Places {
    /// One for each connection that the process can have.
    free: Arc<Semaphore>,
    of_process: usize,
    /// Connections that the configuration allows.
    allowed: AtomicUsize,
}

impl Places {
    /// As many as the process can have, of which so many are allowed.
    #[must_use]
    pub fn new(of_process: usize, allowed: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(of_process)),
            of_process,
            allowed: AtomicUsize::new(allowed),
        }
    }

    /// From now on so many are allowed; whoever has a place keeps it.
    // [SPEC 6.129]
    pub fn allow(&self, connections: usize) {
        self.allowed.store(connections, Ordering::Relaxed);
    }

    /// A place, until it is dropped; none if all are taken.
    // [SPEC 6.53]
    #[must_use]
    pub fn take(&self) -> Option<OwnedSemaphorePermit> {
        if self.are_taken() {
            return None;
        }
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    fn are_taken(&self) -> bool {
        let free = self.free.available_permits();
        let taken = self.of_process.saturating_sub(free);
        free == 0 || taken >= self.allowed.load(Ordering::Relaxed)
    }

    /// Waits until nobody has a place. Nobody gets one after that.
    pub async fn left(&self) {
        let all = u32::try_from(self.of_process).unwrap_or(u32::MAX);
        if let Ok(all) = self.free.acquire_many(all).await {
            all.forget();
        }
    }
}

/// How many connections each lane has, those in their handshakes among them.
pub struct Seats {
    taken: Box<[AtomicUsize]>,
    of_lane_max: usize,
    places: Arc<Places>,
    changed: Notify,
}

/// What a lane does with a connection that waits to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It takes it.
    Take,
    /// It leaves it to others, which have room or less to do.
    Leave,
    /// It ends it: the relay has no room.
    End,
}

impl Seats {
    /// Seats in each lane. More than the relay has places: some are in their handshakes.
    #[must_use]
    pub fn new(lanes: usize, of_lane_max: usize, places: Arc<Places>) -> Self {
        Self {
            taken: (0..lanes).map(|_| AtomicUsize::new(0)).collect(),
            of_lane_max,
            places,
            changed: Notify::new(),
        }
    }

    /// Waits until this lane is to accept the next connection: there always is one that is.
    pub(super) async fn turn_comes(&self, lane: usize) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.turn(lane) != Turn::Leave {
                return;
            }
            changed.await;
        }
    }

    // [SPEC 6.100]
    pub(super) fn turn(&self, lane: usize) -> Turn {
        let count = |at: &AtomicUsize| at.load(Ordering::SeqCst);
        let mine = self.taken.get(lane).map_or(usize::MAX, count);
        let least = self.taken.iter().map(count).min().unwrap_or(0);
        match () {
            // [SPEC 6.53]
            () if self.places.are_taken() => Turn::End,
            () if mine >= self.of_lane_max || mine > least + SLACK => Turn::Leave,
            () => Turn::Take,
        }
    }
}

/// A connection's place in its lane.
pub(super) struct Seat {
    seats: Arc<Seats>,
    lane: usize,
}

impl Seat {
    pub(super) fn take(seats: &Arc<Seats>, lane: usize) -> Self {
        if let Some(taken) = seats.taken.get(lane) {
            taken.fetch_add(1, Ordering::SeqCst);
        }
        seats.changed.notify_waiters();
        Self {
            seats: Arc::clone(seats),
            lane,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(taken) = self.seats.taken.get(self.lane) {
            taken.fetch_sub(1, Ordering::SeqCst);
        }
        self.seats.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // [SPEC 6.53] [SPEC 6.100]
    #[tokio::test]
    async fn who_has_room_takes_the_next() {
        let places = Arc::new(Places::new(9, 1));
        let seats = Arc::new(Seats::new(2, SLACK + 2, Arc::clone(&places)));
        let take = |lane, number: usize| -> Vec<Seat> {
            (0..number).map(|_| Seat::take(&seats, lane)).collect()
        };
        let turns = || (seats.turn(0), seats.turn(1));
        let mut first = take(0, SLACK);
        assert_eq!(turns(), (Turn::Take, Turn::Take));
        // Much less to do in the other.
        first.extend(take(0, 1));
        assert_eq!(turns(), (Turn::Leave, Turn::Take));
        let mut other = take(1, 1);
        assert_eq!(turns(), (Turn::Take, Turn::Take));
        // No room.
        first.extend(take(0, 1));
        assert_eq!(turns(), (Turn::Leave, Turn::Take));
        let mut waiting = pin!(seats.turn_comes(0));
        assert!(still_waits(waiting.as_mut()).await);
        first.pop();
        waiting.await;
        let place = places.take().unwrap();
        assert!(places.take().is_none());
        assert_eq!(turns(), (Turn::End, Turn::End));
        places.allow(2);
        assert_eq!(turns(), (Turn::Take, Turn::Take));
        places.allow(1);
        drop(place);
        other.clear();
        first.clear();
        assert_eq!(turns(), (Turn::Take, Turn::Take));
    }

    async fn still_waits(mut waiting: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(waiting.as_mut().poll(context).is_pending())
        })
        .await
    }

    #[test]
    fn an_address_is_taken_once_and_given_back_to_all_tables_at_once() {
        let first = Listening::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        first.begin().unwrap();
        let second = Listening::bind(first.address()).and_then(|second| second.begin());
        assert!(second.is_err());
        std::net::TcpStream::connect(first.address()).unwrap();
        let still_held = first.socket.try_clone().unwrap();
        first.end();
        assert!(std::net::TcpStream::connect(first.address()).is_err());
        drop(still_held);
    }
}
