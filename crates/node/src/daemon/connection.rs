//! One program at the daemon: its requests in order, responses as they come, events if it asked for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::api::{Answer, Call, Event, Failure};
use crate::clock;
use crate::engine::Message;
use crate::rpc::{self, Lines, Request};
use crate::session::{EVENTS_WAITING_MAX, Missed, Sent, watcher, without_text};

/// Requests of one program whose responses it has not taken yet; further ones are not read before.
// [SPEC 12.24]
const REQUESTS_WAITING_MAX: usize = 32;

/// Serves one program until it hangs up, sends a line that is too long, or the vault is locked.
pub(super) async fn serve(
    stream: UnixStream,
    engine: &mpsc::Sender<Message>,
    last_call: &AtomicU64,
) {
    let (reader, writer) = stream.into_split();
    // Every response has its request's permit, so this holds REQUESTS_WAITING_MAX lines at most.
    let (responses, outgoing) = mpsc::unbounded_channel();
    let (events, to_notify) = mpsc::channel(EVENTS_WAITING_MAX);
    let missed = Missed::default();
    let program = Program {
        engine,
        last_call,
        responses,
        events,
        missed: missed.clone(),
        subscribed: AtomicBool::new(false),
    };
    let writing = tokio::spawn(write(writer, outgoing, to_notify, missed));
    program.read(reader).await;
    // Ends when the last answerer and the watcher are gone; a program that hung up fails the next write.
    drop(program);
    let _ = writing.await;
}

struct Program<'a> {
    engine: &'a mpsc::Sender<Message>,
    last_call: &'a AtomicU64,
    responses: mpsc::UnboundedSender<Response>,
    events: mpsc::Sender<Event>,
    missed: Missed,
    subscribed: AtomicBool,
}

/// A line for the program, and the room that its request takes until it was written: a program that asks and never reads
/// must not fill this process's memory.
struct Response {
    line: String,
    _permit: OwnedSemaphorePermit,
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
    async fn request(&self, line: &[u8], permit: OwnedSemaphorePermit) -> bool {
        let respond = |line, permit| Response {
            line,
            _permit: permit,
        };
        let Request { id, call } = match rpc::parse_request(line) {
            Ok(request) => request,
            Err(refusal) => {
                let response = respond(rpc::refusal_line(&refusal), permit);
                return self.responses.send(response).is_ok();
            }
        };
        self.last_call.store(clock::now().mono.0, Ordering::Relaxed);
        if matches!(call, Call::Subscribe {}) {
            let line = rpc::response_line(&id, &Ok(Answer::Done {}));
            return self.subscribe().await && self.responses.send(respond(line, permit)).is_ok();
        }
        let responses = self.responses.clone();
        let answerer = Box::new(move |outcome: Result<Answer, Failure>| {
            // Nobody waits any more where this fails.
            let _ = responses.send(respond(rpc::response_line(&id, &outcome), permit));
        });
        self.engine
            .send(Message::Call(page(call), answerer))
            .await
            .is_ok()
    }

    /// Once is enough: asked again, every event would come twice.
    async fn subscribe(&self) -> bool {
        if self.subscribed.swap(true, Ordering::Relaxed) {
            return true;
        }
        let events = self.events.clone();
        let watcher = watcher(self.missed.clone(), move |event| {
            match events.try_send(without_text(event)) {
                Ok(()) => Sent::Yes,
                Err(TrySendError::Full(_)) => Sent::Full,
                Err(TrySendError::Closed(_)) => Sent::Closed,
            }
        });
        self.engine.send(Message::Watch(watcher)).await.is_ok()
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
    mut responses: mpsc::UnboundedReceiver<Response>,
    mut events: mpsc::Receiver<Event>,
    missed: Missed,
) {
    loop {
        if events.is_empty() && missed.take() {
            let line = rpc::event_line(&Event::Missed {});
            if writer.write_all(line.as_bytes()).await.is_err() {
                return;
            }
        }
        let (line, _permit) = tokio::select! {
            biased;
            response = responses.recv() => match response {
                Some(Response { line, _permit }) => (line, Some(_permit)),
                None => break,
            },
            Some(event) = events.recv() => (rpc::event_line(&event), None),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::Exit;
    use crate::session::runtime;

    fn request(id: u64, method: &str) -> String {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\"}}\n")
    }

    // [SPEC 12.24]
    #[test]
    fn a_program_that_reads_nothing_is_not_read_on() {
        runtime().unwrap().block_on(async {
            let (mut program, stream) = UnixStream::pair().unwrap();
            let (engine, mut calls) = mpsc::channel(256);
            tokio::spawn(async move { serve(stream, &engine, &AtomicU64::new(0)).await });
            let requests: String = (0..200).map(|id| request(id, "status")).collect();
            program.write_all(requests.as_bytes()).await.unwrap();
            let mut taken = 0;
            // More than a socket holds, so the first response is never written whole.
            let long = Failure::new(Exit::Fault, "fault", "x".repeat(4 * 1024 * 1024));
            while let Ok(Some(Message::Call(_, answerer))) =
                tokio::time::timeout(Duration::from_millis(500), calls.recv()).await
            {
                answerer(Err(long.clone()));
                taken += 1;
            }
            assert_eq!(taken, REQUESTS_WAITING_MAX);
            drop(program);
        });
    }

    // [SPEC 12.27]
    #[test]
    fn whoever_subscribes_twice_hears_everything_once() {
        runtime().unwrap().block_on(async {
            let (mut program, stream) = UnixStream::pair().unwrap();
            let (engine, mut messages) = mpsc::channel(256);
            tokio::spawn(async move { serve(stream, &engine, &AtomicU64::new(0)).await });
            let requests = [request(1, "subscribe"), request(2, "subscribe")].concat();
            program.write_all(requests.as_bytes()).await.unwrap();
            program.shutdown().await.unwrap();
            assert!(matches!(messages.recv().await, Some(Message::Watch(_))));
            // The connection has answered both, and gives its handle on the engine back.
            assert!(messages.recv().await.is_none());
            let mut told = String::new();
            program.read_to_string(&mut told).await.unwrap();
            assert_eq!(told.matches("done").count(), 2);
        });
    }
}
