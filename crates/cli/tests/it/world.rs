//! The stage: a relay in this process, people with homes of their own, the program under test as their processes.

pub mod logind;
mod relay;
mod running;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

pub use relay::{Relay, Road};
pub use running::{Done, Running, finish, program, program_at, signal};

/// What only a program that hangs reaches.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A directory that goes with the test. In memory where there is such a place: these tests are not about the disk.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("er-cli-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Somebody with a home and a PIN file.
pub struct Person {
    pub home: PathBuf,
    pub pin_file: PathBuf,
    scratch: Scratch,
}

impl Person {
    /// Somebody without a vault.
    pub fn new() -> Self {
        let scratch = Scratch::new();
        let home = scratch.path().join("home");
        let pin_file = scratch.path().join("pin");
        write_private(&pin_file, "a quiet room of green glass\n");
        Self {
            home,
            pin_file,
            scratch,
        }
    }

    /// Somebody without a vault whose home is to be below this directory.
    pub fn at(directory: &Path) -> Self {
        Self {
            home: directory.join("home"),
            ..Self::new()
        }
    }

    /// Somebody with a vault that was made with the documented minimum cost.
    pub fn with_vault(relay: Option<&Relay>) -> Self {
        let person = Self::new();
        match relay {
            Some(relay) => {
                let address = format!("{}\n", relay.address);
                person
                    .run_with(&["init", "--kdf", "minimum", "--relay", "-"], &address)
                    .ok()
            }
            None => person.run(&["init", "--kdf", "minimum"]).ok(),
        };
        person
    }

    /// A file beside the home.
    pub fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The program with this home and PIN, without a terminal.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command
            .arg("--home")
            .arg(&self.home)
            .arg("--pin-file")
            .arg(&self.pin_file)
            .args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Done {
        self.run_with(arguments, "")
    }

    pub fn run_with(&self, arguments: &[&str], input: &str) -> Done {
        finish(self.command(arguments), input)
    }

    pub fn json(&self, arguments: &[&str]) -> Vec<Value> {
        self.run(&[&["--json"], arguments].concat()).ok().json()
    }

    pub fn spawn(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments))
    }

    /// A daemon that listens.
    pub fn daemon(&self, arguments: &[&str]) -> Running {
        let mut daemon = self.spawn(&[&["daemon"], arguments].concat());
        daemon.wait_for_line(|line| line.ends_with("daemon.sock"));
        daemon
    }
}

/// Two people with a conversation that stands.
pub fn pair(relay: &Relay) -> (Person, Person) {
    let (ada, ben) = (Person::with_vault(Some(relay)), Person::with_vault(None));
    let link = ada.run(&["invite", "ben"]).ok().out;
    ben.run_with(&["join", "--as", "ada"], &link).ok();
    // She reads that he came.
    ada.run(&["receive"]).ok();
    ben.run(&["receive"]).ok();
    (ada, ben)
}

pub fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}
