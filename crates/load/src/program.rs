//! The real programs: where `cargo xtask bench` built them, and a relay that can be stopped and started again.

use crate::Trouble;
use crate::cost::Cost;
use emptyroom_wire::address::RelayAddress;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The client's program.
///
/// # Errors
/// When nobody said where it is.
pub fn client() -> Result<PathBuf, Trouble> {
    from_environment("EMPTYROOM_CLIENT")
}

fn from_environment(name: &str) -> Result<PathBuf, Trouble> {
    let path = std::env::var_os(name)
        .ok_or_else(|| format!("{name} is not set: run `cargo xtask bench`"))?;
    Ok(path.into())
}

/// How a relay is stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGKILL: it has no time for anything.
    Kill,
    /// SIGTERM: it answers what it took and tidies up.
    Terminate,
}

/// A relay on a data directory, killed when this value goes.
pub struct RelayProgram {
    child: Child,
    data: PathBuf,
    arguments: Vec<String>,
    /// Its address line.
    pub address: String,
}

impl RelayProgram {
    /// Starts one with these further arguments of `serve`, open to everybody, on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When it does not say its address.
    pub fn start(data: &Path, arguments: &[&str]) -> Result<RelayProgram, Trouble> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.into()).collect();
        let (child, address) = spawn(data, "127.0.0.1:0", &arguments)?;
        Ok(RelayProgram {
            child,
            data: data.to_owned(),
            arguments,
            address,
        })
    }

    /// Stops it; what that took.
    ///
    /// # Errors
    /// When it cannot be stopped.
    pub fn stop(&mut self, how: Stop) -> Result<Duration, Trouble> {
        let start = Instant::now();
        match how {
            Stop::Kill => self.child.kill()?,
            Stop::Terminate => {
                let id = self.child.id().to_string();
                Command::new("kill").args(["-s", "TERM", &id]).status()?;
            }
        }
        self.child.wait()?;
        Ok(start.elapsed())
    }

    /// Starts it again on the same port and data; what it took until it served.
    ///
    /// # Errors
    /// When it does not say its address.
    pub fn start_again(&mut self) -> Result<Duration, Trouble> {
        let start = Instant::now();
        let host = RelayAddress::parse(&self.address)?.host.to_string();
        (self.child, self.address) = spawn(&self.data, &host, &self.arguments)?;
        Ok(start.elapsed())
    }

    /// Its number in the system.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it cost so far.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cost(&self) -> Result<Cost, Trouble> {
        Cost::of(&[self.id()])
    }
}

fn spawn(data: &Path, listen: &str, arguments: &[String]) -> Result<(Child, String), Trouble> {
    let mut child = Command::new(from_environment("EMPTYROOM_RELAY")?)
        .arg("serve")
        .arg("--data")
        .arg(data)
        .args(["--listen", listen, "--open"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut address = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut address)?;
    }
    let address = address.trim().to_owned();
    if address.is_empty() {
        let _ = child.kill();
        let _ = child.wait();
        return Err("the relay did not start".into());
    }
    Ok((child, address))
}

impl Drop for RelayProgram {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
