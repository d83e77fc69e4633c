//! One sealed stream to a relay, one request after another: for whoever has no client yet, as a vault that is locked has none.
//!
//! It decides nothing and keeps nothing. What it knows of a relay is who it must be.

use std::time::{Duration, Instant};

use emptyroom_wire::address::Host;
use emptyroom_wire::framing::{Deframer, framed};
use emptyroom_wire::limits::CARRIER_FRAME_LEN_MAX;
use emptyroom_wire::op::{Answer, FromClient, FromRelay, Request};
use emptyroom_wire::proof::StreamBinding;
use emptyroom_wire::relay_key::{IdentityHash, KeyChain};
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::stream::{ClientStream, Opening, OpeningOutcome};
use emptyroom_wire::time::Mono;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::carrier::{Carrier, Connection, DIAL_TIME_MAX, Target};

/// How long greeting and opening may take, and an answer.
const SETUP_TIME_MAX: Duration = Duration::from_secs(30);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

const READ_BYTES: usize = 16 * 1024;

/// There is no answer: the relay cannot be reached, is another one, or says what no relay says. Later it may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoAnswer;

/// An open stream.
pub(crate) struct Errand {
    connection: Connection,
    frames: Deframer,
    stream: ClientStream,
    since: Instant,
    id_last: u32,
}

impl Errand {
    /// Connects to the first of these hosts that answers, which must be this relay.
    pub(crate) async fn dial(
        carrier: &dyn Carrier,
        hosts: &[Host],
        relay: IdentityHash,
        rng: &mut (dyn CryptoRng + Send),
    ) -> Result<Errand, NoAnswer> {
        for host in hosts {
            let target = Target {
                host: host.name().to_owned(),
                port: host.port(),
            };
            let Ok(Ok(connection)) = timeout(DIAL_TIME_MAX, carrier.dial(target)).await else {
                continue;
            };
            let opened = timeout(SETUP_TIME_MAX, open(connection, relay, rng)).await;
            if let Ok(Ok(errand)) = opened {
                return Ok(errand);
            }
        }
        Err(NoAnswer)
    }

    /// Asks for one thing, and waits for the answer.
    pub(crate) async fn ask(&mut self, request: Request) -> Result<Answer, NoAnswer> {
        timeout(ANSWER_TIME_MAX, self.answered(request))
            .await
            .map_err(|_| NoAnswer)?
    }

    /// What proofs on this stream are bound to.
    pub(crate) fn binding(&self) -> StreamBinding {
        self.stream.binding()
    }

    async fn answered(&mut self, request: Request) -> Result<Answer, NoAnswer> {
        self.id_last += 1;
        let id = self.id_last;
        let message = FromClient { id, request }.encode().map_err(none)?;
        let frame = self.stream.seal(self.now(), &message).map_err(none)?;
        send(&mut self.connection, &frame).await?;
        loop {
            let frame = receive(&mut self.connection, &mut self.frames).await?;
            let Some(message) = self.stream.open(self.now(), &frame).map_err(none)? else {
                continue;
            };
            match FromRelay::decode(&message).map_err(none)? {
                FromRelay::Answer(to, answer) if to == id => return Ok(answer),
                FromRelay::Answer(..) | FromRelay::Push(..) => return Err(NoAnswer),
            }
        }
    }

    fn now(&self) -> Mono {
        Mono(u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

async fn open(
    mut connection: Connection,
    relay: IdentityHash,
    rng: &mut (dyn CryptoRng + Send),
) -> Result<Errand, NoAnswer> {
    let mut frames = Deframer::new(CARRIER_FRAME_LEN_MAX);
    let chain = KeyChain::new(relay);
    let greeting = receive(&mut connection, &mut frames).await?;
    let spki_hash = connection.spki_hash;
    let opening = Opening::start(&greeting, spki_hash.as_ref(), &chain, rng);
    let (mut opening, mut frame) = opening.map_err(none)?;
    loop {
        send(&mut connection, &frame).await?;
        let answer = receive(&mut connection, &mut frames).await?;
        match opening
            .answer(&answer, &chain, Mono(0), rng)
            .map_err(none)?
        {
            OpeningOutcome::Open(opened) => {
                return Ok(Errand {
                    connection,
                    frames,
                    stream: opened.stream,
                    since: Instant::now(),
                    id_last: 0,
                });
            }
            OpeningOutcome::Again(again, next) => (opening, frame) = (again, next),
        }
    }
}

async fn send(connection: &mut Connection, frame: &[u8]) -> Result<(), NoAnswer> {
    let framed = framed(frame).map_err(none)?;
    connection.writer.write_all(&framed).await.map_err(none)?;
    connection.writer.flush().await.map_err(none)
}

async fn receive(connection: &mut Connection, frames: &mut Deframer) -> Result<Vec<u8>, NoAnswer> {
    let mut buffer = vec![0_u8; READ_BYTES];
    loop {
        if let Some(frame) = frames.next_frame().map_err(none)? {
            return Ok(frame);
        }
        match connection.reader.read(&mut buffer).await {
            Ok(count @ 1..) => frames.push(buffer.get(..count).unwrap_or_default()),
            Ok(_) | Err(_) => return Err(NoAnswer),
        }
    }
}

fn none<E>(_: E) -> NoAnswer {
    NoAnswer
}
