//! Orders that come while a vault is being locked. The relay is away: what counts is what becomes of the vault.

use std::path::PathBuf;
use std::sync::Arc;

use emptyroom_wire::address::Host;
use emptyroom_wire::kill::KillCode;
use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::wipe::OrderHash;
use tokio::sync::mpsc;

use super::*;
use crate::api::Call;
use crate::engine::Links;
use crate::home::{Kdf, create_vault, holds_vault};
use crate::session::{direct, runtime};
use crate::switch::holder::hex;

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
        let pin = SecretText::new("a pin of this test".to_owned());
        let vault = create_vault(&home, &pin, Kdf::Minimum).unwrap();
        let runtime = runtime().unwrap();
        let (sender, receiver) = mpsc::channel(8);
        let links = Links::new(
            Arc::new(direct().unwrap()),
            runtime.handle().clone(),
            sender.clone(),
        );
        let mut engine = Engine::new(vault, &home, links, sender.clone()).unwrap();
        let code = KillCode::new([1; 16]);
        let hosts = vec![Host::parse("127.0.0.1:1").unwrap()];
        let watched = code.watched(hosts, IdentityHash([3; 32]));
        let switch = SecretText::new(hex(&watched.encode().unwrap()));
        let owner = SecretText::new(hex(code.owner_seed().expose()));
        assert!(engine.set_switch(&pin, &switch, &owner).is_ok());
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
        Message::Ordered(Ordered {
            watched: self.watched.clone(),
            order: OrderHash([4; 32]),
        })
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
