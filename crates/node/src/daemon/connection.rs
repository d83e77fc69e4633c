//! One program at the daemon: its requests in order, responses as they come, events if it asked for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};

use crate::api::{Answer, Call, Event, Failure};
use crate::clock;
use crate::engine::Message;
use crate::rpc::{self, Lines, Request};
use crate::session::{EVENTS_WAITING_MAX, Sent, watcher};

/// Requests of one program that may wait for their responses; further ones are not read before.
// [SPEC 12.24]
const REQUESTS_WAITING_MAX: usize = 32;

/// Serves one program until it hangs up, sends a line that is too long, or the vault is locked.
pub(super) async fn serve(
    stream: UnixStream,
    engine: &mpsc::Sender<Message>,
    last_call: &AtomicU64,
) {
    let (reader, writer) = stream.into_split();
    // Every response has a permit below, so this holds REQUESTS_WAITING_MAX lines at most.
    let (responses, outgoing) = mpsc::unbounded_channel();
    let (events, to_notify) = mpsc::channel(EVENTS_WAITING_MAX);
    let program = Program {
        engine,
        last_call,
        responses,
        events,
    };
    let writing = tokio::spawn(write(writer, outgoing, to_notify));
    program.read(reader).await;
    // Ends when the last answerer and the watcher are gone; a program that hung up fails the next write.
    drop(program);
    let _ = writing.await;
}

struct Program<'a> {
    engine: &'a mpsc::Sender<Message>,
    last_call: &'a AtomicU64,
    responses: mpsc::UnboundedSender<String>,
    events: mpsc::Sender<Event>,
}

impl Program<'_> {
    async fn read(&self, mut reader: OwnedReadHalf) {
        let waiting = Arc::new(Semaphore::new(REQUESTS_WAITING_MAX));
        let mut lines = Lines::new(rpc::REQUEST_BYTES_MAX);
        let mut buffer = vec![0_u8; 16 * 1024];
        loop {
            let count = tokio::select! {
                count = reader.read(&mut buffer) => count,
                () = self.engine.closed() => return,
            };
            let Ok(count @ 1..) = count else { return };
            lines.push(buffer.get(..count).unwrap_or_default());
            loop {
                match lines.next_line() {
                    Ok(Some(line)) => {
                        let Ok(permit) = waiting.clone().acquire_owned().await else {
                            return;
                        };
                        if !self.request(&line, permit).await {
                            return;
                        }
                    }
                    Ok(None) => break,
                    Err(rpc::TooLong) => return,
                }
            }
        }
    }

    /// Hands one request to the engine. False when the engine has ended.
    async fn request(&self, line: &[u8], permit: tokio::sync::OwnedSemaphorePermit) -> bool {
        let Request { id, call } = match rpc::parse_request(line) {
            Ok(request) => request,
            Err(refusal) => return self.responses.send(rpc::refusal_line(&refusal)).is_ok(),
        };
        self.last_call.store(clock::now().mono.0, Ordering::Relaxed);
        if matches!(call, Call::Subscribe {}) {
            return self.subscribe(&id).await;
        }
        let responses = self.responses.clone();
        let answerer = Box::new(move |outcome: Result<Answer, Failure>| {
            // Nobody waits any more where this fails.
            let _ = responses.send(rpc::response_line(&id, &outcome));
            drop(permit);
        });
        self.engine
            .send(Message::Call(page(call), answerer))
            .await
            .is_ok()
    }

    async fn subscribe(&self, id: &serde_json::Value) -> bool {
        let events = self.events.clone();
        let watcher = watcher(move |event| match events.try_send(event) {
            Ok(()) => Sent::Yes,
            Err(TrySendError::Full(_)) => Sent::Full,
            Err(TrySendError::Closed(_)) => Sent::Closed,
        });
        self.engine.send(Message::Watch(watcher)).await.is_ok()
            && self
                .responses
                .send(rpc::response_line(id, &Ok(Answer::Done {})))
                .is_ok()
    }
}

/// No response is longer than a program takes.
fn page(call: Call) -> Call {
    match call {
        Call::Unread { name, limit } => Call::Unread {
            name,
            limit: limit.min(rpc::PAGE_LINES_MAX),
        },
        Call::History {
            name,
            before,
            limit,
        } => Call::History {
            name,
            before,
            limit: limit.min(rpc::PAGE_LINES_MAX),
        },
        call => call,
    }
}

/// Writes responses and notifications until there will be no more responses, or the program takes nothing.
async fn write(
    mut writer: OwnedWriteHalf,
    mut responses: mpsc::UnboundedReceiver<String>,
    mut events: mpsc::Receiver<Event>,
) {
    loop {
        let line = tokio::select! {
            biased;
            response = responses.recv() => match response {
                Some(line) => line,
                None => break,
            },
            Some(event) = events.recv() => rpc::event_line(&event),
        };
        if writer.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
    // What was told before the end, `locked` as the last of it.
    while let Ok(event) = events.try_recv() {
        if writer
            .write_all(rpc::event_line(&event).as_bytes())
            .await
            .is_err()
        {
            return;
        }
    }
}
