//! A bus of D-Bus' own daemon, and on it what logind says and is asked, as far as the program wants it: a real one would put this
//! machine to sleep.

use std::io::{BufRead, BufReader, PipeReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use zbus::connection::Builder;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::zvariant::{ObjectPath, OwnedFd};
use zbus::{Connection, interface};

use super::{DEADLINE, Scratch};

const NAME: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const OURS: &str = "/org/freedesktop/login1/session/_31";
const SESSION: &str = "org.freedesktop.login1.Session";
const ANOTHERS: &str = "/org/freedesktop/login1/session/_32";

const BUS: &str = r#"<busconfig>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>"#;

/// Somebody who delays a suspend.
pub struct Delay {
    who: String,
    how: String,
    /// Ends when the suspend may go on.
    until: PipeReader,
}

impl Delay {
    pub fn is_ours(&self) -> bool {
        self.how == "sleep delay"
    }

    /// Waits until nobody delays it any more.
    pub fn end(mut self) {
        let (sender, ended) = channel();
        std::thread::spawn(move || sender.send(self.until.read(&mut [0]).unwrap()));
        assert_eq!(ended.recv_timeout(DEADLINE).unwrap(), 0);
    }
}

pub struct Logind {
    bus: Child,
    scratch: Scratch,
    runtime: Runtime,
    connection: Connection,
    delays: Receiver<Delay>,
    asked: Receiver<u32>,
}

struct Manager {
    delays: Sender<Delay>,
    refuses: bool,
    is_preparing: bool,
}

#[interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    fn inhibit(
        &self,
        what: &str,
        _who: &str,
        _why: &str,
        mode: &str,
        #[zbus(header)] header: Header<'_>,
    ) -> zbus::fdo::Result<OwnedFd> {
        let (until, held) = std::io::pipe().unwrap();
        let who = header.sender().unwrap().to_string();
        let how = format!("{what} {mode}");
        self.delays.send(Delay { who, how, until }).unwrap();
        match self.refuses {
            true => Err(zbus::fdo::Error::AccessDenied("no more delays".into())),
            false => Ok(std::os::fd::OwnedFd::from(held).into()),
        }
    }

    #[zbus(property)]
    fn preparing_for_sleep(&self) -> bool {
        self.is_preparing
    }

    #[zbus(signal)]
    async fn prepare_for_sleep(emitter: &SignalEmitter<'_>, start: bool) -> zbus::Result<()>;
}

struct OfUser {
    user: u32,
    is_locked: bool,
    asked: Sender<u32>,
}

#[interface(name = "org.freedesktop.login1.Session")]
impl OfUser {
    #[zbus(property)]
    fn user(&self) -> (u32, ObjectPath<'static>) {
        self.asked.send(self.user).unwrap();
        let path = format!("{PATH}/user/_{}", self.user);
        (self.user, ObjectPath::try_from(path).unwrap())
    }

    #[zbus(property)]
    fn locked_hint(&self) -> bool {
        self.is_locked
    }

    #[zbus(signal)]
    async fn lock(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;
}

/// Whose session it is.
#[derive(Clone, Copy)]
pub enum Of {
    Us,
    Another,
    /// It has gone by the time that somebody asks.
    Gone,
}

impl Of {
    fn path(self) -> &'static str {
        match self {
            Self::Us => OURS,
            Self::Another => ANOTHERS,
            Self::Gone => "/org/freedesktop/login1/session/_33",
        }
    }
}

impl Logind {
    pub fn start() -> Self {
        Self::start_as(false, false)
    }

    /// One that lets nobody delay a suspend.
    pub fn start_refusing() -> Self {
        Self::start_as(true, false)
    }

    /// One that has begun a suspend, and lets nobody delay it any more.
    pub fn start_about_to_sleep() -> Self {
        Self::start_as(true, true)
    }

    fn start_as(refuses: bool, is_preparing: bool) -> Self {
        let scratch = Scratch::new();
        let socket = scratch.path().join("bus");
        let settings = BUS.replace("SOCKET", &socket.display().to_string());
        let file = scratch.path().join("bus.conf");
        std::fs::write(&file, settings).unwrap();
        let mut bus = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", file.display()))
            .args(["--nofork", "--nosyslog", "--print-address=1"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon is missing (sudo apt-get install dbus-daemon)");
        let mut line = String::new();
        let output = bus.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let runtime = Runtime::new().unwrap();
        let (sender, delays) = channel();
        let manager = Manager {
            delays: sender,
            refuses,
            is_preparing,
        };
        let (sender, asked) = channel();
        let us = rustix::process::getuid().as_raw();
        let session = |user| OfUser {
            user,
            is_locked: false,
            asked: sender.clone(),
        };
        let connection = async {
            Builder::address(line.trim())?
                .serve_at(PATH, manager)?
                .serve_at(OURS, session(us))?
                .serve_at(ANOTHERS, session(us + 1))?
                .name(NAME)?
                .build()
                .await
        };
        let connection = runtime.block_on(connection).unwrap();
        Self {
            bus,
            scratch,
            runtime,
            connection,
            delays,
            asked,
        }
    }

    /// What a program finds it by.
    pub fn variable(&self) -> (&'static str, String) {
        let socket = self.scratch.path().join("bus");
        let address = format!("unix:path={}", socket.display());
        ("DBUS_SYSTEM_BUS_ADDRESS", address)
    }

    /// Waits for whoever wants to delay a suspend: from then on it hears.
    pub fn delay(&self) -> Delay {
        self.delays.recv_timeout(DEADLINE).unwrap()
    }

    pub fn sleeps(&self, start: bool) {
        let emitter = SignalEmitter::new(&self.connection, PATH).unwrap();
        let said = Manager::prepare_for_sleep(&emitter, start);
        self.runtime.block_on(said).unwrap();
    }

    pub fn goes(&self) {
        let gone = self.connection.release_name(NAME);
        assert!(self.runtime.block_on(gone).unwrap());
    }

    pub fn comes_back(&self) {
        let come = self.connection.request_name(NAME);
        self.runtime.block_on(come).unwrap();
    }

    pub fn locks_session(&self, of: Of) {
        let emitter = SignalEmitter::new(&self.connection, of.path()).unwrap();
        self.runtime.block_on(OfUser::lock(&emitter)).unwrap();
    }

    /// A screen saver says that it has locked the screen, or that it is open again.
    pub fn hints(&self, of: Of, is_locked: bool) {
        self.runtime.block_on(async {
            let server = self.connection.object_server();
            let session = server.interface::<_, OfUser>(of.path()).await.unwrap();
            session.get_mut().await.is_locked = is_locked;
            let hint = session.get().await;
            let changed = hint.locked_hint_changed(session.signal_emitter());
            changed.await.unwrap();
        });
    }

    /// The session of another user is locked, and when this comes back the program has not taken it for its own: it asks again only
    /// after it was answered.
    pub fn locks_anothers(&self, how: impl Fn(&Self, Of)) {
        let since = Instant::now();
        for _ in 0..2 {
            while self.asked.recv_timeout(Duration::from_millis(50)).is_err() {
                assert!(since.elapsed() < DEADLINE);
                how(self, Of::Another);
            }
        }
    }

    /// Somebody else on the bus says to one program alone that it is to lock, more often than any queue is long.
    pub fn is_played_to(&self, delay: &Delay) {
        self.runtime.block_on(async {
            let (_, address) = self.variable();
            let stranger = Builder::address(address.as_str()).unwrap().build().await;
            let (stranger, to) = (stranger.unwrap(), Some(delay.who.as_str()));
            for _ in 0..300 {
                let (session, manager) = (SESSION, "org.freedesktop.login1.Manager");
                let said = stranger.emit_signal(to, OURS, session, "Lock", &());
                said.await.unwrap();
                let said = stranger.emit_signal(to, PATH, manager, "PrepareForSleep", &true);
                said.await.unwrap();
            }
            // The bus has passed it on when it answers this.
            let proxy = zbus::fdo::DBusProxy::new(&stranger).await.unwrap();
            proxy.get_id().await.unwrap();
        });
    }
}

impl Drop for Logind {
    fn drop(&mut self) {
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}
