//! The end of an engine and of a daemon whose vault's time is over.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::mpsc;

use super::*;
use crate::api::Call;
use crate::daemon;
use crate::engine::{Links, Message, Watcher};
use crate::home::holds_vault;
use crate::session::{Events, Session, direct, runtime};

/// An engine over a vault, and what its watchers are told.
struct Running {
    engine: Engine,
    sender: mpsc::Sender<Message>,
    receiver: mpsc::Receiver<Message>,
    runtime: tokio::runtime::Runtime,
}

impl Running {
    fn over(vault: Vault, home: &Path) -> Self {
        let runtime = runtime().unwrap();
        let (sender, receiver) = mpsc::channel(4);
        let carrier = Arc::new(direct().unwrap());
        let links = Links::new(carrier, runtime.handle().clone(), sender.clone());
        Self {
            engine: Engine::new(vault, home, links, sender.clone()).unwrap(),
            sender,
            receiver,
            runtime,
        }
    }
}

fn watcher() -> (Watcher, Arc<Mutex<Vec<Event>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = told.clone();
    let watcher = Box::new(move |event: &Event| {
        hears.lock().unwrap().push(event.clone());
        true
    });
    (watcher, told)
}

/// Also one that has a panic PIN: nobody has entered it.
// [SPEC 11.80, 11.83, 12.46]
#[test]
fn an_open_vault_is_destroyed_when_its_time_is_over() {
    let (home, pin, mut vault) = home("open-and-over");
    let panic = SecretText::new("another pin".to_owned());
    let change = vault.with_panic(&passphrase(&pin), &passphrase(&panic));
    vault
        .rewrap(change.unwrap(), &emptyroom_vault::Factors::default())
        .unwrap();
    let Running {
        mut engine,
        sender,
        receiver,
        runtime,
    } = Running::over(vault, &home);
    let (first, told) = watcher();
    engine.take(Message::Watch(first));
    engine.welcome();
    let unset = engine.suspend_deadman(&pin, 3).err().unwrap();
    assert_eq!(unset.error, "deadman_off");
    assert!(engine.set_deadman(&pin, Some(0)).is_err());
    assert!(engine.set_deadman(&pin, Some(1)).is_ok());
    let now = clock::here();
    for hours in 0..24 {
        engine.watch_time(&later(&now, hours * HOUR_MS));
        assert!(engine.ending.is_none(), "{hours}");
    }
    // Who comes later hears of it, too.
    let (second, told_later) = watcher();
    engine.take(Message::Watch(second));
    engine.welcome();
    assert_eq!(told_later.lock().unwrap().len(), 1);
    let lefts = |told: &Mutex<Vec<Event>>| -> Vec<u64> {
        let told = told.lock().unwrap();
        let left = |event: &Event| match event {
            Event::Deadman { left_s, .. } => Some(left_s.div_ceil(3_600)),
            _ => None,
        };
        told.iter().filter_map(left).collect()
    };
    assert_eq!(lefts(&told), [12, 4, 1]);
    engine.watch_time(&later(&now, DAY_MS));
    let (answered, answer) = std::sync::mpsc::channel();
    let answerer = Box::new(move |outcome| answered.send(outcome).unwrap());
    let late = Message::Call(Call::Status {}, answerer);
    assert!(sender.try_send(late).is_ok());
    let why = runtime.block_on(engine.run(receiver)).unwrap();
    assert_eq!(why.error, "vault_destroyed");
    let refused = answer.recv().unwrap().err().unwrap();
    assert_eq!(refused.error, "vault_destroyed");
    assert!(!holds_vault(&home));
    let told = told.lock().unwrap();
    assert!(told.ends_with(&by_time()));
    std::fs::remove_dir_all(&home).unwrap();
}

/// As if the vault had been open and unopened for its time: with the next look it is over.
fn seen_for_a_day(engine: &mut Engine, pin: &SecretText) {
    assert!(engine.set_deadman(pin, Some(1)).is_ok());
    let mut machine = Machine::new();
    let fixed = engine.watch.deadline.unwrap().fixed();
    let mut deadline = Deadline::begun(fixed, &machine.here(), &engine.watch.key);
    for _ in 0..24 {
        deadline.look(&machine.runs(HOUR_MS).here());
    }
    engine.watch.deadline = Some(deadline);
    // The next look is in ten seconds.
    engine.ticked_at.0 = engine.ticked_at.0.saturating_sub(5_000);
}

/// What everybody hears when the time is over.
fn by_time() -> [Event; 2] {
    let wiped = Event::Wiped {
        ordered: false,
        left: Vec::new(),
    };
    [wiped, Event::Locked {}]
}

/// Waits for the end, and gives what came before it.
fn heard(events: Events) -> Vec<Event> {
    std::iter::from_fn(|| events.next_within(Duration::from_secs(60))).collect()
}

/// A daemon, a program at its socket, and one that waits for an answer.
// [SPEC 11.80, 12.46]
#[test]
fn a_daemon_whose_time_is_over_destroys_its_vault_and_tells_everybody_why() {
    let (home, pin, vault) = home("daemon-and-over");
    let mut running = Running::over(vault, &home);
    seen_for_a_day(&mut running.engine, &pin);
    let started = running
        .engine
        .spawn(running.sender, running.receiver)
        .unwrap();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let socket = homes::socket_path(&home).unwrap();
    let path = socket.clone();
    let serving = std::thread::spawn(move || {
        let ready = |_: &Path, _| {
            ready.send(()).unwrap();
            Ok(())
        };
        daemon::run(running.runtime, started, &path, None, ready)
    });
    is_ready.recv().unwrap();
    let session = Session::of_daemon(&home).unwrap().unwrap();
    let events = session.events().unwrap();
    assert!(session.call(Call::Status {}).is_ok());
    // Whoever begins to hear is warned first.
    assert!(heard(events).ends_with(&by_time()));
    let late = session.call(Call::Status {}).err().unwrap();
    assert_eq!(late.error, "vault_destroyed");
    let ended = serving.join().unwrap().unwrap_err();
    assert_eq!(ended.error, "vault_destroyed");
    let left = std::fs::read_dir(&home).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"], "neither vault nor socket");
    std::fs::remove_dir_all(&home).unwrap();
}

/// The same where the vault is open in the program itself.
// [SPEC 12.46]
#[test]
fn whoever_calls_a_destroyed_vault_is_told_that_it_was() {
    let (home, pin, vault) = home("local-and-over");
    let mut running = Running::over(vault, &home);
    seen_for_a_day(&mut running.engine, &pin);
    let started = running
        .engine
        .spawn(running.sender, running.receiver)
        .unwrap();
    let session = Session::over(started, running.runtime);
    let heard = heard(session.events().unwrap());
    assert!(heard.ends_with(&by_time()));
    for call in [Call::Status {}, Call::Lock {}] {
        let refused = session.call(call).err().unwrap();
        assert_eq!(refused.error, "vault_destroyed");
    }
    assert!(
        session
            .events()
            .is_err_and(|f| f.error == "vault_destroyed")
    );
    drop(session);
    std::fs::remove_dir_all(&home).unwrap();
}

// [SPEC 11.80, 11.113]
#[test]
fn an_open_vault_that_cannot_be_destroyed_whole_is_told_so() {
    let (home, pin, vault) = home("open-and-fails");
    let mut running = Running::over(vault, &home);
    let (first, told) = watcher();
    running.engine.take(Message::Watch(first));
    running.engine.welcome();
    seen_for_a_day(&mut running.engine, &pin);
    running.engine.watch_time(&clock::here());
    std::fs::remove_file(home.join("records")).unwrap();
    std::fs::create_dir(home.join("records")).unwrap();
    let ended = running
        .runtime
        .block_on(running.engine.run(running.receiver));
    assert_eq!(ended.unwrap().error, "wipe_failed");
    assert!(matches!(
        &told.lock().unwrap()[..],
        [Event::WipeFailed { .. }, Event::Locked {}]
    ));
    // The next start goes on, whatever its clocks show.
    let outside = Outside::read(&OsDirectory::at(&home)).unwrap().unwrap();
    let anew = Here {
        boot: Some([9; 16]),
        ..clock::here()
    };
    assert_eq!(outside.deadline.unwrap().look(&anew), Look::Over);
    std::fs::remove_dir_all(&home).unwrap();
}
