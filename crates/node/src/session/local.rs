//! The vault opened in this process: the engine's thread, and a runtime for its sockets.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use emptyroom_vault::Vault;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::{Events, events};
use crate::api::{Call, Failure};
use crate::carrier::Carrier;
use crate::engine::{self, Answerer, Message, Patience, Started, Thread};

/// The engine's thread, or why it ended.
enum State {
    Runs(Thread),
    Ended(Failure),
}

/// The engine and what it runs on.
pub(super) struct Local {
    engine: mpsc::Sender<Message>,
    thread: Arc<Mutex<State>>,
    /// Ended last: links live on it.
    runtime: Option<Runtime>,
}

impl Local {
    pub(super) fn start(
        vault: Vault,
        home: &Path,
        carrier: Arc<dyn Carrier>,
    ) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let started = engine::start(
            vault,
            home,
            carrier,
            runtime.handle().clone(),
            Patience::Long,
        )?;
        Ok(Self::over(started, runtime))
    }

    pub(super) fn over(started: Started, runtime: Runtime) -> Self {
        Self {
            engine: started.sender,
            thread: Arc::new(Mutex::new(State::Runs(started.thread))),
            runtime: Some(runtime),
        }
    }

    pub(super) fn call(&self, call: Call, answerer: Answerer) {
        if let Err(refused) = self.engine.blocking_send(Message::Call(call, answerer))
            && let Message::Call(_, answerer) = refused.0
        {
            answerer(Err(ended(&self.thread)));
        }
    }

    /// What locks the vault as whoever leaves it wants it, from another thread, and comes back when that is done.
    pub(super) fn leaver(&self) -> impl FnOnce() + Send + 'static {
        let (engine, thread) = (self.engine.clone(), self.thread.clone());
        move || {
            let _ = engine.blocking_send(Message::Leave);
            ended(&thread);
        }
    }

    pub(super) fn events(&self) -> Result<Events, Failure> {
        let (watcher, events) = events();
        self.engine
            .blocking_send(Message::Watch(watcher))
            .map_err(|_| ended(&self.thread))?;
        Ok(events)
    }
}

/// Why the engine takes nothing any more, which it does not only when it is about to be gone: waits for that.
fn ended(thread: &Mutex<State>) -> Failure {
    let mut state = thread.lock().unwrap_or_else(PoisonError::into_inner);
    let before = std::mem::replace(&mut *state, State::Ended(Failure::locked()));
    let why = match before {
        State::Runs(thread) => thread.join().ok().flatten(),
        State::Ended(why) => Some(why),
    };
    let why = why.unwrap_or_else(Failure::locked);
    *state = State::Ended(why.clone());
    why
}

impl Drop for Local {
    /// Whoever forgets to close still leaves a locked vault behind.
    fn drop(&mut self) {
        let _ = self
            .engine
            .blocking_send(Message::Call(Call::Lock {}, Box::new(drop)));
        ended(&self.thread);
        // Not waited for: looking up a name may hang for a minute, and nothing is to be stored any more.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::api::SecretText;
    use crate::home::{Kdf, create_vault};
    use crate::session::direct;

    /// How long the name server of this test keeps everybody waiting.
    const HANGS: Duration = Duration::from_secs(30);

    fn vault(name: &str) -> (std::path::PathBuf, Vault) {
        let home =
            std::env::temp_dir().join(format!("emptyroom-node-{}-{name}", std::process::id()));
        let pin = SecretText::new("a pin of this test".to_owned());
        let vault = create_vault(&home, &pin, Kdf::Minimum).unwrap();
        (home, vault)
    }

    /// Whoever has it open: a daemon has the same engine.
    // [SPEC 11.91]
    #[test]
    fn a_machine_that_wakes_from_a_suspend_finds_its_vault_locked() {
        let (home, vault) = vault("woken");
        let runtime = runtime().unwrap();
        let (wake, woken) = tokio::sync::oneshot::channel::<()>();
        let woken = async {
            woken.await.unwrap();
        };
        let carrier = Arc::new(direct().unwrap());
        let links = runtime.handle().clone();
        let started =
            engine::start_until(woken, vault, &home, carrier, links, Patience::Short).unwrap();
        let local = Local::over(started, runtime);
        let status = || {
            let (answers, answer) = sync_channel(1);
            local.call(Call::Status {}, Box::new(move |a| answers.send(a).unwrap()));
            answer.recv().unwrap()
        };
        assert!(status().is_ok());
        wake.send(()).unwrap();
        local
            .runtime
            .as_ref()
            .unwrap()
            .block_on(local.engine.closed());
        assert_eq!(status().err().unwrap().error, "vault_locked");
        drop(local);
        std::fs::remove_dir_all(&home).unwrap();
    }

    #[test]
    fn the_end_waits_for_no_name_server() {
        let (home, vault) = vault("hangs");
        let local = Local::start(vault, &home, Arc::new(direct().unwrap())).unwrap();
        // As dialling does while a name is looked up: on a thread that cannot be stopped.
        let (begins, begun) = sync_channel(1);
        local.runtime.as_ref().unwrap().spawn_blocking(move || {
            begins.send(()).unwrap();
            std::thread::sleep(HANGS);
        });
        begun.recv().unwrap();
        let since = Instant::now();
        drop(local);
        assert!(since.elapsed() < HANGS / 2);
        std::fs::remove_dir_all(&home).unwrap();
    }
}
