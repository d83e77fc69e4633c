//! The end of the engine: the vault is locked, or destroyed.

use emptyroom_vault::{Besides, Vault};
use tokio::sync::mpsc;

use super::{Answerer, Engine, Message, own};
use crate::api::{Answer, Call, Event, Failure};
use crate::factors::Elsewhere;
use crate::{clock, drill};

/// How the engine ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The vault is locked as soon as what was begun is stored.
    Lock,
    /// The vault is destroyed; nothing is waited for. With a panic PIN an empty one is left.
    Panic,
    /// The dead-man time is over: nothing is left.
    Wipe,
}

impl End {
    pub(super) fn destroys(self) -> bool {
        matches!(self, Self::Panic | Self::Wipe)
    }
}

impl Engine {
    /// The end: to lock, links first, then the vault, then whoever asked for it; to destroy, the vault first. Gives why
    /// the vault is gone, where nobody asked for that.
    pub(super) fn end(self, end: End, answerer: Option<Answerer>) -> Option<Failure> {
        let Engine {
            vault,
            client,
            mut links,
            waiting,
            mut watchers,
            mut watch,
            home,
            ..
        } = self;
        let others = |last: Option<&Event>| {
            links.hang_up_all();
            let why = last.and_then(Event::end);
            for waiting in waiting.into_values() {
                (waiting.answerer)(Err(why.clone().unwrap_or_else(Failure::locked)));
            }
            watchers
                .retain_mut(|watcher| last.is_none_or(&mut *watcher) && watcher(&Event::Locked {}));
            drop(client);
        };
        let mut why = None;
        let mut left = Vec::new();
        let ended = match end {
            End::Lock => {
                others(None);
                watch.close(&vault, &clock::here());
                vault.lock()
            }
            End::Panic => {
                let elsewhere = Elsewhere::of(&vault);
                let destroyed = vault.panic(Besides {
                    errands: &mut |_| elsewhere.errands(),
                    destroy: &mut || left = elsewhere.destroy_in_tpm(),
                });
                // An empty vault remembers them, too; but when it is opened, if ever, may be too late.
                elsewhere.delete_shares();
                others(None);
                destroyed.and_then(|empty| empty.map_or(Ok(()), Vault::lock))
            }
            End::Wipe => {
                let elsewhere = Elsewhere::of(&vault);
                let destroyed = vault.wipe(&mut || left = elsewhere.destroy_in_tpm());
                elsewhere.delete_shares();
                let event = match destroyed {
                    Ok(()) => Event::Wiped { left: left.clone() },
                    Err(error) => Event::WipeFailed {
                        why: own::write_failure(error).error,
                    },
                };
                others(Some(&event));
                why = event.end();
                destroyed
            }
        };
        if end.destroys() {
            // [SPEC 11.92]
            let _ = drill::clear(&home);
        }
        if let Some(answerer) = answerer {
            // [SPEC 12.44]
            let told = match ended {
                Err(error) => Err(own::write_failure(error)),
                Ok(()) if left.is_empty() => Ok(Answer::Done {}),
                Ok(()) => Err(Failure::left_behind(&left)),
            };
            answerer(told);
        }
        why
    }
}

/// Calls that came too late: nobody is left without an answer.
// [SPEC 12.31]
pub(super) fn refuse_rest(mut messages: mpsc::Receiver<Message>, why: Option<&Failure>) {
    messages.close();
    while let Ok(message) = messages.try_recv() {
        refuse(message, why);
    }
}

pub(super) fn refuse(message: Message, why: Option<&Failure>) {
    match message {
        Message::Call(Call::Lock {}, answerer) => answerer(Ok(Answer::Done {})),
        Message::Call(_, answerer) | Message::Drilled(_, answerer) => {
            answerer(Err(why.cloned().unwrap_or_else(Failure::locked)));
        }
        Message::Watch(_) | Message::Link(..) | Message::Vault(_) | Message::Done => {}
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
        refuse_rest(receiver, None);
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
