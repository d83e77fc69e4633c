//! The engine: one thread that owns the vault and the client, and carries out what the client asks for.
//!
//! It decides nothing about messages. One input at a time goes into the client, every output is carried out, and what is
//! to be stored by all inputs that wait already is stored in one transaction (group commit). Blocking disk work is at home
//! here: sockets live on another runtime.

mod calls;
mod drilling;
mod end;
mod jobs;
pub(crate) mod own;
mod records;
mod secrets;
mod switch;
mod turning;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use emptyroom_core::Client;
use emptyroom_core::api::{Command, CommandId, Input, LinkId, Ticket};
use emptyroom_vault::{Change, Vault, WriteError};
use emptyroom_wire::time::{DAY_MS, Mono};
use tokio::sync::mpsc;

use crate::api::{Answer, Call, Event, Exit, Failure};
use crate::carrier::Carrier;
use crate::clock;
use crate::drill::Outcome;
use crate::factors::{self, Ways, Work};
use crate::link::{FromLink, Links};
use crate::stack::wipe_stack;
use crate::switch::Ordered;
use calls::Waiting;
use end::{End, Ended, refuse_rest};
use jobs::Jobs;
pub(crate) use jobs::Patience;
use switch::Switch;
use watch::Watch;
pub(crate) use watch::deadman_days;

/// Calls and frames that wait for the engine; who has more waits himself.
const QUEUE_LEN_MAX: usize = 256;

/// Inputs that are stored together at most.
const GROUP_LEN_MAX: usize = 64;

/// The shortest sleep: a timer need not end earlier.
const SLEEP_MIN: Duration = Duration::from_millis(1);

/// The longest time between two ticks: the runtime's timers do not count suspended time, a wall clock may be set, and the
/// vault's root is to be rotated.
const TICK_MS_MAX: u64 = 15_000;

/// After so many wrong present secrets in a row the vault is locked: then the factors count again.
// [SPEC 12.75]
const WRONG_IN_ROW_MAX: u32 = 10;

/// Takes the answer of a call.
pub(crate) type Answerer = Box<dyn FnOnce(Result<Answer, Failure>) + Send>;

/// Takes events until it says false.
pub(crate) type Watcher = Box<dyn FnMut(&Event) -> bool + Send>;

/// The engine's thread: gives why it ended, where nobody had asked for that.
pub(crate) type Thread = std::thread::JoinHandle<Option<Failure>>;

/// What the engine's thread is told.
pub(crate) enum Message {
    /// Somebody wants something.
    Call(Call, Answerer),
    /// Somebody wants to hear events.
    Watch(Watcher),
    /// A link says something.
    Link(LinkId, FromLink),
    /// Somebody who has a kill code ordered the vault to be wiped.
    Ordered(Ordered),
    /// A drill has ended.
    Drilled(Outcome, Answerer),
    /// A job wants something of the vault.
    Vault(Work),
    /// A job is done, by the thread of this number.
    Done(u32),
    /// Nobody may be there any more: it is to be locked, and waits for no command's rest.
    Leave,
}

/// An engine that was started.
pub(crate) struct Started {
    pub(crate) sender: mpsc::Sender<Message>,
    pub(crate) thread: Thread,
    /// That the vault was opened could not be written down.
    pub(crate) is_unwritten: bool,
}

/// The engine's state.
pub(crate) struct Engine {
    vault: Vault,
    home: PathBuf,
    /// Nothing after a failed write: what was handed out is in doubt, so the client is loaded anew by the next call.
    client: Option<Client>,
    links: Links,
    inputs: VecDeque<Input>,
    unstored: Vec<(Ticket, Vec<Change>)>,
    waiting: BTreeMap<CommandId, Waiting>,
    command_last: u64,
    watchers: Vec<Watcher>,
    /// Those who come while events wait for the disk: they hear those, but what is connected only afterwards, once.
    newcomers: Vec<Watcher>,
    /// For what runs beside it.
    itself: mpsc::Sender<Message>,
    drilling: bool,
    jobs: Jobs,
    /// Asked to end, and how.
    ending: Option<(End, Answerer)>,
    /// The dead-man time.
    watch: Watch,
    /// The switch of a kill code.
    switch: Switch,
    /// What destroys the vault, where that is no dead-man time.
    order: Option<Ordered>,
    ticked_at: Mono,
    /// When relays were asked to keep their shares for longer.
    renewed_at: Mono,
    /// With what does not come to its end before the vault is locked.
    patience: Patience,
    /// Reading failed: nothing that the client says from then on can be trusted.
    broken: Option<Failure>,
    /// What lets the client be loaded anew, where a write failed.
    anew: Anew,
}

/// When the client is loaded anew after a write that failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Anew {
    /// With the next tick or call: what stood in the way may be over by itself.
    ByTime,
    /// With the next call: tried by time, it would fail so without end.
    ByCall,
    /// Never.
    Not,
}

/// Starts the engine's thread over an open vault. It ends, and locks the vault, after [`Call::Lock`], and when the machine wakes
/// from a suspend.
///
/// # Errors
/// When the records cannot be used.
pub(crate) fn start(
    vault: Vault,
    home: &Path,
    carrier: Arc<dyn Carrier>,
    runtime: tokio::runtime::Handle,
    patience: Patience,
) -> Result<Started, Failure> {
    start_until(clock::woken(), vault, home, carrier, runtime, patience)
}

/// The same; it wakes when `woken` says.
pub(crate) fn start_until(
    woken: impl Future<Output = ()> + Send + 'static,
    vault: Vault,
    home: &Path,
    carrier: Arc<dyn Carrier>,
    runtime: tokio::runtime::Handle,
    patience: Patience,
) -> Result<Started, Failure> {
    let (sender, receiver) = mpsc::channel(QUEUE_LEN_MAX);
    let links = Links::new(carrier, runtime.clone(), sender.clone());
    let mut engine = Engine::new(vault, home, links, sender.clone())?;
    engine.patience = patience;
    engine.watch_switch();
    // The vault was opened and read by this thread, too.
    wipe_stack();
    let started = engine.spawn(sender, receiver)?;
    let engine = started.sender.downgrade();
    runtime.spawn(async move {
        woken.await;
        // [SPEC 11.91]
        if let Some(engine) = engine.upgrade() {
            let _ = engine.send(Message::Leave).await;
        }
    });
    Ok(started)
}

impl Engine {
    fn new(
        mut vault: Vault,
        home: &Path,
        links: Links,
        itself: mpsc::Sender<Message>,
    ) -> Result<Self, Failure> {
        let here = clock::here();
        let watch = Watch::begin(&mut vault, &here);
        let switch = Switch::begin(&mut vault, &here, home);
        let (watch, (switch, order)) = match (watch, switch) {
            (Ok(watch), Ok(switch)) => (watch, switch),
            // [SPEC 11.66]
            (Err(failure), Ok((_, Some(order)))) => {
                let _ = vault.lock();
                return Err(order.come_late(home).unwrap_or(failure));
            }
            (Err(failure), _) | (_, Err(failure)) => {
                factors::give_back(vault);
                return Err(failure);
            }
        };
        // [SPEC 11.66] One that was begun comes before anything else.
        let ending = order
            .as_ref()
            .map(|_| -> (End, Answerer) { (End::Wipe, Box::new(drop)) });
        let mut engine = Engine {
            vault,
            home: home.to_owned(),
            client: None,
            links,
            inputs: VecDeque::new(),
            unstored: Vec::new(),
            waiting: BTreeMap::new(),
            command_last: 0,
            watchers: Vec::new(),
            newcomers: Vec::new(),
            jobs: Jobs::new(itself.clone()),
            itself,
            drilling: false,
            ending,
            watch,
            switch,
            order,
            ticked_at: here.now.mono,
            renewed_at: here.now.mono,
            patience: Patience::Long,
            broken: None,
            anew: Anew::ByTime,
        };
        if engine.ending.is_some() {
            return Ok(engine);
        }
        if let Err(failure) = engine.load() {
            factors::give_back(engine.vault);
            return Err(failure);
        }
        if factors::change::is_due(&engine.vault) {
            // What it does not come to now, the next opening does.
            engine.jobs.begin(Box::new(|access| {
                let _ = match Ways::of_machine() {
                    Ok(ways) => factors::change::refresh(access, &ways),
                    Err(_) => factors::change::forget(access),
                };
            }));
        }
        Ok(engine)
    }

    fn spawn(
        self,
        sender: mpsc::Sender<Message>,
        receiver: mpsc::Receiver<Message>,
    ) -> Result<Started, Failure> {
        let is_unwritten = self.watch.is_unwritten();
        let timers = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|e| Failure::fault(format!("no timers: {}", e.kind())))?;
        let thread = std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || {
                let why = timers.block_on(self.run(receiver));
                // The stack of a thread that has ended is kept for the next one.
                wipe_stack();
                why
            })
            .map_err(|e| Failure::fault(format!("no thread: {}", e.kind())))?;
        Ok(Started {
            sender,
            thread,
            is_unwritten,
        })
    }

    async fn run(mut self, mut messages: mpsc::Receiver<Message>) -> Option<Failure> {
        loop {
            self.settle(&mut messages);
            if self.ending.is_none() && self.vault.wrong_in_row() >= WRONG_IN_ROW_MAX {
                self.tell(&Event::WrongPins {});
                self.ending = Some((End::Lock, Box::new(drop)));
            }
            if let Some((end, answerer)) = self.ending.take() {
                if end == End::Lock {
                    self.finish_jobs(&mut messages).await;
                }
                let behind = self.look_behind(end, &mut messages);
                self.welcome();
                // [SPEC 11.66] An order that came meanwhile, or stood behind whoever locks.
                let end = self.ending.take().map_or(end, |(end, _)| end);
                let (jobs, home) = (self.jobs.thread_end(), self.home.clone());
                let was_guessed_at = self.vault.wrong_in_row() >= WRONG_IN_ROW_MAX;
                let Ended { why, late, tell } = self.end(end, Some(answerer));
                let late = refuse_rest(behind, messages, why.as_ref()).or(late);
                tell();
                jobs::wait_for(jobs);
                let why = why.or_else(|| late?.come_late(&home));
                return why.or_else(|| was_guessed_at.then(wrong_pins));
            }
            // A queue that is never empty must not keep timers from ending, nor timers the queue from being read.
            if self.sleep().is_zero() {
                self.tick();
                self.settle(&mut messages);
            }
            if self.ending.is_some() {
                continue;
            }
            wipe_stack();
            let sleep = self.sleep().max(SLEEP_MIN);
            tokio::select! {
                biased;
                message = messages.recv() => match message {
                    Some(message) => self.take(message),
                    None => return self.end(End::Lock, None).why,
                },
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Takes one message: calls become inputs, unless the engine answers them itself.
    fn take(&mut self, message: Message) {
        match message {
            Message::Call(call, answerer) => self.call(call, answerer),
            Message::Leave => {
                self.patience = Patience::Short;
                self.ending = Some((End::Lock, Box::new(drop)));
            }
            Message::Drilled(outcome, answerer) => self.drilled(outcome, answerer),
            Message::Ordered(ordered) => self.ordered(ordered),
            Message::Watch(watcher) => {
                self.newcomers.push(watcher);
                if self.inputs.is_empty() && self.unstored.is_empty() {
                    self.welcome();
                }
            }
            Message::Link(id, from) => self.inputs.push_back(match from {
                FromLink::Up(spki_hash) => Input::LinkUp(id, spki_hash),
                FromLink::Frame(bytes) => Input::Frame(id, bytes),
                FromLink::Down => {
                    self.links.hang_up(id);
                    Input::LinkDown(id)
                }
            }),
            Message::Vault(work) => work(&mut self.vault),
            Message::Done(number) => self.jobs.done(number),
        }
    }

    /// Tells those who came how things are; from now on they are as all others.
    fn welcome(&mut self) {
        for mut watcher in std::mem::take(&mut self.newcomers) {
            // [SPEC 12.27]
            let up = self.client.iter().flat_map(Client::relays_up);
            let up = up.map(|relay| Event::Connection { relay, up: true });
            // [SPEC 11.83]
            let news = self.watch.news(&clock::here());
            // [SPEC 11.69]
            let gone = self.switch.news();
            if up.chain(news).chain(gone).all(|event| watcher(&event)) {
                self.watchers.push(watcher);
            }
        }
    }

    /// Inputs into the client and outputs out of it, until nothing is left to do but wait.
    fn settle(&mut self, messages: &mut mpsc::Receiver<Message>) {
        let mut taken = 0;
        loop {
            while !self.is_destroying()
                && let Some(input) = self.inputs.pop_front()
            {
                self.feed(input);
            }
            if self.unstored.is_empty() || self.is_destroying() {
                self.welcome();
                return;
            }
            // What waits already shares the transaction.
            if taken < GROUP_LEN_MAX
                && self.ending.is_none()
                && let Ok(message) = messages.try_recv()
            {
                taken += 1;
                self.take(message);
                continue;
            }
            self.store();
            taken = 0;
        }
    }

    /// How long nothing needs to be done unless somebody says something.
    fn sleep(&self) -> Duration {
        let flushes = self.waiting.values().filter_map(|waiting| waiting.until);
        let client = self.client.as_ref().and_then(Client::wake_at);
        let regular = self.ticked_at.plus_ms(TICK_MS_MAX);
        let at = flushes.chain(client).fold(regular, Mono::min);
        Duration::from_millis(at.0.saturating_sub(clock::now().mono.0))
    }

    /// Time has passed.
    fn tick(&mut self) {
        let here = clock::here();
        self.watch_time(&here);
        self.look_at_switch();
        let now = here.now.mono;
        self.ticked_at = now;
        // A dead-man time is not made longer by a daemon that runs.
        let renewed = now.0.saturating_sub(self.renewed_at.0) < DAY_MS;
        if !renewed && deadman_days(&self.vault).is_none() {
            self.renew_leases();
        }
        // After a full disk: timers and the queue must not wait for somebody to ask.
        // [SPEC 12.39]
        if self.client.is_none() && self.broken.is_none() && self.anew == Anew::ByTime {
            // What stands in the way is told to the next call.
            let _ = self.load();
        }
        let late: Vec<CommandId> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.until.is_some_and(|until| until <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            if let Some(waiting) = self.waiting.remove(&id) {
                let id = self.next_command();
                self.waiting.insert(
                    id,
                    Waiting {
                        until: None,
                        timed_out: true,
                        ..waiting
                    },
                );
                self.inputs.push_back(Input::Command(id, Command::Status));
            }
        }
        self.inputs.push_back(Input::Tick);
        if let Err(error) = self.vault.rotate_if_due(now.0)
            && !matches!(error, WriteError::Full)
        {
            self.give_up(&own::write_failure(error), Anew::Not);
        }
    }

    fn is_destroying(&self) -> bool {
        self.ending.as_ref().is_some_and(|(end, _)| end.destroys())
    }
}

/// The vault was locked as somebody guessed.
// [SPEC 12.75]
fn wrong_pins() -> Failure {
    let text =
        "ten wrong PINs in a row were given for changes of what opens the vault: it was locked";
    Failure::new(Exit::Vault, "wrong_pins", text)
        .hint("see who did: a script with an old PIN, or somebody who guesses; from now on each try counts where the TPM or relays count")
}
