//! The end of the engine: the vault is locked, or destroyed.

use emptyroom_vault::Vault;
use tokio::sync::mpsc;

use super::{Answerer, Engine, Message, own};
use crate::api::{Answer, Call, Event, Failure};

/// How the engine ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The vault is locked as soon as what was begun is stored.
    Lock,
    /// The vault is destroyed; nothing is waited for.
    Panic,
}

impl Engine {
    /// The end: to lock, links first, then the vault, then whoever asked for it; to destroy, the vault first.
    pub(super) fn end(self, end: End, answerer: Option<Answerer>) {
        let Engine {
            vault,
            client,
            mut links,
            waiting,
            mut watchers,
            ..
        } = self;
        let others = || {
            links.hang_up_all();
            for waiting in waiting.into_values() {
                (waiting.answerer)(Err(Failure::locked()));
            }
            watchers.retain_mut(|watcher| watcher(&Event::Locked {}));
            drop(client);
        };
        let ended = match end {
            End::Lock => {
                others();
                vault.lock()
            }
            End::Panic => {
                let destroyed = vault.panic();
                others();
                destroyed.and_then(|empty| empty.map_or(Ok(()), Vault::lock))
            }
        };
        if let Some(answerer) = answerer {
            answerer(ended.map(|()| Answer::Done {}).map_err(own::write_failure));
        }
    }
}

/// Calls that came too late: nobody is left without an answer.
// [SPEC 12.31]
pub(super) fn refuse_rest(mut messages: mpsc::Receiver<Message>) {
    messages.close();
    while let Ok(message) = messages.try_recv() {
        match message {
            Message::Call(Call::Lock {}, answerer) => answerer(Ok(Answer::Done {})),
            Message::Call(_, answerer) | Message::Drilled(_, answerer) => {
                answerer(Err(Failure::locked()));
            }
            Message::Watch(_) | Message::Link(..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    // [SPEC 12.31]
    #[test]
    fn calls_behind_a_lock_are_answered() {
        let (sender, receiver) = mpsc::channel(4);
        let (answered, answers) = channel();
        for call in [Call::Status {}, Call::Lock {}] {
            let answered = answered.clone();
            let answerer: Answerer = Box::new(move |outcome| answered.send(outcome).unwrap());
            assert!(sender.try_send(Message::Call(call, answerer)).is_ok());
        }
        refuse_rest(receiver);
        assert!(
            answers
                .recv()
                .unwrap()
                .is_err_and(|f| f.error == "vault_locked")
        );
        assert!(answers.recv().unwrap().is_ok());
        assert!(sender.is_closed());
    }
}
