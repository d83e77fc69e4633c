//! The stage: a relay in this process, people with homes of their own, the program under test as their processes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use emptyroom_relayd::server::{Options, Public, Server};
use serde_json::Value;

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

/// A relay that can be stopped and started again on the same port.
pub struct Relay {
    runtime: tokio::runtime::Runtime,
    server: Option<Server>,
    data: PathBuf,
    listen: SocketAddr,
    /// Dialled in its place.
    road: Option<Road>,
    pub address: String,
    _scratch: Scratch,
}

impl Relay {
    pub fn start() -> Self {
        Self::start_behind(None)
    }

    /// Whoever dials it comes by this road.
    pub fn start_at_the_end_of(road: Road) -> Self {
        Self::start_behind(Some(road))
    }

    fn start_behind(road: Option<Road>) -> Self {
        let scratch = Scratch::new();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut relay = Self {
            runtime,
            server: None,
            data: scratch.path().join("data"),
            listen: "127.0.0.1:0".parse().unwrap(),
            road,
            address: String::new(),
            _scratch: scratch,
        };
        relay.resume();
        relay
    }

    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            assert!(self.runtime.block_on(server.stop()).is_ok());
        }
    }

    pub fn resume(&mut self) {
        let mut options = Options::new(self.data.clone(), self.listen);
        options.public = self.road.as_ref().map(Road::public);
        let server = self
            .runtime
            .block_on(Server::start(options))
            .unwrap_or_else(|_| panic!("the relay does not start"));
        self.listen = server.listening();
        if let Some(road) = &self.road {
            road.lead_to(self.listen);
        }
        self.address = server.address().with_code();
        self.server = Some(server);
    }
}

/// What lies between clients and a relay, and can be closed: then nothing comes through, and connections stand.
#[derive(Clone)]
pub struct Road {
    dialled: SocketAddr,
    to: Arc<Mutex<Option<SocketAddr>>>,
    closed: Arc<AtomicBool>,
}

impl Road {
    pub fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let road = Self {
            dialled: listener.local_addr().unwrap(),
            to: Arc::default(),
            closed: Arc::default(),
        };
        let on = road.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Some(to) = *on.to.lock().unwrap() else {
                    continue;
                };
                let Ok(far) = TcpStream::connect(to) else {
                    continue;
                };
                on.carry(&near, &far);
                on.carry(&far, &near);
            }
        });
        road
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn public(&self) -> Public {
        Public::parse(&self.dialled.to_string()).unwrap_or_else(|_| panic!("no address"))
    }

    fn lead_to(&self, relay: SocketAddr) {
        *self.to.lock().unwrap() = Some(relay);
    }

    fn carry(&self, from: &TcpStream, to: &TcpStream) {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let closed = self.closed.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 16 * 1024];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                if !closed.load(Ordering::Relaxed) && to.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Somebody with a home and a PIN file.
pub struct Person {
    pub home: PathBuf,
    pub pin_file: PathBuf,
    scratch: Scratch,
}

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

/// The program under test, without a terminal and without this machine's settings.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emptyroom"));
    command.env_clear().env("TZ", "UTC").env("HOME", "/nowhere");
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
    pub fn wait_for_line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
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
    pub fn wait_for_json(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
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
