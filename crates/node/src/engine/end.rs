//! The end of the engine: the vault is locked, or destroyed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use emptyroom_core::Client;
use emptyroom_core::api::CommandId;
use emptyroom_vault::{Besides, OutsideFile, Vault, WriteError};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::calls::Waiting;
use super::{Answerer, Engine, Message, Watcher, own};
use crate::api::{Answer, Call, Event, Failure, left_kinds};
use crate::carrier::Carrier;
use crate::factors::Elsewhere;
use crate::link::Links;
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
                // He hears of the end.
                Message::Watch(watcher) => self.newcomers.push(watcher),
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
            links,
            waiting,
            watchers,
            mut watch,
            home,
            order,
            mut switch,
            ..
        } = self;
        let (carrier, runtime) = links.ways();
        let mut others = Others {
            client,
            links,
            waiting,
            watchers,
        };
        let is_heard = !others.watchers.is_empty();
        let (mut why, mut late) = (None, None);
        let (mut left, mut is_remembered) = (Vec::new(), false);
        let ended = match end {
            End::Lock => {
                others.end(None);
                watch.close(&vault, &clock::here());
                // [SPEC 11.112]
                late = switch.close(&mut vault, &clock::here(), &home);
                vault.lock()
            }
            End::Panic => {
                let destroyed = panic(vault, &mut left);
                is_remembered = matches!(destroyed, Ok(Some(_)));
                others.end(None);
                destroyed.and_then(|empty| empty.map_or(Ok(()), Vault::lock))
            }
            End::Wipe => {
                let destroyed = wipe(vault, order.as_ref(), &home, &mut left);
                let event = wiped(destroyed, order.is_some(), &left);
                others.end(Some(&event));
                why = event.end();
                destroyed
            }
        };
        if end.destroys() {
            // [SPEC 11.92]
            let _ = drill::clear(&home);
        }
        if let Some(answerer) = answerer {
            answerer(answer(ended, &left, is_remembered));
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

/// All who have to do with the engine, but for its vault.
struct Others {
    client: Option<Client>,
    links: Links,
    waiting: BTreeMap<CommandId, Waiting>,
    watchers: Vec<Watcher>,
}

impl Others {
    /// Links are closed, whoever waits is answered, and whoever hears is told what came last, and that it is the end.
    fn end(&mut self, last: Option<&Event>) {
        self.links.hang_up_all();
        let why = last.and_then(Event::end);
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            (waiting.answerer)(Err(why.clone().unwrap_or_else(Failure::locked)));
        }
        self.watchers
            .retain_mut(|watcher| last.is_none_or(&mut *watcher) && watcher(&Event::Locked {}));
        self.client = None;
    }
}

/// Destroys the vault as the panic PIN does; gives the empty one, if it leaves one, and in words what is left elsewhere.
fn panic(vault: Vault, left: &mut Vec<String>) -> Result<Option<Vault>, WriteError> {
    let (elsewhere, has_panic) = (Elsewhere::of(&vault), vault.has_panic());
    let destroyed = vault.panic(Besides {
        errands: &mut |_| elsewhere.errands(),
        destroy: &mut || {
            *left = elsewhere.destroy_in_tpm();
            // Before the files are removed, as below.
            if !has_panic {
                let shares = elsewhere.delete_shares(left);
                left.extend(shares);
            }
        },
    });
    // An empty vault remembers them, too; but when it is opened, if ever, may be too late.
    if has_panic {
        let shares = elsewhere.delete_shares(left);
        left.extend(shares);
    }
    destroyed
}

/// Destroys the vault with everything in it; gives in words what is left elsewhere.
fn wipe(
    vault: Vault,
    order: Option<&Ordered>,
    home: &Path,
    left: &mut Vec<String>,
) -> Result<(), WriteError> {
    let elsewhere = Elsewhere::of(&vault);
    // What cannot be noted is destroyed all the same.
    let noted = order.map(|order| order.note(vault.directory()));
    let outside = match order {
        Some(_) => OutsideFile::Stays,
        None => OutsideFile::Goes,
    };
    let mut besides = || {
        *left = elsewhere.destroy_in_tpm();
        // Before the files are removed: when it is cut off here, the next start still finds whom to ask.
        let shares = elsewhere.delete_shares(left);
        left.extend(shares);
        note_left(home, left_kinds(left));
    };
    let destroyed = vault.wipe(&mut besides, outside);
    if let (Err(_), Some(Err(_)), Some(order)) = (&destroyed, noted, order) {
        order.note_late(home, Some(left_kinds(left)));
    }
    destroyed
}

/// What whoever asked for the end is told.
// [SPEC 12.44]
fn answer(
    ended: Result<(), WriteError>,
    left: &[String],
    is_remembered: bool,
) -> Result<Answer, Failure> {
    match ended {
        Err(error) => Err(own::write_failure(error).and_left(left)),
        Ok(()) if left.is_empty() => Ok(Answer::Done {}),
        Ok(()) => Err(Failure::left_behind(left, is_remembered)),
    }
}

/// What whoever hears events is told of a wipe.
fn wiped(destroyed: Result<(), WriteError>, ordered: bool, left: &[String]) -> Event {
    let left = left.to_vec();
    match destroyed {
        Ok(()) => Event::Wiped { ordered, left },
        Err(error) => Event::WipeFailed {
            why: own::write_failure(error).error,
            ordered,
            left,
        },
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
        order.done(&home, Some(left_kinds(&left)));
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
