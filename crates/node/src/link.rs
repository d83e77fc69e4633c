//! Links: the tasks that carry frames between the engine and the relays.
//!
//! Each has one task, which dials, then reads and writes frames until either side ends. A slow relay holds back its own
//! reading only; a relay that sends faster than the engine works is held back by the engine's bounded queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use emptyroom_core::api::LinkId;
use emptyroom_wire::framing::{Deframer, framed};
use emptyroom_wire::limits::{CARRIER_FRAME_LEN_MAX, HANDSHAKE_FRAME_LEN_MAX};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::carrier::{Carrier, DIAL_TIME_MAX, Target};
use crate::engine::Message;

/// The most bytes that may wait for one relay: beyond that it is as good as gone.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Frames that a relay sends before the stream is open: greeting and answer.
const HANDSHAKE_FRAMES: usize = 2;

/// Bytes taken from a socket at once.
const READ_BYTES: usize = 16 * 1024;

/// What a link tells the engine.
pub(crate) enum FromLink {
    /// It stands.
    Up(Option<[u8; 32]>),
    /// A frame came.
    Frame(Vec<u8>),
    /// It ended, or never stood.
    Down,
}

/// The open links.
pub(crate) struct Links {
    carrier: Arc<dyn Carrier>,
    runtime: Handle,
    engine: mpsc::Sender<Message>,
    open: BTreeMap<LinkId, Open>,
}

struct Open {
    frames: mpsc::UnboundedSender<Vec<u8>>,
    waiting_bytes: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Links {
    pub(crate) fn new(
        carrier: Arc<dyn Carrier>,
        runtime: Handle,
        engine: mpsc::Sender<Message>,
    ) -> Self {
        Self {
            carrier,
            runtime,
            engine,
            open: BTreeMap::new(),
        }
    }

    /// What it dials with, and where its tasks live.
    pub(crate) fn ways(&self) -> (Arc<dyn Carrier>, Handle) {
        (self.carrier.clone(), self.runtime.clone())
    }

    /// Begins to connect; the engine hears `Up` or `Down`.
    pub(crate) fn dial(&mut self, id: LinkId, target: Target) {
        let (frames, outgoing) = mpsc::unbounded_channel();
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let link = Link {
            id,
            engine: self.engine.clone(),
            outgoing,
            waiting_bytes: waiting_bytes.clone(),
        };
        let task = self.runtime.spawn(link.run(self.carrier.clone(), target));
        self.open.insert(
            id,
            Open {
                frames,
                waiting_bytes,
                task,
            },
        );
    }

    /// Sends a frame; on a link that is gone it goes nowhere, as on a link that ends a moment later. Says whether the link
    /// still takes frames.
    pub(crate) fn frame(&mut self, id: LinkId, bytes: Vec<u8>) -> bool {
        let Some(open) = self.open.get(&id) else {
            return false;
        };
        let waiting = open.waiting_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        if waiting > WAITING_BYTES_MAX || open.frames.send(bytes).is_err() {
            self.open.remove(&id);
            return false;
        }
        true
    }

    /// Ends a link at once.
    pub(crate) fn hang_up(&mut self, id: LinkId) {
        self.open.remove(&id);
    }

    /// Ends all of them at once.
    pub(crate) fn hang_up_all(&mut self) {
        self.open.clear();
    }
}

/// One link's task.
struct Link {
    id: LinkId,
    engine: mpsc::Sender<Message>,
    outgoing: mpsc::UnboundedReceiver<Vec<u8>>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Link {
    async fn run(self, carrier: Arc<dyn Carrier>, target: Target) {
        let Self {
            id,
            engine,
            outgoing,
            waiting_bytes,
        } = self;
        if let Ok(Ok(connection)) = tokio::time::timeout(DIAL_TIME_MAX, carrier.dial(target)).await
            && engine
                .send(Message::Link(id, FromLink::Up(connection.spki_hash)))
                .await
                .is_ok()
        {
            tokio::select! {
                () = read(id, connection.reader, &engine) => {}
                () = write(connection.writer, outgoing, &waiting_bytes) => {}
            }
        }
        // The engine has ended where this fails.
        let _ = engine.send(Message::Link(id, FromLink::Down)).await;
    }
}

/// Reads frames until the relay ends, breaks the framing, or the engine ends.
async fn read(id: LinkId, mut reader: impl AsyncRead + Unpin, engine: &mpsc::Sender<Message>) {
    // [SPEC 5.16] Greeting and answer are short; the stream that they open carries longer frames.
    let mut frames = Deframer::new(HANDSHAKE_FRAME_LEN_MAX);
    let mut count_left = HANDSHAKE_FRAMES;
    let mut buffer = vec![0_u8; READ_BYTES];
    loop {
        let Ok(count @ 1..) = reader.read(&mut buffer).await else {
            return;
        };
        frames.push(buffer.get(..count).unwrap_or_default());
        loop {
            match frames.next_frame() {
                Ok(Some(frame)) => {
                    count_left = count_left.saturating_sub(1);
                    if count_left == 0 {
                        frames.set_len_max(CARRIER_FRAME_LEN_MAX);
                    }
                    if engine
                        .send(Message::Link(id, FromLink::Frame(frame)))
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// Writes frames until the relay stops taking them or the link is hung up.
async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::UnboundedReceiver<Vec<u8>>,
    waiting_bytes: &AtomicUsize,
) {
    while let Some(frame) = outgoing.recv().await {
        let mut next = Some(frame);
        // What waits already goes out in one piece.
        while let Some(frame) = next {
            waiting_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
            let Ok(framed) = framed(&frame) else { return };
            if writer.write_all(&framed).await.is_err() {
                return;
            }
            next = outgoing.try_recv().ok();
        }
        if writer.flush().await.is_err() {
            return;
        }
    }
}
