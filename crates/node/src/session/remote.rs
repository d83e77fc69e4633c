//! A daemon's client: JSON-RPC over its socket, blocking, with one thread that tells responses from events.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{EVENTS_WAITING_MAX, Sent, watcher};
use crate::api::{Call, Event, Exit, Failure};
use crate::engine::{Answerer, Watcher};
use crate::home;
use crate::rpc::{self, FromDaemon, Lines};

/// A connection to a daemon.
pub(super) struct Remote {
    socket: Mutex<UnixStream>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    id_last: u64,
    waiting: HashMap<u64, Answerer>,
    events: Option<Watcher>,
    /// Why nothing comes any more.
    ended: Option<Failure>,
}

impl Remote {
    /// Connects, if somebody listens. A socket that nobody listens on was left behind by a daemon that was killed.
    pub(super) fn connect(home: &Path) -> Result<Option<Self>, Failure> {
        let Ok(path) = home::socket_path(home) else {
            return Ok(None);
        };
        let socket = match UnixStream::connect(&path) {
            Ok(socket) => socket,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(e) => {
                return Err(Failure::fault(format!(
                    "the daemon's socket does not open: {}",
                    e.kind()
                )));
            }
        };
        // Whoever can put a socket into the home can be somebody else only where the home is shared: refuse that.
        let owners = (
            std::fs::metadata(&path).map(|m| m.uid()),
            std::fs::metadata(home).map(|m| m.uid()),
        );
        if !matches!(owners, (Ok(socket), Ok(home)) if socket == home) {
            return Err(Failure::new(
                Exit::Refused,
                "daemon_foreign",
                "the daemon's socket belongs to another user",
            ));
        }
        let shared = Arc::new(Mutex::new(Shared::default()));
        let reading = socket
            .try_clone()
            .map_err(|e| Failure::fault(format!("socket: {}", e.kind())))?;
        let for_thread = shared.clone();
        std::thread::Builder::new()
            .name("daemon".to_owned())
            .spawn(move || read(reading, &for_thread))
            .map_err(|e| Failure::fault(format!("no thread: {}", e.kind())))?;
        Ok(Some(Self {
            socket: Mutex::new(socket),
            shared,
        }))
    }

    pub(super) fn call(&self, call: &Call, answerer: Answerer) {
        let id = {
            let mut shared = lock(&self.shared);
            if let Some(ended) = shared.ended.clone() {
                drop(shared);
                return answerer(Err(ended));
            }
            shared.id_last += 1;
            let id = shared.id_last;
            shared.waiting.insert(id, answerer);
            id
        };
        let line = rpc::request_line(id, call);
        if line.len() > rpc::REQUEST_BYTES_MAX {
            let answerer = lock(&self.shared).waiting.remove(&id);
            if let Some(answerer) = answerer {
                answerer(Err(Failure::new(
                    Exit::Usage,
                    "usage",
                    "this is longer than a daemon takes",
                )));
            }
            return;
        }
        // A failed write shows as the end of the connection to the reading thread, which answers for all.
        let _ = lock(&self.socket).write_all(line.as_bytes());
    }

    pub(super) fn events(&self) -> Result<Receiver<Event>, Failure> {
        let (sender, receiver) = sync_channel(EVENTS_WAITING_MAX);
        // Never waits: a program that is slow, or itself waits for a response, misses events and is told so.
        lock(&self.shared).events = Some(watcher(move |event| match sender.try_send(event) {
            Ok(()) => Sent::Yes,
            Err(TrySendError::Full(_)) => Sent::Full,
            Err(TrySendError::Disconnected(_)) => Sent::Closed,
        }));
        // What it answers, the connection's end would tell as well.
        self.call(&Call::Subscribe {}, Box::new(drop));
        Ok(receiver)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = lock(&self.socket).shutdown(std::net::Shutdown::Both);
    }
}

/// Reads until the daemon ends, and then tells everybody who waits.
fn read(mut socket: UnixStream, shared: &Mutex<Shared>) {
    let ended = read_lines(&mut socket, shared)
        .err()
        .unwrap_or_else(Failure::locked);
    let mut shared = lock(shared);
    let waiting = std::mem::take(&mut shared.waiting);
    shared.ended = Some(ended.clone());
    shared.events = None;
    drop(shared);
    for answerer in waiting.into_values() {
        answerer(Err(ended.clone()));
    }
}

fn read_lines(socket: &mut UnixStream, shared: &Mutex<Shared>) -> Result<(), Failure> {
    let mut lines = Lines::new(rpc::RESPONSE_BYTES_MAX);
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        let count = match socket.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return Ok(()),
        };
        lines.push(buffer.get(..count).unwrap_or_default());
        while let Some(line) = lines
            .next_line()
            .map_err(|_| Failure::fault("the daemon's answer is too long"))?
        {
            match rpc::parse_from_daemon(&line)? {
                FromDaemon::Response(id, outcome) => {
                    let answerer = lock(shared).waiting.remove(&id);
                    if let Some(answerer) = answerer {
                        answerer(outcome);
                    }
                }
                FromDaemon::Event(event) => {
                    if let Some(watcher) = &mut lock(shared).events {
                        watcher(&event);
                    }
                }
            }
        }
    }
}

/// A panic elsewhere does not make what is behind the lock wrong: every change to it is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
