//! Orders that come while a vault is being locked. The relay is away: what counts is what becomes of the vault.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use emptyroom_vault::os::OsDirectory;
use emptyroom_wire::address::Host;
use emptyroom_wire::kill::KillCode;
use emptyroom_wire::relay_key::IdentityHash;
use tokio::sync::mpsc;

use super::*;
use crate::api::Call;
use crate::engine::Links;
use crate::engine::own::passphrase;
use crate::home::{Kdf, create_vault, holds_vault};
use crate::seed;
use crate::session::{direct, runtime};
use crate::switch::holder::hex;
use crate::switch::tests::{give_back, order, take_away};

/// An engine over a vault with a kill code, which nobody runs yet.
struct Stage {
    home: PathBuf,
    engine: Engine,
    sender: mpsc::Sender<Message>,
    receiver: mpsc::Receiver<Message>,
    runtime: tokio::runtime::Runtime,
    watched: Watched,
}

impl Stage {
    fn new(name: &str) -> Self {
        let home = std::env::temp_dir().join(format!(
            "emptyroom-node-{}-order-{name}",
            std::process::id()
        ));
        let vault = create_vault(&home, &pin(), Kdf::Minimum).unwrap();
        let runtime = runtime().unwrap();
        let (mut engine, sender, receiver) = over(vault, &home, &runtime);
        let code = KillCode::new([1; 16]);
        let hosts = vec![Host::parse("127.0.0.1:1").unwrap()];
        let watched = code.watched(hosts, IdentityHash([3; 32]));
        let switch = SecretText::new(hex(&watched.encode().unwrap()));
        let owner = SecretText::new(hex(code.owner_seed().expose()));
        assert!(engine.set_switch(&pin(), &switch, &owner).is_ok());
        Self {
            home,
            engine,
            sender,
            receiver,
            runtime,
            watched,
        }
    }

    fn order(&self) -> Message {
        Message::Ordered(self.ordered())
    }

    fn ordered(&self) -> Ordered {
        Ordered {
            watched: self.watched.clone(),
            order: order(&KillCode::new([1; 16])),
        }
    }

    /// Locks the vault, and opens it again.
    fn reopen(self) -> Self {
        let Self {
            home,
            mut engine,
            sender,
            receiver,
            runtime,
            watched,
        } = self;
        engine.store();
        drop((engine, receiver, sender));
        // Not as commands do, which look at what lies outside before.
        let rng = Box::new(seed::generator().unwrap());
        let vault = Vault::open(Box::new(OsDirectory::at(&home)), &passphrase(&pin()), rng);
        let (engine, sender, receiver) = over(vault.unwrap(), &home, &runtime);
        Self {
            home,
            engine,
            sender,
            receiver,
            runtime,
            watched,
        }
    }

    /// A record as of a later version.
    fn put_newer(&mut self) -> Vec<u8> {
        let newer = vec![9; 300];
        let change = Change {
            key: RECORD.to_vec(),
            value: Some(newer.clone()),
        };
        self.engine.vault.apply(vec![change]).unwrap();
        newer
    }

    fn changed_at(&self) -> Option<u64> {
        self.engine.switch.info().unwrap().changed_at
    }

    fn outside(&self) -> Outside {
        let outside = Outside::read(&OsDirectory::at(&self.home)).unwrap();
        outside.unwrap_or_default()
    }

    fn send(&self, message: Message) {
        assert!(self.sender.try_send(message).is_ok());
    }

    /// Gives why it ended.
    fn run(self) -> Option<Failure> {
        let why = self.runtime.block_on(self.engine.run(self.receiver));
        let is_gone = why
            .as_ref()
            .is_some_and(|why| why.error == "vault_destroyed");
        assert_eq!(is_gone, !holds_vault(&self.home));
        std::fs::remove_dir_all(&self.home).unwrap();
        why
    }
}

fn pin() -> SecretText {
    SecretText::new("a pin of this test".to_owned())
}

/// An engine that nobody runs yet.
pub(in crate::engine) fn over(
    vault: Vault,
    home: &Path,
    runtime: &tokio::runtime::Runtime,
) -> (Engine, mpsc::Sender<Message>, mpsc::Receiver<Message>) {
    let (sender, receiver) = mpsc::channel(8);
    let carrier = Arc::new(direct().unwrap());
    let links = Links::new(carrier, runtime.handle().clone(), sender.clone());
    let engine = Engine::new(vault, home, links, sender.clone()).unwrap();
    (engine, sender, receiver)
}

fn lock(then: impl FnOnce() + Send + 'static) -> Message {
    Message::Call(Call::Lock {}, Box::new(move |_| then()))
}

/// Whoever asked before it gets his answer all the same.
// [SPEC 11.66, 12.31]
#[test]
fn an_order_behind_a_lock_is_carried_out() {
    let stage = Stage::new("behind");
    let (answered, answer) = std::sync::mpsc::channel();
    stage.send(lock(|| {}));
    let late = Box::new(move |outcome| answered.send(outcome).unwrap());
    stage.send(Message::Call(Call::Status {}, late));
    let order = stage.order();
    stage.send(order);
    assert_eq!(stage.run().unwrap().error, "vault_destroyed");
    let refused = answer.recv().unwrap().err().unwrap();
    assert_eq!(refused.error, "vault_destroyed");
}

/// It comes when the vault is locked already and the engine not gone yet.
// [SPEC 11.66, 11.69]
#[test]
fn an_order_that_comes_as_the_vault_is_locked_is_carried_out() {
    for is_watched in [true, false] {
        let mut stage = Stage::new("as-it-is-locked");
        if !is_watched {
            stage.watched.owner = KillCode::new([2; 16])
                .watched(Vec::new(), IdentityHash([3; 32]))
                .owner;
        }
        let (sender, order) = (stage.sender.clone(), stage.order());
        stage.send(lock(move || assert!(sender.try_send(order).is_ok())));
        assert_eq!(stage.run().is_some(), is_watched);
    }
}

/// A locked vault whose wipe was begun was opened in between: it is not taken back.
// [SPEC 11.66]
#[test]
fn an_order_that_was_begun_is_gone_on_with_by_whoever_opens() {
    let stage = Stage::new("begun");
    let note = stage.ordered().note(&OsDirectory::at(&stage.home));
    assert!(note.is_ok());
    let stage = stage.reopen();
    assert_eq!(stage.run().unwrap().error, "vault_destroyed");
}

/// What is begun by nobody who has the code is none, and is removed.
// [SPEC 11.66]
#[test]
fn a_note_that_the_code_did_not_sign_destroys_nothing() {
    let stage = Stage::new("forged");
    let mut forged = stage.ordered();
    forged.order.body.order_id.0 = [9; 16];
    assert!(forged.note(&OsDirectory::at(&stage.home)).is_ok());
    let stage = stage.reopen();
    let left = stage.outside();
    assert!(left.ordered.is_none() && left.switch == Some(stage.watched.clone()));
    stage.send(lock(|| {}));
    assert!(stage.run().is_none());
}

/// It cannot be read when the vault is opened: it is not taken back, and the next look that can goes on with it.
// [SPEC 11.61, 11.66]
#[test]
fn an_order_that_was_begun_is_gone_on_with_when_it_can_be_read() {
    let stage = Stage::new("begun-unread");
    let note = stage.ordered().note(&OsDirectory::at(&stage.home));
    assert!(note.is_ok());
    take_away(&stage.home);
    let mut stage = stage.reopen();
    // Not yet: it may be for a moment only.
    assert_eq!(stage.changed_at(), None);
    stage.engine.look_at_switch();
    assert!(stage.engine.ending.is_none() && stage.changed_at().is_some());
    give_back(&stage.home);
    stage.engine.look_at_switch();
    assert!(stage.engine.ending.is_some());
    assert_eq!(stage.run().unwrap().error, "vault_destroyed");
}

/// A command that is over within a moment could read it only when it locked the vault; whoever wrote the record.
// [SPEC 11.61, 11.66, 11.112]
#[test]
fn an_order_that_was_begun_and_is_read_only_at_the_end_is_carried_out() {
    for is_newer in [false, true] {
        let mut stage = Stage::new("begun-late");
        let note = stage.ordered().note(&OsDirectory::at(&stage.home));
        assert!(note.is_ok());
        if is_newer {
            stage.put_newer();
        }
        take_away(&stage.home);
        let stage = stage.reopen();
        give_back(&stage.home);
        stage.send(lock(|| {}));
        assert_eq!(stage.run().unwrap().error, "vault_destroyed");
    }
}

/// It came behind a lock, and for a moment nobody can read whether its switch is still watched.
// [SPEC 11.112]
#[test]
fn an_order_in_hand_outlives_a_moment_in_which_nothing_is_read() {
    for is_moment in [true, false] {
        let stage = Stage::new("in-hand");
        let (home, ordered) = (stage.home.clone(), stage.ordered());
        stage.send(lock(|| {}));
        assert!(
            stage
                .runtime
                .block_on(stage.engine.run(stage.receiver))
                .is_none()
        );
        take_away(&home);
        let again = home.clone();
        let given_back = std::thread::spawn(move || {
            if is_moment {
                std::thread::sleep(Duration::from_millis(100));
                give_back(&again);
            }
        });
        let why = ordered.come_late(&home).unwrap();
        given_back.join().unwrap();
        let expected = match is_moment {
            true => "vault_destroyed",
            false => "wipe_failed",
        };
        assert_eq!(why.error, expected);
        assert_eq!(holds_vault(&home), !is_moment);
        std::fs::remove_dir_all(&home).unwrap();
    }
}

/// One that is put there while it is put right is not taken back either.
// [SPEC 11.66]
#[test]
fn what_is_put_right_takes_no_order_back() {
    let mut stage = Stage::new("put-right");
    let note = stage.ordered().note(&OsDirectory::at(&stage.home));
    assert!(note.is_ok());
    let engine = &mut stage.engine;
    assert!(engine.switch.keep(&mut engine.vault).is_ok());
    assert!(stage.outside().ordered.is_some());
    stage.engine.look_at_switch();
    assert!(stage.engine.ending.is_some());
    assert_eq!(stage.run().unwrap().error, "vault_destroyed");
}

// [SPEC 11.61]
#[test]
fn what_cannot_be_read_is_changed_if_that_lasts() {
    let mut stage = Stage::new("lasts");
    take_away(&stage.home);
    stage.engine.look_at_switch();
    assert_eq!(stage.changed_at(), None);
    stage.engine.look_at_switch();
    assert!(stage.changed_at().is_some());
    give_back(&stage.home);
    stage.engine.look_at_switch();
    assert!(stage.outside().switch == Some(stage.watched.clone()));
    stage.send(lock(|| {}));
    assert!(stage.run().is_none());
}

// [SPEC 11.61]
#[test]
fn a_switch_that_is_taken_away_is_put_back_while_the_vault_is_open() {
    let mut stage = Stage::new("taken");
    stage.engine.look_at_switch();
    assert_eq!(stage.changed_at(), None);
    let home = stage.home.clone();
    let foreign =
        KillCode::new([2; 16]).watched(stage.watched.hosts.clone(), IdentityHash([3; 32]));
    let disturb: [&dyn Fn(); 2] = [
        &|| std::fs::remove_file(home.join("outside")).unwrap(),
        &|| {
            let set = |outside: &mut Outside| outside.switch = Some(foreign.clone());
            Outside::change(&OsDirectory::at(&home), set).unwrap();
        },
    ];
    for disturb in disturb {
        disturb();
        stage.engine.look_at_switch();
        assert!(stage.outside().switch == Some(stage.watched.clone()));
        assert!(stage.changed_at().is_some());
    }
    stage.send(lock(|| {}));
    assert!(stage.run().is_none());
}

/// A record of a later version: what that put outside is obeyed, told, and nothing of it lost, until the owner changes it.
// [SPEC 11.61]
#[test]
fn a_record_that_is_not_understood_switches_nothing_off() {
    let mut stage = Stage::new("newer");
    let record = |engine: &Engine| engine.vault.get(RECORD).unwrap().map(|r| r.to_vec());
    let newer = stage.put_newer();
    let mut stage = stage.reopen();
    assert!(stage.engine.switch.known() == Some(stage.watched.clone()));
    assert!(stage.changed_at().is_some());
    std::fs::remove_file(stage.home.join("outside")).unwrap();
    stage.engine.look_at_switch();
    assert!(stage.outside().switch == Some(stage.watched.clone()));
    assert!(record(&stage.engine) == Some(newer));
    stage.engine.unset_switch(&pin(), Box::new(drop));
    assert!(record(&stage.engine).is_none() && stage.outside() == Outside::default());
    stage.send(lock(|| {}));
    assert!(stage.run().is_none());
}

/// It cannot be read when the vault is opened: closing removes nothing that it has not seen.
// [SPEC 11.61]
#[test]
fn what_a_later_version_put_outside_is_not_removed_unread() {
    let mut stage = Stage::new("newer-unread");
    stage.put_newer();
    take_away(&stage.home);
    let mut stage = stage.reopen();
    assert!(stage.engine.switch.known().is_none());
    give_back(&stage.home);
    let Engine { switch, vault, .. } = &mut stage.engine;
    assert!(switch.close(vault, &clock::here(), &stage.home).is_none());
    assert!(stage.outside().switch == Some(stage.watched.clone()));
    assert!(stage.engine.switch.known() == Some(stage.watched.clone()));
    assert!(stage.changed_at().is_some());
    stage.send(lock(|| {}));
    assert!(stage.run().is_none());
}

/// A change of what opens the vault that hangs, as a TPM may: whoever locks waits for it, an order does not.
// [SPEC 11.66]
#[test]
fn an_order_waits_for_no_job() {
    let mut stage = Stage::new("job");
    let (release, hangs) = std::sync::mpsc::channel::<()>();
    // It ends when this test does.
    stage.engine.jobs.begin(Box::new(move |_| {
        let _ = hangs.recv();
    }));
    stage.send(lock(|| {}));
    let order = stage.order();
    stage.send(order);
    let home = stage.home.clone();
    let ended = std::thread::spawn(move || stage.run());
    let since = std::time::Instant::now();
    while holds_vault(&home) {
        assert!(since.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(release);
    assert_eq!(ended.join().unwrap().unwrap().error, "vault_destroyed");
}
