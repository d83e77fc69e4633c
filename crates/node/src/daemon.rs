//! The daemon: keeps a vault open and connected, and serves the calls of this user's programs on a unix socket.
//!
//! The socket lies in the home, mode 0600, and every peer's user is checked besides. It ends, and the vault is locked, on
//! `lock`, when the desktop says so, when the machine wakes from a suspend, after an idle time without any call, and on SIGTERM, SIGINT or SIGHUP: a locked
//! daemon would be a process that can do nothing, and the end of a process is the surest end of what is in its memory.

mod connection;

use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};

use crate::api::{Call, Exit, Failure, SecretText};
use crate::clock;
use crate::desktop::Desktop;
use crate::engine::{self, Message, Patience, Started};
use crate::factors::WrongBefore;
use crate::home;
use crate::rpc;
use crate::session::{direct, runtime};

/// Programs that may be connected at once.
// [SPEC 12.24]
pub const CLIENTS_MAX: usize = 16;

/// How long the last responses may take to be read.
const FAREWELL_MAX: Duration = Duration::from_millis(500);

/// How often the idle time is looked at.
const IDLE_CHECK: Duration = Duration::from_secs(1);

/// Opens the vault and serves it until it is locked. `ready` is called once it listens: with the socket's path, the wrong PINs
/// that came before the right one, where somebody counts, and whether that the vault was opened could not be written down.
///
/// # Errors
/// When the vault does not open, the socket cannot be made, or the last write of the vault fails.
pub fn serve(
    home: &Path,
    secret: SecretText,
    idle: Option<Duration>,
    desktop: Option<Desktop>,
    ready: impl FnOnce(&Path, Option<WrongBefore>, bool) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let path = home::socket_path(home)?;
    let carrier = Arc::new(direct()?);
    let runtime = runtime()?;
    let opened = home::open_vault(home, &secret)?;
    // Not kept for as long as the daemon runs.
    drop(secret);
    let before = opened.wrong_before;
    let ready = |path: &Path, is_unwritten| ready(path, before, is_unwritten);
    let links = runtime.handle().clone();
    let started = engine::start(opened.vault, home, carrier, links, Patience::Short)?;
    if let Some(desktop) = desktop {
        let engine = started.sender.clone();
        // [SPEC 11.91]
        desktop.on_lock(move || {
            let _ = engine.blocking_send(Message::Leave);
        });
    }
    run(runtime, started, &path, idle, ready)
}

/// Serves an engine until it ends.
pub(crate) fn run(
    runtime: Runtime,
    started: Started,
    path: &Path,
    idle: Option<Duration>,
    ready: impl FnOnce(&Path, bool) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Started {
        sender: engine,
        thread,
        is_unwritten,
    } = started;
    let clients = Arc::new(Semaphore::new(CLIENTS_MAX));
    let outcome = runtime.block_on(async {
        let socket = Socket::bind(path)?;
        // Whoever reads that it is ready may signal at once.
        let mut signals = Signals::new()?;
        ready(path, is_unwritten)?;
        let last_call = Arc::new(AtomicU64::new(clock::now().mono.0));
        tokio::select! {
            outcome = accept(&socket, &clients, &engine, &last_call) => outcome,
            () = engine.closed() => Ok(()),
            () = idle_for(idle, &last_call) => Ok(()),
            () = signals.told_to_end() => Ok(()),
        }
    });
    // Locked already where a client asked for it: then nobody takes this.
    let (answered, answer) = std::sync::mpsc::sync_channel(1);
    let lock = Message::Call(
        Call::Lock {},
        Box::new(move |outcome| drop(answered.send(outcome))),
    );
    let locked = match engine.blocking_send(lock) {
        Ok(()) => answer
            .recv()
            .unwrap_or(Ok(crate::api::Answer::Done {}))
            .map(|_| ()),
        Err(_) => Ok(()),
    };
    let why = thread.join().ok().flatten();
    runtime.block_on(farewell(&clients));
    runtime.shutdown_background();
    // [SPEC 11.80] The end that nobody asked for is told, whatever else ended.
    why.map_or(outcome.and(locked), Err)
}

/// The listening socket; its file goes with it.
struct Socket {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
}

impl Socket {
    /// The vault's lock is held, so a socket that lies there belongs to a daemon that was killed.
    // [SPEC 12.25]
    fn bind(path: &Path) -> Result<Self, Failure> {
        let fault = |e: &std::io::Error| {
            Failure::new(
                Exit::Fault,
                "daemon_socket",
                format!("the socket cannot be made: {}", e.kind()),
            )
        };
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(fault(&e)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(|e| fault(&e))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .map_err(|e| fault(&e))?;
        let owner = std::fs::metadata(path).map_err(|e| fault(&e))?.uid();
        Ok(Self {
            listener,
            path: path.to_owned(),
            owner,
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Responses and the last event still go out to whoever reads them; whoever does not is not waited for.
async fn farewell(clients: &Semaphore) {
    let all = u32::try_from(CLIENTS_MAX).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(FAREWELL_MAX, clients.acquire_many(all)).await;
}

async fn accept(
    socket: &Socket,
    clients: &Arc<Semaphore>,
    engine: &mpsc::Sender<Message>,
    last_call: &Arc<AtomicU64>,
) -> Result<(), Failure> {
    loop {
        let stream = match socket.listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of descriptors for a moment: those who hang up give some back.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // [SPEC 12.26]
        if !is_from(&stream, socket.owner) {
            continue;
        }
        let Ok(permit) = clients.clone().try_acquire_owned() else {
            // [SPEC 12.24] A new socket takes a line at once.
            let _ = stream.try_write(rpc::busy_line().as_bytes());
            continue;
        };
        let (engine, last_call) = (engine.clone(), last_call.clone());
        tokio::spawn(async move {
            connection::serve(stream, &engine, &last_call).await;
            drop(permit);
        });
    }
}

fn is_from(stream: &UnixStream, owner: u32) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == owner)
}

/// Comes back after `idle` without a call. Time in suspend counts.
// [SPEC 12.31]
async fn idle_for(idle: Option<Duration>, last_call: &AtomicU64) {
    let Some(idle) = idle else {
        return std::future::pending().await;
    };
    let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
    loop {
        tokio::time::sleep(IDLE_CHECK.min(idle)).await;
        if clock::now()
            .mono
            .0
            .saturating_sub(last_call.load(Ordering::Relaxed))
            >= idle_ms
        {
            return;
        }
    }
}

/// Hears a signal.
///
/// # Errors
/// When the system does not let it be caught.
pub(crate) fn on(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|e| Failure::fault(format!("signals: {}", e.kind())))
}

/// The signals that end a daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    async fn told_to_end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn socket(name: &str) -> (tokio::runtime::Runtime, PathBuf) {
        let path =
            std::env::temp_dir().join(format!("emptyroom-node-{}-{name}.sock", std::process::id()));
        (runtime().unwrap(), path)
    }

    /// The socket says that it belongs to somebody else: so this process is the stranger.
    // [SPEC 12.26]
    #[test]
    fn another_user_gets_no_answer() {
        let (runtime, path) = socket("stranger");
        runtime.block_on(async {
            let mut socket = Socket::bind(&path).unwrap();
            socket.owner = socket.owner.wrapping_add(1);
            let (engine, mut engine_hears) = mpsc::channel(1);
            let accepting = tokio::spawn(async move {
                let clients = Arc::new(Semaphore::new(CLIENTS_MAX));
                accept(&socket, &clients, &engine, &Arc::new(AtomicU64::new(0))).await
            });
            let mut stream = UnixStream::connect(&path).await.unwrap();
            // Fails where the other end is closed already.
            let _ = stream
                .write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n")
                .await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.is_empty());
            assert!(engine_hears.try_recv().is_err());
            accepting.abort();
        });
    }

    // [SPEC 12.25]
    #[test]
    fn the_socket_is_private_and_goes_with_its_owner() {
        let (runtime, path) = socket("private");
        runtime.block_on(async {
            std::fs::write(&path, b"left over").unwrap();
            let socket = Socket::bind(&path).unwrap();
            assert_eq!(
                std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
            drop(socket);
            assert!(!path.exists());
        });
    }

    #[test]
    fn the_end_waits_for_those_who_read_and_not_for_ever() {
        runtime().unwrap().block_on(async {
            let clients = Arc::new(Semaphore::new(CLIENTS_MAX));
            let reading = clients.clone().acquire_owned().await.unwrap();
            let answered = Arc::new(AtomicU64::new(0));
            let answers = answered.clone();
            let (waits, begun) = tokio::sync::oneshot::channel();
            tokio::spawn(async move {
                let _ = begun.await;
                answers.store(1, Ordering::Relaxed);
                drop(reading);
            });
            tokio::join!(farewell(&clients), async { waits.send(()) })
                .1
                .unwrap();
            assert_eq!(answered.load(Ordering::Relaxed), 1);
            let _never_reads = clients.clone().acquire_owned().await.unwrap();
            farewell(&clients).await;
        });
    }
}
