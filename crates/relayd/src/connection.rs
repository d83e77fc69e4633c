//! One connection: bytes to frames and back, with bounds on time and memory.
//!
//! An idle connection holds four bytes for the next length and nothing else of ours: a frame's buffer is
//! made when its length is known, grows with what arrives, and goes to the engine whole.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use emptyroom_relay::ConnId;
use emptyroom_wire::limits::{CARRIER_FRAME_LEN_MAX, FRAME_TAG_LEN, HANDSHAKE_FRAME_LEN_MAX};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::outbox::{Outbox, Waiting, Wakes};

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Clients ping where nothing else goes to and fro; one that says and takes nothing for so long is gone.
    pub idle: Duration,
    /// A frame may take this long, and longer by what has come of it. A large one first waits for its share of memory.
    pub frame: Duration,
    /// A frame that is slower than this many bytes a second is not worth its memory.
    pub frame_bytes_per_second_min: u64,
    /// A piece of `WRITE_PIECE` bytes that cannot be written in this time ends the connection.
    pub write: Duration,
    /// How long a goodbye may take.
    pub close: Duration,
}

// [SPEC 6.74]
impl Default for Pace {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(5 * 60),
            frame: Duration::from_secs(20),
            frame_bytes_per_second_min: 16 * 1024,
            write: Duration::from_secs(60),
            close: Duration::from_secs(3),
        }
    }
}

impl Pace {
    /// How much longer a frame may take for bytes that came.
    fn time_for(&self, bytes: usize) -> Duration {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        Duration::from_micros(bytes.saturating_mul(1_000_000) / self.frame_bytes_per_second_min)
    }
}

/// So many bytes are written at a time.
const WRITE_PIECE: usize = 64 * 1024;
/// The buffer of a frame begins with at most so much, and then doubles.
const GROWTH: usize = 64 * 1024;
/// Frames above this share [`Budgets::large`] from their first byte on: 16 KiB entries stay below.
const LARGE_FRAME: usize = (18 << 10) + FRAME_TAG_LEN;
// [SPEC 6.76]
/// What large frames on their way in may hold together, and what whole frames that wait for the engine may.
const BUDGET_KIB: usize = 128 << 10;
const LENGTH_BYTES: usize = 4;

/// Memory for what clients send, for all of them together, in kibibytes.
pub(crate) struct Budgets {
    /// Large frames on their way in.
    large: Arc<Semaphore>,
    /// Whole frames until the engine has taken them.
    whole: Arc<Semaphore>,
}

impl Budgets {
    pub(crate) fn new() -> Self {
        Self::of_kib(BUDGET_KIB)
    }

    fn of_kib(kib: usize) -> Self {
        Self {
            large: Arc::new(Semaphore::new(kib)),
            whole: Arc::new(Semaphore::new(kib)),
        }
    }
}

/// The share of a budget that a frame holds; given back by dropping it.
pub(crate) type Share = OwnedSemaphorePermit;

/// From a connection to the engine, in order.
pub(crate) enum Incoming {
    Connected(ConnId, Arc<Outbox>),
    Frame(ConnId, Vec<u8>, Share),
    Disconnected(ConnId),
}

/// Bytes of frames that reached a socket.
pub(crate) struct Written(pub(crate) ConnId, pub(crate) usize);

/// What a connection's task is given.
pub(crate) struct Line {
    pub(crate) id: ConnId,
    pub(crate) engine: mpsc::Sender<Incoming>,
    pub(crate) written: mpsc::UnboundedSender<Written>,
    pub(crate) budgets: Arc<Budgets>,
    pub(crate) pace: Pace,
    /// Wakes the connections of this lane.
    pub(crate) lane: Arc<Wakes>,
}

/// Why a connection ends. Nobody is told.
enum End {
    /// The other side, the network, or a time limit.
    Gone,
    /// The relay said so.
    Hangup,
    /// The engine is no more.
    Stopped,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Carries frames until one side ends it.
pub(crate) async fn carry<S>(mut bytes: S, line: Line)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let outbox = Arc::new(Outbox::new(Arc::clone(&line.lane)));
    if line
        .engine
        .send(Incoming::Connected(line.id, Arc::clone(&outbox)))
        .await
        .is_err()
    {
        return;
    }
    if matches!(exchange(&mut bytes, &outbox, &line).await, Err(End::Hangup)) {
        let _ = timeout(line.pace.close, bytes.shutdown()).await;
    }
    drop(bytes);
    let _ = line.engine.send(Incoming::Disconnected(line.id)).await;
}

async fn exchange<S>(bytes: &mut S, outbox: &Outbox, line: &Line) -> Result<(), End>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut reader = Reader::new(line.pace);
    let mut alarm = pin!(sleep_until(reader.deadline));
    loop {
        select! {
            waiting = outbox.take() => {
                write_all(bytes, waiting, line).await?;
                reader.wrote();
            }
            frame = reader.frame(bytes, &line.budgets, alarm.as_mut()) => deliver(frame?, line).await?,
        }
    }
}

/// Waits until the frame fits into what the engine may hold; until then nothing more is read here.
async fn deliver(frame: Vec<u8>, line: &Line) -> Result<(), End> {
    let whole = Arc::clone(&line.budgets.whole);
    let share = whole
        .acquire_many_owned(kibibytes(frame.len()))
        .await
        .map_err(|_| End::Stopped)?;
    line.engine
        .send(Incoming::Frame(line.id, frame, share))
        .await
        .map_err(|_| End::Stopped)
}

/// Writes what waits in pieces, so that a slow reader is told from a dead one.
async fn write_all<S>(bytes: &mut S, waiting: Waiting, line: &Line) -> Result<(), End>
where
    S: AsyncWrite + Unpin,
{
    let mut piece = Vec::new();
    let mut of_frames = 0;
    for frame in waiting.frames {
        let length = u32::try_from(frame.len()).map_err(|_| End::Gone)?;
        piece.extend_from_slice(&length.to_be_bytes());
        for part in frame.chunks(WRITE_PIECE) {
            piece.extend_from_slice(part);
            of_frames += part.len();
            if piece.len() >= WRITE_PIECE {
                write_piece(bytes, &mut piece, &mut of_frames, line).await?;
            }
        }
    }
    write_piece(bytes, &mut piece, &mut of_frames, line).await?;
    if waiting.hangup {
        Err(End::Hangup)
    } else {
        Ok(())
    }
}

async fn write_piece<S>(
    bytes: &mut S,
    piece: &mut Vec<u8>,
    of_frames: &mut usize,
    line: &Line,
) -> Result<(), End>
where
    S: AsyncWrite + Unpin,
{
    let write = async {
        bytes.write_all(piece).await?;
        bytes.flush().await
    };
    timeout(line.pace.write, write)
        .await
        .map_err(|_| End::Gone)??;
    piece.clear();
    if *of_frames > 0 {
        let _ = line
            .written
            .send(Written(line.id, std::mem::take(of_frames)));
    }
    Ok(())
}

/// Puts frames together. All its state is in itself, so that reading can be dropped at any moment.
struct Reader {
    pace: Pace,
    head: [u8; LENGTH_BYTES],
    head_len: usize,
    body: Option<Body>,
    /// The first frame comes from somebody who has shown nothing yet.
    first: bool,
    /// When the other side must have said something, or the frame must be whole.
    deadline: Instant,
}

struct Body {
    bytes: Vec<u8>,
    length: usize,
    share: Option<Share>,
}

impl Reader {
    fn new(pace: Pace) -> Self {
        Self {
            pace,
            head: [0; LENGTH_BYTES],
            head_len: 0,
            body: None,
            first: true,
            deadline: Instant::now() + pace.idle,
        }
    }

    /// A client that only listens is as good as one that asks.
    fn wrote(&mut self) {
        if self.head_len == 0 {
            self.deadline = Instant::now() + self.pace.idle;
        }
    }

    /// The next frame. The alarm is set only when there is something to wait for.
    async fn frame<S>(
        &mut self,
        from: &mut S,
        budgets: &Budgets,
        mut alarm: Pin<&mut Sleep>,
    ) -> Result<Vec<u8>, End>
    where
        S: AsyncRead + Unpin,
    {
        loop {
            let deadline = self.deadline;
            select! {
                biased;
                read = self.read(from, budgets) => read?,
                () = ring(alarm.as_mut(), deadline) => return Err(End::Gone),
            }
            if let Some(frame) = self.finished() {
                return Ok(frame);
            }
        }
    }

    /// Reads once, whatever the time.
    async fn read<S>(&mut self, from: &mut S, budgets: &Budgets) -> Result<(), End>
    where
        S: AsyncRead + Unpin,
    {
        let Some(body) = &mut self.body else {
            let free = self.head.get_mut(self.head_len..).unwrap_or_default();
            let read = from.read(free).await?;
            return self.head_grew(read);
        };
        if body.share.is_none() && body.length > LARGE_FRAME {
            let large = Arc::clone(&budgets.large);
            body.share = Some(
                large
                    .acquire_many_owned(kibibytes(body.length))
                    .await
                    .map_err(|_| End::Stopped)?,
            );
            // The wait was for others.
            self.deadline = Instant::now() + self.pace.frame;
            return Ok(());
        }
        let missing = body.length.saturating_sub(body.bytes.len());
        if missing == 0 {
            return Ok(());
        }
        if body.bytes.capacity() == body.bytes.len() {
            // No more than has arrived already: a length alone costs nothing.
            body.bytes
                .reserve_exact(missing.min(GROWTH.max(body.bytes.len())));
        }
        let free = missing.min(body.bytes.capacity() - body.bytes.len());
        let free = u64::try_from(free).unwrap_or(u64::MAX);
        let read = (&mut *from).take(free).read_buf(&mut body.bytes).await?;
        if read == 0 {
            return Err(End::Gone);
        }
        // Bytes earn time and a length does not: who sends nothing does not keep its share for long.
        self.deadline += self.pace.time_for(read);
        Ok(())
    }

    fn head_grew(&mut self, read: usize) -> Result<(), End> {
        if read == 0 {
            return Err(End::Gone);
        }
        if self.head_len == 0 {
            self.deadline = Instant::now() + self.pace.frame;
        }
        self.head_len += read;
        if self.head_len < LENGTH_BYTES {
            return Ok(());
        }
        let length = usize::try_from(u32::from_be_bytes(self.head)).map_err(|_| End::Gone)?;
        // [SPEC 6.75]
        let max = if self.first {
            HANDSHAKE_FRAME_LEN_MAX
        } else {
            CARRIER_FRAME_LEN_MAX
        };
        if length == 0 || length > max {
            return Err(End::Gone);
        }
        if length > LARGE_FRAME {
            self.deadline = Instant::now() + self.pace.idle;
        }
        self.body = Some(Body {
            bytes: Vec::new(),
            length,
            share: None,
        });
        Ok(())
    }

    /// The frame, if it is whole. Its share of the budget for arriving frames ends here.
    fn finished(&mut self) -> Option<Vec<u8>> {
        let body = self.body.take_if(|body| body.bytes.len() == body.length)?;
        *self = Self {
            first: false,
            ..Self::new(self.pace)
        };
        Some(body.bytes)
    }
}

/// Waits for this time, with little to do if it was waited for before.
async fn ring(mut alarm: Pin<&mut Sleep>, at: Instant) {
    if alarm.deadline() != at {
        alarm.as_mut().reset(at);
    }
    alarm.await;
}

/// Reads frames from bytes that are all there, until they end or are none: for [`crate::fuzz`].
pub(crate) fn read_all(mut bytes: &[u8]) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
    else {
        return;
    };
    runtime.block_on(async {
        let budgets = Budgets::new();
        let mut reader = Reader::new(Pace::default());
        while reader.read(&mut bytes, &budgets).await.is_ok() {
            reader.finished();
        }
    });
}

fn kibibytes(length: usize) -> u32 {
    u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
