//! One sealed stream to a relay, one request after another: for whoever has no client, as a vault that is locked has none.
//!
//! It decides nothing, remembers nothing of the relay's keys, and tries nothing twice. What it knows of a relay is who it
//! must be.

use std::collections::VecDeque;
use std::time::Duration;

use emptyroom_wire::address::Host;
use emptyroom_wire::codec;
use emptyroom_wire::framing::{Deframer, framed};
use emptyroom_wire::greeting::{Greeting, GreetingFault, Terms};
use emptyroom_wire::limits::{CARRIER_FRAME_LEN_MAX, HANDSHAKE_FRAME_LEN_MAX};
use emptyroom_wire::op::{Answer, FromClient, FromRelay, Handle, Push, Request};
use emptyroom_wire::proof::StreamBinding;
use emptyroom_wire::relay_key::{Head, IdentityHash, KeyChain};
use emptyroom_wire::rng::CryptoRng;
use emptyroom_wire::stream::{ClientStream, Opening, OpeningOutcome, RelayFault};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::carrier::{Carrier, Connection, DIAL_TIME_MAX, Target};
use crate::clock;

/// The longest that greeting and opening may take.
const SETUP_TIME_MAX: Duration = Duration::from_secs(30);

/// The longest that an answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a relay may be silent before it is asked whether it is still there, time in suspend included.
const PING_AFTER_MS: u64 = 120_000;

/// How long it may take to answer that.
const PONG_TIME_MAX: Duration = Duration::from_secs(20);

/// How often the clock is looked at for that.
const WAKE_EVERY: Duration = Duration::from_secs(15);

/// Pushes that wait while an answer is waited for: a whole log, and some.
// [SPEC 2.9]
const PUSHES_WAITING_MAX: usize = 4_096 + 64;

/// Which relay is meant.
pub(crate) enum Whom {
    /// The one with this identity.
    Known(IdentityHash),
    /// The one of this chain, which must not offer a key from before its head.
    Seen(KeyChain),
    /// Whoever greets there: only for what may be told to anybody.
    AsGreeted,
}

/// Why nothing comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRelay {
    /// It cannot be reached, or the connection ended.
    Unreachable,
    /// Another relay answers there, or somebody between.
    Wrong,
    /// It speaks only other versions.
    UpdateNeeded,
    /// It opens no stream now.
    Refused,
}

/// An open stream.
pub(crate) struct Errand {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    frames: Deframer,
    stream: ClientStream,
    head: Head,
    relay: IdentityHash,
    terms: Terms,
    id_last: u32,
    pushes: VecDeque<(Handle, Push)>,
}

/// A connection before the stream is open.
struct Carried {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    frames: Deframer,
}

impl Errand {
    /// Opens a stream at the first host that answers.
    ///
    /// # Errors
    /// What the last host came to.
    pub(crate) async fn dial(
        carrier: &dyn Carrier,
        hosts: &[Host],
        whom: &Whom,
        rng: &mut (dyn CryptoRng + Send),
    ) -> Result<Self, NoRelay> {
        let mut outcome = Err(NoRelay::Unreachable);
        for host in hosts {
            let target = Target {
                host: host.name().to_owned(),
                port: host.port(),
            };
            let Ok(Ok(connection)) = timeout(DIAL_TIME_MAX, carrier.dial(target)).await else {
                continue;
            };
            let opened = timeout(SETUP_TIME_MAX, Self::open(connection, whom, rng)).await;
            outcome = opened.unwrap_or(Err(NoRelay::Unreachable));
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    async fn open(
        connection: Connection,
        whom: &Whom,
        rng: &mut (dyn CryptoRng + Send),
    ) -> Result<Self, NoRelay> {
        let spki_hash = connection.spki_hash;
        let mut carried = Carried {
            reader: connection.reader,
            writer: connection.writer,
            // [SPEC 5.16]
            frames: Deframer::new(HANDSHAKE_FRAME_LEN_MAX),
        };
        let greeting = carried.next_frame().await?;
        let chain = match whom {
            Whom::Known(relay) => KeyChain::new(*relay),
            Whom::Seen(chain) => chain.clone(),
            Whom::AsGreeted => {
                let greeted: Greeting = codec::decode(&greeting).map_err(|_| NoRelay::Wrong)?;
                KeyChain::new(IdentityHash::of(&greeted.identity))
            }
        };
        let relay = chain.relay();
        let (mut opening, mut frame) =
            Opening::start(&greeting, spki_hash.as_ref(), &chain, rng).map_err(no_relay)?;
        let opened = loop {
            carried.write(&frame).await?;
            let answer = carried.next_frame().await?;
            let now = clock::now().mono;
            match opening
                .answer(&answer, &chain, now, rng)
                .map_err(no_relay)?
            {
                OpeningOutcome::Open(opened) => break opened,
                OpeningOutcome::Again(again, next) => (opening, frame) = (again, next),
            }
        };
        let Carried {
            reader,
            writer,
            mut frames,
        } = carried;
        frames.set_len_max(CARRIER_FRAME_LEN_MAX);
        Ok(Self {
            reader,
            writer,
            frames,
            head: Head::of(&opened.signed.record, &relay),
            stream: opened.stream,
            relay,
            terms: opened.terms,
            id_last: 0,
            pushes: VecDeque::new(),
        })
    }

    /// Who it is.
    pub(crate) fn relay(&self) -> IdentityHash {
        self.relay
    }

    /// Where its chain of keys is.
    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// What it allows, and its time.
    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What proofs are bound to.
    pub(crate) fn binding(&self) -> StreamBinding {
        self.stream.binding()
    }

    /// Asks one thing and waits for the answer.
    ///
    /// # Errors
    /// When none comes.
    pub(crate) async fn ask(&mut self, request: Request) -> Result<Answer, NoRelay> {
        let asked = self.send(request).await?;
        let answered = async {
            loop {
                match self.next_message().await? {
                    FromRelay::Answer(id, answer) if id == asked => return Ok(answer),
                    FromRelay::Answer(..) => {}
                    FromRelay::Push(handle, push) => {
                        if self.pushes.len() >= PUSHES_WAITING_MAX {
                            return Err(NoRelay::Wrong);
                        }
                        self.pushes.push_back((handle, push));
                    }
                }
            }
        };
        let outcome = timeout(ANSWER_TIME_MAX, answered).await;
        outcome.unwrap_or(Err(NoRelay::Unreachable))
    }

    /// The next thing that the relay pushes, however long that takes; nothing when a silent relay has said that it is there.
    ///
    /// # Errors
    /// When the stream ended, or must be opened anew.
    pub(crate) async fn next_push(&mut self) -> Result<Option<(Handle, Push)>, NoRelay> {
        let since = clock::now().mono;
        let mut pinged = false;
        loop {
            if let Some(push) = self.pushes.pop_front() {
                return Ok(Some(push));
            }
            let wait = if pinged { PONG_TIME_MAX } else { WAKE_EVERY };
            match timeout(wait, self.next_message()).await {
                Ok(Ok(FromRelay::Push(handle, push))) => return Ok(Some((handle, push))),
                Ok(Ok(FromRelay::Answer(..))) => return Ok(None),
                Ok(Err(fault)) => return Err(fault),
                Err(_) if pinged => return Err(NoRelay::Unreachable),
                // Sleeping through a suspend counts here, and not there.
                Err(_) if clock::now().mono.0.saturating_sub(since.0) < PING_AFTER_MS => {}
                Err(_) => {
                    let now = clock::now().mono;
                    if let Some(frame) = self.stream.turn(now) {
                        self.write(&frame).await?;
                    }
                    self.send(Request::Ping).await?;
                    pinged = true;
                }
            }
        }
    }

    async fn send(&mut self, request: Request) -> Result<u32, NoRelay> {
        self.id_last = self.id_last.wrapping_add(1);
        let id = self.id_last;
        let message = FromClient { id, request };
        let message = message.encode().map_err(|_| NoRelay::Wrong)?;
        let now = clock::now().mono;
        // A stream that is a day old is opened anew by whoever needs it.
        let frame = self.stream.seal(now, &message);
        self.write(&frame.map_err(|_| NoRelay::Unreachable)?)
            .await?;
        Ok(id)
    }

    async fn write(&mut self, frame: &[u8]) -> Result<(), NoRelay> {
        write(&mut *self.writer, frame).await
    }

    async fn next_message(&mut self) -> Result<FromRelay, NoRelay> {
        loop {
            let frame = next_frame(&mut *self.reader, &mut self.frames).await?;
            let now = clock::now().mono;
            let message = self.stream.open(now, &frame).map_err(|_| NoRelay::Wrong)?;
            if let Some(message) = message {
                return FromRelay::decode(&message).map_err(|_| NoRelay::Wrong);
            }
        }
    }
}

impl Carried {
    async fn next_frame(&mut self) -> Result<Vec<u8>, NoRelay> {
        next_frame(&mut *self.reader, &mut self.frames).await
    }

    async fn write(&mut self, frame: &[u8]) -> Result<(), NoRelay> {
        write(&mut *self.writer, frame).await
    }
}

/// Cut off at any moment, nothing that came is lost.
async fn next_frame(
    reader: &mut (dyn AsyncRead + Send + Unpin),
    frames: &mut Deframer,
) -> Result<Vec<u8>, NoRelay> {
    let mut buffer = [0_u8; 4096];
    loop {
        if let Some(frame) = frames.next_frame().map_err(|_| NoRelay::Wrong)? {
            return Ok(frame);
        }
        match reader.read(&mut buffer).await {
            Ok(count @ 1..) => frames.push(buffer.get(..count).unwrap_or_default()),
            _ => return Err(NoRelay::Unreachable),
        }
    }
}

async fn write(writer: &mut (dyn AsyncWrite + Send + Unpin), frame: &[u8]) -> Result<(), NoRelay> {
    let framed = framed(frame).map_err(|_| NoRelay::Wrong)?;
    let written = writer.write_all(&framed).await;
    written.map_err(|_| NoRelay::Unreachable)?;
    writer.flush().await.map_err(|_| NoRelay::Unreachable)
}

fn no_relay(fault: RelayFault) -> NoRelay {
    match fault {
        RelayFault::Greeting(
            GreetingFault::UpdateNeeded { .. } | GreetingFault::RelayTooOld { .. },
        ) => NoRelay::UpdateNeeded,
        RelayFault::Refused(_) => NoRelay::Refused,
        _ => NoRelay::Wrong,
    }
}
