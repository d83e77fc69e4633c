//! The demo's stage: a temporary directory with a relay and two homes, and the programs that run in them.

use crate::run;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a command may take: nothing here waits as long.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(120);
/// How long the relay may take to stop by itself.
const STOPPING_TIME_MAX: Duration = Duration::from_secs(10);

/// The two programs, as cargo built them.
pub(crate) struct Programs {
    pub(crate) client: PathBuf,
    pub(crate) relay: PathBuf,
}

impl Programs {
    /// Builds them; without more arguments in the one profile that tests use as well.
    ///
    /// # Errors
    /// When cargo fails.
    pub(crate) fn build(arguments: &[&str]) -> Result<Programs, String> {
        let mut cargo = run::cargo(&[
            "build",
            "--locked",
            "--message-format",
            "json-render-diagnostics",
        ]);
        cargo.args([
            "--package",
            "emptyroom-cli",
            "--package",
            "emptyroom-relayd",
            "--bins",
        ]);
        cargo.args(arguments);
        let messages = run::output(&mut cargo)?;
        let messages = String::from_utf8_lossy(&messages);
        Ok(Programs {
            client: executable(&messages, "emptyroom")?,
            relay: executable(&messages, "emptyroom-relay")?,
        })
    }
}

/// Where cargo says that it put a program.
fn executable(messages: &str, name: &str) -> Result<PathBuf, String> {
    let mut paths = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_it = message.pointer("/target/name")?.as_str()? == name;
        let path = message.get("executable")?.as_str()?;
        is_it.then(|| PathBuf::from(path))
    });
    paths
        .next_back()
        .ok_or_else(|| format!("cargo built no program `{name}`"))
}

/// A directory of one's own that goes when this value goes.
pub(crate) struct Room {
    pub(crate) directory: PathBuf,
}

impl Room {
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn new(name: &str) -> Result<Room, String> {
        let directory = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|e| format!("{}: {e}", directory.display()))?;
        Ok(Room { directory })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A running relay; stopped when this value goes.
pub(crate) struct Relay {
    child: Child,
    pub(crate) data: PathBuf,
    /// Its address as everybody may see it.
    pub(crate) address: String,
    /// The same with the access code: who has it may make new logs.
    pub(crate) address_with_code: String,
}

impl Relay {
    /// Starts one on a free port and waits for the line with its address.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(program: &Path, data: PathBuf) -> Result<Relay, String> {
        let mut command = Command::new(program);
        command
            .arg("serve")
            .arg("--data")
            .arg(&data)
            .args(["--listen", "127.0.0.1:0"]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|e| format!("cannot run the relay: {e}"))?;
        let mut address = String::new();
        if let Some(output) = child.stdout.take() {
            let _ = BufReader::new(output).read_line(&mut address);
        }
        let mut relay = Relay {
            child,
            data,
            address: address.trim().to_owned(),
            address_with_code: String::new(),
        };
        if relay.address.is_empty() {
            let said = relay.last_words();
            return Err(format!("the relay did not start: {said}"));
        }
        let mut command = Command::new(program);
        let line = run::output(command.arg("address").arg("--data").arg(&relay.data))?;
        relay.address_with_code = String::from_utf8_lossy(&line).trim().to_owned();
        Ok(relay)
    }

    /// Asks it to stop, as a service manager would, and waits until it did.
    ///
    /// # Errors
    /// When it does not stop in time, or not cleanly.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        let status = self.ask_to_stop();
        match status {
            Some(status) if status.success() => Ok(()),
            other => Err(format!(
                "the relay did not stop cleanly: {other:?}: {}",
                self.last_words()
            )),
        }
    }

    fn ask_to_stop(&mut self) -> Option<ExitStatus> {
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        wait(&mut self.child, STOPPING_TIME_MAX)
    }

    fn last_words(&mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let mut said = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            let _ = errors.read_to_string(&mut said);
        }
        said
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.ask_to_stop();
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Somebody with a home and a passphrase.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) name: &'static str,
    program: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) pin_file: PathBuf,
}

/// What a command gave.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) errors: String,
}

impl Person {
    /// # Errors
    /// When the passphrase cannot be written down.
    pub(crate) fn new(name: &'static str, program: &Path, room: &Room) -> Result<Person, String> {
        let pin_file = room.directory.join(format!("{name}.pin"));
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let words = format!("{name} keeps a quiet room of green glass\n");
        let written = options
            .open(&pin_file)
            .and_then(|mut file| file.write_all(words.as_bytes()));
        written.map_err(|e| format!("{}: {e}", pin_file.display()))?;
        Ok(Person {
            name,
            program: program.to_path_buf(),
            home: room.directory.join(name),
            pin_file,
        })
    }

    /// Runs one command with `input` as its standard input.
    ///
    /// # Errors
    /// When it cannot be run or does not end with 0.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Result<Done, String> {
        let done = self.try_run(arguments, input)?;
        if done.code == Some(0) {
            return Ok(done);
        }
        let command = arguments.join(" ");
        Err(format!(
            "{}: emptyroom {command} ended with {:?}: {}{}",
            self.name, done.code, done.out, done.errors
        ))
    }

    /// A command on this home.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--home")
            .arg(&self.home)
            .arg("--pin-file")
            .arg(&self.pin_file)
            .args(arguments);
        command
    }

    /// The same, however it ends.
    ///
    /// # Errors
    /// When it cannot be run, or does not end.
    pub(crate) fn try_run(&self, arguments: &[&str], input: &str) -> Result<Done, String> {
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let failed = |e: std::io::Error| format!("{}: cannot run emptyroom: {e}", self.name);
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut pipe) = child.stdin.take() {
            // A command that does not read its input may be gone already.
            let _ = pipe.write_all(input.as_bytes());
        }
        let out = reader(child.stdout.take());
        let errors = reader(child.stderr.take());
        let status = wait(&mut child, COMMAND_TIME_MAX);
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let read = |reader: JoinHandle<String>| reader.join().unwrap_or_default();
        let done = Done {
            code: status.and_then(|status| status.code()),
            out: read(out),
            errors: read(errors),
        };
        match status {
            Some(_) => Ok(done),
            None => {
                let command = arguments.join(" ");
                Err(format!(
                    "{}: emptyroom {command} did not end: {}{}",
                    self.name, done.out, done.errors
                ))
            }
        }
    }

    /// Runs one command with `--json` and gives the objects it printed.
    ///
    /// # Errors
    /// As [`Person::run`], and when the output is no JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Result<Vec<Value>, String> {
        let done = self.run(&[&["--json"], arguments].concat(), "")?;
        let objects = done
            .out
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>();
        objects.map_err(|e| format!("{}: not JSON: {e}: {}", self.name, done.out))
    }

    /// The one command line with which a person takes this home over.
    pub(crate) fn alias(&self) -> String {
        format!(
            "alias {}='{} --home {} --pin-file {}'",
            self.name,
            self.program.display(),
            self.home.display(),
            self.pin_file.display()
        )
    }
}

/// Reads a pipe to its end, beside the child that fills it.
fn reader(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for a child, but not for ever.
fn wait(child: &mut Child, longest: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < longest {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}
