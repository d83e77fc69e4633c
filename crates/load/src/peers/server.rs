//! A peer's server as a child process: started, watched, killed, never left behind.

use super::Trouble;
use super::certificate::Certificate;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it accepts a connection, and then until it serves one.
pub(super) const START_TIME_MAX: Duration = Duration::from_secs(60);
/// How often that is tried.
pub(super) const START_STEP: Duration = Duration::from_millis(50);
/// Lines of a server's output that an error shows.
const LOG_LINES_SHOWN: usize = 8;

/// What a server is started on.
pub(super) struct Place<'a> {
    /// Its own, for everything it writes.
    pub(super) directory: &'a Path,
    pub(super) certificate: &'a Certificate,
    pub(super) port: u16,
}

/// A running server. It is killed when this value goes.
pub(super) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts a program and waits until its port accepts connections.
    pub(super) fn start(mut command: Command, place: &Place<'_>) -> Result<Server, Trouble> {
        let log = place.directory.join("output.log");
        let output = File::options().create(true).append(true).open(&log)?;
        let program = command.get_program().display().to_string();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|why| format!("cannot start {program}: {why}"))?;
        let mut server = Server { child, log };
        let deadline = Instant::now() + START_TIME_MAX;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, place.port)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(server.said(&format!("{program} ended with {status}")));
            }
            if Instant::now() > deadline {
                return Err(server.said(&format!("{program} does not listen after a minute")));
            }
            std::thread::sleep(START_STEP);
        }
        Ok(server)
    }

    /// The process and all that came of it.
    pub(super) fn processes(&self) -> Vec<u32> {
        let parents: BTreeMap<u32, u32> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|id| Some((id, parent_of(id)?)))
            .collect();
        let mut found = vec![self.child.id()];
        let mut at = 0;
        while let Some(parent) = found.get(at).copied() {
            let children = parents.iter().filter(|(_, of)| **of == parent);
            found.extend(children.map(|(id, _)| *id));
            at += 1;
        }
        found
    }

    /// `kill -9`, as a crash.
    pub(super) fn kill(&mut self) -> Result<(), Trouble> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// An error with the end of the server's own output.
    pub(super) fn said(&self, what: &str) -> Trouble {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let shown = lines.len().saturating_sub(LOG_LINES_SHOWN);
        let end = lines.get(shown..).unwrap_or_default().join("\n  ");
        format!("{what}; its last words:\n  {end}").into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn parent_of(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything; then come the state and the parent.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

/// A port of this machine that was free a moment ago.
pub(super) fn free_port() -> Result<u16, Trouble> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// A program where the search path has it, or where Debian puts servers.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An ordinary user's path leaves this one out.
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    places
        .map(|place| place.join(name))
        .find(|file| file.is_file())
}

/// What a command writes, whatever its exit code (`mosquitto -h` ends with 3).
pub(super) fn said_by(command: &mut Command) -> Result<String, Trouble> {
    let output = command.stdin(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
