//! The end of the engine: the vault is locked, or destroyed.

use std::path::Path;
use std::sync::Arc;

use emptyroom_vault::{Besides, OutsideFile, Vault};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::{Answerer, Engine, Message, own};
use crate::api::{Answer, Call, Event, Failure};
use crate::carrier::Carrier;
use crate::factors::Elsewhere;
use crate::switch::{Ordered, note_left};
use crate::{clock, drill};

/// How the engine ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The vault is locked as soon as what was begun is stored.
    Lock,
    /// The vault is destroyed; nothing is waited for. With a panic PIN an empty one is left.
    Panic,
    /// The dead-man time is over, or an order came: nothing is left.
    Wipe,
}

/// What is left when the engine has ended.
pub(super) struct Ended {
    /// Why the vault is gone, where nobody asked for that.
    pub(super) why: Option<Failure>,
    /// An order that was begun, and found only when the vault was locked.
    pub(super) late: Option<Ordered>,
    /// Tells whoever ordered it, if somebody did; to be done when everybody here was answered.
    pub(super) tell: Box<dyn FnOnce()>,
}

impl End {
    pub(super) fn destroys(self) -> bool {
        matches!(self, Self::Panic | Self::Wipe)
    }
}

impl Engine {
    /// Takes what waits behind whoever locks: an order among it counts, the rest is answered when that is done.
    // [SPEC 11.66]
    pub(super) fn look_behind(
        &mut self,
        end: End,
        messages: &mut mpsc::Receiver<Message>,
    ) -> Vec<Message> {
        let mut behind = Vec::new();
        while end == End::Lock
            && self.order.is_none()
            && let Ok(message) = messages.try_recv()
        {
            match message {
                Message::Ordered(ordered) => self.ordered(ordered),
                other => behind.push(other),
            }
        }
        behind
    }

    /// The end: to lock, links first, then the vault, then whoever asked for it; to destroy, the vault first. Gives why
    /// the vault is gone, where nobody asked for that.
    pub(super) fn end(self, end: End, answerer: Option<Answerer>) -> Ended {
        let Engine {
            mut vault,
            client,
            mut links,
            waiting,
            mut watchers,
            mut watch,
            home,
            order,
            mut switch,
            ..
        } = self;
        let (carrier, runtime) = links.ways();
        let is_heard = !watchers.is_empty();
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
        let (mut why, mut late) = (None, None);
        let (mut left, mut is_remembered) = (Vec::new(), false);
        let ended = match end {
            End::Lock => {
                others(None);
                watch.close(&vault, &clock::here());
                // [SPEC 11.112]
                late = switch.close(&mut vault, &clock::here(), &home);
                vault.lock()
            }
            End::Panic => {
                let (elsewhere, has_panic) = (Elsewhere::of(&vault), vault.has_panic());
                let destroyed = vault.panic(Besides {
                    errands: &mut |_| elsewhere.errands(),
                    destroy: &mut || {
                        left = elsewhere.destroy_in_tpm();
                        // Before the files are removed, as below.
                        if !has_panic {
                            left.extend(elsewhere.delete_shares(&left));
                        }
                    },
                });
                // An empty vault remembers them, too; but when it is opened, if ever, may be too late.
                if has_panic {
                    left.extend(elsewhere.delete_shares(&left));
                }
                is_remembered = matches!(destroyed, Ok(Some(_)));
                others(None);
                destroyed.and_then(|empty| empty.map_or(Ok(()), Vault::lock))
            }
            End::Wipe => {
                let elsewhere = Elsewhere::of(&vault);
                // What cannot be noted is destroyed all the same.
                let noted = order.as_ref().map(|order| order.note(vault.directory()));
                let outside = match order {
                    Some(_) => OutsideFile::Stays,
                    None => OutsideFile::Goes,
                };
                let mut besides = || {
                    left = elsewhere.destroy_in_tpm();
                    // Before the files are removed: when it is cut off here, the next start still finds whom to ask.
                    left.extend(elsewhere.delete_shares(&left));
                    note_left(&home, &left);
                };
                let destroyed = vault.wipe(&mut besides, outside);
                if let (Err(_), Some(Err(_)), Some(order)) = (&destroyed, noted, &order) {
                    order.note_late(&home, &left);
                }
                let ordered = order.is_some();
                let event = match destroyed {
                    Ok(()) => Event::Wiped {
                        ordered,
                        left: left.clone(),
                    },
                    Err(error) => Event::WipeFailed {
                        why: own::write_failure(error).error,
                        ordered,
                        left: left.clone(),
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
                Err(error) => Err(own::write_failure(error).and_left(&left)),
                Ok(()) if left.is_empty() => Ok(Answer::Done {}),
                Ok(()) => Err(Failure::left_behind(&left, is_remembered)),
            };
            answerer(told);
        }
        // [SPEC 11.111]
        let is_said = left.is_empty() || is_heard;
        let tell = move || {
            if let (End::Wipe, Ok(()), Some(order)) = (end, ended, order) {
                tell(order, (left, is_said), &home, carrier, &runtime);
            }
        };
        Ended {
            why,
            late,
            tell: Box::new(tell),
        }
    }
}

/// Tells whoever gave an order that it was carried out, unless something is left elsewhere that nobody here was told yet: that is said
/// before a relay takes its time, and a guard tells.
// [SPEC 11.111]
fn tell(
    order: Ordered,
    (left, is_said): (Vec<String>, bool),
    home: &Path,
    carrier: Arc<dyn Carrier>,
    runtime: &Handle,
) {
    let (told, waits) = std::sync::mpsc::channel::<()>();
    let home = home.to_owned();
    runtime.spawn(async move {
        order.done(&home, &left);
        if is_said {
            // What it does not come to, a guard does.
            order.tell(&home, &*carrier).await;
        }
        drop(told);
    });
    // It ends by itself, in a while.
    let _ = waits.recv();
}

/// Calls that came too late: nobody is left without an answer. Gives an order that did.
// [SPEC 12.31]
pub(super) fn refuse_rest(
    behind: Vec<Message>,
    mut messages: mpsc::Receiver<Message>,
    why: Option<&Failure>,
) -> Option<Ordered> {
    messages.close();
    let mut late = None;
    let rest = std::iter::from_fn(|| messages.try_recv().ok());
    for message in behind.into_iter().chain(rest) {
        match message {
            Message::Ordered(ordered) => late = Some(ordered),
            other => refuse(other, why),
        }
    }
    late
}

pub(super) fn refuse(message: Message, why: Option<&Failure>) {
    match message {
        Message::Call(Call::Lock {}, answerer) => answerer(Ok(Answer::Done {})),
        Message::Call(_, answerer) | Message::Drilled(_, answerer) => {
            answerer(Err(why.cloned().unwrap_or_else(Failure::locked)));
        }
        Message::Watch(_)
        | Message::Link(..)
        | Message::Ordered(_)
        | Message::Vault(_)
        | Message::Leave
        | Message::Done(_) => {}
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
        assert!(refuse_rest(Vec::new(), receiver, None).is_none());
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
