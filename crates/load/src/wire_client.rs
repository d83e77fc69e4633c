//! A client of the relay protocol without anything above it: connects, asks, reads pushes. Load for the relay's figures.

use crate::Trouble;
use emptyroom_node::carrier::{Carrier, Connection, Direct, Target};
use emptyroom_wire::address::RelayAddress;
use emptyroom_wire::framing::{Deframer, framed};
use emptyroom_wire::limits::CARRIER_FRAME_LEN_MAX;
use emptyroom_wire::op::{Answer, FromClient, FromRelay, Request};
use emptyroom_wire::relay_key::KeyChain;
use emptyroom_wire::stream::{ClientStream, Opening, OpeningOutcome};
use emptyroom_wire::time::Mono;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// One open sealed stream over TLS.
pub struct WireClient {
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
        let target = Target {
            host: address.host.name().to_owned(),
            port: address.host.port(),
        };
        let mut connection = Direct::new()?
            .dial(target)
            .await
            .map_err(|why| format!("{why:?}"))?;
        let mut deframer = Deframer::new(CARRIER_FRAME_LEN_MAX);
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let chain = KeyChain::new(address.identity);
        let greeting = next_frame(&mut connection, &mut deframer).await?;
        let spki_hash = connection.spki_hash;
        let (opening, frame) = Opening::start(&greeting, spki_hash.as_ref(), &chain, &mut rng)?;
        connection.writer.write_all(&framed(&frame)?).await?;
        connection.writer.flush().await?;
        let answer = next_frame(&mut connection, &mut deframer).await?;
        match opening.answer(&answer, &chain, Mono(0), &mut rng)? {
            OpeningOutcome::Open(opened) => Ok(WireClient {
                connection,
                deframer,
                stream: opened.stream,
                start: Instant::now(),
                last_id: 0,
            }),
            OpeningOutcome::Again(..) => Err("the relay does not know its key".into()),
        }
    }

    fn now(&self) -> Mono {
        Mono(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Sends a request and gives its number.
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

    /// The next thing that the relay says.
    pub async fn next(&mut self) -> Result<FromRelay, Trouble> {
        loop {
            let frame = next_frame(&mut self.connection, &mut self.deframer).await?;
            if let Some(message) = self.stream.open(self.now(), &frame)? {
                return Ok(FromRelay::decode(&message)?);
            }
        }
    }

    /// The next answer; what is pushed before it is passed over.
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
    let mut buffer = vec![0; 16 << 10];
    loop {
        if let Some(frame) = deframer.next_frame()? {
            return Ok(frame);
        }
        let length = connection.reader.read(&mut buffer).await?;
        let read = buffer.get(..length).filter(|read| !read.is_empty());
        deframer.push(read.ok_or("the relay hung up")?);
    }
}
