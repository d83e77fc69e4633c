//! The real programs: where `cargo xtask bench` built them, and what the system says that they use.

use crate::Trouble;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Ticks of `/proc/PID/stat` in a second: fixed on Linux.
const TICKS_PER_SECOND: u64 = 100;

/// The client's program.
pub fn client() -> Result<PathBuf, Trouble> {
    from_environment("EMPTYROOM_CLIENT")
}

fn from_environment(name: &str) -> Result<PathBuf, Trouble> {
    let path = std::env::var_os(name)
        .ok_or_else(|| format!("{name} is not set: run `cargo xtask bench`"))?;
    Ok(path.into())
}

/// A relay with a fresh directory, stopped when this value goes.
pub struct RelayProgram {
    child: Child,
    /// Its address line.
    pub address: String,
}

impl RelayProgram {
    /// On a fresh data directory with a kind of store.
    pub fn start(directory: &Path, store: &str) -> Result<RelayProgram, Trouble> {
        let mut child = Command::new(from_environment("EMPTYROOM_RELAY")?)
            .arg("serve")
            .arg("--data")
            .arg(directory.join(store))
            .args(["--store", store])
            .args(["--listen", "127.0.0.1:0", "--open"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut address)?;
        }
        let relay = RelayProgram {
            child,
            address: address.trim().to_owned(),
        };
        if relay.address.is_empty() {
            return Err("the relay did not start".into());
        }
        Ok(relay)
    }

    /// CPU time that it has used so far.
    pub fn cpu(&self) -> Result<Duration, Trouble> {
        cpu_of(self.child.id())
    }

    /// Memory that it holds now.
    pub fn memory(&self) -> Result<String, Trouble> {
        memory_of(self.child.id(), "VmRSS")
    }
}

impl Drop for RelayProgram {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time of a process, all its threads; ten milliseconds exact.
fn cpu_of(id: u32) -> Result<Duration, Trouble> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name in parentheses may hold anything; fields are counted after it.
    let fields = stat
        .rsplit_once(')')
        .map(|(_, fields)| fields)
        .unwrap_or_default();
    let ticks = |number: usize| -> u64 {
        let field = fields.split_whitespace().nth(number);
        field.and_then(|field| field.parse().ok()).unwrap_or(0)
    };
    Ok(Duration::from_millis(
        (ticks(11) + ticks(12)) * 1_000 / TICKS_PER_SECOND,
    ))
}

/// One line of `/proc/PID/status`.
pub fn memory_of(id: u32, what: &str) -> Result<String, Trouble> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    Ok(line.ok_or("no such line")?.trim().to_owned())
}
