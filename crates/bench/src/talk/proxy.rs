//! Counts the bytes between clients and a relay.

use emptyroom_load::Trouble;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes so far.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    up: u64,
    down: u64,
}

impl Counted {
    /// What came since then: to the relay, and from it.
    pub(super) fn since(self, before: Counted) -> (u64, u64) {
        (self.up - before.up, self.down - before.down)
    }
}

/// Listens beside a relay and passes everything on.
pub(super) struct Proxy {
    /// The relay's address with the proxy's port.
    pub(super) address: String,
    up: Arc<AtomicU64>,
    down: Arc<AtomicU64>,
}

impl Proxy {
    pub(super) fn start(address: &str) -> Result<Proxy, Trouble> {
        let (host, rest) = address
            .split_once('/')
            .ok_or("an address without a slash")?;
        let relay = host.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let proxy = Proxy {
            address: format!("{}/{rest}", listener.local_addr()?),
            up: Arc::default(),
            down: Arc::default(),
        };
        let (up, down) = (proxy.up.clone(), proxy.down.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(relay) = TcpStream::connect(&relay) else {
                    continue;
                };
                let halves = (client.try_clone(), relay.try_clone());
                if let (Ok(client_again), Ok(relay_again)) = halves {
                    pump(client, relay, up.clone());
                    pump(relay_again, client_again, down.clone());
                }
            }
        });
        Ok(proxy)
    }

    pub(super) fn counted(&self) -> Counted {
        Counted {
            up: self.up.load(Ordering::Relaxed),
            down: self.down.load(Ordering::Relaxed),
        }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, count: Arc<AtomicU64>) {
    let _ = to.set_nodelay(true);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let Some(read) = buffer.get(..length) else {
                break;
            };
            if to.write_all(read).is_err() {
                break;
            }
            count.fetch_add(u64::try_from(length).unwrap_or(0), Ordering::Relaxed);
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
