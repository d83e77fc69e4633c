//! The program under test: how it is started, what it says, how it ends.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use serde_json::Value;

use super::DEADLINE;

/// What a command gave.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Done {
    pub fn json(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
            .collect()
    }

    /// The one object that was printed.
    pub fn one(&self) -> Value {
        let mut objects = self.json();
        assert_eq!(objects.len(), 1, "{self:?}");
        objects.remove(0)
    }

    /// The failure that was reported as JSON, which is the last line of standard error.
    pub fn failure(&self) -> Value {
        serde_json::from_str(self.err.lines().last().unwrap())
            .unwrap_or_else(|_| panic!("no JSON: {}", self.err))
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// The program under test, without a terminal and without this machine's settings.
pub fn program() -> Command {
    program_at(Path::new(env!("CARGO_BIN_EXE_emptyroom")))
}

/// The same, as a copy that lies there.
pub fn program_at(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("TZ", "UTC").env("HOME", "/nowhere");
    // This machine's screen may be locked while tests run.
    command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere");
    without_terminal(&mut command);
    command
}

/// In a session of its own there is no terminal to ask on.
#[allow(unsafe_code)]
fn without_terminal(command: &mut Command) {
    // SAFETY: setsid is a plain system call that is safe between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        });
    }
}

/// Sends a signal to a process.
pub fn signal(id: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &id.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Runs to the end, or kills what hangs.
pub fn finish(command: Command, input: &str) -> Done {
    let mut running = Running::start(command);
    running.write(input);
    running.end_of_input();
    running.finish()
}

/// A process that runs, with its lines as they come.
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    out: Receiver<String>,
    err: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        let (out, err) = (
            lines(child.stdout.take().unwrap()),
            lines(child.stderr.take().unwrap()),
        );
        Self {
            child,
            input,
            out,
            err,
            seen: Vec::new(),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn write(&mut self, text: &str) {
        if let Some(input) = &mut self.input {
            // A command that does not read its input may be gone already.
            let _ = input
                .write_all(text.as_bytes())
                .and_then(|()| input.flush());
        }
    }

    pub fn end_of_input(&mut self) {
        self.input = None;
    }

    /// The next line of standard output for which `wanted` says yes; those before are kept for `finish`.
    #[track_caller]
    pub fn wait_for_line(&mut self, mut wanted: impl FnMut(&str) -> bool) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            match self
                .out
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if wanted(&line) {
                        return line;
                    }
                }
                Err(e) => {
                    let _ = self.child.kill();
                    let err: Vec<String> = self.err.iter().collect();
                    panic!(
                        "{e}; standard output so far: {:?}; standard error: {err:?}",
                        self.seen
                    );
                }
            }
        }
    }

    /// The first JSON object for which `wanted` says yes.
    #[track_caller]
    pub fn wait_for_json(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let parsed = |line: &str| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("no JSON: {line}"))
        };
        parsed(&self.wait_for_line(|line| wanted(&parsed(line))))
    }

    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Waits for the end.
    #[track_caller]
    pub fn finish(mut self) -> Done {
        self.input = None;
        self.finish_with_open_input()
    }

    /// Waits for an end that the end of input is not the reason of.
    #[track_caller]
    pub fn finish_with_open_input(mut self) -> Done {
        let until = Instant::now() + DEADLINE;
        // Both ends of the pipes close when the process does.
        loop {
            match self
                .out
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    let err: Vec<String> = self.err.iter().collect();
                    panic!("it does not end; so far: {:?}; {err:?}", self.seen);
                }
            }
        }
        let code = self.child.wait().unwrap().code();
        let err: Vec<String> = self.err.iter().collect();
        let text = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect();
        Done {
            code,
            out: text(&self.seen),
            err: text(&err),
        }
    }

    /// SIGKILL, now.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
