//! What a relay on several nodes consists of, each on a free port of this machine, each ended with the value that stands for it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{run, system};

/// How long a server may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
const PASSWORD: &str = "for-this-machine-only";

/// Where servers listen: below what systems give to connections, one of which could have the port of a server that is away.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// So many ports that are free now.
///
/// # Errors
/// When there are none.
pub(crate) fn free_ports(number: usize) -> Result<Vec<u16>, String> {
    // Two rooms on one machine look in different places.
    let offset = std::process::id() as usize % PORTS.len();
    let free: Vec<u16> = PORTS
        .cycle()
        .skip(offset)
        .take(PORTS.len())
        .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .take(number)
        .collect();
    match free.len() == number {
        true => Ok(free),
        false => Err("no free port".into()),
    }
}

fn free_port() -> Result<u16, String> {
    free_ports(1)?.pop().ok_or_else(|| "no free port".into())
}

/// A server that is killed when this value goes.
struct Server(Option<Child>);

impl Server {
    fn spawn(command: &mut Command) -> Result<Server, String> {
        command.stdin(Stdio::null());
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn();
        let child = child.map_err(|e| format!("cannot run {program}: {e}"))?;
        Ok(Server(Some(child)))
    }

    fn id(&self) -> u32 {
        self.0.as_ref().map_or(0, Child::id)
    }

    fn has_ended(&mut self) -> bool {
        let ended = self.0.as_mut().map(Child::try_wait);
        !matches!(ended, Some(Ok(None)))
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to stop, and waits.
    fn stop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let id = child.id().to_string();
            let _ = Command::new("kill").args(["-INT", &id]).status();
            let _ = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until something listens.
fn listens(port: u16, what: &str) -> Result<(), String> {
    let until = Instant::now() + STARTS_WITHIN;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > until {
            return Err(format!("{what} does not start"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// PostgreSQL with one database.
pub(crate) struct Database {
    server: Server,
    directory: PathBuf,
    bin: PathBuf,
    port: u16,
    /// Whom it runs as: it refuses to be root.
    user: Option<(u32, u32)>,
}

impl Database {
    /// # Errors
    /// What PostgreSQL says.
    pub(crate) fn start(room: &Path) -> Result<Database, String> {
        let directory = room.join("postgres");
        let user = if system::is_root() {
            Some(other_user()?)
        } else {
            None
        };
        let failed = |e: std::io::Error| format!("{}: {e}", directory.display());
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(failed)?;
        if let Some((uid, gid)) = user {
            chown(&directory, Some(uid), Some(gid)).map_err(failed)?;
            // So that this user gets there, and sees nothing else on the way.
            fs::set_permissions(room, fs::Permissions::from_mode(0o711)).map_err(failed)?;
        }
        let password = directory.join("password");
        fs::write(&password, PASSWORD).map_err(failed)?;
        let mut database = Database {
            server: Server(None),
            bin: system::postgres_programs().ok_or("PostgreSQL is not installed")?,
            port: free_port()?,
            directory,
            user,
        };
        let mut init = database.command("initdb");
        init.args(["--username=emptyroom", "--auth=scram-sha-256"])
            .args(["--encoding=UTF8", "--locale=C"])
            .arg(format!("--pwfile={}", password.display()))
            .arg("--pgdata")
            .arg(database.directory.join("data"));
        run::output(&mut init)?;
        database.run()?;
        Ok(database)
    }

    /// Starts it. It refuses to while processes of one that was killed are there: then it is tried again.
    ///
    /// # Errors
    /// When it does not start, with the last it said.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let until = Instant::now() + STARTS_WITHIN;
        loop {
            self.spawn()?;
            while !self.server.has_ended() {
                if self.is_ready() {
                    return Ok(());
                }
                if Instant::now() > until {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            if Instant::now() > until {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                let last = log.lines().last().unwrap_or("it says nothing");
                return Err(format!("PostgreSQL does not start: {last}"));
            }
        }
    }

    /// It takes sessions, which it does later than it listens.
    fn is_ready(&self) -> bool {
        let mut asked = self.command("pg_isready");
        asked.args(["--quiet", "--host=127.0.0.1", "--port"]);
        let asked = asked.arg(self.port.to_string()).status();
        asked.is_ok_and(|status| status.success())
    }

    fn spawn(&mut self) -> Result<(), String> {
        let path = self.log();
        let log = fs::OpenOptions::new().create(true).append(true).open(&path);
        let log = log.map_err(|e| format!("{}: {e}", path.display()))?;
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(self.directory.join("data"))
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .arg("-c")
            .arg(format!("port={}", self.port))
            .stdout(Stdio::null())
            .stderr(log);
        self.server = Server::spawn(&mut command)?;
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// With all its processes: they end when they see that the first one is gone.
    ///
    /// # Errors
    /// When they do not end.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        self.server.kill();
        let until = Instant::now() + STARTS_WITHIN;
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            if Instant::now() > until {
                return Err("PostgreSQL does not end".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// What `--store` wants. The database is the one that every server has from the start.
    pub(crate) fn address(&self) -> String {
        let port = self.port;
        format!("postgres://emptyroom:{PASSWORD}@127.0.0.1:{port}/postgres")
    }

    /// Its first process.
    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// All of its processes as of now.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let first = self.server.id();
        let listed = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let children = numbers.filter(|number| parent(*number) == Some(first));
        std::iter::once(first).chain(children).collect()
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.current_dir(&self.directory);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.server.stop();
    }
}

/// The process that began another.
fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold anything; fields are counted after it.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

fn other_user() -> Result<(u32, u32), String> {
    let id = |flag: &str, user: &str| -> Option<u32> {
        let output = Command::new("id").args([flag, user]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    let of = |user| Some((id("-u", user)?, id("-g", user)?));
    let user = of("postgres").or_else(|| of("nobody"));
    user.ok_or_else(|| "there is no user whom PostgreSQL could run as".into())
}

/// NATS core.
pub(crate) struct Nats {
    server: Server,
    port: u16,
}

impl Nats {
    /// # Errors
    /// When it does not start.
    pub(crate) fn start() -> Result<Nats, String> {
        let mut nats = Nats {
            server: Server(None),
            port: free_port()?,
        };
        nats.run()?;
        Ok(nats)
    }

    /// # Errors
    /// When it does not start.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let mut command = Command::new(system::nats_program().ok_or("NATS is not installed")?);
        command
            .args(["-a", "127.0.0.1", "-p", &self.port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.server = Server::spawn(&mut command)?;
        listens(self.port, "NATS")
    }

    pub(crate) fn stop(&mut self) {
        self.server.kill();
    }

    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// What `--wake` wants.
    pub(crate) fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

/// One node of the relay.
pub(crate) struct Node {
    server: Server,
    program: PathBuf,
    data: PathBuf,
    arguments: Vec<String>,
}

impl Node {
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(
        program: &Path,
        data: PathBuf,
        port: u16,
        arguments: &[&str],
    ) -> Result<Node, String> {
        let listen = format!("127.0.0.1:{port}");
        let arguments = ["--listen", &listen]
            .into_iter()
            .chain(arguments.iter().copied());
        let mut node = Node {
            server: Server(None),
            program: program.to_path_buf(),
            data,
            arguments: arguments.map(str::to_owned).collect(),
        };
        node.run()?;
        Ok(node)
    }

    /// Starts it, and waits for its address.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        command
            .args(["serve", "--data"])
            .arg(&self.data)
            .args(&self.arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        self.server = Server::spawn(&mut command)?;
        let output = self.server.0.as_mut().and_then(|child| child.stdout.take());
        let mut line = String::new();
        if let Some(output) = output {
            let _ = BufReader::new(output).read_line(&mut line);
        }
        if line.trim().is_empty() {
            return Err(format!("{} did not start", self.data.display()));
        }
        Ok(())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.server.kill();
    }

    pub(crate) fn id(&self) -> u32 {
        self.server.id()
    }

    /// The relay's address, with the access code.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn address(&self) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        let line = run::output(command.arg("address").arg("--data").arg(&self.data))?;
        Ok(String::from_utf8_lossy(&line).trim().to_owned())
    }

    /// Gives a new node what all of them share.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub(crate) fn copy_keys(&self, to: &Path) -> Result<(), String> {
        let failed = |e: std::io::Error| format!("{}: {e}", to.display());
        fs::DirBuilder::new()
            .mode(0o700)
            .create(to)
            .map_err(failed)?;
        for file in ["identity.key", "day-keys", "access-code"] {
            let from = self.data.join(file);
            // An open relay has no code.
            if from.exists() {
                fs::copy(from, to.join(file)).map_err(failed)?;
            }
        }
        Ok(())
    }
}
