//! The real binary as a child process.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use emptyroom_wire::address::RelayAddress;

/// A running relay; killed if the test ends before it stopped it.
pub struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: PathBuf,
    pub address: RelayAddress,
}

/// How often something random is tried: what `cargo xtask soak` says, else `usual`.
pub fn repeats(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |number| number.parse().unwrap())
}

/// The binary with nothing of ours in its way.
pub fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_emptyroom-relay"))
}

/// `serve` on a free port of the loopback address.
pub fn serve(data: &Path) -> Command {
    let mut command = binary();
    command
        .arg("serve")
        .arg("--data")
        .arg(data)
        .args(["--listen", "127.0.0.1:0"]);
    command
}

/// The same command, but with no more open files than this.
pub fn with_descriptors(command: &Command, limit: u32) -> Command {
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &limit.to_string()])
        .arg(command.get_program())
        .args(command.get_args());
    limited
}

impl Process {
    /// An open relay on a data directory, ready to be dialled.
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// The same with more arguments.
    pub fn start_with(data: &Path, arguments: &[&str]) -> Self {
        let mut command = serve(data);
        command.arg("--open").args(arguments);
        Self::spawn(command, data)
    }

    /// Runs a `serve` command until it has printed its address.
    pub fn spawn(mut command: Command, data: &Path) -> Self {
        let stderr = data.with_extension("stderr");
        let errors = File::options()
            .create(true)
            .append(true)
            .open(&stderr)
            .unwrap();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = RelayAddress::parse(&line).unwrap_or_else(|_| {
            panic!(
                "no address: {line:?} {}",
                std::fs::read_to_string(&stderr).unwrap()
            )
        });
        Self {
            child,
            stdout,
            stderr,
            address,
        }
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal and waits for the end; the rest of standard output, all of standard error.
    pub fn signal(mut self, name: &str) -> (ExitStatus, String, String) {
        self.send(name);
        self.wait()
    }

    pub fn send(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    pub fn wait(&mut self) -> (ExitStatus, String, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        (status, rest, std::fs::read_to_string(&self.stderr).unwrap())
    }
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
