//! The vault opened in this process: the engine's thread, and a runtime for its sockets.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};

use emptyroom_vault::Vault;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::{EVENTS_WAITING_MAX, Sent, watcher};
use crate::api::{Answer, Call, Event, Failure};
use crate::carrier::Carrier;
use crate::engine::{self, Message};

/// The engine and what it runs on.
pub(super) struct Local {
    engine: mpsc::Sender<Message>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// Dropped last: links live on it.
    _runtime: Runtime,
}

impl Local {
    pub(super) fn start(vault: Vault, carrier: Arc<dyn Carrier>) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let (engine, thread) = engine::start(vault, carrier, runtime.handle().clone())?;
        Ok(Self {
            engine,
            thread: Some(thread),
            _runtime: runtime,
        })
    }

    pub(super) fn call(&self, call: Call) -> Result<Answer, Failure> {
        let (answered, answer) = sync_channel(1);
        let answerer = Box::new(move |outcome| {
            // Nobody waits any more where this fails.
            let _ = answered.send(outcome);
        });
        self.engine
            .blocking_send(Message::Call(call, answerer))
            .map_err(|_| Failure::locked())?;
        answer
            .recv()
            .map_err(|_| Failure::fault("the engine ended without an answer"))?
    }

    pub(super) fn events(&self) -> Result<Receiver<Event>, Failure> {
        let (sender, receiver) = sync_channel(EVENTS_WAITING_MAX);
        let watcher = watcher(move |event| match sender.try_send(event) {
            Ok(()) => Sent::Yes,
            Err(TrySendError::Full(_)) => Sent::Full,
            Err(TrySendError::Disconnected(_)) => Sent::Closed,
        });
        self.engine
            .blocking_send(Message::Watch(watcher))
            .map_err(|_| Failure::locked())?;
        Ok(receiver)
    }
}

impl Drop for Local {
    /// Whoever forgets to close still leaves a locked vault behind.
    fn drop(&mut self) {
        let _ = self
            .engine
            .blocking_send(Message::Call(Call::Lock {}, Box::new(drop)));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One thread for all sockets.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("sockets")
        .enable_all()
        .build()
        .map_err(|e| Failure::fault(format!("no runtime: {}", e.kind())))
}
