//! A client of the relay protocol without anything above it: connects, asks, reads pushes.

use crate::Trouble;
use emptyroom_node::carrier::{Connection, Direct};
use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::framing::{Deframer, framed};
use emptyroom_wire::greeting::Terms;
use emptyroom_wire::limits::CARRIER_FRAME_LEN_MAX;
use emptyroom_wire::op::{Answer, FromClient, FromRelay, Request};
use emptyroom_wire::relay_key::KeyChain;
use emptyroom_wire::stream::{ClientStream, Opening, OpeningOutcome};
use emptyroom_wire::time::Mono;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpSocket;

/// What is read from a socket at once; lives on the stack of one poll, so that a client who waits holds no buffer.
const READ_LEN: usize = 16 << 10;

/// Connects to one relay, any number of times.
pub struct Dialler {
    carrier: Direct,
    address: RelayAddress,
    to: SocketAddr,
}

impl Dialler {
    /// For a relay whose address names an IP address.
    ///
    /// # Errors
    /// When it names something else.
    pub fn new(address: RelayAddress) -> Result<Dialler, Trouble> {
        let ip: IpAddr = address.host.name().parse()?;
        let to = SocketAddr::new(ip, address.host.port());
        let carrier = Direct::new()?;
        Ok(Dialler {
            carrier,
            address,
            to,
        })
    }

    /// Connects, from this address of the machine where one is given, and opens a stream.
    ///
    /// # Errors
    /// When there is no connection, or whoever answers is not that relay.
    pub async fn connect(&self, from: Option<IpAddr>, seed: u64) -> Result<WireClient, Trouble> {
        let socket = match self.to {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(from) = from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let tcp = socket.connect(self.to).await?;
        let host = self.address.host.name().to_owned();
        let connection = self.carrier.secure(host, tcp).await;
        let connection = connection.map_err(|why| format!("TLS: {why:?}"))?;
        WireClient::over(connection, &self.address, seed).await
    }
}

/// One open sealed stream over TLS.
pub struct WireClient {
    /// What the relay said when the stream was opened.
    pub terms: Terms,
    connection: Connection,
    deframer: Deframer,
    stream: ClientStream,
    start: Instant,
    last_id: u32,
}

impl WireClient {
    /// Connects to a relay and opens a stream.
    ///
    /// # Errors
    /// When there is no connection, or whoever answers is not that relay.
    pub async fn connect(address: &RelayAddress, seed: u64) -> Result<WireClient, Trouble> {
        Dialler::new(address.clone())?.connect(None, seed).await
    }

    async fn over(
        mut connection: Connection,
        address: &RelayAddress,
        seed: u64,
    ) -> Result<WireClient, Trouble> {
        let mut deframer = Deframer::new(CARRIER_FRAME_LEN_MAX);
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let chain = KeyChain::new(address.identity);
        let greeting = next_frame(&mut connection, &mut deframer).await?;
        let spki_hash = connection.spki_hash;
        let (mut opening, mut frame) =
            Opening::start(&greeting, spki_hash.as_ref(), &chain, &mut rng)?;
        loop {
            connection.writer.write_all(&framed(&frame)?).await?;
            connection.writer.flush().await?;
            let answer = next_frame(&mut connection, &mut deframer).await?;
            match opening.answer(&answer, &chain, Mono(0), &mut rng)? {
                OpeningOutcome::Open(opened) => {
                    return Ok(WireClient {
                        terms: opened.terms,
                        connection,
                        deframer,
                        stream: opened.stream,
                        start: Instant::now(),
                        last_id: 0,
                    });
                }
                // The relay made a new key in between; it says so once at most.
                OpeningOutcome::Again(again, next) => (opening, frame) = (again, next),
            }
        }
    }

    fn now(&self) -> Mono {
        Mono(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Sends a request and gives its number.
    ///
    /// # Errors
    /// When the connection ended.
    pub async fn send(&mut self, request: Request) -> Result<u32, Trouble> {
        self.last_id += 1;
        let message = FromClient {
            id: self.last_id,
            request,
        };
        let frame = self.stream.seal(self.now(), &message.encode()?)?;
        self.connection.writer.write_all(&framed(&frame)?).await?;
        self.connection.writer.flush().await?;
        Ok(self.last_id)
    }

    /// The next thing that the relay says. May be dropped while it waits and called again.
    ///
    /// # Errors
    /// When the connection ended.
    pub async fn next(&mut self) -> Result<FromRelay, Trouble> {
        loop {
            let frame = next_frame(&mut self.connection, &mut self.deframer).await?;
            if let Some(message) = self.stream.open(self.now(), &frame)? {
                return Ok(FromRelay::decode(&message)?);
            }
        }
    }

    /// The next answer; what is pushed before it is passed over.
    ///
    /// # Errors
    /// When the connection ended.
    pub async fn answer(&mut self) -> Result<Answer, Trouble> {
        loop {
            if let FromRelay::Answer(_, answer) = self.next().await? {
                return Ok(answer);
            }
        }
    }
}

async fn next_frame(
    connection: &mut Connection,
    deframer: &mut Deframer,
) -> Result<Vec<u8>, Trouble> {
    loop {
        if let Some(frame) = deframer.next_frame()? {
            return Ok(frame);
        }
        let read = poll_fn(|context| {
            let mut bytes = [MaybeUninit::uninit(); READ_LEN];
            let mut into = ReadBuf::uninit(&mut bytes);
            let reader = Pin::new(&mut connection.reader);
            ready!(reader.poll_read(context, &mut into))?;
            deframer.push(into.filled());
            Poll::Ready(std::io::Result::Ok(into.filled().len()))
        });
        if read.await? == 0 {
            return Err("the relay hung up".into());
        }
    }
}
