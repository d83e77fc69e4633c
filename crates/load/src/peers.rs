//! Servers that others use for the same work, from Debian packages, each with TLS and a fresh directory.
//!
//! Each one is started as a child process with a configuration of its own, on a free port, and killed when its value goes.
//! What it speaks is a `Dialect`: a small client without a socket, which knows just what the
//! comparison needs. All of them carry the same payload bytes, and a recipient acknowledges each message to its server.

mod certificate;
mod client;
mod ejabberd;
mod jetstream;
mod mosquitto;
mod mqtt;
mod nats;
mod server;
mod xmpp;

use crate::Trouble;
use crate::scratch::Scratch;
use crate::survival::Crashes;
use crate::system::{Recipient, Sender, Started, System};
use certificate::Certificate;
use client::{Client, Dialect, Event, Role};
use jetstream::{JetStream, Task};
use mqtt::Mqtt;
use server::{Place, START_STEP, START_TIME_MAX, Server, free_port};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use xmpp::Xmpp;

/// A server to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Mosquitto, MQTT 3.1.1 with QoS 1 and persistence on.
    Mosquitto,
    /// ejabberd, XMPP with stream management and offline messages.
    Ejabberd,
    /// NATS `JetStream` as it is by default.
    JetStream,
    /// The same with `sync_interval: always`, where the installed version knows that.
    JetStreamSynced,
}

impl Kind {
    /// Every server, in the order of tables.
    pub const ALL: [Kind; 4] = [
        Kind::Mosquitto,
        Kind::Ejabberd,
        Kind::JetStream,
        Kind::JetStreamSynced,
    ];

    /// The Debian package that brings it.
    #[must_use]
    pub fn package(self) -> &'static str {
        match self {
            Kind::Mosquitto => mosquitto::PACKAGE,
            Kind::Ejabberd => ejabberd::PACKAGE,
            Kind::JetStream | Kind::JetStreamSynced => nats::PACKAGE,
        }
    }
}

/// A peer that runs.
pub struct Peer {
    kind: Kind,
    name: String,
    certificate: Certificate,
    port: u16,
    // Dropped in this order: nobody writes to a directory that is being removed.
    server: Server,
    scratch: Scratch,
}

impl Peer {
    /// Starts it on a fresh directory.
    ///
    /// # Errors
    /// When it is installed and does not start.
    pub async fn start(kind: Kind) -> Result<Started<Peer>, Trouble> {
        let version = match kind {
            Kind::Mosquitto => mosquitto::version(),
            Kind::Ejabberd => ejabberd::version(),
            Kind::JetStream | Kind::JetStreamSynced => nats::version(),
        };
        let Some(version) = version else {
            let package = kind.package();
            return Ok(Started::LeftOut(format!(
                "{package} is not installed: `apt-get install {package}`"
            )));
        };
        let version = version?;
        // One process may have several at once.
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let scratch = Scratch::new(&format!("{kind:?}-{number}").to_lowercase())?;
        let certificate = Certificate::write(&scratch.path)?;
        let place = Place {
            directory: &scratch.path,
            certificate: &certificate,
            port: free_port()?,
        };
        if kind == Kind::JetStreamSynced && !nats::knows_sync_always(&place)? {
            return Ok(Started::LeftOut(format!(
                "{version} has no `sync_interval: always`: it acknowledges before it syncs, whatever is configured"
            )));
        }
        let server = Server::start(command(kind, &place)?, &place)?;
        let port = place.port;
        let peer = Peer {
            kind,
            name: format!("{version}, {}", settings(kind)),
            certificate,
            port,
            server,
            scratch,
        };
        peer.wait_until_ready().await?;
        if matches!(kind, Kind::JetStream | Kind::JetStreamSynced) {
            let maker = peer.dial(Box::new(JetStream::new(Task::MakeStream)));
            maker.await?.close().await?;
        }
        Ok(Started::Running(peer))
    }

    /// A server that listens may still refuse: ejabberd does while it starts its modules.
    async fn wait_until_ready(&self) -> Result<(), Trouble> {
        let deadline = Instant::now() + START_TIME_MAX;
        loop {
            match self.connect(Role::Sender(u32::MAX)).await {
                Ok(client) => return client.close().await,
                Err(why) if Instant::now() > deadline => {
                    let what = format!("it listens and does not serve after a minute ({why})");
                    return Err(self.server.said(&what));
                }
                Err(_) => tokio::time::sleep(START_STEP).await,
            }
        }
    }

    async fn connect(&self, role: Role) -> Result<Client, Trouble> {
        let dialect: Box<dyn Dialect> = match self.kind {
            Kind::Mosquitto => Box::new(Mqtt::new(role)),
            Kind::Ejabberd => Box::new(Xmpp::new(role)),
            Kind::JetStream | Kind::JetStreamSynced => Box::new(JetStream::new(Task::Client(role))),
        };
        self.dial(dialect).await
    }

    async fn dial(&self, dialect: Box<dyn Dialect>) -> Result<Client, Trouble> {
        Client::connect(self.port, &self.certificate.connector, dialect).await
    }
}

/// What was changed from the defaults, for tables.
fn settings(kind: Kind) -> &'static str {
    match kind {
        Kind::Mosquitto => "QoS 1, persistence on",
        Kind::Ejabberd => "mnesia, offline messages on",
        Kind::JetStream => "default sync",
        Kind::JetStreamSynced => "sync always",
    }
}

fn command(kind: Kind, place: &Place<'_>) -> Result<Command, Trouble> {
    match kind {
        Kind::Mosquitto => mosquitto::command(place),
        Kind::Ejabberd => ejabberd::command(place),
        Kind::JetStream => nats::command(place, false),
        Kind::JetStreamSynced => nats::command(place, true),
    }
}

impl System for Peer {
    type Sender = PeerSender;
    type Recipient = PeerRecipient;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn promise(&self) -> &'static str {
        match self.kind {
            Kind::Mosquitto => "in memory",
            Kind::Ejabberd => "in memory or a file, not synced",
            Kind::JetStream => "in a file, synced every two minutes",
            Kind::JetStreamSynced => "synced to disk",
        }
    }

    fn processes(&self) -> Vec<u32> {
        self.server.processes()
    }

    async fn recipient(&self, number: u32) -> Result<PeerRecipient, Trouble> {
        let client = self.connect(Role::Recipient(number)).await?;
        Ok(PeerRecipient { client })
    }

    async fn sender(&self, number: u32, _: u32) -> Result<PeerSender, Trouble> {
        let client = self.connect(Role::Sender(number)).await?;
        Ok(PeerSender { client, last: 0 })
    }
}

impl Crashes for Peer {
    async fn leave(&self, recipient: PeerRecipient) -> Result<(), Trouble> {
        recipient.client.close().await
    }

    async fn crash(&mut self) -> Result<(), Trouble> {
        self.server.kill()?;
        let place = Place {
            directory: &self.scratch.path,
            certificate: &self.certificate,
            port: self.port,
        };
        self.server = Server::start(command(self.kind, &place)?, &place)?;
        self.wait_until_ready().await
    }
}

/// A connection that sends to a peer.
pub struct PeerSender {
    client: Client,
    last: u64,
}

impl Sender for PeerSender {
    async fn send(&mut self, to: u32, payload: &[u8]) -> Result<u64, Trouble> {
        self.last += 1;
        self.client.send(self.last, to, payload).await?;
        Ok(self.last)
    }

    async fn acknowledged(&mut self) -> Result<u64, Trouble> {
        loop {
            if let Event::Acknowledged(number) = self.client.next().await? {
                return Ok(number);
            }
        }
    }
}

/// A connection that receives from a peer.
pub struct PeerRecipient {
    client: Client,
}

impl Recipient for PeerRecipient {
    async fn receive(&mut self) -> Result<Vec<u8>, Trouble> {
        loop {
            if let Event::Delivered(payload) = self.client.next().await? {
                return Ok(payload);
            }
        }
    }
}
