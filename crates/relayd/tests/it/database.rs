//! A real PostgreSQL server for tests, on a free port and in memory. It ends with the process that started it, however that ends.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio_postgres::{Client, NoTls};

use crate::machine::{found, succeeds};
use crate::scratch::{Scratch, remove_leftovers};

/// It must be in no log.
pub const PASSWORD: &str = "s3cret-of-the-tests";
const PATIENCE: Duration = Duration::from_secs(30);
/// Runs a server until standard input ends, or the server does.
const KEEP: &str = r#"exec 3<&0; "$@" & server=$!; (cat <&3 >/dev/null; kill -QUIT $server 2>/dev/null) & keeper=$!; wait $server; kill $keeper 2>/dev/null"#;

/// A running server.
pub struct Server {
    directory: Scratch,
    port: u16,
    keeper: Option<Child>,
    /// Whom it runs as, if that is somebody else.
    user: Option<(u32, u32)>,
    arguments: &'static [&'static str],
}

/// The one that all tests share that do not stop it.
pub fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::start)
}

impl Server {
    /// A replica that has whatever is acknowledged from now on, and may be read from.
    pub fn standby(&self) -> Self {
        let mut standby = Self {
            directory: Self::directory(self.user),
            port: free_port(),
            keeper: None,
            user: self.user,
            arguments: self.arguments,
        };
        let from = format!("{}?application_name=standby", self.address("postgres"));
        let mut copy = standby.program("pg_basebackup");
        copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
            .args(["--dbname", &from, "--pgdata"])
            .arg(standby.path("data"));
        succeeds(&mut copy).unwrap();
        standby.run();
        self.execute(
            "postgres",
            "ALTER SYSTEM SET synchronous_standby_names = 'standby'",
        );
        self.execute("postgres", "SELECT pg_reload_conf()");
        standby
    }

    /// A directory in memory that the server's user may write.
    fn directory(user: Option<(u32, u32)>) -> Scratch {
        remove_leftovers();
        let directory = Scratch::in_memory("postgres");
        if let Some((uid, gid)) = user {
            chown(directory.path(), Some(uid), Some(gid)).unwrap();
        }
        directory
    }

    /// Makes a server and starts it.
    pub fn start() -> Self {
        Self::start_with(&[], |_| {})
    }

    /// The same, with files of its own before it starts, and arguments.
    pub fn start_with(arguments: &'static [&'static str], prepare: impl FnOnce(&Self)) -> Self {
        let user = is_root().then(other_user);
        let mut server = Self {
            directory: Self::directory(user),
            port: free_port(),
            keeper: None,
            user,
            arguments,
        };
        let password = server.path("password");
        fs::write(&password, PASSWORD).unwrap();
        let mut init = server.program("initdb");
        init.args(["--username=emptyroom", "--auth=scram-sha-256", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C"])
            .arg(format!("--pwfile={}", password.display()))
            .arg("--pgdata")
            .arg(server.path("data"));
        found(succeeds(&mut init), "postgresql");
        prepare(&server);
        server.run();
        server
    }

    /// Writes a file that only the server may read.
    pub fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((uid, gid)) = self.user {
            chown(&path, Some(uid), Some(gid)).unwrap();
        }
    }

    /// Starts it again after [`Self::kill`].
    pub fn run(&mut self) {
        let until = Instant::now() + PATIENCE;
        loop {
            self.spawn();
            while self.is_running() && Instant::now() < until {
                if self.try_client("postgres").is_ok() {
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
            // What a killed one left may not be gone yet.
            assert!(
                Instant::now() < until,
                "PostgreSQL does not start: {}",
                self.log()
            );
        }
    }

    fn spawn(&mut self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"));
        let program = bin().join("postgres");
        let mut keeper = self.command(Path::new("sh"));
        keeper
            .args(["-c", KEEP, "sh"])
            .arg(program)
            .arg("-D")
            .arg(self.path("data"))
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
            ])
            .args(["-c", "shared_buffers=32MB", "-c", "max_connections=200"])
            .arg("-c")
            .arg(format!("port={}", self.port))
            .args(self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log.unwrap());
        self.keeper = Some(keeper.spawn().unwrap());
    }

    fn is_running(&mut self) -> bool {
        let keeper = self.keeper.as_mut().unwrap();
        keeper.try_wait().unwrap().is_none()
    }

    /// Kills it and all its processes at once.
    pub fn kill(&mut self) {
        let pid = fs::read_to_string(self.path("data/postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap().to_owned();
        let children = Command::new("pkill").args(["-9", "-P", &pid]).status();
        let server = Command::new("kill").args(["-9", &pid]).status();
        assert!(children.is_ok() && server.unwrap().success());
        let mut keeper = self.keeper.take().unwrap();
        drop(keeper.stdin.take());
        keeper.wait().unwrap();
    }

    /// The address of a new, empty database.
    pub fn fresh(&self) -> String {
        self.fresh_in("pg_default")
    }

    /// The same, in a tablespace.
    pub fn fresh_in(&self, tablespace: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("relay{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let make = format!("CREATE DATABASE {name} TABLESPACE {tablespace}");
        self.execute("postgres", &make);
        self.address(&name)
    }

    /// Gives a directory to the server.
    pub fn give(&self, directory: &Path) {
        if let Some((uid, gid)) = self.user {
            chown(directory, Some(uid), Some(gid)).unwrap();
        }
    }

    pub fn address(&self, name: &str) -> String {
        let port = self.port;
        format!("postgres://emptyroom:{PASSWORD}@127.0.0.1:{port}/{name}")
    }

    /// The address of a database on whichever of the two takes writes.
    pub fn address_of_both(&self, other: &Self, name: &str) -> String {
        let (port, other) = (self.port, other.port);
        format!("postgres://emptyroom:{PASSWORD}@127.0.0.1:{port},127.0.0.1:{other}/{name}")
    }

    /// Does something in a database.
    pub fn execute(&self, database: &str, sql: &str) {
        let mut client = self.try_client(database).unwrap();
        client.block_on(async |client| client.batch_execute(sql).await.unwrap());
    }

    /// The one value that a query gives.
    pub fn bytes(&self, database: &str, sql: &str) -> Vec<u8> {
        let mut client = self.try_client(database).unwrap();
        client.block_on(async |client| client.query_one(sql, &[]).await.unwrap().get(0))
    }

    /// The number that a query gives.
    pub fn number(&self, database: &str, sql: &str) -> i64 {
        let mut client = self.try_client(database).unwrap();
        client.block_on(async |client| client.query_one(sql, &[]).await.unwrap().get(0))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its files are.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A connection under this name, which ends with what is given.
    pub fn connection(&self, database: &str, name: &str) -> Connected {
        let mut client = self.try_client(database).unwrap();
        let sql = format!("SET application_name = '{name}'");
        client.block_on(async |client| client.batch_execute(&sql).await.unwrap());
        client
    }

    /// Somebody who reads a table, as for a backup, until what is given ends.
    pub fn reading(&self, database: &str, table: &str) -> Connected {
        let mut client = self.try_client(database).unwrap();
        let sql = format!("BEGIN; LOCK TABLE {table} IN ACCESS SHARE MODE");
        client.block_on(async |client| client.batch_execute(&sql).await.unwrap());
        client
    }

    /// Somebody who has begun to change something, until what is given ends.
    pub fn changing(&self, database: &str, sql: &str) -> Connected {
        let mut client = self.try_client(database).unwrap();
        let sql = format!("BEGIN; {sql}");
        client.block_on(async |client| client.batch_execute(&sql).await.unwrap());
        client
    }

    fn try_client(&self, database: &str) -> Result<Connected, tokio_postgres::Error> {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let address = self.address(database);
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&address, NoTls).await?;
            tokio::spawn(connection);
            Ok(client)
        })?;
        Ok(Connected { runtime, client })
    }

    fn program(&self, name: &str) -> Command {
        self.command(&bin().join(name))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory.path());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

/// The database of an address.
pub fn name_of(address: &str) -> &str {
    address.rsplit('/').next().unwrap()
}

/// A connection of a test's own.
pub struct Connected {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Connected {
    fn block_on<T>(&mut self, work: impl AsyncFnOnce(&Client) -> T) -> T {
        self.runtime.block_on(work(&self.client))
    }
}

/// Where Debian puts the programs, or else where the path finds them.
fn bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let bins = versions.map(|version| version.unwrap().path().join("bin"));
    bins.max().unwrap_or_default()
}

/// A free port that hardly anybody else is given until it is used: another one each time, below those that the system gives to who asks for any.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Two runs on one machine look in different places.
        let number = std::process::id() % 997 * 20 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + u16::try_from(number % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn is_root() -> bool {
    id(&["-u"]) == Some(0)
}

/// PostgreSQL does not run as root.
fn other_user() -> (u32, u32) {
    let of = |user| Some((id(&["-u", user])?, id(&["-g", user])?));
    of("postgres").or(of("nobody")).unwrap()
}
