//! The relay, and the road to it.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::Parser;
use emptyroom_relayd::carrier::listening::Listening;
use emptyroom_relayd::cli;
use emptyroom_relayd::server::{Options, Public, Server};

use super::{DEADLINE, Scratch};

/// A relay that can be stopped and started again on the same port.
pub struct Relay {
    runtime: tokio::runtime::Runtime,
    server: Option<Server>,
    data: PathBuf,
    /// Nobody listens by this. It keeps the port, so that nobody else is given it while the relay is stopped.
    port: Listening,
    /// Dialled in its place.
    road: Option<Road>,
    pub address: String,
    scratch: Scratch,
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
            port: Listening::bind("127.0.0.1:0".parse().unwrap()).unwrap(),
            road,
            address: String::new(),
            scratch,
        };
        relay.resume();
        relay
    }

    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            assert!(self.runtime.block_on(server.stop()).is_ok());
        }
    }

    pub fn restart(&mut self) {
        self.stop();
        self.resume();
    }

    /// Another access code, from the next start on. Returns the one before.
    pub fn change_code(&self, code: &str) -> String {
        let file = self.data.join("access-code");
        let before = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, code).unwrap();
        before
    }

    /// What clients know it by: public, and in each of their records that names it.
    pub fn identity(&self) -> [u8; 32] {
        self.server.as_ref().unwrap().address().identity.0
    }

    /// A copy of everything, made while it runs. Returns where.
    pub fn backup(&self, name: &str) -> PathBuf {
        let to = self.scratch.path().join(name);
        relayd(
            &["backup", "--with-entries"],
            &[("--data", &self.data), ("--to", &to)],
        );
        to
    }

    /// The last day of each of its rows, which is in clear (docs of `moving`). It is stopped for that.
    pub fn last_days(&mut self) -> Vec<u32> {
        let file = self.scratch.path().join("rows");
        self.stop();
        relayd(&["export"], &[("--data", &self.data), ("--to", &file)]);
        relayd(&["export", "--undo"], &[("--data", &self.data)]);
        let rows = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        self.resume();
        // Magic and identity, then records up to the mark of their end.
        let mut rest = &rows[40..];
        let mut days = Vec::new();
        while rest[0] != 255 {
            let number = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().unwrap());
            days.push(number(3));
            rest = &rest[43 + usize::try_from(number(39)).unwrap()..];
        }
        days
    }

    /// Its address for who does not go by the road.
    pub fn direct(&self) -> String {
        let (_, rest) = self.address.split_once('/').unwrap();
        let (identity, _) = rest.split_once('?').unwrap_or((rest, ""));
        format!("{}/{identity}", self.port.address())
    }

    /// Stops, and starts as it was when that copy was made.
    pub fn go_back_to(&mut self, copy: &Path) {
        self.stop();
        std::fs::remove_dir_all(&self.data).unwrap();
        relayd(&["restore"], &[("--from", copy), ("--data", &self.data)]);
        self.resume();
    }

    /// Stops, and another relay answers in its place.
    pub fn leave_to_another(&mut self) {
        self.stop();
        std::fs::rename(&self.data, self.scratch.path().join("away")).unwrap();
        self.resume();
    }

    /// It answers itself again.
    pub fn come_back(&mut self) {
        self.stop();
        std::fs::remove_dir_all(&self.data).unwrap();
        std::fs::rename(self.scratch.path().join("away"), &self.data).unwrap();
        self.resume();
    }

    pub fn resume(&mut self) {
        let mut options = Options::new(self.data.clone(), self.port.address());
        options.public = self.road.as_ref().map(Road::public);
        let server = self
            .runtime
            .block_on(Server::start(options))
            .unwrap_or_else(|_| panic!("the relay does not start"));
        if let Some(road) = &self.road {
            road.lead_to(self.port.address());
        }
        self.address = server.address().with_code();
        self.server = Some(server);
    }
}

/// A command of the relay's program.
fn relayd(command: &[&str], places: &[(&str, &Path)]) {
    let command = command.iter().copied().map(OsStr::new);
    let places = places.iter();
    let places = places.flat_map(|(flag, place)| [OsStr::new(flag), place.as_os_str()]);
    let all = [OsStr::new("emptyroom-relay")]
        .into_iter()
        .chain(command)
        .chain(places);
    let arguments = cli::Arguments::try_parse_from(all).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(cli::run(arguments), 0);
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What lies between clients and a relay, and can be closed: then nothing comes through, and connections stand.
#[derive(Clone)]
pub struct Road {
    dialled: SocketAddr,
    to: Arc<Mutex<Option<SocketAddr>>>,
    closed: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
}

impl Road {
    pub fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let road = Self {
            dialled: listener.local_addr().unwrap(),
            to: Arc::default(),
            closed: Arc::default(),
            taken: Arc::default(),
        };
        let on = road.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                on.taken.fetch_add(1, Ordering::Relaxed);
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

    /// How often somebody has taken it.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Waits until somebody has taken it more often than so many times.
    pub fn wait_past(&self, taken: usize) {
        let since = Instant::now();
        while self.taken() == taken {
            assert!(since.elapsed() < DEADLINE, "nobody took the road");
            std::thread::yield_now();
        }
    }

    /// What was lost is lost; connections that are made from now on carry again.
    pub fn reopen(&self) {
        self.closed.store(false, Ordering::Relaxed);
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
