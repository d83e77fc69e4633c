//! What one address may take of the relay: handshakes, connections, and new ones in a minute.
//!
//! Addresses are known here and nowhere else, in memory, while a connection lasts and until the minute is over in
//! which it ended. What a connection
//! asks is not known here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Addresses that are remembered at most: those of all connections and handshakes are fewer.
const REMEMBERED_MAX: usize = 131_072;

/// What is allowed to each address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// Handshakes at a time.
    pub(super) handshakes: usize,
    /// Connections at a time, handshakes among them, and new ones in a minute.
    pub(super) connections: usize,
}

/// All addresses that have something here, or had in this minute.
pub(super) struct Addresses {
    handshakes: usize,
    connections: AtomicUsize,
    counts: Mutex<HashMap<IpAddr, Counts>>,
}

#[derive(Default)]
struct Counts {
    handshakes: usize,
    connections: usize,
    this_minute: usize,
}

/// One connection of an address.
pub(super) struct Visit {
    addresses: Arc<Addresses>,
    from: IpAddr,
    in_handshake: bool,
}

impl Addresses {
    pub(super) fn new(allowed: Allowance) -> Self {
        Self {
            handshakes: allowed.handshakes,
            connections: AtomicUsize::new(allowed.connections),
            counts: Mutex::default(),
        }
    }

    /// From now on one address may have so many.
    pub(super) fn set_connections(&self, connections: usize) {
        self.connections.store(connections, Ordering::Relaxed);
    }

    /// To be called every minute.
    pub(super) fn new_minute(&self) {
        forget_minute(&mut self.counts());
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, Counts>> {
        // Nothing in here panics half-way; a poisoned lock holds good data.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves what stays into a new map: a bucket that was emptied keeps the address, and what is freed is zeroed.
// [SPEC 6.73]
fn forget_minute(counts: &mut HashMap<IpAddr, Counts>) {
    let mut kept = HashMap::new();
    for (from, count) in counts.drain() {
        if count.connections > 0 {
            let this_minute = 0;
            kept.insert(
                from,
                Counts {
                    this_minute,
                    ..count
                },
            );
        }
    }
    *counts = kept;
}

impl Visit {
    /// A newcomer in his handshake; none if his address has all that one address may have.
    pub(super) fn of(addresses: &Arc<Addresses>, from: IpAddr) -> Option<Self> {
        let from = network(from);
        let handshakes = addresses.handshakes;
        let connections = addresses.connections.load(Ordering::Relaxed);
        let mut counts = addresses.counts();
        if counts.len() >= REMEMBERED_MAX {
            forget_minute(&mut counts);
        }
        let count = counts.entry(from).or_default();
        // [SPEC 6.73] [SPEC 6.81]
        if count.handshakes >= handshakes
            || count.connections >= connections
            || count.this_minute >= connections
        {
            return None;
        }
        count.handshakes += 1;
        count.connections += 1;
        count.this_minute += 1;
        drop(counts);
        Some(Self {
            addresses: Arc::clone(addresses),
            from,
            in_handshake: true,
        })
    }

    /// The handshake is done.
    pub(super) fn arrived(&mut self) {
        if std::mem::take(&mut self.in_handshake)
            && let Some(count) = self.addresses.counts().get_mut(&self.from)
        {
            count.handshakes = count.handshakes.saturating_sub(1);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.arrived();
        let mut counts = self.addresses.counts();
        if let Some(count) = counts.get_mut(&self.from) {
            count.connections = count.connections.saturating_sub(1);
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

    fn allowing(handshakes: usize, connections: usize) -> Arc<Addresses> {
        Arc::new(Addresses::new(Allowance {
            handshakes,
            connections,
        }))
    }

    fn visit(addresses: &Arc<Addresses>, text: &str) -> Option<Visit> {
        Visit::of(addresses, text.parse().unwrap())
    }

    // [SPEC 6.73]
    #[test]
    fn handshakes_are_counted_per_address_and_forgotten() {
        let addresses = allowing(2, 100);
        let at = |text: &str| visit(&addresses, text);
        let first = at("192.0.2.1").unwrap();
        let mut second = at("::ffff:192.0.2.1").unwrap();
        assert!(at("192.0.2.1").is_none());
        let other = at("192.0.2.2").unwrap();
        drop(first);
        let third = at("192.0.2.1").unwrap();
        assert!(at("192.0.2.1").is_none());
        second.arrived();
        let fourth = at("192.0.2.1").unwrap();
        let near = (at("2001:db8::1").unwrap(), at("2001:db8::ffff").unwrap());
        assert!(at("2001:db8::2:1").is_none());
        assert!(at("2001:db8:0:1::1").is_some());
        drop((second, third, fourth, other, near));
        addresses.new_minute();
        // An empty map with buckets would still hold the addresses.
        assert_eq!(addresses.counts().capacity(), 0);
    }

    // [SPEC 6.81]
    #[test]
    fn connections_are_counted_per_address_and_minute() {
        let addresses = allowing(100, 3);
        let at = |text: &str| visit(&addresses, text);
        let mut there: Vec<Visit> = (0..3).map(|_| at("192.0.2.1").unwrap()).collect();
        there.iter_mut().for_each(Visit::arrived);
        assert!(at("192.0.2.1").is_none());
        let other = at("192.0.2.2").unwrap();
        // Who hangs up and comes again waits for the next minute.
        there.truncate(1);
        assert!(at("192.0.2.1").is_none());
        addresses.new_minute();
        let more = (at("192.0.2.1").unwrap(), at("192.0.2.1").unwrap());
        assert!(at("192.0.2.1").is_none(), "one was there all the time");
        drop((there, other, more));
        addresses.new_minute();
        assert!(addresses.counts().is_empty());
    }
}
