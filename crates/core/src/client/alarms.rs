//! Alarms: what must not pass by because nobody listened when it was told. Each is kept until it was told, and shown for a month.

use emptyroom_wire::relay_key::IdentityHash;
use emptyroom_wire::time::{DAY_MS, Wall};
use tls_codec::{TlsDeserializeBytes, TlsSerialize, TlsSize};

use super::{Client, LoadError, VERSION};
use crate::api::{Alarm, AlarmKind, Event, Name, PeerTrouble, RelayTrouble};
use crate::records;
use crate::store::key::{self, ConversationId};
use crate::store::value::Flag;
use crate::store::{Store, Value};

/// Alarms that are kept: the oldest goes.
// [SPEC 10.43]
const ALARMS_MAX: usize = 64;
/// One that was told is shown for so long.
const SHOWN_MS: u64 = 30 * DAY_MS;
/// What goes on after it was told is told again after that.
const AGAIN_MS: u64 = DAY_MS;

/// What is kept of them.
#[derive(Default)]
pub(super) struct Alarms {
    kept: Vec<Kept>,
    changed: bool,
}

#[derive(Clone, Copy, Debug, TlsSize, TlsSerialize, TlsDeserializeBytes)]
struct Kept {
    relay: IdentityHash,
    /// 0: none.
    conversation: u32,
    kind: u8,
    at_ms: u64,
    told: Flag,
}

impl Alarms {
    pub(super) fn load(store: &Store<'_>) -> Result<Self, LoadError> {
        let kept = match store.get(key::ALARMS) {
            Some(record) => records::decode(VERSION, &record)?,
            None => Vec::new(),
        };
        Ok(Self {
            kept,
            changed: false,
        })
    }

    /// Their record, if it is another than the one that was written last.
    pub(super) fn unsaved(&mut self) -> Option<Value> {
        std::mem::take(&mut self.changed).then(|| Value::new(records::encode(VERSION, &self.kept)))
    }

    fn raise(&mut self, mut new: Kept) {
        let same = |kept: &Kept| {
            (kept.relay, kept.conversation, kept.kind) == (new.relay, new.conversation, new.kind)
        };
        let age = |kept: &Kept| new.at_ms.saturating_sub(kept.at_ms);
        let is_as_told = |kept: &Kept| !kept.told.0 || age(kept) < AGAIN_MS;
        if self.kept.iter().any(|kept| same(kept) && is_as_told(kept)) {
            return;
        }
        self.kept
            .retain(|kept| !same(kept) && (!kept.told.0 || age(kept) < SHOWN_MS));
        // Each has a time of its own, so that a time says which were shown.
        let last = self.kept.iter().map(|kept| kept.at_ms).max();
        let after_last = last.map_or(0, |last| last.saturating_add(1));
        new.at_ms = new.at_ms.max(after_last);
        self.kept.push(new);
        self.changed = true;
        if self.kept.len() > ALARMS_MAX {
            self.kept.remove(0);
        }
    }

    /// Those up to this time were told.
    // [SPEC 10.44]
    pub(super) fn told(&mut self, until: Wall) {
        let told = |kept: &&mut Kept| !kept.told.0 && kept.at_ms <= until.0;
        for kept in self.kept.iter_mut().filter(told) {
            kept.told = Flag(true);
            self.changed = true;
        }
    }

    fn retain(&mut self, keep: impl FnMut(&Kept) -> bool) {
        let before = self.kept.len();
        self.kept.retain(keep);
        self.changed |= self.kept.len() != before;
    }
}

impl Client {
    /// Keeps what this step tells and nobody may hear; and nothing about whom the user has forgotten.
    // [SPEC 10.43, 10.44]
    pub(super) fn keep_alarms(&mut self) {
        let at_ms = self.clock.now().0;
        let troubles = std::mem::take(&mut self.step.troubles).into_iter();
        let of_relays = troubles.map(|(relay, kind)| (relay, 0, AlarmKind::Relay(kind)));
        let of_conversations = self.step.events.iter().filter_map(|event| {
            let (name, kind) = in_conversation(event)?;
            let id = self.named(name)?;
            Some((self.conversations.get(&id)?.relay(), id.0, kind))
        });
        let all: Vec<_> = of_relays.chain(of_conversations).collect();
        for (relay, conversation, kind) in all {
            self.alarms.raise(Kept {
                relay,
                conversation,
                kind: code(kind),
                at_ms,
                told: Flag(false),
            });
        }
        let (relays, conversations, damaged) = (&self.relays, &self.conversations, &self.damaged);
        self.alarms.retain(|kept| {
            let id = ConversationId(kept.conversation);
            let is_known =
                id.0 == 0 || conversations.contains_key(&id) || damaged.contains_key(&id);
            relays.contains_key(&kept.relay) && is_known
        });
    }

    /// All of them.
    pub(super) fn alarms(&self) -> Vec<Alarm> {
        let kept = self.alarms.kept.iter();
        let alarm = |kept: &Kept| {
            let conversation = match kept.conversation {
                0 => None,
                id => Some(self.name_of(ConversationId(id))?),
            };
            Some(Alarm {
                relay: self.relays.get(&kept.relay)?.link.name(),
                conversation,
                kind: kind(kept.kind)?,
                at: Wall(kept.at_ms),
                told: kept.told.0,
            })
        };
        kept.filter_map(alarm).collect()
    }
}

/// The conversation and what happened in it, if that is to be kept.
fn in_conversation(event: &Event) -> Option<(&Name, AlarmKind)> {
    match event {
        Event::RelayTrouble {
            conversation, kind, ..
        } => Some((conversation.as_ref()?, AlarmKind::Relay(*kind))),
        Event::ConversationOver { conversation } => {
            Some((conversation, AlarmKind::ConversationOver))
        }
        Event::PeerTrouble {
            conversation,
            kind: PeerTrouble::LogDestroyed,
        } => Some((conversation, AlarmKind::LogDestroyed)),
        _ => None,
    }
}

const OVER: u8 = 100;
const DESTROYED: u8 = 101;

const TROUBLES: &[RelayTrouble] = &[
    RelayTrouble::RolledBack,
    RelayTrouble::TwoHistories,
    RelayTrouble::LogLost,
    RelayTrouble::Withheld,
    RelayTrouble::WrongSequence,
    RelayTrouble::ForeignEntry,
    RelayTrouble::KeyChain,
    RelayTrouble::WrongIdentity,
    RelayTrouble::WrongCertificate,
    RelayTrouble::Malformed,
    RelayTrouble::WrongAnswer,
];

/// The number of a kind in records.
fn code(kind: AlarmKind) -> u8 {
    let trouble = match kind {
        AlarmKind::Relay(trouble) => trouble,
        AlarmKind::ConversationOver => return OVER,
        AlarmKind::LogDestroyed => return DESTROYED,
    };
    let found = TROUBLES.iter().position(|known| *known == trouble);
    found.and_then(|at| u8::try_from(at).ok()).unwrap_or(OVER)
}

fn kind(code: u8) -> Option<AlarmKind> {
    match code {
        OVER => Some(AlarmKind::ConversationOver),
        DESTROYED => Some(AlarmKind::LogDestroyed),
        code => TROUBLES
            .get(usize::from(code))
            .map(|known| AlarmKind::Relay(*known)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(conversation: u32, at_ms: u64) -> Kept {
        Kept {
            relay: IdentityHash([1; 32]),
            conversation,
            kind: code(AlarmKind::Relay(RelayTrouble::KeyChain)),
            at_ms,
            told: Flag(false),
        }
    }

    #[test]
    fn every_kind_has_its_number() {
        let all = TROUBLES.iter().map(|known| AlarmKind::Relay(*known));
        let others = [AlarmKind::ConversationOver, AlarmKind::LogDestroyed];
        for known in all.chain(others) {
            assert_eq!(kind(code(known)), Some(known));
        }
        assert_eq!(kind(77), None);
    }

    // [SPEC 10.43]
    #[test]
    fn what_goes_on_is_told_once_a_day_and_the_oldest_goes() {
        let mut alarms = Alarms::default();
        alarms.raise(kept(1, 1));
        alarms.raise(kept(1, 2));
        assert_eq!(alarms.kept.len(), 1);
        assert!(alarms.unsaved().is_some() && alarms.unsaved().is_none());
        alarms.told(Wall(u64::MAX));
        alarms.raise(kept(1, DAY_MS));
        assert!(alarms.kept[0].told.0);
        alarms.raise(kept(1, DAY_MS + 1));
        assert!(!alarms.kept[0].told.0);
        alarms.told(Wall(u64::MAX));
        alarms.raise(kept(2, 32 * DAY_MS));
        assert_eq!(alarms.kept.len(), 1, "the other one was told a month ago");
        for n in 0..100 {
            alarms.raise(kept(n + 3, 32 * DAY_MS));
        }
        assert_eq!(alarms.kept.len(), ALARMS_MAX);
        assert_eq!(alarms.kept.last().map(|kept| kept.conversation), Some(102));
    }
}
