//! A real NATS server for tests, on a free port. It ends with the process that started it, however that ends.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::database::free_port;
use crate::machine::found;

const PATIENCE: Duration = Duration::from_secs(30);
/// Runs a server until standard input ends.
const KEEP: &str =
    r#""$@" & server=$!; cat >/dev/null; kill -KILL $server 2>/dev/null; wait $server"#;
pub const TOKEN: &str = "t0ken-of-the-tests";

/// A server that wants a token.
pub struct Nats {
    port: u16,
    keeper: Option<Child>,
    more: Vec<String>,
}

impl Nats {
    pub fn start() -> Self {
        Self::start_with(Vec::new())
    }

    /// The same with more arguments.
    pub fn start_with(more: Vec<String>) -> Self {
        let mut nats = Self {
            port: free_port(),
            keeper: None,
            more,
        };
        nats.run();
        nats
    }

    /// Starts it again after [`Self::stop`].
    pub fn run(&mut self) {
        let program = ["/usr/sbin/nats-server", "/usr/bin/nats-server"];
        let program = program
            .iter()
            .find(|path| std::path::Path::new(path).exists());
        let program = found(program.ok_or("there is no nats-server"), "nats-server");
        let keeper = Command::new("sh")
            .args([
                "-c",
                KEEP,
                "sh",
                program,
                "-a",
                "127.0.0.1",
                "--auth",
                TOKEN,
                "-p",
            ])
            .arg(self.port.to_string())
            .args(&self.more)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.keeper = Some(keeper.unwrap());
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "NATS does not start");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().unwrap();
        }
    }

    /// The same of one that speaks TLS, by the name in its certificate.
    pub fn secured_address(&self) -> String {
        format!("tls://{TOKEN}@localhost:{}", self.port)
    }

    /// What `--wake` wants.
    pub fn address(&self) -> String {
        format!("nats://{TOKEN}@127.0.0.1:{}", self.port)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.stop();
    }
}
