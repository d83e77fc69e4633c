//! One client's connection to a peer's server, whatever it speaks.

use super::Trouble;
use super::certificate::HOST;
use rustls::pki_types::ServerName;
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long connecting, logging in and being subscribed may take; a busy server has many at once.
const READY_TIME_MAX: Duration = Duration::from_secs(120);
/// How long a server may take to close what was closed here.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(20);
/// Bytes that are read at once.
const READ_LEN: usize = 16 * 1024;
/// Bytes of one greeting in the clear.
const GREETING_LEN_MAX: usize = 16 * 1024;

/// What a connection tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Logged in and, if it receives, subscribed.
    Ready,
    /// The server took over the message that was sent with this token.
    Acknowledged(u64),
    /// A message came, and its acknowledgement is on the way.
    Delivered(Vec<u8>),
}

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It sends; the number tells it from other senders.
    Sender(u32),
    /// It receives what is sent to this mailbox.
    Recipient(u32),
}

/// One client's side of a protocol: bytes in, bytes out, no socket.
pub(super) trait Dialect: Send {
    /// Whether the server speaks first, in the clear, up to a line's end.
    fn greeted_in_the_clear(&self) -> bool {
        false
    }
    /// What is said once TLS stands.
    fn open(&mut self, out: &mut Vec<u8>);
    /// Sends a message to a mailbox.
    fn send(&mut self, token: u64, mailbox: u32, payload: &[u8], out: &mut Vec<u8>);
    /// Takes what is whole of the input, answers it, and returns how many bytes that was.
    fn receive(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        events: &mut Events,
    ) -> Result<usize, Trouble>;
    /// What is said at the end.
    fn close(&mut self, out: &mut Vec<u8>);
}

/// Events in their order.
pub(super) type Events = VecDeque<Event>;

/// A connection that stands.
pub(super) struct Client {
    stream: TlsStream<TcpStream>,
    dialect: Box<dyn Dialect>,
    input: Vec<u8>,
    output: Vec<u8>,
    events: Events,
}

impl Client {
    /// Connects and waits until it is ready.
    pub(super) async fn connect(
        port: u16,
        connector: &TlsConnector,
        dialect: Box<dyn Dialect>,
    ) -> Result<Client, Trouble> {
        let connecting = async {
            let mut client = Client::dial(port, connector, dialect).await?;
            client.dialect.open(&mut client.output);
            // Messages that waited may come before the server says that all is set.
            let mut early = Events::new();
            loop {
                match client.next().await? {
                    Event::Ready => break,
                    event => early.push_back(event),
                }
            }
            early.append(&mut client.events);
            client.events = early;
            Ok(client)
        };
        timeout(READY_TIME_MAX, connecting)
            .await
            .map_err(|_| "the server did not let a client in within two minutes")?
    }

    async fn dial(
        port: u16,
        connector: &TlsConnector,
        dialect: Box<dyn Dialect>,
    ) -> Result<Client, Trouble> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        socket.set_nodelay(true)?;
        if dialect.greeted_in_the_clear() {
            pass_greeting(&mut socket).await?;
        }
        let stream = connector
            .connect(ServerName::try_from(HOST)?, socket)
            .await?;
        Ok(Client {
            stream,
            dialect,
            input: Vec::new(),
            output: Vec::new(),
            events: Events::new(),
        })
    }

    /// Sends a message; its acknowledgement comes with the same token.
    pub(super) async fn send(
        &mut self,
        token: u64,
        mailbox: u32,
        payload: &[u8],
    ) -> Result<(), Trouble> {
        self.dialect.send(token, mailbox, payload, &mut self.output);
        self.flush().await
    }

    /// The next event. Nothing is lost when this future is dropped.
    pub(super) async fn next(&mut self) -> Result<Event, Trouble> {
        loop {
            self.flush().await?;
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            self.input.reserve(READ_LEN);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err("the server closed the connection".into());
            }
            let taken = self
                .dialect
                .receive(&self.input, &mut self.output, &mut self.events)?;
            self.input.drain(..taken);
        }
    }

    /// Says goodbye and waits until the server has closed, too: then it knows that nobody is there.
    pub(super) async fn close(mut self) -> Result<(), Trouble> {
        self.dialect.close(&mut self.output);
        let closing = async {
            // A reset is an end as good as any other: some servers close while TLS's own goodbye is on its way.
            if self.flush().await.is_ok() && self.stream.shutdown().await.is_ok() {
                while matches!(self.stream.read_buf(&mut self.input).await, Ok(1..)) {
                    self.input.clear();
                }
            }
        };
        timeout(CLOSE_TIME_MAX, closing)
            .await
            .map_err(|_| "the server did not close a connection within 20 seconds".into())
    }

    /// Writes what waits; may be dropped at any point.
    async fn flush(&mut self) -> Result<(), Trouble> {
        while !self.output.is_empty() {
            let written = self.stream.write(&self.output).await?;
            self.output.drain(..written);
        }
        self.stream.flush().await?;
        Ok(())
    }
}

/// Reads a line byte by byte: what follows it is TLS already.
async fn pass_greeting(socket: &mut TcpStream) -> Result<(), Trouble> {
    for _ in 0..GREETING_LEN_MAX {
        if socket.read_u8().await? == b'\n' {
            return Ok(());
        }
    }
    Err("the server's greeting has no end".into())
}
