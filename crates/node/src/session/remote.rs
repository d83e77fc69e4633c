//! A daemon's client: JSON-RPC over its socket, blocking, with one thread that tells responses from events.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Uid;

use super::{Events, events};
use crate::api::{Call, Exit, Failure};
use crate::engine::{Answerer, Watcher};
use crate::home;
use crate::rpc::{self, FromDaemon, Lines};

/// How long a daemon may take to answer, beyond the time that a call itself asks for.
// [SPEC 12.34]
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);

/// What deriving keys may take besides: of the present secret and of the new one, on a slow machine.
const DERIVING_TIME_MAX: Duration = Duration::from_secs(60);

/// What a TPM that is slow, or relays that are away, may take besides.
const FACTORS_TIME_MAX: Duration = Duration::from_secs(45);

/// What a drill may take besides: it derives keys a dozen times.
const DRILL_TIME_MAX: Duration = Duration::from_secs(600);

/// How often late answers are looked for.
const CHECK: Duration = Duration::from_secs(1);

/// A connection to a daemon.
pub(super) struct Remote {
    answer_time_max: Duration,
    socket: Mutex<UnixStream>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    id_last: u64,
    waiting: HashMap<u64, Waiting>,
    events: Option<Watcher>,
    /// Why nothing comes any more.
    ended: Option<Failure>,
}

/// Who waits for a response, and until when.
struct Waiting {
    answerer: Answerer,
    until: Option<Instant>,
}

impl Remote {
    /// Connects, if somebody listens. A socket that nobody listens on was left behind by a daemon that was killed.
    pub(super) fn connect(home: &Path) -> Result<Option<Self>, Failure> {
        Self::connect_for(home, ANSWER_TIME_MAX)
    }

    fn connect_for(home: &Path, answer_time_max: Duration) -> Result<Option<Self>, Failure> {
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
        let fault = |e: std::io::Error| Failure::fault(format!("socket: {}", e.kind()));
        let pid = pid_of(&socket, rustix::process::geteuid())?;
        // Who does not take what is written does not answer, either.
        socket
            .set_write_timeout(Some(answer_time_max))
            .and_then(|()| socket.set_read_timeout(Some(CHECK.min(answer_time_max))))
            .map_err(fault)?;
        let shared = Arc::new(Mutex::new(Shared::default()));
        let reading = socket.try_clone().map_err(fault)?;
        let for_thread = shared.clone();
        std::thread::Builder::new()
            .name("daemon".to_owned())
            .spawn(move || read(reading, &for_thread, pid))
            .map_err(|e| Failure::fault(format!("no thread: {}", e.kind())))?;
        Ok(Some(Self {
            answer_time_max,
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
            let until = Instant::now().checked_add(self.patience(call));
            shared.waiting.insert(id, Waiting { answerer, until });
            id
        };
        let line = rpc::request_line(id, call);
        if line.len() > rpc::REQUEST_BYTES_MAX {
            let waiting = lock(&self.shared).waiting.remove(&id);
            if let Some(waiting) = waiting {
                (waiting.answerer)(Err(Failure::new(
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

    /// How long a daemon that works takes for a call at most.
    fn patience(&self, call: &Call) -> Duration {
        self.answer_time_max
            + match call {
                Call::Flush { wait_ms } => Duration::from_millis(*wait_ms),
                Call::ChangeSecret { .. }
                | Call::SetMode { .. }
                | Call::SetPanic { .. }
                | Call::UnsetPanic { .. }
                | Call::ForgetLeft { .. }
                | Call::SetRecovery { .. }
                | Call::SetDeadman { .. }
                | Call::SuspendDeadman { .. }
                | Call::SetSwitch { .. }
                | Call::UnsetSwitch { .. } => DERIVING_TIME_MAX,
                Call::Drill {} => DRILL_TIME_MAX,
                Call::Panic {} | Call::VaultMode { .. } => FACTORS_TIME_MAX,
                _ => Duration::ZERO,
            }
    }

    pub(super) fn events(&self) -> Result<Events, Failure> {
        let (watcher, events) = events();
        // Never waits: a program that is slow, or itself waits for a response, misses events and is told so.
        lock(&self.shared).events = Some(watcher);
        // What it answers, the connection's end would tell as well.
        self.call(&Call::Subscribe {}, Box::new(drop));
        Ok(events)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = lock(&self.socket).shutdown(std::net::Shutdown::Both);
    }
}

/// The process that listens, which must be this user's: what it is told are PINs and messages.
// [SPEC 12.35]
fn pid_of(socket: &UnixStream, user: Uid) -> Result<i32, Failure> {
    let peer = rustix::net::sockopt::socket_peercred(socket)
        .map_err(|_| Failure::fault("the system does not say whose the daemon is"))?;
    if peer.uid == user {
        return Ok(peer.pid.as_raw_nonzero().get());
    }
    Err(Failure::new(
        Exit::Refused,
        "daemon_foreign",
        "the daemon of this home belongs to another user",
    )
    .hint("run the command as that user, or give the right --home"))
}

/// Reads until the daemon ends, and then tells everybody who waits.
fn read(mut socket: UnixStream, shared: &Mutex<Shared>, pid: i32) {
    let ended = read_lines(&mut socket, shared, pid)
        .err()
        .unwrap_or_else(Failure::locked);
    let mut shared = lock(shared);
    let waiting = std::mem::take(&mut shared.waiting);
    shared.ended = Some(ended.clone());
    shared.events = None;
    drop(shared);
    for waiting in waiting.into_values() {
        (waiting.answerer)(Err(ended.clone()));
    }
}

fn read_lines(socket: &mut UnixStream, shared: &Mutex<Shared>, pid: i32) -> Result<(), Failure> {
    let mut lines = Lines::new(rpc::RESPONSE_BYTES_MAX);
    let mut buffer = vec![0_u8; 64 * 1024];
    let mut end: Option<Failure> = None;
    loop {
        let count = match socket.read(&mut buffer) {
            Ok(0) => return end.map_or(Ok(()), Err),
            Ok(count) => count,
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut
                ) =>
            {
                0
            }
            Err(_) => return end.map_or(Ok(()), Err),
        };
        lines.push(buffer.get(..count).unwrap_or_default());
        while let Some(line) = lines
            .next_line()
            .map_err(|_| Failure::fault("the daemon's answer is too long"))?
        {
            match rpc::parse_from_daemon(&line)? {
                FromDaemon::Response(id, outcome) => {
                    let waiting = lock(shared).waiting.remove(&id);
                    if let Some(waiting) = waiting {
                        (waiting.answerer)(outcome);
                    }
                }
                FromDaemon::Refusal(failure) => return Err(failure),
                FromDaemon::Event(event) => {
                    // [SPEC 12.46]
                    end = end.or_else(|| event.end());
                    if let Some(watcher) = &mut lock(shared).events {
                        watcher(&event);
                    }
                }
            }
        }
        if is_late(shared) {
            return Err(Failure::silent(pid));
        }
    }
}

/// Whether somebody waits for an answer that should have come.
fn is_late(shared: &Mutex<Shared>) -> bool {
    let now = Instant::now();
    let late = |waiting: &Waiting| waiting.until.is_some_and(|until| until <= now);
    lock(shared).waiting.values().any(late)
}

/// A panic elsewhere does not make what is behind the lock wrong: every change to it is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;
    use std::sync::mpsc::sync_channel;

    use super::*;

    /// A home whose daemon is this test.
    fn daemon(name: &str) -> (PathBuf, UnixListener) {
        let home =
            std::env::temp_dir().join(format!("emptyroom-node-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let socket = home::socket_path(&home).unwrap();
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(socket).unwrap();
        (home, listener)
    }

    fn answer(remote: &Remote, call: &Call) -> Failure {
        let (answered, answer) = sync_channel(1);
        remote.call(
            call,
            Box::new(move |outcome| answered.send(outcome).unwrap()),
        );
        answer.recv().unwrap().err().unwrap()
    }

    // [SPEC 12.34]
    #[test]
    fn a_daemon_that_hangs_is_not_waited_for_longer_than_was_asked() {
        let (home, listener) = daemon("silent");
        let remote = Remote::connect_for(&home, Duration::from_millis(50))
            .unwrap()
            .unwrap();
        let since = Instant::now();
        let wait = Duration::from_millis(300);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap();
        assert_eq!(
            answer(&remote, &Call::Flush { wait_ms }).error,
            "daemon_silent"
        );
        assert!(since.elapsed() >= wait);
        // It stays so.
        let failure = answer(&remote, &Call::Status {});
        assert_eq!(failure.error, "daemon_silent");
        let pid = std::process::id().to_string();
        assert!(failure.hint.is_some_and(|hint| hint.contains(&pid)));
        drop(listener);
        std::fs::remove_dir_all(home).unwrap();
    }

    // [SPEC 12.35]
    #[test]
    fn a_daemon_of_somebody_else_is_told_nothing() {
        let (socket, _theirs) = UnixStream::pair().unwrap();
        let own = rustix::process::geteuid();
        assert_eq!(
            pid_of(&socket, own),
            Ok(i32::try_from(std::process::id()).unwrap())
        );
        let other = Uid::from_raw(own.as_raw().wrapping_add(1));
        let refused = pid_of(&socket, other).unwrap_err();
        assert_eq!(
            (refused.error.as_str(), refused.exit),
            ("daemon_foreign", Exit::Refused)
        );
    }

    // [SPEC 12.24]
    #[test]
    fn a_busy_daemon_is_told_as_busy() {
        let (home, listener) = daemon("busy");
        let remote = Remote::connect(&home).unwrap().unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(rpc::busy_line().as_bytes()).unwrap();
        drop(stream);
        assert_eq!(answer(&remote, &Call::Status {}).error, "daemon_busy");
        std::fs::remove_dir_all(home).unwrap();
    }
}
